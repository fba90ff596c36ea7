"""What a flow on vectors is trained on: sampled points, the user's own, or images as vectors of pixels."""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowrepro.config.schema import ArrayConfig, ImageConfig, ToyConfig
from flowrepro.data.array import load_array
from flowrepro.data.pixels import pixels
from flowrepro.data.toy import TOYS


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
    # the names of the D columns, if they have any, and what a user should know about the data
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    # n new points from a generator, if every step draws its own
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
        """What layers are initialised from: all training samples (N, D)."""
        return self.train

    @property
    def reported(self) -> dict[str, Tensor]:
        """What the likelihood is reported on: both sets."""
        return {"train": self.train, "val": self.val}

    def validation(self, n: int | None) -> Tensor:
        """The first n held-out samples (None: all)."""
        return self.val[:n]

    def to(self, where: str | torch.dtype) -> "Data":
        """The same samples on a device, or in a dtype."""
        kept: dict[str, Any] = {k: v.to(where) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return dataclasses.replace(self, **kept)

    def training_batch(self, indices: Tensor, epoch: int) -> Tensor:
        """The training samples of these indices (B, D), the same in every epoch."""
        return self.train[indices]


def load(config: Any, dtype: torch.dtype, trial: int = 0) -> Data:
    """The data set of a ToyConfig, ImageConfig or ArrayConfig; with `trial`, images may be that many random ones.

    Raises:
        DataError: missing or damaged; one line that says how to get it.
    """
    if isinstance(config, ToyConfig):
        return sampled(config, dtype)
    if isinstance(config, ArrayConfig):
        found = load_array(config)
        known = {"columns": found.columns, "source": found.source, "notes": found.notes}
        return _data(config.name, found.train, found.val, dtype, **known)
    return of_pixels(config, dtype, trial)


def sampled(config: ToyConfig, dtype: torch.dtype) -> Data:
    """The points of a toy set, drawn with `dataset.seed`."""
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


def of_pixels(config: ImageConfig, dtype: torch.dtype, trial: int = 0) -> Data:
    """Images as vectors (n, H W C) in [0, 1]: grey levels divided by the largest one."""
    found = pixels(config, trial)
    train, val = found.train[: config.n_train], found.val[: config.n_val]
    height, width, channels = found.shape
    return _data(
        config.name,
        train.reshape(len(train), -1) / (found.levels - 1),
        val.reshape(len(val), -1) / (found.levels - 1),
        dtype,
        source=f"{len(train)} + {len(val)} images ({found.note})",
        image_shape=(height, width) if channels == 1 else (height, width, channels),
        levels=found.levels,
    )


def _data(name: str, train: np.ndarray, val: np.ndarray, dtype: torch.dtype, **known: Any) -> Data:
    train, val = np.ascontiguousarray(train), np.ascontiguousarray(val)
    digest = hashlib.sha256(train.data)
    digest.update(val.data)
    return Data(
        name=name,
        train=torch.from_numpy(train).to(dtype),
        val=torch.from_numpy(val).to(dtype),
        fingerprint=digest.hexdigest()[:16],
        **known,
    )
