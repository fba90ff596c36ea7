"""Un-whitened components S^-1 U^T f(x) of a flow with Jacobian J = U S V^T (linear_systems Sec. 4)."""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from flowrepro.analysis.jacobian import BatchMap, jacobian, top_svd
from flowrepro.errors import Diverged, UsageError

EXACT_DIM = 64
CHUNK_ELEMENTS = 2**22


class InvertibleMap(Protocol):
    """What has a chain with an inverse, such as a Flow."""

    @property
    def chain(self) -> "HasInverse": ...

    def latents(self, x: Tensor) -> Tensor: ...


class HasInverse(Protocol):
    """What maps latents back to data; `prepared` is the same map for many products."""

    def inverse(self, z: Tensor) -> Tensor: ...

    def prepared(self) -> "HasInverse": ...


@dataclass(frozen=True)
class Components:
    """The components of a batch, the one of largest local std first.

    values: (B, k), in the units of the data.
    std: (B, k), the local standard deviations 1/s_i.
    directions: (B, D, k), unit vectors in data space: columns of V.
    signs: "paper" (the largest loading of each column of U is positive) or "neighbours".
    """

    values: Tensor
    std: Tensor
    directions: Tensor
    signs: str = "paper"

    def __getitem__(self, points: int | slice) -> "Components":
        """Those at some of the points."""
        return Components(self.values[points], self.std[points], self.directions[points], self.signs)


def components(flow: InvertibleMap, x: Tensor, k: int | None = None, method: str = "auto") -> Components:
    """The first k components (all by default) of a flow at x (B, D); images (B, C, H, W) count as vectors.

    method: "exact" takes the SVD of every Jacobian; "matrix_free" finds the largest singular triplets of the
    inverse map's Jacobian V S^-1 U^T at f(x), as exact as the former (`jacobian.top_svd`); "auto" is exact up to 64
    dimensions or if all are requested. Where local stds agree to all digits, their directions are any basis of theirs.

    Raises:
        UsageError: unknown method, or k not in 1 .. D.
        Diverged: the flow is not finite at some x.
    """
    shape, flat = x.shape[1:], x.flatten(1)
    k, method = _settled(flat.shape[1], k, True, method)
    chain = flow.chain.prepared() if method == "matrix_free" else flow.chain
    return components_of(
        lambda v: flow.latents(v.unflatten(1, shape)), flat, k, lambda z: chain.inverse(z).flatten(1), method
    )


def median_angle(a: Tensor, b: Tensor) -> float:
    """The median angle in degrees between the lines along unit vectors a and b (n, D)."""
    cosines = (a * b).sum(1).abs().clamp(max=1)
    return float(torch.rad2deg(cosines.arccos()).median())


def neighbour_signs(components: Components, x: Tensor, neighbours: int = 10) -> Components:
    """The same components with signs that agree between neighbours in data space; x is the batch, (B, D).

    The paper's rule looks at one point at a time, and can flip inside a manifold where the largest loading
    changes. Here each component's sign is carried from neighbour to neighbour (`signs.agreeing_signs`); the
    one sign that stays free is the one that the paper's rule gives to most points.
    """
    # scikit-learn takes a second to import, and a flow does not need it
    from flowrepro.analysis.signs import agreeing_signs

    directions = components.directions
    found = agreeing_signs(
        directions.detach().cpu().double().numpy(), x.detach().cpu().double().numpy(), neighbours
    )
    signs = torch.as_tensor(found).to(directions)
    return replace(
        components,
        values=components.values * signs,
        directions=directions * signs[:, None],
        signs="neighbours",
    )


@torch.no_grad()
def components_of(
    f: BatchMap, x: Tensor, k: int | None = None, inverse: BatchMap | None = None, method: str = "auto"
) -> Components:
    """`components` of a batch map f, (B, D) -> (B, D); the matrix-free way needs its inverse."""
    k, method = _settled(x.shape[1], k, inverse is not None, method)
    width = x.shape[1] if method == "exact" else 16 * k
    chunks = x.split(max(1, CHUNK_ELEMENTS // (x.shape[1] * width)))
    if method == "exact" or inverse is None:
        parts = [_exact(f, chunk, k) for chunk in chunks]
    else:
        parts = [_matrix_free(f, inverse, chunk, k) for chunk in chunks]
    values, std, directions = (torch.cat(part) for part in zip(*parts, strict=True))
    return Components(values, std, directions)


def _settled(dim: int, k: int | None, invertible: bool, method: str) -> tuple[int, str]:
    """k and method with their defaults filled in."""
    wanted = dim if k is None else k
    if not 1 <= wanted <= dim:
        raise UsageError(f"{wanted} components requested, but the data have {dim} dimensions")
    if method == "auto":
        return wanted, "exact" if dim <= EXACT_DIM or wanted == dim or not invertible else "matrix_free"
    if method not in ("exact", "matrix_free") or (method == "matrix_free" and not invertible):
        raise UsageError(
            f"components: method={method} is unknown; known: auto, exact, matrix_free (needs an inverse)"
        )
    return wanted, method


def _exact(f: BatchMap, x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    z = _finite(f(x))
    # float64: the smallest singular values, which make the first components, are lost first
    u, s, vh = torch.linalg.svd(_finite(jacobian(f, x)).double())
    return _projected(z, u.flip(-1)[..., :k], s.reciprocal().flip(-1)[..., :k], vh.mT.flip(-1)[..., :k])


def _matrix_free(f: BatchMap, inverse: BatchMap, x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    z = _finite(f(x))
    v, std, u = top_svd(lambda z: _finite(inverse(z)), z, k)
    return _projected(z, u, std, v)


def _projected(z: Tensor, u: Tensor, std: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(values, std, directions) in the dtype of z, with the paper's signs."""
    signs = u.gather(1, u.abs().argmax(1, keepdim=True)).sign()
    values = std * (signs * u * z[..., None]).sum(1)
    return values.to(z.dtype), std.to(z.dtype), (signs * v).to(z.dtype)


def _finite(tensor: Tensor) -> Tensor:
    bad = int((~tensor.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise Diverged(
            f"the flow is not finite at {bad} of {len(tensor)} points: leave those out, or retrain"
        )
    return tensor
