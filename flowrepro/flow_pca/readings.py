"""What is read off the flow of a FlowPCA: axes, explained ratios, loadings, points of its manifold; all standardised.

Every function treats each row by itself, in batches of one size: a row gives the same numbers in any company.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from flowrepro.analysis.components import CHUNK_ELEMENTS, EXACT_DIM, Components
from flowrepro.analysis.jacobian import jvp
from flowrepro.flows.core import Flow

ROWS = 256


@torch.no_grad()
def by_row(f: Callable[[Tensor], Tensor], x: Tensor, elements: int = 1) -> Tensor:
    """f of x (N, ...) in batches of one size, the last one filled up; `elements` is the size of an intermediate row."""
    size = max(1, min(ROWS, CHUNK_ELEMENTS // elements))
    filled = torch.cat([x, x[:1].expand(-len(x) % size, *x.shape[1:])])
    return torch.cat([f(part) for part in filled.split(size)])[: len(x)]


def jacobians(flow: Flow, x: Tensor) -> Tensor:
    """J = df/dx (N, D, D) at the rows of x (N, D)."""
    unit = torch.eye(x.shape[1], dtype=x.dtype)
    return by_row(
        lambda part: flow.chain.forward_tangents(part, unit.expand(len(part), -1, -1))[2],
        x,
        x.shape[1] ** 2,
    )


def local_components(flow: Flow, x: Tensor, k: int) -> Components:
    """The k components at the rows of x, signs as those of scikit-learn's PCA: the largest loading is positive.

    The paper takes the largest entry of U instead, which turns with the latent space of the flow.
    """
    dim = x.shape[1]

    def packed(part: Tensor) -> Tensor:
        found = flow.components(part, k)
        largest = found.directions.abs().argmax(1, keepdim=True)
        signs = found.directions.gather(1, largest).sign()
        return torch.cat([signs * found.values[:, None], found.std[:, None], signs * found.directions], 1)

    found = by_row(packed, x, dim * (dim if dim <= EXACT_DIM else 16 * k))
    return Components(found[:, 0], found[:, 1], found[:, 2:], "loadings")


def axes(flow: Flow, x: Tensor) -> tuple[Tensor, Tensor]:
    """How x moves with the latent axes of a flow: geometric mean speeds (D,) and mean directions (D, D), one per row."""
    tangents = torch.linalg.inv(jacobians(flow, x)).mT
    speeds = tangents.norm(dim=2)
    return speeds.log().mean(0).exp(), (tangents / speeds[..., None]).mean(0)


def ordering(flow: Flow, x: Tensor) -> Tensor:
    """The matrix (D, D) that orders the latents by decreasing speed of x, with the largest loading of each positive."""
    speeds, directions = axes(flow, x)
    signs = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()[:, 0]
    return torch.diag(signs)[speeds.argsort(descending=True)]


def on_axes(flow: Flow, x: Tensor, k: int) -> Tensor:
    """x (N, D) with all latents but the first k set to zero; not finite where the flow overflows."""

    def nearest(part: Tensor) -> Tensor:
        z = flow.latents(part)
        return flow.chain.inverse(torch.cat([z[:, :k], torch.zeros_like(z[:, k:])], 1))

    return by_row(nearest, x)


def on_local_axes(flow: Flow, x: Tensor, found: Components, k: int) -> Tensor:
    """x with all but its first k local components set to zero, f^-1(U_k U_k^T f(x)), (N, D)."""
    # J V = U S, so that U_k U_k^T z = J V_k y with the components y = S^-1 U^T z
    moves = (found.directions[..., :k] * found.values[:, None, :k]).sum(2)
    dim = x.shape[1]

    def nearest(part: Tensor) -> Tensor:
        return flow.chain.inverse(jvp(flow.latents, part[:, :dim].contiguous(), part[:, dim:].contiguous()))

    return by_row(nearest, torch.cat([x, moves], 1))


def explained_variance(x: Tensor, nearest: list[Tensor]) -> np.ndarray:
    """The share of the variance of x (N, D) that each further component explains, from its nearest points with 1 .. k."""
    total = (x - x.mean(0)).square().sum()
    left = torch.stack([total, *((x - near).square().sum() for near in nearest)]) / total
    return (left[:-1] - left[1:]).numpy()
