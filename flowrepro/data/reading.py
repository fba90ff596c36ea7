"""The one place where what other libraries raise on a user's file becomes a DataError."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowrepro.errors import DataError, FlowreproError


@contextmanager
def reading(path: Path | str, what: str, way: str = "restore the file") -> Iterator[None]:
    """Inside it, whatever a reader raises is a DataError that names the file.

    zipfile, zlib, pickle, tokenize, numpy, pandas and Pillow each raise kinds of their own on damaged or hostile files.

    Args:
        path: the file, or an image's name inside an archive.
        what: what it should be, e.g. `.npz` or `an image`.
        way: what to do about it.
    """
    try:
        yield
    except FlowreproError:
        raise
    except MemoryError as error:
        raise DataError(
            f"{path} does not fit into memory, or is damaged ({_first_line(error)}); use a part of it"
        ) from error
    except Exception as error:
        raise DataError(f"{path} cannot be read as {what} ({_first_line(error, path)}); {way}") from error


def _first_line(error: Exception, path: Path | str = "") -> str:
    """What an exception says, without the path that the sentence names already."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = [line for line in told.splitlines() if line.strip()]
    first = lines[0].strip() if lines else type(error).__name__
    return (first.replace(repr(str(path)), "it").replace(str(path), "it") if str(path) else first)[:150]
