"""Writing files so that a crash, a full disk or a kill never leaves half of one."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from flowrepro.errors import FlowreproError

IDLE_SECONDS = 1.0


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` only once its bytes are durable on the disk.

    Raises:
        FlowreproError: the disk is full or the folder cannot be written; what was at `path` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            # while it is held, no other process takes it for a leftover
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        # torch.save reports a failed write as a RuntimeError
        raise FlowreproError(f"cannot write {path}: {error}; check disk space and permissions") from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: Path, tree: dict[str, Any]) -> None:
    """Replace a JSON file in one step."""
    write_text(path, json.dumps(tree, indent=1, default=str) + "\n")


def save_arrays(path: Path, **arrays: Any) -> None:
    """Replace an .npz file in one step."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A new folder whose files take their places in `folder` together at the end of the block, and not before."""
    staging = folder / f".{os.getpid()}.new"
    try:
        yield staging
        for file in staging.iterdir():
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process left half written; a file of the last second may not be locked yet."""
    for file in folder.rglob(".*.tmp"):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime >= IDLE_SECONDS and not _held(file):
                file.unlink()
    for staging in folder.rglob(".*.new"):
        process = staging.name.split(".")[1]
        if process.isdigit() and not _alive(int(process)):
            shutil.rmtree(staging, ignore_errors=True)


def _alive(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _held(file: Path) -> bool:
    """Whether the process that writes a temporary file is alive."""
    with open(file, "rb") as temporary:
        try:
            fcntl.flock(temporary, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
