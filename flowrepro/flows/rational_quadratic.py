"""Rational-quadratic splines from tables of their bins, with a gradient by hand (jacobian_determinant Eqs. 16 and 17).

The tables (6, C, I) give of every bin its left end, width, lower end and height, and the slopes at its left and right.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

# elements that are worked on together, so that what lies between two operations stays in a CPU's cache
CHUNK = 2**15


def spline(x: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and log f'(x) for x (N, C, M); beyond the outer bins f is linear."""
    return plain(x, tables) if transformed() else ByHand.apply(x, tables)


def inverse_spline(z: Tensor, tables: Tensor) -> Tensor:
    """The x (N, C, M) with f(x) = z."""
    return torch.cat([inverted(part, tables) for part in chunks(z)])


def plain(x: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
    """The same as `spline`, for torch to differentiate."""
    return evaluated(x, bins_of(tables), places(x, tables[0]))


def transformed() -> bool:
    """Whether torch.func or torch.compile is looking: they take the formula apart themselves."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def chunks(rows: Tensor) -> tuple[Tensor, ...]:
    """Rows that are worked on together: all on a GPU or under a transform, a few on a CPU."""
    if rows.device.type != "cpu" or transformed():
        return (rows,)
    return rows.split(max(1, CHUNK // max(1, rows.shape[1:].numel())))


def places(values: Tensor, edges: Tensor) -> Tensor:
    """Where the bin of every value (N, C, M) stands in a flattened table (C I,), by bisection; (N, C, M) int32.

    `edges` (C, I) are the lower ends of the bins; the outer bins have no outer end.
    """
    channels, count = edges.shape
    size = 1 << (count - 1).bit_length()
    ends = pad(edges.detach()[:, 1:], (1, size - count), value=math.inf).flatten()
    channel = torch.arange(channels, device=values.device, dtype=torch.int32)[:, None]
    above = values >= ends.view(channels, size)[:, size // 2, None]
    at = torch.add(size * channel, above.int(), alpha=size // 2)
    for step in (size >> i for i in range(2, size.bit_length())):
        above = values >= looked_up(at + step, ends)[0]
        at = torch.add(at, above.int(), alpha=step)
    return at if size == count else at - (size - count) * channel


class Bins(NamedTuple):
    """What the formulas need of every bin, flat (C I,), and the ends of the box, (C, 1).

    With a and b the slopes at the ends of a bin: unit is 1 / width, ratio height / width (delta of Eq. 16), tilt b - a,
    bend a + b - 2 ratio (rho of Eq. 16), rise a - ratio.
    """

    left: Tensor
    unit: Tensor
    lower: Tensor
    height: Tensor
    ratio: Tensor
    a: Tensor
    tilt: Tensor
    bend: Tensor
    rise: Tensor
    start: Tensor
    stop: Tensor


def bins_of(tables: Tensor) -> Bins:
    """From the tables (6, C, I)."""
    left, width, lower, height, a, b = tables
    ratio, start, stop = height / width, left[:, :1], (left + width)[:, -1:]
    values = (left, 1 / width, lower, height, ratio, a, b - a, a + b - 2 * ratio, a - ratio)
    flat = [value.flatten() for value in values]
    return Bins._make([*flat, start, stop])


def looked_up(at: Tensor, *values: Tensor) -> list[Tensor]:
    """Of each of the values (C I,) that at every place (N, C, M)."""
    indices = at.flatten()
    return [value.index_select(0, indices).view(at.shape) for value in values]


class Point(NamedTuple):
    """Points in their bins, all (N, C, M).

    u is xi of Eq. 16, uv = xi (1 - xi), below and gamma the denominator and the sum of Eq. 17, so that the slope is
    (ratio / below)^2 gamma; share is how much of its height a bin has risen. beyond is how far a point lies outside the
    box; unit, bend and tilt are those of its bin.
    """

    beyond: Tensor
    u: Tensor
    uv: Tensor
    unit: Tensor
    bend: Tensor
    tilt: Tensor
    share: Tensor
    below: Tensor
    gamma: Tensor
    slope: Tensor


def evaluated(x: Tensor, bins: Bins, at: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and log f'(x) for x (N, C, M) in bins at known places."""
    point = located(x, bins, at)
    lower, height = looked_up(at, bins.lower, bins.height)
    y = torch.addcmul(lower, height, point.share)
    # beyond the box it goes on with the slope at its edge
    return torch.addcmul(y, point.slope, point.beyond), point.slope.log()


def located(x: Tensor, bins: Bins, at: Tensor) -> Point:
    """The points of x, moved into the box, with what their bins make of them."""
    left, unit, ratio, a, tilt, bend, rise = looked_up(
        at, bins.left, bins.unit, bins.ratio, bins.a, bins.tilt, bins.bend, bins.rise
    )
    inside = x.clamp(bins.start, bins.stop)
    u = (inside - left) * unit
    uv = torch.addcmul(u, u, u, value=-1)
    below = torch.addcmul(ratio, bend, uv)
    # with xi^2 = xi - uv the numerators of Eqs. 16 and 17 are these
    share = torch.addcmul(ratio * u, rise, uv) / below
    gamma = torch.addcmul(torch.addcmul(a, tilt, u), bend, uv, value=-1)
    return Point(x - inside, u, uv, unit, bend, tilt, share, below, gamma, (ratio / below).square() * gamma)


def inverted(z: Tensor, tables: Tensor) -> Tensor:
    """The x (N, C, M) with f(x) = z."""
    _, width, bottom, height, first, last = tables
    bins, flare = bins_of(tables), torch.zeros_like(width)
    # beyond the box it goes on with the slope at its edge
    flare = torch.cat([1 / first[:, :1], flare[:, 1:-1], 1 / last[:, -1:]], 1).flatten()
    left, double, lower, ratio, bend, flat, curve, outside = looked_up(
        places(z, bottom),
        *(bins.left, 2 * width.flatten(), bins.lower, bins.ratio, bins.bend),
        *(bins.height * bins.a, -bins.height * bins.rise, flare),
    )
    inside = z.clamp(bottom[:, :1], (bottom + height)[:, -1:])
    drop = inside - lower
    linear, square = torch.addcmul(flat, drop, bend, value=-1), torch.addcmul(curve, drop, bend)
    drop = ratio * drop
    # xi is the root of square xi^2 + linear xi = drop in the form that does not cancel
    root = torch.addcmul(linear * linear, square, drop, value=4).clamp(min=0).sqrt()
    x = torch.addcmul(left, double, drop / (linear + root))
    return torch.addcmul(x, z - inside, outside)


class ByHand(torch.autograd.Function):
    """`plain` with its gradient by hand: it keeps x and the places of the bins, and nothing in between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
        at, bins = [places(part, tables[0]) for part in chunks(x)], bins_of(tables)
        parts = [evaluated(part, bins, where) for part, where in zip(chunks(x), at, strict=True)]
        ctx.save_for_backward(x, tables, torch.cat(at))
        return torch.cat([y for y, _ in parts]), torch.cat([log_slope for _, log_slope in parts])

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        x, tables, at = ctx.saved_tensors
        bins = bins_of(tables)
        parts = zip(*(chunks(tensor) for tensor in (x, at, *given)), strict=True)
        by_x, sums = zip(*(pulled_back(bins, *part) for part in parts), strict=True)
        return torch.cat(by_x), by_tables(tables, torch.stack(sums).sum(0))


def pulled_back(bins: Bins, x: Tensor, at: Tensor, g: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient in x of g f(x) + q log f'(x), and the sums over every bin that the one in the tables consists of."""
    beyond, u, uv, unit, bend, tilt, share, below, gamma, slope = located(x, bins, at)
    by_x = g * slope
    q = torch.addcmul(q, by_x, beyond)
    across, down, even = g * looked_up(at, bins.height)[0] / below, 2 * q / below, q / gamma
    turn = torch.addcmul(bend, bend, u, value=-2)
    # beyond the box xi stays what it is
    by_x = by_x + torch.where(beyond == 0, (even * (tilt - turn) - down * turn) * unit, 0.0)
    even_u, even_uv, steep = even * u, even * uv, torch.addcmul(down, across, share)
    by_b = even_u - even_uv - uv * steep
    by_a = even - even_u - even_uv + uv * (across - steep)
    by_ratio = 2 * even_uv - steep + torch.addcmul(across * (u - uv), steep, uv, value=2)
    zeros, where = torch.zeros_like(bins.left), at.flatten().long()
    grads = (by_x, by_x * u, by_ratio, g, g * share, by_a, by_b, q)
    return by_x, torch.stack([zeros.scatter_add(0, where, grad.flatten()) for grad in grads])


def by_tables(tables: Tensor, sums: Tensor) -> Tensor:
    """The gradient in the tables, of the sums (8, C I) over the bins."""
    _, width, _, height, _, _ = tables
    by_x, by_x_u, by_ratio, g, g_share, by_a, by_b, q = sums.view(-1, *width.shape)
    by_height = by_ratio / width + 2 * q / height
    return torch.stack([-by_x, -by_x_u - by_height * height / width, g, g_share + by_height, by_a, by_b])
