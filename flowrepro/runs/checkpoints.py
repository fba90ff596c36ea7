"""Checkpoints: written atomically, with a SHA-256 beside them that is verified before anything is read."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch

from flowrepro.errors import CheckpointError
from flowrepro.writing import replacing, write_text

SCHEMA = 1
# for a reader beside a training that saves
ATTEMPTS, PAUSE_SECONDS = 5, 0.05


def save(path: Path, state: dict[str, Any]) -> str:
    """Write `state` (tensors and plain values) to `path`; returns its SHA-256.

    The digest file always matches the bytes at `path`: while they are replaced it lists both old and new.
    """
    sidecar = digest_file(path)
    with replacing(path) as file:
        torch.save({"schema": SCHEMA, **state}, file)
        file.flush()
        digest = sha256(Path(file.name))
        old = sidecar.read_text() if sidecar.exists() and path.exists() else ""
        write_text(sidecar, f"{digest}  {path.name}\n{old}")
    write_text(sidecar, f"{digest}  {path.name}\n")
    return digest


class Checkpoint(NamedTuple):
    """The state of a checkpoint, on the CPU, and the SHA-256 of the bytes it was read from."""

    state: dict[str, Any]
    digest: str


def load(path: Path) -> dict[str, Any]:
    """The state saved at `path`; raises what `opened` raises."""
    return opened(path).state


def opened(path: Path) -> Checkpoint:
    """The checkpoint at `path`, read once: what is read is what was verified, though a training replaces the file.

    Raises:
        CheckpointError: missing, damaged (digest, truncation, not a checkpoint) or from a newer schema.
    """
    with _verified(path) as (file, digest):
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds of errors, from EOFError to KeyError
            raise CheckpointError(f"{path} is damaged ({type(error).__name__}){_remedy(path)}") from error
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        raise CheckpointError(f"{path} is not a checkpoint of this version of flowrepro{_remedy(path)}")
    return Checkpoint(state, digest)


def verify(path: Path) -> str:
    """The SHA-256 of a checkpoint, compared with the file beside it. Raises CheckpointError if they differ."""
    with _verified(path) as (_, digest):
        return digest


@contextmanager
def _verified(path: Path) -> Iterator[tuple[IO[bytes], str]]:
    """The open file, whose bytes no other process changes, and its digest."""
    sidecar = digest_file(path)
    for attempt in range(ATTEMPTS):
        # a training that saves in between has replaced both
        time.sleep(PAUSE_SECONDS * attempt)
        with _open(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if not sidecar.is_file():
                raise CheckpointError(
                    f"{sidecar.name} is missing next to {path}, which therefore cannot be verified{_remedy(path)}"
                )
            if digest in sidecar.read_text().split():
                file.seek(0)
                yield file, digest
                return
    raise CheckpointError(f"{path} is damaged: its SHA-256 is not the one in {sidecar.name}{_remedy(path)}")


def _open(path: Path) -> BufferedReader:
    try:
        return open(path, "rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise CheckpointError(
            f"no checkpoint at {path}; rerun the train command of this run (with overwrite=true if it has finished)"
        ) from error


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_file(path: Path) -> Path:
    """The file beside a checkpoint that holds its digest."""
    return path.with_name(path.name + ".sha256")


def _remedy(path: Path) -> str:
    other = "best" if path.stem == "last" else "last"
    hint = (
        f"; `evaluate` can read the other one with evaluation.checkpoint={other}"
        if (path.parent / f"{other}.pt").exists()
        else ""
    )
    return f"; restore it, or retrain with overwrite=true{hint}"
