"""The kernel distance of two samples of features: the unbiased MMD^2 with a cubic kernel (KID, Binkowski et al. 2018)."""

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK = 1024


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """E k(X, X') + E k(Y, Y') - 2 E k(X, Y) of features x (n, d) and y (m, d), over all pairs, in float64.

    Unbiased, so that it may fall below zero, and of the same meaning for any number of samples.

    Raises:
        ValueError: fewer than two samples have no pair.
    """
    return float(weighted_kernel_distances(x, y, torch.ones(1, len(x)), torch.ones(1, len(y)))[0])


def weighted_kernel_distances(x: Tensor, y: Tensor, on_x: Tensor, on_y: Tensor) -> Tensor:
    """The same of weighted samples, (r,) for r sets of weights on_x (r, n) and on_y (r, m); no sample pairs with itself."""
    if min(len(x), len(y)) < 2:
        raise ValueError("a kernel distance needs at least two samples on both sides")
    x, y, on_x, on_y = (t.double() for t in (x, y, on_x, on_y))
    across = _pairs(x, on_x, y, on_y) / (on_x.sum(1) * on_y.sum(1))
    return _within(x, on_x) + _within(y, on_y) - 2 * across


def cubic_kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x.y / d + 1)^3 of features x (n, d) and y (m, d): (n, m)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def _within(x: Tensor, weights: Tensor) -> Tensor:
    """The mean kernel of two different samples."""
    squares = weights.square()
    itself = (squares * ((x.square().sum(1) / x.shape[1] + 1) ** 3)).sum(1)
    return (_pairs(x, weights, x, weights) - itself) / (weights.sum(1) ** 2 - squares.sum(1))


def _pairs(x: Tensor, on_x: Tensor, y: Tensor, on_y: Tensor) -> Tensor:
    """The weighted sum of the kernel over all pairs, (r,), a block of rows at a time."""
    blocks: Iterator[tuple[Tensor, Tensor]] = zip(x.split(CHUNK), on_x.split(CHUNK, 1), strict=True)
    return torch.stack([(w * (on_y @ cubic_kernel(y, rows))).sum(1) for rows, w in blocks]).sum(0)
