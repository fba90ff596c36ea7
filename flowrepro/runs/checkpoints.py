"""Checkpoints: written atomically, with a SHA-256 beside them that is verified before anything is read."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from flowrepro.errors import CheckpointError
from flowrepro.writing import replacing, write_text

SCHEMA = 1


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


def load(path: Path) -> dict[str, Any]:
    """The state saved at `path`, on the CPU.

    Raises:
        CheckpointError: missing, damaged (digest, truncation, not a checkpoint) or from a newer schema.
    """
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint at {path}; rerun the train command of this run (with overwrite=true if it has finished)"
        )
    verify(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of errors, from EOFError to KeyError
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}){_remedy(path)}") from error
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        raise CheckpointError(f"{path} is not a checkpoint of this version of flowrepro{_remedy(path)}")
    return state


def verify(path: Path) -> str:
    """The SHA-256 of a checkpoint, compared with the file beside it. Raises CheckpointError if they differ."""
    sidecar = digest_file(path)
    if not sidecar.is_file():
        raise CheckpointError(
            f"{sidecar.name} is missing next to {path}, which therefore cannot be verified{_remedy(path)}"
        )
    digest = sha256(path)
    if digest not in sidecar.read_text().split():
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 is not the one in {sidecar.name}{_remedy(path)}"
        )
    return digest


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
