"""Prepared images: the bytes of both splits in two memory-mapped files, and a record of them."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from flowrepro.data.files import data_folders
from flowrepro.data.source import Chunks, Source
from flowrepro.errors import DataError
from flowrepro.writing import remove_leftovers, replacing, write_json

RECORD = "cache.json"
# rereading more than this to check the digest would take too long
VERIFIED_BYTES = 2**32


@dataclass(frozen=True)
class Prepared:
    """Both splits (n, H, W, C) of uint8, mapped into memory, and the digest of their bytes."""

    train: np.ndarray
    val: np.ndarray
    fingerprint: str


def prepared(name: str, source: Source) -> Prepared:
    """The images of a source, read and written once, then memory-mapped from the cache `name`.

    Raises:
        DataError: a file of the source or the cache itself is damaged.
        FlowreproError: the cache cannot be written.
    """
    folder = cache_folder() / name
    record = _record(folder)
    current = record.get("made_from") == stamp(source) and record.get("shape") == list(source.shape)
    if not current or source.counts not in (None, (record["train"], record["val"])):
        record = prepare(folder, source)
    train, val = (_mapped(folder, split, record) for split in ("train", "val"))
    if train.nbytes + val.nbytes <= VERIFIED_BYTES and fingerprint(train, val) != record["fingerprint"]:
        raise DataError(f"{folder} is damaged; delete it to have it prepared again from the original files")
    return Prepared(train, val, record["fingerprint"])


def prepare(folder: Path, source: Source) -> dict[str, Any]:
    """Write the cache of a source; returns its record, which is written last."""
    remove_leftovers(folder)
    known = source.counts or (None, None)
    counts = {
        split: _write(folder, split, source, n) for split, n in zip(("train", "val"), known, strict=True)
    }
    record = {"made_from": stamp(source), "shape": list(source.shape), "note": source.note, **counts}
    record["fingerprint"] = fingerprint(*(_mapped(folder, split, record) for split in ("train", "val")))
    write_json(folder / RECORD, record)
    return record


def _write(folder: Path, split: str, source: Source, expected: int | None) -> int:
    """Write one split chunk by chunk and count its images. Raises DataError if some are missing."""
    n = 0
    with replacing(folder / f"{split}.u8") as file:
        chunks = _read(source.train() if split == "train" else source.val(), source)
        for chunk in tqdm(chunks, desc=f"preparing {folder.name} {split}", disable=None, leave=False):
            file.write(np.ascontiguousarray(chunk, np.uint8).tobytes())
            n += len(chunk)
        if n == 0:
            raise DataError(
                f"no images of the {split} split in {source.files[0]} ({source.note}); restore the missing files"
            )
        if expected not in (None, n):
            raise DataError(
                f"only {n:,} of {expected:,} images of the {split} split in {source.files[0].parent} "
                f"({source.note}); restore the missing files"
            )
    return n


def _read(chunks: Chunks, source: Source) -> Chunks:
    """The chunks; an unreadable file is reported as a DataError, not as a failure to write."""
    try:
        yield from chunks
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"cannot read {source.files[0]} ({error}); restore it or check permissions"
        ) from error


def _mapped(folder: Path, split: str, record: dict[str, Any]) -> np.ndarray:
    path, shape = folder / f"{split}.u8", (record[split], *record["shape"])
    if not path.is_file() or path.stat().st_size != np.prod(shape):
        raise DataError(
            f"{path} is damaged; delete {folder} to have it prepared again from the original files"
        )
    # copy on write: torch expects writable memory
    return np.memmap(path, np.uint8, mode="c", shape=shape)


def cache_folder() -> Path:
    """Where prepared images go: the data folder, or the user's own cache if that is read-only."""
    folder = data_folders()[0]
    # root may write everywhere, but a folder without the write bit is meant to stay as it is
    writable = folder.is_dir() and os.access(folder, os.W_OK) and folder.stat().st_mode & 0o200
    return (folder if writable else Path.home() / ".cache" / "flowrepro") / "prepared"


def stamp(source: Source) -> str:
    """Names, sizes and times of the files of a source, as one digest.

    For a folder, the time at which files were last added or removed: checking 200,000 of them would take too long.
    """
    told = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in source.files]
    return hashlib.sha256(repr((source.note, told)).encode()).hexdigest()[:16]


def fingerprint(train: np.ndarray, val: np.ndarray) -> str:
    """SHA-256 over the bytes of both splits."""
    digest = hashlib.sha256(repr((train.shape, val.shape)).encode())
    digest.update(train.data)
    digest.update(val.data)
    return digest.hexdigest()


def _record(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
