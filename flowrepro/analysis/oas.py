"""Optimal affine subspaces: the rotation that lets one affine coupling improve most (single_coupling Alg. 1).

Delta (Eq. 20) is estimated for candidate rotations of samples, and the largest wins. With one passive dimension the
conditional moments are those of bins (Ex. 4). With more, bins would be empty: a quadratic regression of mean and log
variance is fitted on one half of the samples, and the estimate is what the coupling it defines gains on the other half,
which is on average no more than Delta.
"""

import math

import torch
from torch import Generator, Tensor

from flowrepro.analysis.coupling import improvement
from flowrepro.analysis.moments import (
    MIN_COUNT,
    ROUNDINGS,
    Binning,
    BinSums,
    bin_moments,
    bin_sums,
    equal_counts,
    equal_widths,
    fit_quadratic,
    log_variance_bias,
)

BINS = 32
# candidates judged by bins, and by the slower regression
CANDIDATES, REGRESSED_CANDIDATES = 180, 24
MAX_SAMPLES = 8192
# rotations at a time, so that they fit into the processor's cache
CHUNK = 24
# beyond the plane: how often the best candidate is turned, and how far at first
REFINEMENTS, FIRST_TURN = 4, 0.5


def plane_rotation(degrees: Tensor) -> Tensor:
    """Q(theta) of Ex. 4 for angles (C,): (C, 2, 2) in float64; p = x_1 cos + x_2 sin."""
    angle = torch.deg2rad(degrees.double())
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)


def binned_improvement(
    x: Tensor, rotations: Tensor, bins: int = BINS, binning: Binning = equal_widths, corrected: bool = False
) -> Tensor:
    """Delta in nats for each of C rotations (C, D, D) from samples x (N, D); the first rotated dimension is passive.

    Step 7 of Alg. 1 with the missing 1/N. It is too large on average, by 0.14 at eight samples per bin: variances of
    few samples have too small a logarithm. `corrected` removes that bias for a normal conditional. Bins with fewer
    than two samples, or without any variance, count as not improved.
    """
    centre, turned = x.mean(0), rotations.to(x)
    parts = [_sums(x - centre, part, bins, binning) for part in turned.split(CHUNK)]
    counts, first, second = (torch.cat(part, -2) for part in zip(*parts, strict=True))
    counts, mean, variance = bin_moments(BinSums(counts, first, second))
    # a direction in which the samples do not vary is one that no coupling should stretch without end
    scale = (x - centre).square().sum() / len(x) + centre.square().sum()
    rounding = (ROUNDINGS * torch.finfo(x.dtype).eps) ** 2 * scale
    there = (counts[..., None] >= MIN_COUNT) & (variance > rounding)
    gain = improvement(mean + (turned @ centre)[:, None, 1:], torch.where(there, variance, 1))
    if corrected:
        gain = gain + 0.5 * log_variance_bias(counts)[..., None]
    return (torch.where(there, gain, 0).sum(-1) * counts).sum(1) / x.shape[0]


def _sums(x: Tensor, rotations: Tensor, bins: int, binning: Binning) -> BinSums:
    """Sums for some rotations (C, D, D) of centred samples (N, D), in contiguous memory."""
    y = (rotations.transpose(0, 1).flatten(0, 1) @ x.mT).view(x.shape[1], len(rotations), -1)
    return bin_sums(y[0], y[1:], bins, binning)


def regression_improvement(x: Tensor, rotations: Tensor, passive: int) -> Tensor:
    """Delta in nats, from below, for each of C rotations (C, D, D) from samples x (N, D), by regression.

    The first half of the samples is fitted, the second judged: (a^2 - (a - m)^2 / v - log v) / 2 is what the coupling
    with those moments gains, and its mean is at most Delta, whatever m and v are.
    """
    return torch.stack([_held_out_gain(x @ rotation.to(x).mT, passive) for rotation in rotations])


def _held_out_gain(y: Tensor, passive: int) -> Tensor:
    half = len(y) // 2
    fit = fit_quadratic(y[:half, :passive], y[:half, passive:])
    p, a = y[half:, :passive], y[half:, passive:]
    log_variance = fit.log_variance(p)
    gain = a.square() - (a - fit.mean(p)).square() * (-log_variance).exp() - log_variance
    return 0.5 * gain.sum(1).mean()


def estimated_improvement(x: Tensor, rotations: Tensor, passive: int) -> Tensor:
    """Delta in nats for each of C rotations, as `optimal_rotation` compares them."""
    if passive == 1:
        return binned_improvement(x, rotations, binning=equal_counts, corrected=True)
    return regression_improvement(x, rotations, passive)


def optimal_rotation(x: Tensor, passive: int, generator: Generator) -> Tensor:
    """The rotation (D, D), in float64, of the largest estimated Delta for samples x (N, D); Alg. 1.

    In the plane the candidates are equally spaced angles over half a turn, after which Delta repeats. Elsewhere they
    are the axes, the principal axes and random rotations; then the best one is turned a little, and less each time.
    """
    x = x.double()
    dim, count = x.shape[1], CANDIDATES if passive == 1 else REGRESSED_CANDIDATES
    if dim == 2:
        found = plane_rotation(torch.arange(count) * (180 / count))
        return found[estimated_improvement(x, found, passive).argmax()]
    tried = torch.cat([axes(x), haar(count, dim, generator)])
    gains = estimated_improvement(x, tried, passive)
    best, gain = tried[gains.argmax()], gains.max()
    for turn in range(REFINEMENTS):
        near = turns(count // REFINEMENTS, dim, FIRST_TURN / 2**turn, generator) @ best
        gains = estimated_improvement(x, near, passive)
        if gains.max() > gain:
            best, gain = near[gains.argmax()], gains.max()
    return best


def axes(x: Tensor) -> Tensor:
    """The identity, and the principal axes of x (N, D) from the widest and from the narrowest: (3, D, D)."""
    eye = torch.eye(x.shape[1], dtype=x.dtype)
    narrowest_first = torch.linalg.eigh(torch.cov(x.mT)).eigenvectors.mT
    return torch.stack([eye, narrowest_first.flip(0), narrowest_first])


def haar(count: int, dim: int, generator: Generator | None = None) -> Tensor:
    """(count, D, D) float64, uniform over the orthogonal group: QR of normal matrices with the diagonal of R > 0."""
    q, r = torch.linalg.qr(torch.randn(count, dim, dim, generator=generator, dtype=torch.float64))
    return q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]


def turns(count: int, dim: int, size: float, generator: Generator) -> Tensor:
    """(count, D, D) random rotations by angles around `size` radians."""
    noise = torch.randn(count, dim, dim, generator=generator, dtype=torch.float64) * size / math.sqrt(dim)
    return torch.linalg.matrix_exp(noise - noise.mT)
