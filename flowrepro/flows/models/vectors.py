"""The models: a registry from a config's name to a builder. On vectors every model begins by centring the data."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from flowrepro.analysis.oas import plane_rotation
from flowrepro.config.identity import takes_images
from flowrepro.config.schema import CouplingConfig, DenseConfig, LinearConfig, RealNVPConfig
from flowrepro.errors import UsageError
from flowrepro.flows.activations import Asinh, Elementwise, Softplus
from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.core import Chain, Flow, Layer
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.linear import Dense, Permutation, Rotation
from flowrepro.flows.models.images import build_images
from flowrepro.flows.nets import Scaled, mlp
from flowrepro.flows.norm import BatchNorm
from flowrepro.flows.optimal import AnticipatingCoupling, OptimalRotation
from flowrepro.flows.preprocess import Center, Standardize


def build_for(
    config: Any, shape: tuple[int, ...], levels: int | None, generator: torch.Generator, dtype: torch.dtype
) -> Flow:
    """The untrained flow of a model config on samples of this shape: (C, H, W) of so many grey levels, or (D,)."""
    if takes_images(config):
        channels, height, width = shape
        return build_images(config, (channels, height, width), levels or 256, generator, dtype)
    return build(config, shape[0], generator, dtype)


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
    authors' own, drawn freely, do so twice in six. Another `rotation` stands before each coupling instead.
    """
    passive = passive_dims(config.passive, dim)
    sizes = [passive, *config.hidden, 2 * (dim - passive)]
    permuted = config.rotation == "permutation"
    built: list[Layer] = []
    for i in range(config.layers):
        built += [BatchNorm(dim, dtype)] if config.batch_norm else []
        built += [] if permuted else [rotation(config.rotation, dim, passive, i, generator, dtype)]
        built.append(coupling_type(config)(passive, mlp(sizes, generator, dtype=dtype), config.scale))
        built += [new_split(dim, passive, generator)] if permuted and i + 1 < config.layers else []
    return built


def coupling(config: CouplingConfig, dim: int, generator: torch.Generator, dtype: torch.dtype) -> list[Layer]:
    """[Rotation, AffineCoupling] x layers (single_coupling Eq. 4 and 5).

    The paper names neither activation nor bound of s; with an unbounded s its learning rate of 0.1 diverges. The
    factor on the networks' output, the soft clamp, ReLU and torch's initial weights are our choice, and the habit of
    the authors' group.
    """
    passive = passive_dims(config.passive, dim)
    sizes = [passive, *config.hidden, 2 * (dim - passive)]
    built: list[Layer] = [Standardize(dim, dtype)] if config.standardize else []
    for i in range(config.layers):
        net = nn.Sequential(mlp(sizes, generator, dtype=dtype, init="fan_in"), Scaled(config.output_scale))
        built.append(rotation(config.rotation, dim, passive, i, generator, dtype, config.angle))
        built.append(coupling_type(config)(passive, net, config.scale))
    return built


def passive_dims(wanted: int, dim: int) -> int:
    """How many dimensions a coupling leaves unchanged; half of them for 0. Raises UsageError where that is not possible."""
    passive = wanted or dim // 2
    if not 0 < passive < dim:
        raise UsageError(
            f"model.passive={passive} must lie between 1 and {dim - 1}; the data have {dim} dimensions"
        )
    return passive


def coupling_type(config: CouplingConfig | RealNVPConfig) -> type[AffineCoupling]:
    """Couplings tell optimal rotations what to expect of them."""
    return AnticipatingCoupling if config.rotation == "oas" else AffineCoupling


def rotation(
    kind: str,
    dim: int,
    passive: int,
    place: int,
    generator: torch.Generator,
    dtype: torch.dtype,
    angle: float = 0.0,
) -> Rotation:
    """The rotation before the coupling number `place`; `axis` passes other dimensions each time, the first turned.

    Raises:
        UsageError: the kind is none of oas, random and axis.
    """
    if kind not in ("oas", "random", "axis"):
        raise UsageError(f"model.rotation={kind} is not one of oas, random, axis")
    if kind == "oas":
        seed = int(torch.randint(2**62, (), generator=generator))
        return OptimalRotation(dim, passive, seed, dtype)
    if kind == "random":
        return Rotation.random(dim, generator, dtype)
    # the coupling before has left its own passive dimensions in front
    matrix = torch.eye(dim, dtype=torch.float64).roll(-passive if place else 0, 0)
    if place == 0:
        matrix[:2, :2] = plane_rotation(torch.tensor(angle))
    return Rotation(matrix.to(dtype))


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
    "coupling": coupling,
}
