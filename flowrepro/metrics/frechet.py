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
    if len(x) * len(y) < x.shape[1] ** 2:
        return _of_few(x, y)
    (mean_x, cov_x), (mean_y, cov_y) = moments(x), moments(y)
    return float(
        (mean_x - mean_y).square().sum() + cov_x.trace() + cov_y.trace() - 2 * trace_root(cov_x, cov_y)
    )


def _of_few(x: Tensor, y: Tensor) -> float:
    """The same by the (n, m) products of the samples: tr (C D)^1/2 is the sum of their singular values."""
    (mean_x, x), (mean_y, y) = _standardised(x), _standardised(y)
    root = torch.linalg.svdvals(x @ y.T).sum()
    return float((mean_x - mean_y).square().sum() + x.square().sum() + y.square().sum() - 2 * root)


def _standardised(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (d,), and Z (n, d) for which Z^T Z is the unbiased covariance."""
    x = x.double()
    mean = x.mean(0)
    return mean, (x - mean) / (len(x) - 1) ** 0.5


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and unbiased covariance (d, d) of features x (n, d), summed in float64."""
    mean, z = _standardised(x)
    return mean, z.T @ z


def trace_root(c: Tensor, d: Tensor) -> Tensor:
    """tr (C D)^1/2 of two covariances, by symmetric matrices alone: nothing here can become complex."""
    values, vectors = torch.linalg.eigh(c)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return torch.linalg.eigvalsh(root @ d @ root).clamp(min=0).sqrt().sum()
