"""Jacobian tools: plain functions of any batch map f, (B, D) -> (B, D), that treats its rows one by one."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

BatchMap = Callable[[Tensor], Tensor]


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
    f: BatchMap, x: Tensor, k: int, iterations: int = 6, oversampling: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """The k largest singular triplets of the Jacobian at each row of x (B, D), without forming it.

    Block Lanczos on J^T J with full reorthogonalisation and a Rayleigh-Ritz step at the end: two products of J or J^T
    with k + oversampling vectors an iteration. The random start is always the same, so that the result is a function
    of (f, x).

    Returns:
        U (B, D, k), s (B, k) descending, V (B, D, k): J V = U diag(s).
    """
    push, pull = _products(f, x)
    dim, width = x.shape[1], min(k + oversampling, x.shape[1])
    basis = _start(x, width)
    image = images = push(basis)
    for _ in range(iterations):
        left = dim - basis.shape[-1]
        if not left:
            break
        block = _orthonormal(pull(image)[..., :left], basis)
        image = push(block)
        basis, images = torch.cat([basis, block], -1), torch.cat([images, image], -1)
    u, s, vh = torch.linalg.svd(images, full_matrices=False)
    return u[..., :k], s[..., :k], basis @ vh.mT[..., :k]


def _orthonormal(block: Tensor, basis: Tensor) -> Tensor:
    """Orthonormal columns (B, D, K) that span what a block adds to an orthonormal basis."""
    for _ in range(2):  # once leaves rounding errors as large as what was taken away
        block = torch.linalg.qr(block - basis @ (basis.mT @ block)).Q
    return block


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
