"""The user's own points from .npy, .npz or .csv; rows are samples."""

import csv
import zipfile
from pathlib import Path

import numpy as np

from flowrepro.config.schema import ArrayConfig
from flowrepro.errors import DataError

MIN_ROWS = 10


def load_array(config: ArrayConfig) -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out rows (n, D) in float64, split at random by `dataset.seed`.

    Raises:
        DataError: no such file, not a table of finite numbers (the row is named), or too few rows.
    """
    points = checked(read(config), config.path)
    order = np.random.default_rng(config.seed).permutation(len(points))
    held_out = max(1, round(config.val_fraction * len(points)))
    return points[order[held_out:]], points[order[:held_out]]


def read(config: ArrayConfig) -> np.ndarray:
    """The array in the file, unchanged."""
    path = Path(config.path)
    readers = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    if not config.path:
        raise DataError("dataset=array needs dataset.path=points.npy (or .npz, .csv); rows are samples")
    if not path.is_file():
        raise DataError(f"dataset.path={path}: no such file; looked at {path.resolve()}")
    if path.suffix not in readers:
        raise DataError(
            f"dataset.path={path}: {path.suffix or 'no suffix'} is not one of {', '.join(readers)}"
        )
    return readers[path.suffix](path, config.key)


def checked(points: np.ndarray, path: str) -> np.ndarray:
    """The array as float64, if it is a table of finite numbers. Raises DataError naming the row otherwise."""
    if points.dtype.kind not in "biuf":
        raise DataError(f"{path} holds {points.dtype}, not numbers; save an array of floats")
    if points.ndim != 2:
        raise DataError(
            f"{path} has shape {points.shape}; rows must be samples: reshape it to (n, dimensions)"
        )
    if len(points) < MIN_ROWS or points.shape[1] < 1:
        raise DataError(f"{path} has shape {points.shape}; at least {MIN_ROWS} rows are needed")
    points = points.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(points).all(1))
    if len(bad):
        raise DataError(
            f"{path}: row {bad[0]} (counted from 0) is not finite ({len(bad)} such rows in total); remove them"
        )
    return points


def _read_npy(path: Path, key: str) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as .npy: {str(error).splitlines()[0]}") from error


def _read_npz(path: Path, key: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays)
            name = key or names[0]
            if name not in names or (not key and len(names) > 1):
                raise DataError(f"{path} holds {', '.join(names)}; choose one with dataset.key=NAME")
            return arrays[name]
    except (OSError, ValueError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as .npz: {str(error).splitlines()[0]}") from error


def _read_csv(path: Path, key: str) -> np.ndarray:
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for row in csv.reader(file) if row]
    if rows and not any(_is_number(cell) for cell in rows[0]):
        rows = rows[1:]  # a header
    widths = [len(row) for row in rows]
    for number, width in enumerate(widths):
        if width != widths[0]:
            raise DataError(
                f"{path}: row {number} (counted from 0) has {width} columns, the first has {widths[0]}"
            )
    for number, row in enumerate(rows):
        for cell in row:
            if not _is_number(cell):
                raise DataError(
                    f"{path}: row {number} (counted from 0) holds '{cell[:40]}', which is not a number"
                )
    return np.array([[float(cell) for cell in row] for row in rows], dtype=np.float64).reshape(
        len(rows), max(widths, default=0)
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
