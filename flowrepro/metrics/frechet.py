"""The Fréchet distance between the Gaussians of two samples of features (Heusel et al. 2017), in float64."""

import torch
from torch import Tensor


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """|m - n|^2 + tr(C + D - 2 (C^1/2 D C^1/2)^1/2) of features x (n, d) and y (m, d) with means m, n, covariances C, D.

    Its estimate is biased upwards, by much where the samples are fewer than a few times d: compare it with the
    distance of as many real samples, and only at equal numbers.

    Raises:
        ValueError: fewer than two samples have no covariance.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError("a Fréchet distance needs at least two samples on both sides")
    (mean_x, cov_x), (mean_y, cov_y) = moments(x), moments(y)
    return float(
        (mean_x - mean_y).square().sum() + cov_x.trace() + cov_y.trace() - 2 * trace_root(cov_x, cov_y)
    )


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and unbiased covariance (d, d) of features x (n, d), summed in float64."""
    x = x.double()
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


def trace_root(c: Tensor, d: Tensor) -> Tensor:
    """tr (C D)^1/2 of two covariances, by symmetric matrices alone: nothing here can become complex."""
    values, vectors = torch.linalg.eigh(c)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return torch.linalg.eigvalsh(root @ d @ root).clamp(min=0).sqrt().sum()
