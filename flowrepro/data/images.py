"""What an image flow is trained on: training and held-out images, dequantised."""

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from flowrepro.config.schema import ArrayConfig, ImageConfig
from flowrepro.data.dequantised import Images
from flowrepro.data.pixels import pixels
from flowrepro.errors import UsageError

GREY_LEVELS = 256
INITIAL_IMAGES = 256
# total pixel values: they pass through networks of hundreds of channels at once
INITIAL_VALUES = 2**22
# 28 is not a multiple of 2^3; two black pixels on every side make 32
BORDERS = {28: 2}
# of an array, which has no such keys
WHOLE: dict[str, Any] = {"bits": 8, "n_train": None, "n_val": None}


@dataclass(frozen=True)
class ImageData:
    """Training and held-out images, dequantised, with what is known about them."""

    name: str
    train: Images
    val: Images
    source: str
    fingerprint: str
    # the images stay the same, with new noise in every epoch
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
        """Training images (N, C, H, W) for initialisation: as many as in Glow's code, fewer if they are large."""
        return self.train[: max(2, min(INITIAL_IMAGES, INITIAL_VALUES // self.padded_dim))]

    @property
    def reported(self) -> dict[str, Images]:
        """What the likelihood is reported on: the held-out images, and a limited number of training images."""
        return {"train": self.train.first(len(self.val)), "val": self.val}

    def validation(self, n: int | None) -> Images:
        """The first n held-out images (None: all)."""
        return self.val.first(n)

    def training_batch(self, indices: Tensor, epoch: int) -> Tensor:
        """The training images of these indices (B, C, H, W), with new noise in every epoch."""
        return self.train.take(indices, draw=1 + epoch)


def load_images(config: Any, dtype: torch.dtype, seed: int, trial: int = 0) -> ImageData:
    """The dequantised images of an ImageConfig or ArrayConfig; their noise comes from `seed`.

    With `trial`, that many random images of the same shape (except for bundled sets): no cache is read or written.

    Raises:
        DataError: missing or damaged; one line that says how to get them.
        UsageError: the data set has no images, or fewer bits.
    """
    if not isinstance(config, ImageConfig | ArrayConfig):
        raise UsageError(
            f"this model needs image data, which dataset={config.name} is not; try dataset=digits"
        )
    found = pixels(config, trial)
    bits, n_train, n_val = (getattr(config, key, default) for key, default in WHOLE.items())
    if bits != 8 and found.levels != GREY_LEVELS:
        raise UsageError(
            f"dataset.bits={bits}: {config.name} has a fixed number of {found.levels} grey levels"
        )
    step = 2 ** (8 - bits)
    height, width = found.shape[:2]
    levels, border = found.levels // step, BORDERS.get(height, 0) if height == width else 0

    def split(name: str, part: np.ndarray, n: int | None) -> Images:
        return Images(torch.from_numpy(part), levels, step, border, seed, name, dtype).first(n)

    train, val = split("train", found.train, n_train), split("val", found.val, n_val)
    kept = hashlib.sha256(f"{found.digest} {len(train)} {len(val)} {levels}".encode()).hexdigest()[:16]
    source = f"{len(train)} + {len(val)} images ({found.note}), {levels} grey levels"
    return ImageData(config.name, train, val, source, kept)
