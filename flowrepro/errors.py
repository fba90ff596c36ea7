"""The errors a user may see, each with the exit code that `main()` returns for it."""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class FlowreproError(Exception):
    """A problem stated in one line: what is wrong and what to do. Only `cli.main` maps it to an exit code."""

    code = 1


class UsageError(FlowreproError):
    """A wrong argument, key or value on the command line or in a config."""

    code = 2


class DataError(FlowreproError):
    """A missing or damaged data set."""

    code = 3


class Held(UsageError):
    """A run that another process is training."""


class CheckpointError(FlowreproError):
    """A checkpoint that is missing, damaged, or from another model."""

    code = 4


class Diverged(FlowreproError):
    """A non-finite loss or gradient; the last good checkpoint is kept."""

    code = 5


class NotFinite(Diverged):
    """Training ended, and log-likelihoods of held-out rows are not finite."""


class SweepFailed(FlowreproError):
    """Some jobs of a sweep failed; the table names them."""

    code = 6


class Stopped(FlowreproError):
    """Training stopped by a signal after its state was saved; `code` is 130 (Ctrl-C) or 143 (SIGTERM)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


# packages whose exceptions are for a user to mend: a word of the command line or a config, or a file
FOREIGN: dict[type[FlowreproError], tuple[str, ...]] = {
    UsageError: ("hydra", "omegaconf", "antlr4", "yaml", "joblib", "submitit"),
    DataError: (
        *(
            "zipfile",
            "tarfile",
            "gzip",
            "zlib",
            "lzma",
            "_lzma",
            "bz2",
            "csv",
            "_csv",
            "json",
            "pickle",
            "_pickle",
        ),
        *("pandas", "pyarrow", "PIL", "requests", "urllib3"),
    ),
}


# of torch and numpy, which have no class of their own for it
TOO_LARGE = (
    "out of memory|can't allocate memory|Storage size calculation|array is too big|Maximum allowed dimension"
)


def translated(error: Exception) -> FlowreproError | None:
    """Another library's exception as one of ours, with what its notes say it was about; None for a bug."""
    if isinstance(error, FlowreproError):
        return error
    about = "".join(f"{note}: " for note in getattr(error, "__notes__", []))
    text = " ".join(str(error).split())[:300] or type(error).__name__
    origins = {parent.__module__.split(".")[0] for parent in type(error).__mro__}
    for kind, packages in FOREIGN.items():
        if origins & set(packages):
            return kind(f"{about}{text}")
    if isinstance(error, MemoryError) or re.search(TOO_LARGE, text, re.IGNORECASE):
        return UsageError(f"{about}not enough memory ({text}); use smaller sizes, or fewer samples per batch")
    if isinstance(error, UnicodeError):
        return DataError(f"{about}not text in UTF-8 ({text})")
    if isinstance(error, RecursionError):
        return UsageError(f"{about}nested too deeply")
    if isinstance(error, OverflowError):
        return UsageError(f"{about}a number is too large ({text})")
    if "determine home directory" in text:
        return DataError(f"{about}{text}; set FLOWREPRO_DATA to the folder of the data")
    return None


@contextmanager
def ours(about: object = "") -> Iterator[None]:
    """Raise exceptions of other libraries in the block as ours; `about` is the file, key or argument in question."""
    try:
        yield
    except FlowreproError:
        raise
    except Exception as error:
        if about:
            error.add_note(str(about))
        if (known := translated(error)) is None:
            raise
        raise known from error


def nearest(word: Any, known: Iterable[Any]) -> str:
    """`. Did you mean 'x'?` or the list of known words, for the end of an error line.

    A word of one part is compared with the last parts of the known ones: `alpha` is found in `regularizer.alpha`.
    """
    words = sorted(str(k) for k in known)
    by_end: dict[str, list[str]] = {}
    for one in words:
        by_end.setdefault(re.split(r"[./]", one)[-1], []).append(one)
    of_one_part = not re.search(r"[./]", str(word))
    match = difflib.get_close_matches(str(word), by_end, n=1, cutoff=0.6) if of_one_part else []
    found = by_end[match[0]] if match else difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    return f". Did you mean {either(found)}?" if found else f". Known: {', '.join(words)}"


def either(words: list[str]) -> str:
    """`'a', 'b' or 'c'`."""
    quoted = [f"'{word}'" for word in words]
    return " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
