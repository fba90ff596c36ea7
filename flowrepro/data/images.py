"""Grey images: scikit-learn's bundled digits, MNIST and Fashion-MNIST, as vectors in [0, 1] and as bytes."""

import struct
from functools import partial

import numpy as np

from flowrepro.config.schema import ImageConfig
from flowrepro.data import files
from flowrepro.data.source import Chunks, Source
from flowrepro.errors import DataError

OFFICIAL = {"mnist": "MNIST", "mnist2": "MNIST", "fashion_mnist": "FashionMNIST"}
DIGITS = ("digits", "digits2")
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049
TWO = 2
PARTS = ("train", "t10k")

Split = tuple[np.ndarray, np.ndarray]


def load_digits(name: str) -> Split:
    """Training and held-out images of scikit-learn's digits (n, 64)."""
    train, val = read_digits(name)
    return train.reshape(-1, 64) / 16, val.reshape(-1, 64) / 16


def read_digits(name: str) -> Split:
    """The same images as grey levels from 0 to 16 (n, 8, 8); `digits2` are the 177 images of the 2s.

    The set has no official split: the last fifth, in the order of the file, is held out.
    """
    from sklearn.datasets import load_digits as bundled

    found = bundled()
    images = found.images if name == "digits" else found.images[found.target == TWO]
    cut = len(images) - len(images) // 5
    return images[:cut], images[cut:]


def load_official(config: ImageConfig) -> Split:
    """Training and held-out images (n, 784) from the official idx files; `mnist2` are the 2s.

    Raises:
        DataError: a file is missing, damaged, or not what its header says.
    """
    train, val = (read_part(config, part) for part in PARTS)
    return train.reshape(len(train), -1) / 255, val.reshape(len(val), -1) / 255


def read_part(config: ImageConfig, part: str) -> np.ndarray:
    """The images (n, 28, 28) uint8 of `train` or `t10k`; of `mnist2` the 2s alone."""
    folder = OFFICIAL[config.name]
    images = read_idx(f"{folder}/raw/{part}-images-idx3-ubyte.gz", IMAGES_MAGIC, config.download)
    labels = read_idx(f"{folder}/raw/{part}-labels-idx1-ubyte.gz", LABELS_MAGIC, config.download)
    if len(images) != len(labels):
        raise DataError(
            f"{folder}/raw/{part}: {len(images)} images but {len(labels)} labels; bring the official files"
        )
    return images[labels == TWO] if config.name == "mnist2" else images


def official_source(config: ImageConfig) -> Source:
    """The same images as bytes, found and fetched but not read. Raises DataError where a file is missing."""
    names = official_names(config)
    paths = [files.find(name) or (files.fetch(name) if config.download else None) for name in names]
    for name, path in zip(names, paths, strict=True):
        if path is None:
            raise DataError(files.missing(name))

    def read(part: str) -> Chunks:
        yield read_part(config, part)[..., None]

    train, val = (partial(read, part) for part in PARTS)
    return Source([p for p in paths if p], f"{config.name}, the official files", (28, 28, 1), train, val)


def absent(config: ImageConfig) -> list[str]:
    """Those of the official files of a set that are not there."""
    return [name for name in official_names(config) if files.find(name) is None]


def official_names(config: ImageConfig) -> list[str]:
    """The official files of a set, as they are called in the data folder."""
    return [name for name in files.DIGESTS if name.startswith(OFFICIAL[config.name] + "/")]


def read_idx(name: str, magic: int, download: bool) -> np.ndarray:
    """The array of an idx file of bytes. Raises DataError where the header does not fit."""
    content = files.read(name, download)
    dimensions = 3 if magic == IMAGES_MAGIC else 1
    header = 4 * (1 + dimensions)
    if len(content) < header or struct.unpack(">i", content[:4])[0] != magic:
        raise DataError(
            f"{name} is not an idx file of {'images' if dimensions == 3 else 'labels'}; bring the official file"
        )
    shape = struct.unpack(f">{dimensions}i", content[4:header])
    if len(content) - header != int(np.prod(shape)):
        raise DataError(
            f"{name} is cut short: {len(content) - header} bytes for shape {shape}; bring the official file"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
