"""The density of the pinwheel, and that of every toy set of the plane by name."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from flowrepro.data.toy import LOG_2PI, TOYS

ARMS, RATE, RADIAL, TANGENTIAL = 5, 0.25, 0.3, 0.1
# of Newton's method; a point of the arms converges in a few
ITERATIONS = 12


def log_density_of(name: str) -> Callable[[Tensor], Tensor]:
    """log p(x) of a toy set, (N, 2) -> (N,). Raises KeyError for a set without a density in the plane."""
    if name == "pinwheel":
        return pinwheel_log_density
    found = TOYS[name].log_density
    if found is None:
        raise KeyError(name)
    return found


def pinwheel_log_density(x: Tensor) -> Tensor:
    """A sum over the arms, each a Gaussian f turned by an angle that depends on its first coordinate.

    A point at (r, phi) comes from f = r (cos t, sin t) of arm k with t - 2 pi k / 5 - exp(f_1) / 4 = phi, which Newton's
    method solves from f_1 = r. Far from the arms, where this need not converge, the density is 0 to all digits that count.
    """
    radius, phi = x.norm(dim=1)[:, None] / 2, torch.atan2(x[:, 1], x[:, 0])[:, None]
    arms = 2 * math.pi * torch.arange(ARMS, dtype=x.dtype, device=x.device) / ARMS

    def turned(t: Tensor) -> tuple[Tensor, Tensor]:
        """The angle at which f lies after its turn, minus phi and within half a turn, and its derivative in t."""
        turn = RATE * (radius * t.cos()).exp()
        return wrapped(t - arms - turn - phi), 1 + turn * radius * t.sin()

    t = wrapped(phi + arms + RATE * radius.exp())
    for _ in range(ITERATIONS):
        off, slope = turned(t)
        t = wrapped(t - (off / slope).clamp(-0.5, 0.5))
    off, slope = turned(t)
    first, second = (radius * t.cos() - 1) / RADIAL, radius * t.sin() / TANGENTIAL
    found = -LOG_2PI - math.log(RADIAL * TANGENTIAL) - (first**2 + second**2) / 2 - (4 * slope).abs().log()
    solved = off.abs() < 1e-6
    return torch.where(solved, found, -math.inf).logsumexp(1) - math.log(ARMS)


def wrapped(angle: Tensor) -> Tensor:
    """The angle within half a turn of 0."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
