"""Weights from files: their digest is checked before anything is loaded."""

import hashlib
import io
from pathlib import Path

from flowrepro.errors import DataError


def checked(path: Path, sha256: str, way: str) -> io.BytesIO:
    """The bytes of a file, read once: what is loaded is what was checked.

    Raises:
        DataError: the file is not there, or its SHA-256 is another; `way` says what to do.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); {way}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{path} has SHA-256 {found[:12]}..., not {sha256[:12]}...; {way}")
    return io.BytesIO(content)
