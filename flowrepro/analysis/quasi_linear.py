"""Quasi-linear flows f(x) = W(x) x with det J_f = det W (jacobian_determinant Sec. 2.1.2): what their likelihood can be.

Eq. 6 maximises the likelihood of a point over the matrix W there, from S = x x^T. That S has rank one, and no W is a
maximum: along `single_sample_map` the likelihood grows without end. A W shared by all points has a maximum, and S is
then the covariance of the data (Eq. 21): `optimum` is that of a linear flow and, with `ppca_moment`, of PPCA.
"""

import math

import torch
from torch import Tensor


def log_likelihood(w: Tensor, x: Tensor) -> Tensor:
    """Eq. 5 before the mean over points: log N(W x; 0, I) + log |det W| in nats, for W (D, D) or (B, D, D), x (B, D).

    That is -1/2 {D log 2 pi + tr(M S) + log det M^-1} with M = W^T W and S = x x^T; (B,).
    """
    z = (w @ x[..., None])[..., 0]
    return _gaussian(z.square().sum(-1), x.shape[-1]) + torch.linalg.slogdet(w).logabsdet


def log_likelihood_of_moment(w: Tensor, moment: Tensor) -> Tensor:
    """Eq. 21: the mean of Eq. 5 over points with one W (..., D, D), from S' = E[x x^T] (D, D); (...)."""
    trace = ((w @ moment) * w).sum((-2, -1))
    return _gaussian(trace, moment.shape[-1]) + torch.linalg.slogdet(w).logabsdet


def optimum(moment: Tensor) -> Tensor:
    """Eq. 6: -1/2 {D log 2 pi + D + sum_i log lambda_i} in nats, for matrices S (..., D, D) of full rank; (...).

    Infinite for a singular S.
    """
    dim = moment.shape[-1]
    return _gaussian(torch.as_tensor(float(dim)), dim) - 0.5 * torch.linalg.slogdet(moment).logabsdet


def optimal_map(moment: Tensor) -> Tensor:
    """W = Lambda^-1/2 V^T (..., D, D), which whitens S (App. A.1); any orthogonal matrix before it is as good."""
    values, vectors = torch.linalg.eigh(moment)
    return values.rsqrt()[..., None] * vectors.mT


def single_sample_map(x: Tensor, t: float) -> Tensor:
    """W(t) = P / |x| + t (I - P) with P = x x^T / |x|^2, for one x (D,): (D, D).

    Along x it is optimal; S has D - 1 eigenvalues 0, in whose directions nothing limits t.
    """
    length = x.norm()
    projection = torch.outer(x, x) / length.square()
    return projection / length + t * (torch.eye(len(x), dtype=x.dtype, device=x.device) - projection)


def single_sample_log_likelihood(length: float, dim: int, t: float) -> float:
    """Eq. 5 in nats at W(t) for an x of this length: -1/2 (D log 2 pi + 1) - log |x| + (D - 1) log t."""
    return -0.5 * (dim * math.log(2 * math.pi) + 1) - math.log(length) + (dim - 1) * math.log(t)


def ppca_moment(moment: Tensor, rank: int) -> Tensor:
    """S' (D, D) with its smallest D - rank eigenvalues replaced by their mean sigma^2: the covariance of PPCA (App. A.2)."""
    values, vectors = torch.linalg.eigh(moment)
    noise = len(values) - rank
    if noise:
        values = torch.cat([values[:noise].mean().expand(noise), values[noise:]])
    return (vectors * values) @ vectors.mT


def _gaussian(squares: Tensor, dim: int) -> Tensor:
    return -0.5 * (squares + dim * math.log(2 * math.pi))
