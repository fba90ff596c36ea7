"""Jacobian tools: plain functions of any batch map f, (B, D) -> (B, D), that treats its rows one by one."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

BatchMap = Callable[[Tensor], Tensor]

STEPS = 6
TOLERANCE = 1e-3
# residuals of so many units in the last place of the largest eigenvalue are zero
ROUNDING = 50


def jvp(f: BatchMap, x: Tensor, v: Tensor) -> Tensor:
    """J v at each row of x; v and the result are (B, D)."""
    pushed: Tensor = torch.func.jvp(f, (x,), (v,))[1]
    return pushed


def vjp(f: BatchMap, x: Tensor, u: Tensor) -> Tensor:
    """J^T u at each row of x; u and the result are (B, D)."""
    return _pullback(f, x)[1](u)


def jacobian(f: BatchMap, x: Tensor) -> Tensor:
    """J = df/dx at each row of x (B, D): (B, D, D) with J[b, i, j] = df_i/dx_j."""
    z, pull = _pullback(f, x)
    unit_vectors = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    rows: Tensor = torch.func.vmap(lambda e: pull(e.expand_as(z)), out_dims=1)(unit_vectors)
    return rows


@torch.no_grad()
def top_svd(
    f: BatchMap, x: Tensor, k: int, tolerance: float = TOLERANCE, oversampling: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """The k largest singular triplets of the Jacobian at each row of x (B, D), without forming it.

    Block Lanczos on J^T J, once more with twice the steps for the rows that have not settled, up to all D dimensions:
    then it is exact. A row settles when each of its vectors is known to an angle of `tolerance`, or as far as rounding
    allows: singular values that agree to so many digits have no vectors of their own. Rows do not depend on each
    other, and the random start is always the same: the result is a function of (f, x).

    Returns:
        U (B, D, k), s (B, k) descending, V (B, D, k): J V = U diag(s).
    """
    found = [part.clone() for part in _lanczos(f, x, k, STEPS, tolerance, oversampling)]
    doublings = 0
    while not found[-1].all():
        doublings += 1
        # half as many rows with twice the vectors need no more memory
        for rows in (~found[-1]).nonzero()[:, 0].split(max(1, len(x) >> doublings)):
            parts = _lanczos(f, x[rows], k, STEPS << doublings, tolerance, oversampling)
            for whole, part in zip(found, parts, strict=True):
                whole[rows] = part
    return found[0], found[1], found[2]


def _lanczos(
    f: BatchMap, x: Tensor, k: int, steps: int, tolerance: float, oversampling: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(U, s, V) after so many steps, and whether each row has settled, (B,).

    Full reorthogonalisation and a Rayleigh-Ritz step at the end. A step is two products of J or J^T with
    k + oversampling vectors.
    """
    push, pull = _products(f, x)
    dim = x.shape[1]
    basis = _start(x, min(k + oversampling, dim))
    image = push(basis)
    unit = image.abs().amax((1, 2), keepdim=True)  # of J, whose square may overflow
    image = images = image / unit
    for _ in range(steps):
        left = dim - basis.shape[-1]
        if not left:
            break
        block = _orthonormal(pull(image / unit)[..., :left], basis)
        image = push(block) / unit
        basis, images = torch.cat([basis, block], -1), torch.cat([images, image], -1)
    u, s, vh = torch.linalg.svd(images, full_matrices=False)
    vectors = vh.mT
    settled = torch.ones_like(s[:, 0], dtype=torch.bool)
    if basis.shape[-1] < dim:
        # J^T J leaves the span of the basis in its last block alone
        outside = _outside(pull(image / unit), basis) @ vectors[:, -image.shape[-1] :]
        settled = _settled(s.square(), outside.norm(dim=1), k, tolerance)
    return u[..., :k], unit[..., 0] * s[..., :k], basis @ vectors[..., :k], settled


def _settled(values: Tensor, residuals: Tensor, k: int, tolerance: float) -> Tensor:
    """Whether the first k of the Ritz vectors of each row are known well enough, (B,).

    The sine of the angle to an eigenvector is at most the residual ||J^T J v - s^2 v|| over the gap between s^2 and
    the other eigenvalues (Parlett, The Symmetric Eigenvalue Problem, Sec. 11.7), each of which lies within its own
    residual of a Ritz value.

    Args:
        values: s^2, descending, (B, M) with M > k; residuals: of each, (B, M).
    """
    gaps = values[:, :k] - values[:, 1 : k + 1] - residuals[:, :k] - residuals[:, 1 : k + 1]
    gaps = torch.minimum(gaps, torch.cat([gaps.new_full((len(gaps), 1), torch.inf), gaps[:, :-1]], 1))
    rounding = ROUNDING * torch.finfo(values.dtype).eps * values[:, :1]
    return (residuals[:, :k] <= torch.maximum(tolerance * gaps, rounding)).all(1)


def _orthonormal(block: Tensor, basis: Tensor) -> Tensor:
    """Orthonormal columns (B, D, K) that span what a block adds to an orthonormal basis."""
    # once leaves rounding errors as large as what was taken away; and where the block adds next to nothing, the
    # columns of Q lie in the basis again
    block = torch.linalg.qr(_outside(_outside(block, basis), basis)).Q
    return torch.linalg.qr(_outside(block, basis)).Q


def _outside(block: Tensor, basis: Tensor) -> Tensor:
    """The part of a block that is orthogonal to a basis."""
    return block - basis @ (basis.mT @ block)


def _pullback(f: BatchMap, x: Tensor) -> tuple[Tensor, BatchMap]:
    """f(x) and the map u -> J^T u at x."""
    z, pull = cast(tuple[Tensor, Callable[[Tensor], tuple[Tensor]]], torch.func.vjp(f, x))
    return z, lambda u: pull(u)[0]


def _products(f: BatchMap, x: Tensor) -> tuple[BatchMap, BatchMap]:
    """The linear maps t -> J t and t -> J^T t on blocks (B, D, K), with f linearised once at x.

    J^T u is linear in u, so its own reverse derivative is J: f need not be evaluated again for each product.
    """
    z, pull = _pullback(f, x)
    _, push = _pullback(pull, torch.zeros_like(z))
    return torch.func.vmap(push, in_dims=-1, out_dims=-1), torch.func.vmap(pull, in_dims=-1, out_dims=-1)


def _start(x: Tensor, width: int) -> Tensor:
    """An orthonormal random block (B, D, width), the same for every row."""
    noise = torch.randn(x.shape[1], width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.linalg.qr(noise).Q.to(x).expand(x.shape[0], -1, -1)
