"""What theory predicts without training: the linear flow with Tikhonov regularisation (linear_systems Sec. 5)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from flowrepro.errors import UsageError

# of linear_systems Sec. 6.1 and 6.2: for references beside a run, whatever its own alpha
ALPHA = 5e-5


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


class BestLinear(NamedTuple):
    """The best linear flow on data, N(mean, S + alpha I): its mean (D,), and variances (D,) along axes (rows of (D, D)).

    The largest variance comes first; float64.
    """

    mean: Tensor
    variances: Tensor
    axes: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """In nats, (B,) for x (B, D)."""
        whitened = ((x.double() - self.mean) @ self.axes.mT).square() / self.variances
        constant = self.variances.log().sum() + len(self.mean) * math.log(2 * math.pi)
        return -0.5 * (whitened.sum(1) + constant)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n samples, (n, D)."""
        z = torch.randn(n, len(self.mean), dtype=self.mean.dtype, generator=generator).to(self.mean)
        return self.mean + z * self.variances.sqrt() @ self.axes


def best_linear(train: Tensor, alpha: float) -> BestLinear:
    """The best linear flow on `train` (N, D).

    S is the covariance of `train` with 1/N in front, alpha that of linear_systems Sec. 5. S itself is never formed:
    beside columns at 1e9 an alpha of 5e-5 would be lost in its rounding.

    Raises:
        UsageError: S + alpha I is singular.
    """
    train = train.double()
    centre = train.mean(0)
    # summing large numbers loses digits, which summing what is left of them gives back
    centre = centre + (train - centre).mean(0)
    # R has the singular values and directions of the data themselves, and at most D rows
    reduced = torch.linalg.qr(train - centre, mode="r").R
    _, std, axes = torch.linalg.svd(reduced, full_matrices=True)
    variances = train.new_full((len(centre),), alpha)
    variances[: len(std)] += std.square() / len(train)
    lost = len(train) * torch.finfo(std.dtype).eps * std.max()
    if alpha <= 0 and (len(std) < len(centre) or bool((std <= lost).any())):
        raise UsageError("the covariance is singular and the likelihood unbounded; use alpha > 0")
    return BestLinear(centre, variances, axes)


def linear_baseline(train: Tensor, x: Tensor, alpha: float) -> Tensor:
    """What the best linear flow on `train` (N, D) reaches on x (B, D), in nats, (B,); raises what `best_linear` raises."""
    return best_linear(train, alpha).log_prob(x)


def manifold_log_likelihood(surface_entropy: float, codimension: int, alpha: float) -> float:
    """The mean log-likelihood in nats that a Tikhonov-regularised flow tends to on a manifold, for small alpha.

    On the manifold the flow has the density of the data with respect to surface area, of the given entropy in nats;
    across it a Gaussian of std sqrt(alpha) in every direction, at its centre.
    """
    return -surface_entropy - 0.5 * codimension * math.log(2 * math.pi * alpha)
