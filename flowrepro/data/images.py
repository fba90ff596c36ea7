"""Image data sets, as vectors of pixels in [0, 1]: scikit-learn's bundled digits, MNIST and Fashion-MNIST."""

import struct

import numpy as np

from flowrepro.config import ImageConfig
from flowrepro.data import files
from flowrepro.errors import DataError

OFFICIAL = {"mnist": "MNIST", "mnist2": "MNIST", "fashion_mnist": "FashionMNIST"}
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049
TWO = 2

Split = tuple[np.ndarray, np.ndarray]


def load_digits(name: str) -> Split:
    """Training and held-out images of scikit-learn's digits (n, 64); `digits2` are the 177 images of the 2s.

    The set has no official split: the last fifth, in the order of the file, is held out.
    """
    from sklearn.datasets import load_digits as bundled

    found = bundled()
    images = (found.images if name == "digits" else found.images[found.target == TWO]).reshape(-1, 64) / 16
    cut = len(images) - len(images) // 5
    return images[:cut], images[cut:]


def load_official(config: ImageConfig) -> Split:
    """Training and held-out images (n, 784) from the official idx files; `mnist2` are the 2s.

    Raises:
        DataError: a file is missing, damaged, or not what its header says.
    """
    folder = OFFICIAL[config.name]
    splits = []
    for part in ("train", "t10k"):
        images = read_idx(f"{folder}/raw/{part}-images-idx3-ubyte.gz", IMAGES_MAGIC, config.download)
        labels = read_idx(f"{folder}/raw/{part}-labels-idx1-ubyte.gz", LABELS_MAGIC, config.download)
        if len(images) != len(labels):
            raise DataError(
                f"{folder}/raw/{part}: {len(images)} images but {len(labels)} labels; bring the official files"
            )
        chosen = images[labels == TWO] if config.name == "mnist2" else images
        splits.append(chosen.reshape(len(chosen), -1) / 255)
    return splits[0], splits[1]


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
