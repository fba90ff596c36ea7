"""Affine couplings whose scales are a mixture of Mexican hats (jacobian_determinant Eq. 15)."""

import math

import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from flowrepro.errors import UsageError
from flowrepro.flows.coupling import AffineCoupling, FrontCoupling

# the range of log s: a hat is -2 e^(-3/2) at sqrt 3, and 1 at 0. The paper calls that of s (0.5, 3)
LOWEST, HIGHEST = -2 * math.exp(-1.5), 1.0
# a hat is 0 to the last digit beyond, and squares are still far from overflow
FLAT = 50.0
# by how much the hats of a mixture differ at first, in log s
SPREAD = 0.2


def mexican_hat(phi: Tensor) -> Tensor:
    """(1 - phi^2) exp(-phi^2 / 2)."""
    square = phi.clamp(-FLAT, FLAT).square()
    return (1 - square) * (-0.5 * square).exp()


def biases(log_scale: float, mixture: int) -> list[float]:
    """b_m > 0 of so many hats whose mean is log_scale, all different.

    Equal ones would have equal gradients for ever, and those of opposite sign mirrored ones, since a hat is even.

    Raises:
        UsageError: no mean of hats is log_scale.
    """
    room = min(HIGHEST - log_scale, log_scale - LOWEST)
    if room <= 0:
        low, high = math.exp(-HIGHEST), math.exp(-LOWEST)
        raise UsageError(f"model.kappa times model.beta must lie between {low:.3f} and {high:.3f}")
    steps = [2 * (m + 0.5) / mixture - 1 for m in range(mixture)]
    heights = [log_scale + min(SPREAD, room / 2) * step for step in steps]
    return [brentq(lambda b, h=h: (1 - b * b) * math.exp(-b * b / 2) - h, 0, math.sqrt(3)) for h in heights]


class HatCoupling(AffineCoupling):
    """z_a = x_a s(x_p) + t(x_p), log s the mean of M hats: s stays between 0.640 and 2.718.

    Args:
        passive: how many entries pass unchanged, those in front.
        net: maps them to the M arguments of the hats of every active entry, hat by hat, and then the shifts.
        mixture: M.
        limit: as in AffineCoupling.
    """

    def __init__(self, passive: int, net: nn.Module, mixture: int, limit: float | None = None) -> None:
        super().__init__(passive, net, limit=limit)
        self.mixture = mixture

    def scale_and_shift(self, x_passive: Tensor) -> tuple[Tensor, Tensor]:
        *arguments, shift = self.net(x_passive).chunk(self.mixture + 1, 1)
        return mexican_hat(torch.stack(arguments)).mean(0), shift

    def prepared(self) -> AffineCoupling:
        if not hasattr(self.net, "prepared"):
            return self
        return type(self)(self.passive, self.net.prepared(), self.mixture, self.limit)


class FrontHatCoupling(FrontCoupling, HatCoupling):
    """The same with the active entries in front: with a HatCoupling behind it every entry is transformed (Eq. 14)."""
