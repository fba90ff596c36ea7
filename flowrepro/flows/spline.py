"""The monotone rational-quadratic activation of jacobian_determinant Sec. 4.1 and App. C: one spline per channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from flowrepro.flows.core import Layer

# elements that are worked on together, so that what lies between two operations stays in a CPU's cache
CHUNK = 2**15

# name -> (what makes slopes of parameters, its inverse)
SLOPES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[float], float]]] = {
    "sigmoid": (torch.sigmoid, lambda slope: math.log(slope / (1 - slope))),
    "exponential": (torch.exp, math.log),
}


class Knots(NamedTuple):
    """The corners of the bins and the slopes there, each (C, I + 1)."""

    x: Tensor
    y: Tensor
    slope: Tensor


class Spline(Layer):
    """z = f(x) on every channel, a monotone rational-quadratic spline of I bins with linear tails (Eqs. 16 and 17).

    The bins lie in a box of half width w around 0, which is learned too. Their widths are 2 w softmax(theta_x), the
    ratios of height to width and the slopes at the knots sigmoid(theta_y) and sigmoid(theta_a), below 1 (Eqs. 27 to
    32). Inside a bin the slope can nevertheless come close to 2: it is 4 r^2 / (2 r + a + b) in its middle, with r the
    ratio and a, b the slopes at its ends; it never reaches 2.

    Two choices are ours. Eqs. 27 to 31 as printed give I + 1 knots of which the first is not at -w; here (-w, -w Y)
    goes before them, with Y the sum of the heights, so that I parameters make I bins. And the tails are linear, where
    the paper has bins up to 1e5, in which float32 loses two digits.

    Args:
        channels: C; x is (B, C) or (B, C, H, W).
        slope: beta, the slope of the straight line through 0 that it starts as.
        half_width: w at first.
        bins: I.
        slopes: a name of `SLOPES`; `exponential` bounds neither ratios nor slopes at the knots.
    """

    def __init__(
        self,
        channels: int,
        slope: float = 0.7,
        half_width: float = 1.0,
        bins: int = 16,
        slopes: str = "sigmoid",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.bins, (self.positive, start) = bins, SLOPES[slopes]

        def filled(value: float, *shape: int) -> nn.Parameter:
            return nn.Parameter(torch.full((channels, *shape), value, dtype=dtype))

        self.theta_x = filled(0.0, bins)
        self.theta_y = filled(start(slope), bins)
        self.theta_a = filled(start(slope), bins + 1)
        self.log_half_width = filled(math.log(half_width))

    def tables(self) -> Tensor:
        """(6, C, I): left end, width, lower end and height of every bin, and the slopes at its left and right."""
        box = 2 * self.log_half_width.exp()[:, None]
        share = self.theta_x.softmax(1)
        width, height = box * share, box * share * self.positive(self.theta_y)
        left, bottom = (size.cumsum(1) - size for size in (width, height))
        slope = self.positive(self.theta_a)
        middle = 0.5 * height.sum(1, keepdim=True)
        return torch.stack([left - 0.5 * box, width, bottom - middle, height, slope[:, :-1], slope[:, 1:]])

    def knots(self) -> Knots:
        """The knots as they are now."""
        left, width, bottom, height, slope, last = self.tables()
        return Knots(
            torch.cat([left, (left + width)[:, -1:]], 1),
            torch.cat([bottom, (bottom + height)[:, -1:]], 1),
            torch.cat([slope, last[:, -1:]], 1),
        )

    def value_and_log_slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f(x) and log f'(x), each of the shape of x."""
        rows, tables = in_rows(x), self.tables()
        z, log_slope = spline(rows, tables) if transformed() else ByHand.apply(rows, tables)
        return back(z, x), back(log_slope, x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_slope = self.value_and_log_slope(x)
        return z, log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        tables = self.tables()
        return back(torch.cat([unspline(part, tables) for part in chunks(in_rows(z))]), z)

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, log_slope = self.value_and_log_slope(x)
        return z, log_slope.flatten(1).sum(1), log_slope.exp().unsqueeze(-1) * t


def transformed() -> bool:
    """Whether torch.func or torch.compile is looking: they take the formula apart themselves."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def channels_last(x: Tensor) -> bool:
    """Whether the channels of x lie next to each other in memory."""
    return x.ndim == 4 and x.stride(1) == 1 and not x.is_contiguous()


def in_rows(x: Tensor) -> Tensor:
    """(B, C, ...) as (N, C, M) in the order of memory, so that nothing is copied."""
    if channels_last(x):
        return x.movedim(1, -1).reshape(-1, x.shape[1], 1)
    return x.reshape(x.shape[0], x.shape[1], x.shape[2:].numel())


def back(rows: Tensor, like: Tensor) -> Tensor:
    """The way back, to the shape and order of `like`."""
    if channels_last(like):
        return rows.view(like.movedim(1, -1).shape).movedim(-1, 1)
    return rows.view(like.shape)


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
    at = (size * channel).expand(values.shape)
    for step in (size >> (i + 1) for i in range(size.bit_length() - 1)):
        ahead = at + step
        above = values >= ends.index_select(0, ahead.flatten()).view(values.shape)
        at = torch.add(at, above.to(at.dtype), alpha=step)
    return at if size == count else at - (size - count) * channel


class Bins(NamedTuple):
    """What the formulas need of every bin, flat (C I,), and the ends of the box, (C, 1)."""

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
    ratio = height / width
    values = (left, 1 / width, lower, height, ratio, a, b - a, a + b - 2 * ratio, a - ratio)
    return Bins(*(value.flatten() for value in values), left[:, :1], (left + width)[:, -1:])


def looked_up(at: Tensor, *values: Tensor) -> list[Tensor]:
    """Of each of the values (C I,) that at every place (N, C, M)."""
    indices = at.flatten()
    return [value.index_select(0, indices).view(at.shape) for value in values]


class Point(NamedTuple):
    """Points in their bins, (N, C, M): u is xi of Eq. 16 and uv = xi (1 - xi), f' = (ratio / below)^2 gamma (Eq. 17)."""

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


def unspline(z: Tensor, tables: Tensor) -> Tensor:
    """The x (N, C, M) with f(x) = z."""
    _, width, bottom, height, first, last = tables
    bins = bins_of(tables)
    left, double, lower, ratio, bend, flat, curve = looked_up(
        places(z, bottom),
        *(bins.left, 2 * width.flatten(), bins.lower, bins.ratio, bins.bend),
        *(bins.height * bins.a, -bins.height * bins.rise),
    )
    inside = z.clamp(bottom[:, :1], (bottom + height)[:, -1:])
    drop = inside - lower
    linear, square = torch.addcmul(flat, drop, bend, value=-1), torch.addcmul(curve, drop, bend)
    drop = ratio * drop
    # xi is the root of square xi^2 + linear xi = drop in the form that does not cancel
    root = torch.addcmul(linear * linear, square, drop, value=4).clamp(min=0).sqrt()
    x = torch.addcmul(left, double, drop / (linear + root))
    beyond = z - inside
    return x + beyond.clamp(max=0) / first[:, :1] + beyond.clamp(min=0) / last[:, -1:]


def spline(x: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and log f'(x) for x (N, C, M)."""
    return evaluated(x, bins_of(tables), places(x, tables[0]))


class ByHand(torch.autograd.Function):
    """`spline` with its gradient by hand: it keeps x and the places of the bins, and nothing in between."""

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
