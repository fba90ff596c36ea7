"""All image data sets, as dequantised images for image flows and as vectors of pixels for the others."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from torch import Tensor

from flowrepro.config.schema import ImageConfig
from flowrepro.data import images
from flowrepro.data.cache import Prepared, prepared
from flowrepro.data.celeba import celeba, celeba_hq
from flowrepro.data.cifar10 import cifar10
from flowrepro.data.dequantised import Images
from flowrepro.data.imagenet32 import imagenet32
from flowrepro.data.source import Source
from flowrepro.data.strips import faces64
from flowrepro.errors import UsageError

DIGIT_LEVELS = 17
INITIAL_IMAGES = 256
# pixel values in all: they pass through networks of hundreds of channels at once
INITIAL_VALUES = 2**22
# 28 is no multiple of 2^3; two black pixels on every side make 32
BORDERS = {28: 2}

SOURCES: dict[str, Callable[[Any], Source]] = {
    **dict.fromkeys(images.OFFICIAL, images.official_source),
    "cifar10": cifar10,
    "celeba": celeba,
    "faces64": lambda config: faces64(),
    "imagenet32": lambda config: imagenet32(),
    "celeba_hq": lambda config: celeba_hq(),
}


@dataclass(frozen=True)
class ImageData:
    """Training and held-out images, dequantised, with what is known about them."""

    name: str
    train: Images
    val: Images
    source: str
    fingerprint: str
    # the images stay the same, their noise is new in every epoch
    fresh: ClassVar[None] = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image as the flow sees it, with its border."""
        return self.train.shape[1:]

    @property
    def levels(self) -> int:
        """The number of grey levels."""
        return self.train.levels

    @property
    def dim(self) -> int:
        """The number of pixel values without the border: what bits/dim divides by."""
        return self.train.pixels[0].numel()

    @property
    def padded_dim(self) -> int:
        """The number of pixel values with the border: the dimension of the flow."""
        return int(np.prod(self.shape))

    @property
    def initial(self) -> Tensor:
        """What layers are initialised by: as many training images (N, C, H, W) as in Glow's code, fewer large ones."""
        return self.train[: max(2, min(INITIAL_IMAGES, INITIAL_VALUES // self.padded_dim))]

    @property
    def reported(self) -> dict[str, Images]:
        """What the likelihood is reported on: the held-out images, and at most so many of the training images."""
        return {"train": self.train.first(len(self.val)), "val": self.val}

    def validation(self, n: int | None) -> Images:
        """The first n held-out images (all of them for None)."""
        return self.val.first(n)

    def training_batch(self, indices: Tensor, epoch: int) -> Tensor:
        """The training images of these indices (B, C, H, W), with new noise in every epoch."""
        return self.train.take(indices, draw=1 + epoch)


def load_images(config: Any, dtype: torch.dtype, seed: int, trial: int = 0) -> ImageData:
    """The dequantised images of an ImageConfig; their noise comes from `seed`.

    With `trial` they are so many random ones of the same shape, but for bundled sets: no cache is read or written.

    Raises:
        DataError: missing or damaged, in one line with the way to get them.
        UsageError: the data set has no images, or not in so many bits.
    """
    if not isinstance(config, ImageConfig):
        raise UsageError(f"dataset={config.name} has no images, which this model wants; try dataset=digits")
    train, val, note, digest = _pixels(config, trial)
    step = 2 ** (8 - config.bits)
    levels = DIGIT_LEVELS if config.name in images.DIGITS else 256 // step
    border = BORDERS.get(train.shape[1], 0)

    def split(name: str, pixels: np.ndarray, n: int | None) -> Images:
        return Images(torch.from_numpy(pixels), levels, step, border, seed, name, dtype).first(n)

    told = split("train", train, config.n_train), split("val", val, config.n_val)
    kept = hashlib.sha256(f"{digest} {len(told[0])} {len(told[1])} {levels}".encode()).hexdigest()[:16]
    source = f"{len(told[0])} + {len(told[1])} images ({note}), {levels} grey levels"
    return ImageData(config.name, *told, source, kept)


def pixel_vectors(config: ImageConfig, trial: int = 0) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], str]:
    """Training and held-out images as vectors in [0, 1], (n, H W C); their shape (H, W, C); what they are."""
    train, val, note, _ = _pixels(config, trial)
    shape, train, val = train.shape[1:], train[: config.n_train], val[: config.n_val]
    return (
        train.reshape(len(train), -1) / 255,
        val.reshape(len(val), -1) / 255,
        shape,
        f"{len(train)} + {len(val)} images ({note})",
    )


def source_of(config: ImageConfig) -> Source:
    """Where the images of a set are. Raises DataError where they are not."""
    return SOURCES[config.name](config)


def _pixels(config: ImageConfig, trial: int) -> tuple[np.ndarray, np.ndarray, str, str]:
    """Bytes (n, H, W, C) of both splits, what they are, and their digest: bundled, for a trial random, or prepared."""
    if config.name in images.DIGITS:
        return _digits(config)
    return _random(config, trial) if trial else _cached(config)


def _cached(config: ImageConfig) -> tuple[np.ndarray, np.ndarray, str, str]:
    source = source_of(config)
    crop = getattr(config, "crop", "")
    found: Prepared = prepared(f"{config.name}-{crop}" if crop else config.name, source)
    return found.train, found.val, source.note, found.fingerprint


def _random(config: ImageConfig, n: int) -> tuple[np.ndarray, np.ndarray, str, str]:
    """A random image in the place of every one of a set that is there; they share its memory."""
    image = np.random.default_rng(0).integers(0, 256, source_of(config).shape, np.uint8)
    pixels = as_strided(image, (n, *image.shape), (0, *image.strides))
    return pixels, pixels[:1], "random", ""


def _digits(config: ImageConfig) -> tuple[np.ndarray, np.ndarray, str, str]:
    if config.bits != 8:
        raise UsageError(
            f"dataset.bits={config.bits}: {config.name} has {DIGIT_LEVELS} grey levels of its own"
        )
    train, val = (part.astype(np.uint8)[..., None] for part in images.read_digits(config.name))
    digest = hashlib.sha256(train.tobytes() + val.tobytes()).hexdigest()
    return train, val, "bundled with scikit-learn", digest
