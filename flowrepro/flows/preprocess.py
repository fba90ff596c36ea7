"""Fixed layers between the raw data and the first trained layer."""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from flowrepro.flows.core import Layer


class Center(Layer):
    """z = x - mean; `init_from` sets the mean (D,) to that of the training data. dlogp = 0."""

    mean: Tensor

    def __init__(self, dim: int, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim, dtype=dtype))

    @property
    def data_dependent(self) -> bool:
        return True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x - self.mean, x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return z + self.mean

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return *self(x), t

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        self.mean.copy_(x.double().mean(0))


class Standardize(Layer):
    """z_i = x_i / std_i; `init_from` sets the std (D,) to that of the training data. dlogp = -sum log std."""

    std: Tensor

    def __init__(self, dim: int, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.register_buffer("std", torch.ones(dim, dtype=dtype))

    @property
    def data_dependent(self) -> bool:
        return True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x / self.std, -self.std.log().sum().expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return z * self.std

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return *self(x), t / self.std[:, None]

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        std = x.double().std(0, correction=0)
        # a constant dimension, such as a border pixel, has no scale
        self.std.copy_(torch.where(std > 0, std, 1))


class Rescale(Layer):
    """z = x / levels - shift, from grey levels to [-shift, 1 - shift]; dlogp = -D log levels.

    With it log p(x) is that of grey levels, and -log p(x) / (D ln 2) the bits per dimension, without other constants.
    """

    def __init__(self, levels: int, shift: float = 0.0) -> None:
        super().__init__()
        self.levels, self.shift = levels, shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = x / self.levels - self.shift
        # of the dtype of z: x may be integers
        return z, z.new_full(z.shape[:1], -z.shape[1:].numel() * math.log(self.levels))

    def inverse(self, z: Tensor) -> Tensor:
        return (z + self.shift) * self.levels


class Logit(Layer):
    """z = logit(y) with y = margin + (1 - 2 margin) x, for x in [0, 1] (across_dimensions, the authors' code).

    dlogp = sum log(1 - 2 margin) - log y - log(1 - y). Outside [0, 1] the layer goes on until y leaves (0, 1).
    """

    def __init__(self, margin: float = 0.05) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.logit(self.margin + (1 - 2 * self.margin) * x)
        log_slope = math.log(1 - 2 * self.margin) + softplus(z) + softplus(-z)
        return z, log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        return (torch.sigmoid(z) - self.margin) / (1 - 2 * self.margin)
