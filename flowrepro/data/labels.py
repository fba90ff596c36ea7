"""The classes of images, in the order of the images themselves."""

from collections.abc import Callable
from typing import Any

import numpy as np

from flowrepro.config.schema import ImageConfig
from flowrepro.data import cifar10, files, idx, strips
from flowrepro.data.reading import reading
from flowrepro.errors import DataError, UsageError

IDX_PARTS = {"train": "train", "val": "t10k"}
PART = "CIFAR10/labels.npz"


def labels(config: Any, split: str) -> np.ndarray:
    """The class (n,) of every image of `train` or `val`: int64, from 0.

    Raises:
        UsageError: the images of this set have no classes.
        DataError: the files are missing or damaged.
    """
    if config.name not in READERS:
        raise UsageError(f"dataset={config.name} has no labels; sets with labels: {', '.join(READERS)}")
    n = config.n_train if split == "train" else config.n_val
    return READERS[config.name](config, split).astype(np.int64)[:n]


def _digits(config: ImageConfig, split: str) -> np.ndarray:
    """Those of scikit-learn's digits; the last fifth is held out, as of the images."""
    from sklearn.datasets import load_digits

    found = load_digits().target
    found = found[found == idx.TWO] if config.name == "digits2" else found
    cut = len(found) - len(found) // 5
    return found[:cut] if split == "train" else found[cut:]


def _idx(config: ImageConfig, split: str) -> np.ndarray:
    name = f"{idx.FOLDERS[config.name]}/raw/{IDX_PARTS[split]}-labels-idx1-ubyte.gz"
    found = idx.read_idx(name, idx.LABELS_MAGIC, config.download)
    return found[found == idx.TWO] if config.name == "mnist2" else found


def _cifar10(config: ImageConfig, split: str) -> np.ndarray:
    """Those of the official batches, or of the part of the set, whose labels.npz holds those of the whole set."""
    if cifar10.cifar10(config).files[0].suffix != ".webp":
        return np.concatenate(list(cifar10.labels(cifar10.TRAIN if split == "train" else cifar10.VAL)))
    path = files.find(PART)
    if path is None:
        raise DataError(files.missing(PART, "it belongs beside the strips"))
    n_train, n_val = strips.COUNTS["cifar10"]
    with reading(path, "the labels of CIFAR-10"), np.load(path, allow_pickle=False) as found:
        return found["train"][:n_train] if split == "train" else found["test"][:n_val]


READERS: dict[str, Callable[[ImageConfig, str], np.ndarray]] = {
    "digits": _digits,
    "digits2": _digits,
    "mnist": _idx,
    "mnist2": _idx,
    "fashion_mnist": _idx,
    "cifar10": _cifar10,
}
