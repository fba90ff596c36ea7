"""The pixels of every image data set: vectors and dequantised images are both made from them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from flowrepro.config.schema import ArrayConfig, ImageConfig
from flowrepro.data import array, celeba, cifar10, digits, idx, imagenet32, own_images, strips
from flowrepro.data.cache import prepared
from flowrepro.data.source import Source

# pixel values in a trial: random images of large sets must not fill the memory
TRIAL_VALUES = 2**28


class ImageSet(NamedTuple):
    """How the images of a set are found; their shape (H, W, C), if it does not depend on the files."""

    source: Callable[[Any], Source]
    shape: tuple[int, int, int] | None
    # the official files that `dataset.download=true` would download
    absent: Callable[[Any], list[str]] = lambda config: []


SETS: dict[str, ImageSet] = {
    **dict.fromkeys(("digits", "digits2"), ImageSet(digits.digits, digits.SHAPE)),
    **dict.fromkeys(idx.FOLDERS, ImageSet(idx.idx, idx.SHAPE, idx.absent)),
    "cifar10": ImageSet(cifar10.cifar10, cifar10.SHAPE, lambda config: cifar10.absent()),
    "celeba": ImageSet(celeba.celeba, celeba.SHAPE),
    "faces64": ImageSet(lambda config: strips.faces64(), strips.FACES),
    "imagenet32": ImageSet(lambda config: imagenet32.imagenet32(), imagenet32.SHAPE),
    "celeba_hq": ImageSet(lambda config: celeba.celeba_hq(), None),
    "images": ImageSet(own_images.folder, None),
}


@dataclass(frozen=True)
class Pixels:
    """Grey levels (n, H, W, C) of both splits as uint8, from 0 to `levels` - 1.

    `note` describes them, `digest` is that of their bytes.
    """

    train: np.ndarray
    val: np.ndarray
    levels: int
    note: str
    digest: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C) of an image."""
        return self.train.shape[1:]


def pixels(config: ImageConfig | ArrayConfig, trial: int = 0) -> Pixels:
    """The images of a set: bundled, in the user's array, or from the cache, which is prepared if missing.

    With `trial`, that many random ones of the same shape: nothing is read or written, and the files may be missing.

    Raises:
        DataError: missing or damaged; one line that says how to get them.
    """
    if isinstance(config, ArrayConfig):
        return _of_array(config)
    if trial and config.name not in ("digits", "digits2"):
        return _random(config, trial)
    source = SETS[config.name].source(config)
    if not source.files:
        train, val = (np.concatenate(list(read())) for read in (source.train, source.val))
        digest = hashlib.sha256(train.tobytes() + val.tobytes()).hexdigest()
        return Pixels(train, val, source.levels, source.note, digest)
    crop = getattr(config, "crop", "")
    found = prepared(source.cache or (f"{config.name}-{crop}" if crop else config.name), source)
    return Pixels(found.train, found.val, source.levels, source.note, found.fingerprint)


def _of_array(config: ArrayConfig) -> Pixels:
    images = own_images.grey_levels(array.read(config).values, config.path)
    train, val = array.split(images, config.val_fraction, config.seed)
    digest = hashlib.sha256(train.tobytes() + val.tobytes()).hexdigest()
    return Pixels(train, val, 256, f"{config.path}, {images.shape[2]}x{images.shape[1]} pixels", digest)


def _random(config: ImageConfig, n: int) -> Pixels:
    shape = SETS[config.name].shape or SETS[config.name].source(config).shape
    n = min(n, TRIAL_VALUES // int(np.prod(shape)))
    train = np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)
    return Pixels(train, train[:1], 256, "random", "")
