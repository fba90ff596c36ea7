"""Normalising layers between couplings: by statistics of the batch, or by those of the initial data."""

import torch
from torch import Tensor, nn

from flowrepro.flows.core import Layer
from flowrepro.flows.nets import glorot_uniform

EPS = 1e-5


class BatchNorm(Layer):
    """z = (x - m) / sqrt(v + eps) * e^gain + shift; dlogp = sum(gain - log(v + eps) / 2).

    In training mode m and v are those of the batch (with 1/B in front); in evaluation mode the stored ones, which
    only `store` changes, by `update_statistics` below. The Jacobian leaves out that batch statistics depend on x, as
    RealNVP does. The gain is a logarithm, as in the authors' code of linear_systems; it starts at 0, there at random.

    Args:
        dim: D.
        start: draws gains and shifts as that code does, uniform on +-sqrt(6 / (1 + D)); without it they are zero.
    """

    mean: Tensor
    var: Tensor

    def __init__(
        self, dim: int, dtype: torch.dtype | None = None, start: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(dim, dtype=dtype))
        self.shift = nn.Parameter(torch.zeros(dim, dtype=dtype))
        if start is not None:
            with torch.no_grad():
                self.gain.copy_(glorot_uniform((dim,), 1 + dim, start))
                self.shift.copy_(glorot_uniform((dim,), 1 + dim, start))
        self.register_buffer("mean", torch.zeros(dim, dtype=dtype))
        self.register_buffer("var", torch.ones(dim, dtype=dtype))

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(m, v) in force for this batch, each (D,)."""
        return (x.mean(0), x.var(0, correction=0)) if self.training else (self.mean, self.var)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = self.statistics(x)
        log_factor = self.gain - 0.5 * (var + EPS).log()
        return (x - mean) * log_factor.exp() + self.shift, log_factor.sum().expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        """With the stored statistics."""
        return (z - self.shift) * (-self.gain).exp() * (self.var + EPS).sqrt() + self.mean

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _, var = self.statistics(x)
        return *self(x), (self.gain.exp() * (var + EPS).rsqrt())[:, None] * t

    @torch.no_grad()
    def store(self, x: Tensor) -> None:
        """Keep the statistics of x (N, D)."""
        self.mean.copy_(x.double().mean(0))
        self.var.copy_(x.double().var(0, correction=0))


def keeps_statistics(module: nn.Module) -> bool:
    """Whether evaluation mode normalises by what `update_statistics` stores."""
    return any(isinstance(part, BatchNorm) for part in module.modules())


@torch.no_grad()
def update_statistics(layer: Layer, x: Tensor) -> None:
    """Let every BatchNorm of a layer store the statistics of the data x (N, D) as they reach it in evaluation mode."""
    norms = [part for part in layer.modules() if isinstance(part, BatchNorm)]
    # each stores them just before it is applied: those behind it see what it makes of the data with them
    hooks = [norm.register_forward_pre_hook(lambda norm, given: norm.store(*given)) for norm in norms]
    try:
        layer(x)
    finally:
        for hook in hooks:
            hook.remove()


class ActNorm(Layer):
    """z_c = (x_c + shift_c) e^(factor gain_c) for every channel c; dlogp = H W sum factor gain_c (Glow).

    `init_from` makes its data zero-mean with unit variance in every channel; there is no other trace of data.

    Args:
        channels: C; x is (B, C) or (B, C, H, W).
        factor: 3 in Glow's code: it makes the gain learn faster than the other parameters.
    """

    def __init__(self, channels: int, factor: float = 1.0, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.factor = factor
        self.gain = nn.Parameter(torch.zeros(channels, dtype=dtype))
        self.shift = nn.Parameter(torch.zeros(channels, dtype=dtype))

    @property
    def data_dependent(self) -> bool:
        return True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = self.factor * self.gain
        z = (x + _channels(self.shift, x)) * _channels(log_scale.exp(), x)
        return z, (log_scale.sum() * x.shape[2:].numel()).expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return z * _channels((-self.factor * self.gain).exp(), z) - _channels(self.shift, z)

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        values = x.double().transpose(0, 1).flatten(1)
        self.shift.copy_(-values.mean(1))
        self.gain.copy_(-(values.std(1, correction=0) + EPS).log() / self.factor)


def _channels(values: Tensor, like: Tensor) -> Tensor:
    """(C,) as something that multiplies (B, C, ...)."""
    return values.view(-1, *[1] * (like.ndim - 2))
