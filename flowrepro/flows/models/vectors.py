"""The models on vectors. All begin by centring the data."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from flowrepro.analysis.oas import plane_rotation
from flowrepro.config.schema import (
    CouplingConfig,
    DenseConfig,
    LinearConfig,
    RealNVPConfig,
)
from flowrepro.errors import UsageError
from flowrepro.flows.activations import Elementwise
from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.core import Chain, Flow, Layer
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.linear import Dense, Permutation, Rotation
from flowrepro.flows.nets import Scaled, mlp
from flowrepro.flows.norm import BatchNorm
from flowrepro.flows.optimal import AnticipatingChain, OptimalRotation
from flowrepro.flows.preprocess import Center, Standardize


def linear(
    config: LinearConfig,
    shape: tuple[int],
    grey_levels: int,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Flow:
    """One dense layer (linear_systems Sec. 3.1)."""
    return centred_flow(shape, dtype, config.standardize, Dense(*shape, config.init, generator, dtype=dtype))


def dense(activation: type[Elementwise]) -> Callable[..., Flow]:
    """The builder of [Dense, activation] x layers + Dense (linear_systems Sec. 6).

    With `whitening` the first layer whitens the data, times `gain`; the others are orthogonal, the last
    divided by `gain`. Elsewhere `gain` and `shrinkage` have no effect.
    """

    def build(
        config: DenseConfig,
        shape: tuple[int],
        grey_levels: int,
        generator: torch.Generator,
        dtype: torch.dtype,
    ) -> Flow:
        whiten = config.init == "whitening"
        gain, inner = (config.gain, "orthogonal") if whiten else (1.0, config.init)

        def affine(init: str, factor: float = 1.0) -> Dense:
            return Dense(*shape, init, generator, factor, config.shrinkage, config.log_det, dtype)

        built: list[Layer] = [affine(config.init, gain), activation()]
        for _ in range(config.layers - 1):
            built += [affine(inner), activation()]
        return centred_flow(shape, dtype, config.standardize, *built, affine(inner, 1 / gain))

    return build


def realnvp(
    config: RealNVPConfig,
    shape: tuple[int],
    grey_levels: int,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Flow:
    """[BatchNorm, AffineCoupling, Permutation] x layers without the last permutation (linear_systems Sec. 6.1).

    Permutations are drawn until the passive part changes, so that no coupling repeats the split before it; the
    authors' own (`authors`), drawn freely, do so twice in five. Another `rotation` stands before each coupling instead.
    """
    (dim,) = shape
    passive = passive_dims(config.passive, dim)
    sizes = [passive, *config.hidden, 2 * (dim - passive)]
    permuted = config.rotation in ("permutation", "authors")
    start = generator if config.norm_start == "random" else None
    authors = authors_permutations(dim, config.layers - 1) if config.rotation == "authors" else []
    built: list[Layer] = []
    for i in range(config.layers):
        built += [BatchNorm(dim, dtype, start)] if config.batch_norm else []
        built += [] if permuted else [rotation(config.rotation, dim, passive, i, generator, dtype)]
        built.append(AffineCoupling(passive, mlp(sizes, generator, dtype=dtype), config.scale))
        if permuted and i + 1 < config.layers:
            built.append(authors[i] if authors else new_split(dim, passive, generator))
    return centred_flow(shape, dtype, config.standardize, *built)


def coupling(
    config: CouplingConfig,
    shape: tuple[int],
    grey_levels: int,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Flow:
    """[Rotation, AffineCoupling] x layers (single_coupling Eq. 4 and 5).

    The paper names neither activation nor bound of s; with an unbounded s its learning rate of 0.1 diverges. The
    factor on the networks' output, the soft clamp, ReLU and torch's initial weights are our choice, following the
    practice of the authors' group.
    """
    (dim,) = shape
    passive = passive_dims(config.passive, dim)
    sizes = [passive, *config.hidden, 2 * (dim - passive)]
    built: list[Layer] = []
    for i in range(config.layers):
        net = mlp(sizes, generator, config.activation, dtype=dtype, init="fan_in", first=config.input_scale)
        built.append(rotation(config.rotation, dim, passive, i, generator, dtype, config.angle))
        scaled = nn.Sequential(net, Scaled(config.output_scale))
        built.append(AffineCoupling(passive, scaled, config.scale))
    return centred_flow(shape, dtype, config.standardize, *built)


def centred_flow(shape: tuple[int], dtype: torch.dtype, standardize: bool, *layers: Layer) -> Flow:
    """The flow of these layers behind a Center, and a Standardize if wanted, on a standard normal."""
    kind = AnticipatingChain if any(isinstance(layer, OptimalRotation) for layer in layers) else Chain
    first: list[Layer] = [Center(*shape, dtype), *([Standardize(*shape, dtype)] if standardize else [])]
    return Flow(kind(*first, *layers), StandardNormal(*shape, dtype))


def passive_dims(wanted: int, dim: int) -> int:
    """How many dimensions a coupling leaves unchanged; half of them for 0. Raises UsageError where that is not possible."""
    passive = wanted or dim // 2
    if not 0 < passive < dim:
        raise UsageError(
            f"model.passive={passive} must lie between 1 and {dim - 1}; the data have {dim} dimensions"
        )
    return passive


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


def authors_permutations(dim: int, count: int) -> list[Permutation]:
    """Those between the couplings in the authors' code of linear_systems, from the data on.

    It draws them with numpy's seed 3, whatever the seed of the flow, from the latents on, and applies their inverses.
    """
    drawn = np.random.RandomState(3)
    orders = [drawn.permutation(dim) for _ in range(count)]
    return [Permutation(torch.from_numpy(np.argsort(order))) for order in reversed(orders)]
