"""Data sets: training and held-out samples in their own units, as vectors or as dequantised images.

Nothing is centred here: that is for the first layers of a flow.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowrepro.config.identity import resolved_dtype
from flowrepro.config.schema import ArrayConfig, Config, ImageConfig, ToyConfig
from flowrepro.data import array, cifar10, files, images
from flowrepro.data.image_sets import ImageData, load_images, pixel_vectors, source_of
from flowrepro.data.toy import TOYS
from flowrepro.errors import DataError

__all__ = ["Data", "ImageData", "check", "load", "load_data", "load_images"]


@dataclass(frozen=True)
class Data:
    """Training samples (N, D) and held-out samples (M, D), with what is known about them."""

    name: str
    train: Tensor
    val: Tensor
    source: str
    fingerprint: str
    train_latents: Tensor | None = None
    val_latents: Tensor | None = None
    latent_names: tuple[str, ...] = ()
    image_shape: tuple[int, ...] | None = None
    levels: int | None = None
    entropy: float | None = None
    # n new points from a generator, where every step is to draw its own
    fresh: Callable[[int, torch.Generator], Tensor] | None = None

    @property
    def dim(self) -> int:
        """The dimension D of a sample."""
        return self.train.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """(D,) of a sample."""
        return tuple(self.train.shape[1:])

    @property
    def initial(self) -> Tensor:
        """What layers are initialised by: all training samples (N, D)."""
        return self.train

    @property
    def reported(self) -> dict[str, Tensor]:
        """What the likelihood is reported on: both sets."""
        return {"train": self.train, "val": self.val}

    def validation(self, n: int | None) -> Tensor:
        """The first n held-out samples (all of them for None)."""
        return self.val[:n]

    def to(self, where: str | torch.dtype) -> "Data":
        """The same samples on a device, or in a dtype."""
        kept: dict[str, Any] = {k: v.to(where) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return dataclasses.replace(self, **kept)

    def training_batch(self, indices: Tensor, epoch: int) -> Tensor:
        """The training samples of these indices (B, D), the same in every epoch."""
        return self.train[indices]


def load_data(config: Config, trial: int = 0) -> Data | ImageData:
    """The data of a run in its dtype, as its model wants them: images or vectors. Raises what these two raise.

    `trial` is a number of training samples that is enough to see what a step costs: they may be random ones.
    """
    dtype = getattr(torch, resolved_dtype(config))
    if config.model.takes_images:
        return load_images(config.dataset, dtype, config.seed, trial)
    return load(config.dataset, dtype, trial)


def load(config: Any, dtype: torch.dtype, trial: int = 0) -> Data:
    """The data set of a ToyConfig, ImageConfig or ArrayConfig; with `trial` no cache of images is written.

    Raises:
        DataError: missing or damaged, in one line with the way to get it.
    """
    if isinstance(config, ToyConfig):
        return _load_toy(config, dtype)
    if isinstance(config, ArrayConfig):
        train, val = array.load_array(config)
        return _data(config.name, train, val, dtype, source=config.path)
    return _load_images(config, dtype, trial)


def check(config: Any) -> str:
    """One line on whether the data are there, without reading them whole, and without fetching any.

    Raises:
        DataError: they are not there and not to be fetched, or damaged.
    """
    if isinstance(config, ToyConfig):
        return f"{config.name}: {config.n_train} + {config.n_val} points are sampled"
    if isinstance(config, ArrayConfig):
        return f"{config.path}: {array.read(config).shape}"
    if config.name in images.DIGITS:
        return f"{config.name}: bundled with scikit-learn"
    if absent := to_fetch(config):
        return f"{config.name}: to be fetched: {', '.join(absent)}"
    if config.name not in images.OFFICIAL:
        return f"{config.name}: {source_of(config).note}"
    if absent := images.absent(config):
        raise DataError(files.missing(absent[0]))
    return f"{config.name}: all files are there"


def to_fetch(config: Any) -> list[str]:
    """The official files that a run would fetch first."""
    if not getattr(config, "download", False):
        return []
    if config.name in images.OFFICIAL:
        return images.absent(config)
    return cifar10.absent() if config.name == "cifar10" else []


def _load_toy(config: ToyConfig, dtype: torch.dtype) -> Data:
    toy, n = TOYS[config.name], config.n_train

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        x, latents = toy.sample(n, generator)
        if config.noise:
            x = x + config.noise * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return x, latents

    x, latents = draw(n + config.n_val, torch.Generator().manual_seed(config.seed))
    return _data(
        config.name,
        x[:n].numpy(),
        x[n:].numpy(),
        dtype,
        source=f"{n} + {config.n_val} points sampled with seed {config.seed}",
        train_latents=None if latents is None else latents[:n],
        val_latents=None if latents is None else latents[n:],
        latent_names=toy.latent_names,
        entropy=None if config.noise else toy.entropy,
        fresh=(lambda n, generator: draw(n, generator)[0].to(dtype)) if config.fresh else None,
    )


def _load_images(config: ImageConfig, dtype: torch.dtype, trial: int) -> Data:
    if config.name not in (*images.OFFICIAL, *images.DIGITS):
        train, val, shape, note = pixel_vectors(config, trial)
        return _data(config.name, train, val, dtype, source=note, image_shape=shape, levels=256)
    official = config.name in images.OFFICIAL
    train, val = images.load_official(config) if official else images.load_digits(config.name)
    train, val = train[: config.n_train], val[: config.n_val]
    side = 28 if official else 8
    return _data(
        config.name,
        train,
        val,
        dtype,
        source=f"{len(train)} + {len(val)} images" + ("" if official else " bundled with scikit-learn"),
        image_shape=(side, side),
        levels=256 if official else 17,
    )


def _data(name: str, train: np.ndarray, val: np.ndarray, dtype: torch.dtype, **known: Any) -> Data:
    digest = hashlib.sha256(np.ascontiguousarray(train).tobytes() + np.ascontiguousarray(val).tobytes())
    return Data(
        name=name,
        train=torch.from_numpy(np.ascontiguousarray(train)).to(dtype),
        val=torch.from_numpy(np.ascontiguousarray(val)).to(dtype),
        fingerprint=digest.hexdigest()[:16],
        **known,
    )
