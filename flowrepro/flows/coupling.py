"""Affine couplings: one part of x passes unchanged and sets the scale and shift of the other part."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from flowrepro.flows.core import Layer

ScaleMap = Callable[[Tensor], Tensor]


def exponential(raw: Tensor) -> Tensor:
    """s = raw: the scale e^s has no bound (RealNVP in linear_systems App. B.2)."""
    return raw


def soft_clamp(raw: Tensor, limit: float = 2.0) -> Tensor:
    """s = limit tanh(raw / limit): the scale stays within e^-limit to e^limit."""
    return limit * torch.tanh(raw / limit)


SCALES: dict[str, ScaleMap] = {"exponential": exponential, "soft_clamp": soft_clamp}


class AffineCoupling(Layer):
    """z_p = x_p and z_a = x_a e^{s(x_p)} + t(x_p); dlogp = sum s (linear_systems Eq. 6, single_coupling Eq. 5).

    The first `passive` entries of dimension 1 pass unchanged.

    Args:
        passive: how many entries are passive.
        net: maps the passive part to raw scale and shift, stacked along dimension 1.
        scale: a name of `SCALES`, from the net's raw output to the log-scale s.
    """

    def __init__(self, passive: int, net: nn.Module, scale: str = "exponential") -> None:
        super().__init__()
        self.passive, self.net, self.log_scale = passive, net, SCALES[scale]

    def scale_and_shift(self, x_passive: Tensor) -> tuple[Tensor, Tensor]:
        """(s, t) of the active part, each of its shape."""
        raw, shift = self.net(x_passive).chunk(2, 1)
        return self.log_scale(raw), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        passive, active = x[:, : self.passive], x[:, self.passive :]
        s, t = self.scale_and_shift(passive)
        return torch.cat([passive, active * s.exp() + t], 1), s.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        passive, active = z[:, : self.passive], z[:, self.passive :]
        s, t = self.scale_and_shift(passive)
        return torch.cat([passive, (active - t) * (-s).exp()], 1)
