"""The bases of noisy injective flows on images: closed forms, and the deep one of across_dimensions Fig. 11."""

from collections.abc import Sequence

import torch

from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.core import Chain, Flow, Layer
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.injective import Injection, Noise
from flowrepro.flows.injective_bases import ImportanceWeighted
from flowrepro.flows.linear import Permutation
from flowrepro.flows.nets import mlp
from flowrepro.flows.norm import ActNorm
from flowrepro.flows.operators import Matrix


def latent_flow(
    dim: int,
    layers: int = 10,
    hidden: Sequence[int] = (1024, 1024, 1024, 1024),
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Flow:
    """Affine couplings with an ActNorm and a reversal between any two, over N(0, I) (across_dimensions B.5)."""
    passive, active = dim // 2, dim - dim // 2

    def coupling() -> Layer:
        net = mlp([passive, *hidden, 2 * active], generator, zero_last=True, dtype=dtype)
        return AffineCoupling(passive, net, "tanh")

    def between() -> list[Layer]:
        return [ActNorm(dim, dtype=dtype), Permutation(torch.arange(dim).flip(0))]

    chain = [layer for _ in range(layers - 1) for layer in (coupling(), *between())]
    return Flow(Chain(*chain, coupling()), StandardNormal(dim, dtype))


def deep_nif(
    dim: int,
    latent_dim: int,
    layers: int = 10,
    hidden: Sequence[int] = (1024, 1024, 1024, 1024),
    samples: int = 32,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> ImportanceWeighted:
    """A Gaussian NIF whose latent has a flow of its own (Fig. 11), by the bound with so many samples."""
    injection = Injection(Matrix(dim, latent_dim, generator, dtype=dtype), Noise(dim, dtype))
    return ImportanceWeighted(injection, latent_flow(latent_dim, layers, hidden, generator, dtype), samples)
