"""What theory predicts without training: the linear flow with Tikhonov regularisation (linear_systems Sec. 5)."""

import math

import torch
from torch import Tensor

from flowrepro.errors import UsageError


def tikhonov_singular_values(eigenvalues: Tensor, alpha: float) -> Tensor:
    """The singular values (lambda_i + alpha)^(-1/2) of the optimal W, from the eigenvalues of the covariance.

    The optimum of the regularised linear flow has W^T W = (S + alpha I)^(-1) (linear_systems Sec. 5).
    """
    return (eigenvalues + alpha).rsqrt()


def linear_log_likelihood(eigenvalues: Tensor, alpha: float) -> float:
    """Mean training log-likelihood in nats of the optimal regularised linear flow, without the penalty.

    -1/2 sum_i [lambda_i / (lambda_i + alpha) + log(lambda_i + alpha) + log 2 pi].
    """
    shrunk = eigenvalues.double() + alpha
    return -0.5 * float((eigenvalues / shrunk + shrunk.log() + math.log(2 * math.pi)).sum())


def gaussian_log_prob(x: Tensor, mean: Tensor, cov: Tensor) -> Tensor:
    """log N(x; mean, cov) in nats, (B, D) -> (B,) in float64.

    Raises:
        UsageError: the covariance is singular.
    """
    x, mean, cov = x.double(), mean.double(), cov.double()
    factor, failed = torch.linalg.cholesky_ex(cov)
    if failed:
        raise UsageError("the covariance is singular and the likelihood unbounded; use alpha > 0")
    whitened = torch.linalg.solve_triangular(factor, (x - mean).mT, upper=False)
    log_det = 2 * factor.diagonal().log().sum()
    return -0.5 * (whitened.square().sum(0) + log_det + len(mean) * math.log(2 * math.pi))


def linear_baseline(train: Tensor, x: Tensor, alpha: float) -> Tensor:
    """What the best linear flow on `train` (N, D) reaches on x (B, D): log N(x; mean, S + alpha I), in nats.

    S is the covariance of `train` with 1/N in front, alpha that of linear_systems Sec. 5; (B,) float64.

    Raises:
        UsageError: S + alpha I is singular.
    """
    train = train.double()
    mean = train.mean(0)
    centred = train - mean
    cov = centred.mT @ centred / len(train)
    return gaussian_log_prob(x, mean, cov + alpha * torch.eye(len(cov), dtype=cov.dtype, device=cov.device))


def manifold_log_likelihood(surface_entropy: float, codimension: int, alpha: float) -> float:
    """The mean log-likelihood in nats that a Tikhonov-regularised flow tends to on a manifold, for small alpha.

    On the manifold the flow has the density of the data with respect to surface area, of the given entropy in nats;
    across it a Gaussian of std sqrt(alpha) in every direction, at its centre.
    """
    return -surface_entropy - 0.5 * codimension * math.log(2 * math.pi * alpha)
