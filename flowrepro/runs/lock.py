"""One process at a time in a run's folder: a lock that the kernel frees when the process ends, however it ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from flowrepro.errors import FlowreproError, Held, UsageError

NAME = ".lock"
# `in_use` of another process holds a lock for a moment; a folder may be removed while it is being opened
ATTEMPTS, PAUSE_SECONDS = 5, 0.02


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, which is created if it is missing.

    Raises:
        Held: another process holds it.
        UsageError: the file system has no locks.
        FlowreproError: the folder cannot be written.
    """
    with _taken(folder):
        yield


def in_use(folder: Path) -> bool:
    """Whether another process holds a folder."""
    try:
        with open(folder / NAME) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such folder, or no locks there
        return False
    return False


def _taken(folder: Path) -> IO[str]:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = open(folder / NAME, "w")
        except OSError as error:
            if isinstance(error, FileNotFoundError) and attempt < ATTEMPTS:
                continue
            raise FlowreproError(
                f"cannot write {folder}: {error.strerror}; choose another output_dir=..."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # a folder that was removed meanwhile has taken its lock with it
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(folder / NAME)):
                return lock
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError as error:
            lock.close()
            raise UsageError(
                f"{folder} cannot be locked ({error.strerror}); choose an output_dir=... on another file system"
            ) from error
        lock.close()
        time.sleep(PAUSE_SECONDS)
    raise Held(f"{folder} is being trained by another process; wait for it, or change seed=")
