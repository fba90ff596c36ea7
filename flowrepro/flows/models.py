"""The models: a registry from a config's name to a builder. Every model begins by centring the data."""

from collections.abc import Callable
from typing import Any

import torch

from flowrepro.config import DenseConfig, LinearConfig, RealNVPConfig
from flowrepro.errors import UsageError
from flowrepro.flows.activations import Asinh, Elementwise, Softplus
from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.core import Chain, Flow, Layer
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.linear import Dense, Permutation
from flowrepro.flows.nets import mlp
from flowrepro.flows.norm import BatchNorm
from flowrepro.flows.preprocess import Center


def build(config: Any, dim: int, generator: torch.Generator, dtype: torch.dtype) -> Flow:
    """The untrained flow of a model config on R^dim, its randomness from `generator` (on the CPU).

    Layers that want the training data get it afterwards by `flow.init_from(x)`.

    Raises:
        UsageError: unknown model or init, or dim < 1.
    """
    if config.name not in MODELS:
        raise UsageError(f"model={config.name} is unknown; known: {', '.join(MODELS)}")
    if dim < 1:
        raise UsageError(f"a flow needs at least one dimension, not {dim}")
    layers = MODELS[config.name](config, dim, generator, dtype)
    return Flow(Chain(Center(dim, dtype), *layers), StandardNormal(dim, dtype))


def linear(config: LinearConfig, dim: int, generator: torch.Generator, dtype: torch.dtype) -> list[Layer]:
    """One dense layer (linear_systems Sec. 3.1)."""
    return [Dense(dim, config.init, generator, dtype=dtype)]


def dense(activation: type[Elementwise]) -> Callable[..., list[Layer]]:
    """The builder of [Dense, activation] x layers + Dense (linear_systems Sec. 6).

    With `whitening` the first layer whitens the data, times `gain`; the others are orthogonal, the last
    divided by `gain`. Elsewhere `gain` and `shrinkage` have no effect.
    """

    def layers(config: DenseConfig, dim: int, generator: torch.Generator, dtype: torch.dtype) -> list[Layer]:
        whiten = config.init == "whitening"
        gain, inner = (config.gain, "orthogonal") if whiten else (1.0, config.init)

        def affine(init: str, factor: float = 1.0) -> Dense:
            return Dense(dim, init, generator, factor, config.shrinkage, config.log_det, dtype)

        built: list[Layer] = [affine(config.init, gain), activation()]
        for _ in range(config.layers - 1):
            built += [affine(inner), activation()]
        return [*built, affine(inner, 1 / gain)]

    return layers


def realnvp(config: RealNVPConfig, dim: int, generator: torch.Generator, dtype: torch.dtype) -> list[Layer]:
    """[BatchNorm, AffineCoupling, Permutation] x layers without the last permutation (linear_systems Sec. 6.1).

    Permutations are drawn until the passive part changes, so that no coupling repeats the split before it; the
    authors' own, drawn freely, do so twice in six.
    """
    passive = config.passive or dim // 2
    if not 0 < passive < dim:
        raise UsageError(
            f"model.passive={passive} must lie between 1 and {dim - 1}; the data have {dim} dimensions"
        )
    sizes = [passive, *config.hidden, 2 * (dim - passive)]
    built: list[Layer] = []
    for _ in range(config.layers):
        built += [BatchNorm(dim, dtype)] if config.batch_norm else []
        built.append(AffineCoupling(passive, mlp(sizes, generator, dtype=dtype), config.scale))
        built.append(new_split(dim, passive, generator))
    return built[:-1]


def new_split(dim: int, passive: int, generator: torch.Generator) -> Permutation:
    """A random permutation whose first `passive` entries are not the ones that were there."""
    while True:
        permutation = Permutation.random(dim, generator)
        if set(permutation.order[:passive].tolist()) != set(range(passive)):
            return permutation


MODELS: dict[str, Callable[..., list[Layer]]] = {
    "linear": linear,
    "dense_asinh": dense(Asinh),
    "dense_softplus": dense(Softplus),
    "realnvp": realnvp,
}
