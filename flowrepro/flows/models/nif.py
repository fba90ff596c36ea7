"""Noisy injective flows on images: the layers of the NF on a Gaussian NIF (across_dimensions Fig. 4), plain or deep."""

import math
from collections.abc import Sequence

import torch

from flowrepro.config.schema import NIFConfig, NIFDeepConfig
from flowrepro.errors import UsageError
from flowrepro.flows.bases import Base, DiagonalNormal, StandardNormal
from flowrepro.flows.core import Chain, Flow, Layer
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.injective import Injection, Noise
from flowrepro.flows.injective_bases import GaussianNIF, ImportanceWeighted
from flowrepro.flows.linear import Permutation
from flowrepro.flows.models.images import nf_layers
from flowrepro.flows.nets import mlp
from flowrepro.flows.norm import ActNorm
from flowrepro.flows.operators import Matrix
from flowrepro.flows.reshape import Shape


def nif(
    config: NIFConfig, shape: Shape, grey_levels: int, generator: torch.Generator, dtype: torch.dtype
) -> Flow:
    """The NF on a Gaussian NIF; without a manifold (M = 0) on a learned diagonal Gaussian."""
    layers, (dim, latent_dim) = nf_layers(config, shape, grey_levels, generator, dtype), dims(config, shape)
    base: Base = (
        GaussianNIF(dim, latent_dim, generator, dtype=dtype) if latent_dim else DiagonalNormal(dim, dtype)
    )
    return Flow(Chain(*layers), base, shape)


def nif_deep(
    config: NIFDeepConfig, shape: Shape, grey_levels: int, generator: torch.Generator, dtype: torch.dtype
) -> Flow:
    """The NF on a Gaussian NIF whose latent has a flow of its own (across_dimensions Fig. 11)."""
    layers, (dim, latent_dim) = nf_layers(config, shape, grey_levels, generator, dtype), dims(config, shape)
    couplings, hidden, samples = config.latent_couplings, config.latent_hidden, config.importance_samples
    base = deep_base(dim, latent_dim, couplings, hidden, samples, generator, dtype)
    return Flow(Chain(*layers), base, shape)


def dims(config: NIFConfig, shape: Shape) -> tuple[int, int]:
    """N and M. Raises UsageError where M is larger."""
    dim = math.prod(shape)
    if config.latent_dim > dim:
        raise UsageError(
            f"model.latent_dim={config.latent_dim} must be at most {dim}, the pixel values of an image"
        )
    return dim, config.latent_dim


def latent_flow(
    dim: int,
    couplings: int = 10,
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

    chain = [layer for _ in range(couplings - 1) for layer in (coupling(), *between())]
    return Flow(Chain(*chain, coupling()), StandardNormal(dim, dtype))


def deep_base(
    dim: int,
    latent_dim: int,
    couplings: int = 10,
    hidden: Sequence[int] = (1024, 1024, 1024, 1024),
    samples: int = 32,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> ImportanceWeighted:
    """A Gaussian NIF whose latent has a flow of its own (Fig. 11), by the bound with so many samples."""
    injection = Injection(Matrix(dim, latent_dim, generator, dtype=dtype), Noise(dim, dtype))
    return ImportanceWeighted(
        injection, latent_flow(latent_dim, couplings, hidden, generator, dtype), samples
    )
