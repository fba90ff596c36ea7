"""MNIST and Fashion-MNIST in their official idx files."""

import struct
from functools import partial

import numpy as np

from flowrepro.config.schema import ImageConfig
from flowrepro.data import files
from flowrepro.data.source import Chunks, Source
from flowrepro.errors import DataError

FOLDERS = {"mnist": "MNIST", "mnist2": "MNIST", "fashion_mnist": "FashionMNIST"}
SHAPE = (28, 28, 1)
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049
TWO = 2
PARTS = ("train", "t10k")


def idx(config: ImageConfig) -> Source:
    """The official files, found or downloaded but not read; `mnist2` has the 2s. Raises DataError if one is missing."""
    names = official_names(config)
    paths = [files.find(name) or (files.fetch(name) if config.download else None) for name in names]
    for name, path in zip(names, paths, strict=True):
        if path is None:
            raise DataError(files.missing(name))

    def read(part: str) -> Chunks:
        yield read_part(config, part)[..., None]

    train, val = (partial(read, part) for part in PARTS)
    return Source([p for p in paths if p], f"{config.name}, the official files", SHAPE, train, val)


def absent(config: ImageConfig) -> list[str]:
    """The official files of a set that are missing."""
    return [name for name in official_names(config) if files.find(name) is None]


def official_names(config: ImageConfig) -> list[str]:
    """The names of the official files of a set in the data folder."""
    return [name for name in files.DIGESTS if name.startswith(FOLDERS[config.name] + "/")]


def read_part(config: ImageConfig, part: str) -> np.ndarray:
    """The images (n, 28, 28) uint8 of `train` or `t10k`; for `mnist2` only the 2s.

    Raises:
        DataError: a file is missing, damaged, or not what its header says.
    """
    folder = FOLDERS[config.name]
    images = read_idx(f"{folder}/raw/{part}-images-idx3-ubyte.gz", IMAGES_MAGIC, config.download)
    labels = read_idx(f"{folder}/raw/{part}-labels-idx1-ubyte.gz", LABELS_MAGIC, config.download)
    if len(images) != len(labels):
        raise DataError(
            f"{folder}/raw/{part}: {len(images)} images but {len(labels)} labels; download the official files again"
        )
    return images[labels == TWO] if config.name == "mnist2" else images


def read_idx(name: str, magic: int, download: bool) -> np.ndarray:
    """The array of an idx file of bytes. Raises DataError if the header does not match."""
    content = files.read(name, download)
    dimensions = 3 if magic == IMAGES_MAGIC else 1
    header = 4 * (1 + dimensions)
    if len(content) < header or struct.unpack(">i", content[:4])[0] != magic:
        kind = "images" if dimensions == 3 else "labels"
        raise DataError(f"{name} is not an idx file of {kind}; download the official file again")
    shape = struct.unpack(f">{dimensions}i", content[4:header])
    if len(content) - header != int(np.prod(shape)):
        raise DataError(
            f"{name} is truncated: {len(content) - header} bytes for shape {shape}; download the official file again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
