"""The monotone rational-quadratic activation of jacobian_determinant Sec. 4.1 and App. C: one spline per channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from flowrepro.flows.core import Layer
from flowrepro.flows.rational_quadratic import inverse_spline, spline

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
        z, log_slope = spline(in_rows(x), self.tables())
        return back(z, x), back(log_slope, x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_slope = self.value_and_log_slope(x)
        return z, log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        return back(inverse_spline(in_rows(z), self.tables()), z)

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, log_slope = self.value_and_log_slope(x)
        return z, log_slope.flatten(1).sum(1), log_slope.exp().unsqueeze(-1) * t


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
