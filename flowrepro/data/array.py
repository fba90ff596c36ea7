"""The user's own points from .npy, .npz or a table, or their own images as a 4-dimensional array; rows are samples."""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flowrepro.config.schema import ArrayConfig
from flowrepro.data import table
from flowrepro.data.reading import reading
from flowrepro.data.remarks import columns_without_meaning
from flowrepro.data.table import Table, shortened
from flowrepro.errors import DataError

MIN_ROWS = 10
NPY_MAGIC = b"\x93NUMPY"
# the keys of some kinds of files, with their defaults, and which of them each kind has
KEYS = {"key": "", "header": None, "index": None, "separator": "auto", "decimal": "point"}
TEXT_KEYS = ("header", "index", "separator", "decimal")
OWN_KEYS = {".npy": (), ".npz": ("key",), ".parquet": ("index",), **dict.fromkeys(table.USUAL, TEXT_KEYS)}


class Points(NamedTuple):
    """Training and held-out rows (n, D) in float64, the columns' names, a description, and what was noticed."""

    train: np.ndarray
    val: np.ndarray
    columns: tuple[str, ...]
    source: str
    notes: tuple[str, ...]


def load_array(config: ArrayConfig) -> Points:
    """The rows of a file, split at random by `dataset.seed`.

    Raises:
        DataError: no such file, not a table of finite numbers (the row is named), or too few rows.
    """
    found = read(config)
    points = checked(found, config.path)
    train, val = split(points, config.val_fraction, config.seed)
    notes = (*found.notes, *columns_without_meaning(points, found.columns))
    return Points(train, val, found.columns, described(config.path, found), notes)


def split(samples: np.ndarray, val_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples (n, ...) in two parts at random: what is trained on, and at least one that is held out."""
    order = np.random.default_rng(seed).permutation(len(samples))
    held_out = max(1, round(val_fraction * len(samples)))
    if held_out >= len(samples):
        raise DataError(f"dataset.val_fraction={val_fraction} leaves none of {len(samples)} rows to train on")
    return samples[order[held_out:]], samples[order[:held_out]]


def described(path: str, found: Table) -> str:
    """The file with its rows, columns and names."""
    rows, *rest = found.values.shape
    if len(rest) != 1:
        return f"{path}, shape {found.values.shape}"
    names = f" ({shortened(found.columns)})" if found.columns else ""
    return (
        f"{path}, {rows:,} rows of {rest[0]} column{'s' * (rest[0] != 1)}{names}, shape {found.values.shape}"
    )


def read(config: ArrayConfig) -> Table:
    """The array in the file, unchanged.

    Raises:
        DataError: no such file, or it is not what its name says; one line that says what to do.
    """
    path = Path(config.path).expanduser()
    if not config.path:
        raise DataError(
            "dataset=array needs dataset.path=points.npy (or .npz, .csv, .tsv, .txt, .parquet); rows are samples"
        )
    if not path.is_file():
        raise DataError(f"dataset.path={path}: no such file; looked at {path.resolve()}")
    suffix = path.suffix.lower()
    if suffix not in OWN_KEYS:
        raise DataError(f"dataset.path={path}: {suffix or 'no suffix'} is not one of {', '.join(OWN_KEYS)}")
    set_keys = [key for key, default in KEYS.items() if getattr(config, key) != default]
    if idle := [key for key in set_keys if key not in OWN_KEYS[suffix]]:
        raise DataError(f"dataset.{idle[0]}= has no effect on {suffix} files; leave it out")
    if suffix in table.USUAL:
        return table.read_text(path, config)
    if suffix == ".parquet":
        return table.read_parquet(path, config)
    return Table(_read_npy(path) if suffix == ".npy" else _read_npz(path, config.key))


def checked(found: Table, path: str) -> np.ndarray:
    """The array as float64, if it is a table of finite numbers. Raises DataError naming row and column otherwise."""
    points = found.values
    if points.dtype.kind not in "biuf":
        raise DataError(f"{path} holds {points.dtype}, not numbers; save an array of floats")
    if points.ndim != 2:
        raise DataError(
            f"{path} has shape {points.shape}; rows must be samples: reshape it to (n, dimensions), "
            "or choose a model for images"
        )
    if len(points) < MIN_ROWS or points.shape[1] < 1:
        raise DataError(f"{path} has shape {points.shape}; at least {MIN_ROWS} rows are needed")
    points = points.astype(np.float64)
    bad = np.argwhere(~np.isfinite(points))
    if len(bad):
        row, column = bad[0]
        named = found.columns[column] if found.columns else column + 1
        rows = len(np.unique(bad[:, 0]))
        raise DataError(
            f"{path}: row {row} (counted from 0) is not finite in column {named} ({rows} such rows in total); "
            "remove them"
        )
    return points


def _read_npy(path: Path) -> np.ndarray:
    with reading(path, ".npy"):
        with open(path, "rb") as file:
            begin = file.read(len(NPY_MAGIC))
        if begin != NPY_MAGIC:
            inside = ", but an .npz archive; rename it" if begin[:2] == b"PK" else "; save it with numpy.save"
            raise DataError(f"{path} is not an .npy file{inside}")
        return np.asarray(np.load(path, allow_pickle=False))


def _read_npz(path: Path, key: str) -> np.ndarray:
    with reading(path, ".npz"):
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path} is not an .npz archive; rename it, or save it with numpy.savez")
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays)
            name = key or next(iter(names), "")
            if name not in names or (not key and len(names) > 1):
                raise DataError(
                    f"{path} holds {', '.join(names) or 'nothing'}; choose one with dataset.key=NAME"
                )
            found = arrays[name]
        # of a file that is not .npy, numpy gives the bytes
        if not isinstance(found, np.ndarray):
            raise DataError(f"{path} holds {name}, which is not an array; save it with numpy.savez")
        return found
