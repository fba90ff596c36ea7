"""The old run of a folder, kept aside until the run that replaces it has its first checkpoint.

Whatever happens in between, `settle` leaves one of the two, whole: the new one if it has a checkpoint, else the old.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowrepro.runs import lock

# the old run; the same while its files are moved there or back; what is only to be deleted
ASIDE, MOVING, GONE = ".replaced", ".replaced.moving", ".replaced.gone"
KEPT = (lock.NAME, ASIDE, MOVING, GONE)


@contextmanager
def set_aside(folder: Path) -> Iterator[None]:
    """Move the run of a folder aside; delete it once the block has given the folder a new one, else put it back."""
    _move(folder, folder / MOVING)
    (folder / MOVING).rename(folder / ASIDE)
    try:
        yield
    except BaseException:
        _put_back(folder)
        raise
    _discard(folder)


def unsettled(folder: Path) -> bool:
    """Whether a process was killed while it replaced the run of a folder."""
    return any(os.path.exists(folder / name) for name in (ASIDE, MOVING, GONE))


def settle(folder: Path) -> None:
    """Finish what a killed process began; the caller holds the folder."""
    if (folder / MOVING).exists():
        _move(folder / MOVING, folder)
        (folder / MOVING).rmdir()
    if (folder / ASIDE).exists():
        begun = (folder / "checkpoints" / "last.pt").exists()
        _discard(folder) if begun else _put_back(folder)
    shutil.rmtree(folder / GONE, ignore_errors=True)


def _put_back(folder: Path) -> None:
    for entry in _entries(folder):
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    (folder / ASIDE).rename(folder / MOVING)
    _move(folder / MOVING, folder)
    (folder / MOVING).rmdir()


def _discard(folder: Path) -> None:
    shutil.rmtree(folder / GONE, ignore_errors=True)
    (folder / ASIDE).rename(folder / GONE)
    shutil.rmtree(folder / GONE, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for entry in _entries(source):
        entry.rename(target / entry.name)


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.name not in KEPT]
