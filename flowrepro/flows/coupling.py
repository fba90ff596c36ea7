"""Affine couplings: one part of x passes unchanged and sets the scale and shift of the other part."""

import math
from collections.abc import Callable
from typing import Any

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


def sigmoid(raw: Tensor, floor: float = 0.05) -> Tensor:
    """e^s = sigmoid(raw + 2), as in Glow, but never below the floor: the inverse divides by it."""
    return torch.log(floor + (1 - floor) * torch.sigmoid(raw + 2))


SCALES: dict[str, ScaleMap] = {
    "exponential": exponential,
    "soft_clamp": soft_clamp,
    "tanh": torch.tanh,  # as in the code of across_dimensions
    "sigmoid": sigmoid,
}


class AffineCoupling(Layer):
    """z_p = x_p and z_a = x_a e^{s(x_p)} + t(x_p); dlogp = sum s (linear_systems Eq. 6, single_coupling Eq. 5).

    The first `passive` entries of dimension 1 pass unchanged.

    Args:
        passive: how many entries are passive.
        net: maps the passive part to raw scale and shift, stacked along dimension 1.
        scale: a name of `SCALES`, from the net's raw output to the log-scale s.
        limit: the inverse saturates at +- limit, and takes no scale for smaller than 1 / limit. A floor of each scale
            alone would not do: a hundred couplings that all divide by 0.05 leave the range of float32, and so do
            the matrices between them, which reach the passive part too.
    """

    def __init__(
        self, passive: int, net: nn.Module, scale: str = "exponential", limit: float | None = None
    ) -> None:
        super().__init__()
        self.passive, self.scale, self.limit = passive, scale, limit
        self.log_scale = SCALES[scale]
        self.net: Any = net

    @property
    def data_dependent(self) -> bool:
        return hasattr(self.net, "init_from")

    def init_from(self, x: Tensor) -> None:
        """Let the net normalise itself from the passive part, if it does so."""
        if self.data_dependent:
            self.net.init_from(self.parts(x)[0])

    def scale_and_shift(self, x_passive: Tensor) -> tuple[Tensor, Tensor]:
        """(s, t) of the active part, each of its shape."""
        raw, shift = self.net(x_passive).chunk(2, 1)
        return self.log_scale(raw), shift

    def transform(self, active: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """z_a."""
        return active * s.exp() + t

    def restore(self, active: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """x_a."""
        return (active - t) * (-s).exp()

    def bounded(self, active: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """x_a within the limit."""
        if self.limit is None:
            return self.restore(active, s, t)
        return self.restore(active, s.clamp(min=-math.log(self.limit)), t).clamp(-self.limit, self.limit)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The passive and the active part."""
        passive, active = x.split([self.passive, x.shape[1] - self.passive], 1)
        return passive, active

    def ordered(self, passive: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """The two parts as they follow each other in x."""
        return passive, active

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        passive, active = self.parts(x)
        s, t = self.scale_and_shift(passive)
        return torch.cat(self.ordered(passive, self.transform(active, s, t)), 1), s.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        passive, active = self.parts(z)
        if self.limit is not None:
            passive = passive.clamp(-self.limit, self.limit)
        return torch.cat(self.ordered(passive, self.bounded(active, *self.scale_and_shift(passive))), 1)

    def prepared(self) -> "AffineCoupling":
        if not hasattr(self.net, "prepared"):
            return self
        return type(self)(self.passive, self.net.prepared(), self.scale, self.limit)


class FrontCoupling(AffineCoupling):
    """The same with the active entries in front: the last `passive` ones pass unchanged."""

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        active, passive = x.split([x.shape[1] - self.passive, self.passive], 1)
        return passive, active

    def ordered(self, passive: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        return active, passive


class GlowCoupling(AffineCoupling):
    """z_a = (x_a + t) e^s: the shift comes before the scale, as in Glow's code."""

    def transform(self, active: Tensor, s: Tensor, t: Tensor) -> Tensor:
        return (active + t) * s.exp()

    def restore(self, active: Tensor, s: Tensor, t: Tensor) -> Tensor:
        return active * (-s).exp() - t


class AdditiveCoupling(AffineCoupling):
    """z_a = x_a + t(x_p); dlogp = 0. The net gives the shift alone (NICE)."""

    def scale_and_shift(self, x_passive: Tensor) -> tuple[Tensor, Tensor]:
        shift = self.net(x_passive)
        return torch.zeros_like(shift), shift

    def transform(self, active: Tensor, s: Tensor, t: Tensor) -> Tensor:
        return active + t

    def restore(self, active: Tensor, s: Tensor, t: Tensor) -> Tensor:
        return active - t
