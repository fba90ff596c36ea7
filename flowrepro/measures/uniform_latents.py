"""The latents of a flow of the plane as points of the unit square, by the normal distribution function; and the way back."""

from typing import Any

import torch
from torch import Tensor

from flowrepro.data import Data
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.flows.quasilinear import Block

# cells per side over which the joint distribution is compared
CELLS = 40
# straight lines of the square in either direction, and points on each
LINES, STEPS = 9, 120


def measure(flow: Flow, data: Data, n: int) -> dict[str, Any]:
    """On all held-out points, of which the first n are drawn.

    Returns:
        ks: largest distance of either coordinate's distribution function from that of a uniform one (2,); joint: that
        of both together, on a grid; start_ks, start_joint: the same of the data as the flow's first block gets them.
        round_trip: the largest error of the way there and back, in the units of the data. data, uniform: (n, 2).
        lines: the data that lie on straight lines of the square (2, 9, steps, 2), first those of equal first coordinate.
    """
    flow = flow.double()
    x = data.val.double().to(device_of(flow))
    first = next(i for i, layer in enumerate(flow.chain) if isinstance(layer, Block))
    with torch.no_grad():
        u, start = to_square(flow.chain(x)[0]), to_square(flow.chain[:first](x)[0])
        returned = flow.chain.inverse(torch.special.ndtri(u))
        lines = flow.chain.inverse(torch.special.ndtri(straight_lines().to(x).flatten(0, 2)))
    return {
        "ks": kolmogorov(u),
        "joint": joint(u),
        "start_ks": kolmogorov(start),
        "start_joint": joint(start),
        "round_trip": float((returned - x).abs().max()),
        "data": x[:n].float(),
        "uniform": u[:n].float(),
        "lines": lines.unflatten(0, (2, LINES, STEPS)).float(),
    }


def to_square(z: Tensor) -> Tensor:
    """Standard normal latents as points of the unit square."""
    return torch.special.ndtr(z)


def kolmogorov(u: Tensor) -> Tensor:
    """The Kolmogorov-Smirnov distance of each coordinate of u (N, D) from the uniform distribution: (D,)."""
    ranked, n = u.sort(0).values, len(u)
    below = torch.arange(n, dtype=u.dtype, device=u.device)[:, None] / n
    return torch.maximum(ranked - below, below + 1 / n - ranked).amax(0)


def joint(u: Tensor) -> float:
    """The largest distance of the distribution function of u (N, 2) from that of the uniform square, at grid points."""
    cells = (u * CELLS).long().clamp(0, CELLS - 1)
    counts = torch.bincount(cells[:, 0] * CELLS + cells[:, 1], minlength=CELLS**2).reshape(CELLS, CELLS)
    side = torch.arange(1, CELLS + 1, dtype=u.dtype, device=u.device) / CELLS
    return float((counts.cumsum(0).cumsum(1) / len(u) - side[:, None] * side).abs().max())


def straight_lines() -> Tensor:
    """Lines of equal first coordinate, then of equal second, that stay inside the square: (2, 9, steps, 2)."""
    across = torch.arange(1, LINES + 1, dtype=torch.float64) / (LINES + 1)
    along = torch.linspace(0.002, 0.998, STEPS, dtype=torch.float64)
    upright = torch.cartesian_prod(across, along).reshape(LINES, STEPS, 2)
    return torch.stack([upright, upright.flip(-1)])
