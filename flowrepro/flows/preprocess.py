"""Fixed layers between the raw data and the first trained layer."""

import torch
from torch import Tensor

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
