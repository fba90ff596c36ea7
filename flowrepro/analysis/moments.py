"""Conditional moments of a given p from samples: by bins where p has one dimension, by regression where it has more."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# products of pairs of passive entries up to here, squares alone beyond
CROSSED_DIMS = 8
MIN_COUNT = 2
RIDGE = 1e-6
# in units of the last place: below, a difference of two numbers is noise
ROUNDINGS = 4

# (passive, bins) -> the index of each sample's bin
Binning = Callable[[Tensor, int], Tensor]


class Bins(NamedTuple):
    """Counts (C, B), mean and variance (C, B, A) of A active dimensions in the B bins of each of C candidates.

    The variance is the maximum-likelihood one, with 1/n in front; in empty bins mean and variance are zero.
    """

    counts: Tensor
    mean: Tensor
    variance: Tensor


class BinSums(NamedTuple):
    """Counts (C, B), sums and sums of squares (A, C, B) of A active dimensions in the B bins of each of C candidates."""

    counts: Tensor
    first: Tensor
    second: Tensor


def bin_sums(passive: Tensor, active: Tensor, bins: int, binning: Binning) -> BinSums:
    """Sums of active (A, C, N) in bins of passive (C, N)."""
    index = binning(passive, bins)
    zeros = passive.new_zeros(len(passive), bins)
    counts = zeros.scatter_add(1, index, torch.ones_like(passive))
    sums = [(zeros.scatter_add(1, index, a), zeros.scatter_add(1, index, a * a)) for a in active]
    first, second = (torch.stack(part) for part in zip(*sums, strict=True))
    return BinSums(counts, first, second)


def bin_moments(sums: BinSums) -> Bins:
    """Moments in bins from sums of active, which should be centred.

    Variances that are rounding alone, of bins in which nothing varies, are zero.
    """
    share = 1 / sums.counts.clamp(min=1)
    mean, square = sums.first * share, sums.second * share
    variance = square - mean.square()
    rounding = ROUNDINGS * torch.finfo(square.dtype).eps * square
    variance = torch.where(variance > rounding, variance, 0)
    return Bins(sums.counts, mean.movedim(0, -1), variance.movedim(0, -1))


def equal_widths(passive: Tensor, bins: int) -> Tensor:
    """The bin (C, N) of each sample, the bins of equal width from the smallest to the largest of passive (C, N)."""
    # aminmax along a dimension is ten times slower than both
    low, high = passive.amin(1, keepdim=True), passive.amax(1, keepdim=True)
    scale = bins / torch.where(high > low, high - low, 1)
    return (passive - low).mul_(scale).long().clamp_(max=bins - 1)


def equal_counts(passive: Tensor, bins: int) -> Tensor:
    """The bin (C, N) of each sample, the bins of equally many samples in the order of passive (C, N)."""
    n = passive.shape[1]
    order = passive.argsort(1)
    places = (torch.arange(n, device=passive.device) * bins).div(n, rounding_mode="floor")
    return torch.empty_like(order).scatter_(1, order, places.expand_as(order))


def log_variance_bias(count: Tensor) -> Tensor:
    """E log v_hat - log v of the maximum-likelihood variance of `count` normal samples, exactly.

    psi((n - 1) / 2) - log(n / 2): -0.66 for n = 4, -0.064 for 32. Zero below two samples, where there is none.
    """
    n = count.clamp(min=MIN_COUNT)
    bias = torch.digamma((n - 1) / 2) - (n / 2).log()
    return torch.where(count >= MIN_COUNT, bias, torch.zeros_like(bias))


class Quadratic(NamedTuple):
    """m(p) = w_m . q(p) and log v(p) = w_v . q(p), within low to high, with q the monomials up to degree two.

    Multiplicative heteroscedasticity: the mean by least squares, then the logarithm of its squared residuals by
    least squares again (Harvey 1976). Weights are (F, A), the bounds (A,).
    """

    mean_weight: Tensor
    log_variance_weight: Tensor
    low: Tensor
    high: Tensor

    def mean(self, passive: Tensor) -> Tensor:
        """m(p), (N, P) -> (N, A)."""
        return monomials(passive) @ self.mean_weight

    def log_variance(self, passive: Tensor) -> Tensor:
        """log v(p), (N, P) -> (N, A); held at the bounds of the fit, since parabolas run away."""
        return (monomials(passive) @ self.log_variance_weight).clamp(self.low, self.high)


def monomials(passive: Tensor) -> Tensor:
    """1, p_i and p_i p_j, the squares alone beyond eight dimensions: (N, P) -> (N, F)."""
    dim = passive.shape[1]
    first, second = torch.triu_indices(dim, dim, device=passive.device)
    if dim > CROSSED_DIMS:
        first = second = torch.arange(dim, device=passive.device)
    return torch.cat([torch.ones_like(passive[:, :1]), passive, passive[:, first] * passive[:, second]], 1)


def fit_quadratic(passive: Tensor, active: Tensor) -> Quadratic:
    """The fit of active (N, A) on passive (N, P); the variance is scaled so that residuals have mean square v."""
    q = monomials(passive)
    mean_weight = ridge(q.mT @ q, q.mT @ active)
    fitted = q @ log_variance_weight(q, active - q @ mean_weight)
    # the mean once more, each sample now counting by its precision
    precision = (fitted.mean(0) - fitted).exp().mT[:, None, :]
    mean_weight = ridge((q.mT * precision) @ q, (q.mT * precision) @ active.mT[..., None])[..., 0].mT
    weight = log_variance_weight(q, active - q @ mean_weight)
    low, high = (q @ weight).aminmax(dim=0)
    return Quadratic(mean_weight, weight, low, high)


def log_variance_weight(q: Tensor, residual: Tensor) -> Tensor:
    """The weight (F, A) of log v on features (N, F) by least squares of log residual^2 (N, A)."""
    squares = residual.square().clamp(min=torch.finfo(residual.dtype).tiny)
    weight = ridge(q.mT @ q, q.mT @ squares.log())
    # a logarithm's mean is lower than the mean's logarithm, by 1.27 where residuals are normal
    weight[0] += (squares / (q @ weight).exp()).mean(0).log()
    return weight


def ridge(gram: Tensor, right: Tensor) -> Tensor:
    """Solve gram w = right for one or a batch of positive semidefinite matrices.

    A little of each feature's own diagonal is added, so that units of the features do not matter.
    """
    diagonal = gram.diagonal(dim1=-2, dim2=-1).clamp(min=torch.finfo(gram.dtype).tiny)
    return torch.linalg.solve(gram + RIDGE * torch.diag_embed(diagonal), right)
