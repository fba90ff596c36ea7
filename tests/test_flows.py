"""Flows as densities, and the registry of models."""

import inspect
import math
from dataclasses import replace
from typing import get_type_hints

import pandas as pd
import pytest
import torch
from torch import Tensor

from flowrepro.config.schema import (
    SCHEMAS,
    CouplingConfig,
    DenseConfig,
    LinearConfig,
    QLFVectorsConfig,
    RealNVPConfig,
)
from flowrepro.errors import UsageError
from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.core import Flow
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.linear import Permutation, Rotation
from flowrepro.flows.models import MODELS, build
from flowrepro.flows.norm import BatchNorm, update_statistics
from flowrepro.flows.optimal import OptimalRotation, layerwise_by_moments
from flowrepro.metrics.correlation import rank_correlations
from flowrepro.metrics.independence import dependence

CONFIGS = {
    "linear": LinearConfig("linear"),
    "dense_asinh": DenseConfig("dense_asinh", layers=2),
    "dense_softplus": DenseConfig("dense_softplus", layers=2),
    "realnvp": RealNVPConfig("realnvp", layers=3, hidden=[16]),
    "coupling": CouplingConfig("coupling", layers=3, hidden=[16]),
    "qlf_vectors": QLFVectorsConfig("qlf_vectors", layers=2, hidden=[8]),
}
each_model = pytest.mark.parametrize("name", CONFIGS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def made(config: DenseConfig | LinearConfig, dim: int = 2, seed: int = 0) -> Flow:
    """The flow of a config, initialised on points around (1, 1, ...)."""
    flow = build(config, (dim,), None, seeded(seed), torch.float64).eval()
    flow.init_from(points(500, dim, seed=9) + 1)
    update_statistics(flow.chain, points(500, dim, seed=9) + 1)
    return flow


def compact(layers: int, seed: int = 0) -> Flow:
    """A random asinh flow whose last layer is strong enough to keep its heavy tails in a box."""
    flow = made(DenseConfig("dense_asinh", layers=layers), seed=seed)
    with torch.no_grad():
        flow.chain[-1].weight.mul_(3)
    return flow


def grid(low: float, high: float, n: int) -> tuple[Tensor, float]:
    """(n^2, 2) points of a square grid and the area of a cell."""
    axis = torch.linspace(low, high, n, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), float((axis[1] - axis[0]) ** 2)


def test_a_registered_model_is_built_from_its_own_config_by_the_one_signature() -> None:
    assert set(MODELS) == set(SCHEMAS["model"])
    for name, builder in MODELS.items():
        assert list(inspect.signature(builder).parameters) == list(inspect.signature(build).parameters)
        assert get_type_hints(builder)["config"] is SCHEMAS["model"][name]
        assert get_type_hints(builder)["return"] is Flow


def test_every_model_is_tested() -> None:
    assert set(CONFIGS) == {name for name, schema in SCHEMAS["model"].items() if not schema.takes_images}


@each_model
def test_a_model_begins_by_centring(name: str) -> None:
    flow = made(CONFIGS[name], 3)
    assert type(flow.chain[0]).__name__ == "Center" and flow.dim == 3
    torch.testing.assert_close(flow.chain[0].mean, (points(500, 3, seed=9) + 1).mean(0))


def test_layers_counts_hidden_layers() -> None:
    names = [type(layer).__name__ for layer in made(DenseConfig("dense_asinh", layers=8)).chain]
    assert names.count("Dense") == 9 and names.count("Asinh") == 8 and names[-1] == "Dense"


def test_realnvp_is_as_the_paper_used_it() -> None:
    flow = made(RealNVPConfig("realnvp"), 3)
    names = [type(layer).__name__ for layer in flow.chain]
    assert names == ["Center", *6 * ["BatchNorm", "AffineCoupling", "Permutation"]][:-1]
    couplings = [layer for layer in flow.chain if isinstance(layer, AffineCoupling)]
    sizes = [layer.weight.shape[::-1] for layer in couplings[0].net if isinstance(layer, torch.nn.Linear)]
    assert [tuple(size) for size in sizes] == [(1, 512), (512, 512), (512, 4)]
    orders = [layer.order for layer in flow.chain if isinstance(layer, Permutation)]
    assert all(order[0] != 0 for order in orders), "a coupling repeats the split before it"


def test_realnvp_of_the_authors() -> None:
    """Their permutations pass dimensions 0 0 1 0 0 2 of the data, whatever the seed; gains and shifts start at random."""
    config = RealNVPConfig("realnvp", hidden=[8], rotation="authors", norm_start="random")
    flow = made(config, 3)
    passed, dims = [], torch.arange(3)
    for layer in flow.chain:
        dims = dims[layer.order] if isinstance(layer, Permutation) else dims
        passed += [int(dims[0])] if isinstance(layer, AffineCoupling) else []
    assert passed == [0, 0, 1, 0, 0, 2]
    starts = torch.stack(
        [p for layer in flow.chain if isinstance(layer, BatchNorm) for p in layer.parameters()]
    )
    assert 1 < float(starts.detach().abs().max()) <= math.sqrt(6 / 4) and len(starts.unique()) == 36
    other = build(config, (3,), None, seeded(1), torch.float64)
    orders = [
        [layer.order.tolist() for layer in f.chain if isinstance(layer, Permutation)] for f in (flow, other)
    ]
    assert orders[0] == orders[1]


def test_columns_of_a_table_are_found_by_name() -> None:
    flow = made(CONFIGS["linear"], 3)
    flow.columns = ("a", "b", "c")
    frame = pd.DataFrame(points(5, 3).numpy(), columns=flow.columns)
    expected = flow.log_prob(frame.to_numpy())
    torch.testing.assert_close(flow.log_prob(frame[["c", "a", "b"]]), expected)
    torch.testing.assert_close(flow.log_prob(frame.set_axis(range(3), axis=1)), expected)
    with pytest.raises(UsageError, match="columns a, b, c, not a, b, d"):
        flow.log_prob(frame.rename(columns={"c": "d"}))


@each_model
def test_a_standardized_flow_does_not_depend_on_the_units(name: str) -> None:
    """In units a million times smaller the latents are the same, and log p is less by log 1e6 per dimension."""
    config, x = replace(CONFIGS[name], standardize=True), points(500, 3, seed=9) * torch.tensor([1, 2, 5]) + 1
    flows = [build(config, (3,), None, seeded(), torch.float64).eval() for _ in range(2)]
    for flow, factor in zip(flows, (1, 1e6), strict=True):
        flow.init_from(factor * x)
        update_statistics(flow.chain, factor * x)
    one, other = flows
    torch.testing.assert_close(other.latents(1e6 * x), one.latents(x))
    torch.testing.assert_close(other.log_prob(1e6 * x), one.log_prob(x) - 3 * math.log(1e6))


@pytest.mark.parametrize("passive", [3, 4])
def test_a_coupling_needs_a_passive_and_an_active_part(passive: int) -> None:
    with pytest.raises(UsageError, match="model.passive"):
        made(RealNVPConfig("realnvp", passive=passive), 3)


def test_a_coupling_flow_is_rotations_and_couplings() -> None:
    flow = made(CouplingConfig("coupling", layers=2, hidden=[8], standardize=True))
    names = [type(layer).__name__ for layer in flow.chain]
    assert names == ["Center", "Standardize", *2 * ["Rotation", "AffineCoupling"]]
    assert [type(part).__name__ for part in flow.chain[3].net] == ["Sequential", "Scaled"]


@pytest.mark.parametrize("dim", [2, 3])
def test_axes_pass_one_after_the_other(dim: int) -> None:
    flow = made(CouplingConfig("coupling", layers=3, rotation="axis"), dim)
    axes = torch.eye(dim, dtype=torch.float64)
    passed = []
    for layer in flow.chain:
        axes = axes @ layer.matrix.mT if isinstance(layer, Rotation) else axes
        passed += [int(axes[:, 0].argmax())] if isinstance(layer, Rotation) else []
    assert passed == [i % dim for i in range(3)]


def test_the_first_axis_is_turned_by_the_angle() -> None:
    flow = made(CouplingConfig("coupling", layers=1, rotation="axis", angle=30.0))
    cos, sin = math.cos(math.pi / 6), math.sin(math.pi / 6)
    expected = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
    torch.testing.assert_close(flow.chain[1].matrix, expected)


def test_a_coupling_flow_has_no_permutations() -> None:
    with pytest.raises(UsageError, match="oas, random, axis"):
        made(CouplingConfig("coupling", rotation="permutation"))


def square(n: int, seed: int) -> Tensor:
    return 2 * torch.rand(n, 2, generator=seeded(seed), dtype=torch.float64) - 1


@pytest.mark.parametrize("config", [CouplingConfig("coupling"), RealNVPConfig("realnvp", hidden=[8])])
def test_optimal_rotations_anticipate_trained_couplings(config: CouplingConfig | RealNVPConfig) -> None:
    """On the square the first coupling passes the diagonal; the second must not pass it again."""
    config.rotation, config.layers = "oas", 3
    flow = build(config, (2,), None, seeded(), torch.float64)
    flow.init_from(square(8192, 1))
    first, second, _ = (layer.matrix for layer in flow.chain if isinstance(layer, OptimalRotation))
    angle = math.degrees(math.atan2(float(first[0, 1]), float(first[0, 0])))
    assert abs(angle % 90 - 45) < 8
    assert abs(float((second @ first)[0] @ first[0])) < 0.9
    assert not any(torch.equal(a, b) for a, b in ((first, second), (second, torch.eye(2).double())))


def test_the_flow_without_training_improves_with_every_layer() -> None:
    """Alg. 2 by binned moments on the square; the first layer gains what the closed form says."""
    x, held_out = square(60_000, 2), square(60_000, 3)
    chain, base = layerwise_by_moments(x, layers=6), StandardNormal(2, torch.float64)
    loss = [-float(Flow(chain[: 1 + 2 * k], base).log_prob(held_out).mean()) - math.log(4) for k in range(7)]
    assert loss[0] == pytest.approx(0.7849, abs=0.01) and loss[1] == pytest.approx(0.4155, abs=0.012)
    assert all(b < a + 1e-3 for a, b in zip(loss[:-1], loss[1:], strict=True)) and loss[6] < 0.05
    random = [Rotation.random(2, seeded(i), torch.float64) for i in range(6)]
    assert [layer for layer in layerwise_by_moments(x, 6, random) if isinstance(layer, Rotation)] == random


def test_two_couplings_make_three_dimensions_independent() -> None:
    """D - 1 couplings that pass D - 1 dimensions each do, for x_i = f + n_i g of the earlier ones (Sec. 3.5)."""
    e = points(60_000, 3)
    x2 = 0.5 * e[:, 0] ** 2 + (0.4 * e[:, 0]).exp() * e[:, 1]
    x = torch.stack([e[:, 0], x2, e[:, 0] * x2 + (0.3 * x2).exp() * e[:, 2]], 1)
    by_last = [torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[[2, 0, 1]]]
    chain = layerwise_by_moments(x, 2, [Rotation(m) for m in by_last], passive=2)
    z, normalised = chain(x)[0].numpy(), e[:, [2, 0, 1]].numpy()
    assert rank_correlations(z, normalised).diagonal() == pytest.approx(1, abs=2e-3)
    before, after = (
        max(dependence(a[:, i], a[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))) for a in (x.numpy(), z)
    )
    assert before > 0.3 and after < 0.04


@each_model
def test_a_seed_gives_the_same_flow(name: str) -> None:
    x = points(5, 2)
    assert torch.equal(made(CONFIGS[name]).log_prob(x), made(CONFIGS[name]).log_prob(x))
    # qlf_vectors starts as the identity, whatever its networks
    one, other = (made(CONFIGS[name], seed=seed).parameters() for seed in (0, 1))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@each_model
def test_reconstructs(name: str) -> None:
    x = points(50, 2)
    torch.testing.assert_close(made(CONFIGS[name]).reconstruct(x), x, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_random_asinh_flow_integrates_to_one(seed: int) -> None:
    flow = compact(layers=2, seed=seed)
    x, cell = grid(-19, 21, 801)
    with torch.no_grad():
        assert abs(float(flow.log_prob(x).exp().sum()) * cell - 1) < 1e-3


def test_a_softplus_flow_integrates_to_its_part_of_the_latent_space() -> None:
    flow = made(DenseConfig("dense_softplus", layers=1))
    x, cell = grid(-40, 60, 2001)
    with torch.no_grad():
        mass = float(flow.log_prob(x).exp().sum()) * cell
        reached = flow.sample(200_000, generator=seeded()).isfinite().all(1).double().mean()
    assert mass < 0.9 and abs(mass - float(reached)) < 5e-3


def test_moments_of_samples_are_those_of_the_density() -> None:
    flow = compact(layers=1)
    x, cell = grid(-19, 21, 801)
    with torch.no_grad():
        weights = flow.log_prob(x).exp() * cell
    mean = weights @ x
    second = weights @ x.square()
    samples = flow.sample(100_000, generator=seeded())
    for power, expected in ((samples, mean), (samples.square(), second)):
        error = power.std(0) / math.sqrt(len(samples))
        assert ((power.mean(0) - expected).abs() < 5 * error).all()


def test_temperature_zero_is_the_image_of_the_mode() -> None:
    flow = made(DenseConfig("dense_asinh", layers=2))
    x = flow.sample(3, temperature=0.0)
    torch.testing.assert_close(flow.latents(x), torch.zeros(3, 2, dtype=x.dtype))


def test_temperature_scales_the_prior() -> None:
    flow = made(LinearConfig("linear"))
    cold, warm = (flow.sample(10, temperature=t, generator=seeded()) for t in (0.5, 1.0))
    torch.testing.assert_close(2 * flow.latents(cold), flow.latents(warm))


def test_samples_are_in_the_units_of_the_data() -> None:
    data = points(2000, 2) * torch.tensor([3.0, 0.1]) + torch.tensor([100.0, -5.0])
    flow = build(LinearConfig("linear", init="whitening"), (2,), None, seeded(), torch.float64)
    flow.init_from(data)
    samples = flow.sample(20_000, generator=seeded(1))
    torch.testing.assert_close(samples.mean(0), data.mean(0), rtol=0, atol=0.1)
    torch.testing.assert_close(samples.std(0), data.std(0), rtol=0.05, atol=0)


def test_standard_normal_is_that_of_torch() -> None:
    z = points(6, 3)
    theirs = torch.distributions.Normal(0, 1).log_prob(z).sum(1)
    torch.testing.assert_close(StandardNormal(3).log_prob(z), theirs)


def test_slices_share_layers_and_are_flows() -> None:
    flow, x = made(DenseConfig("dense_asinh", layers=2)), points(4, 2)
    head = flow.slice(3)
    assert head.chain[1] is flow.chain[1] and len(head.chain) == 3 and head.dim == 2
    z, dlogp = flow.chain[:3](x)
    torch.testing.assert_close(head.log_prob(x), flow.base.log_prob(z) + dlogp)


def test_whitening_starts_as_the_whitened_data_bent_by_gain() -> None:
    data = points(3000, 3) @ points(3, 3, seed=1)
    config = DenseConfig("dense_asinh", layers=2, init="whitening", gain=1e-3, shrinkage=0.0)
    flow = build(config, (3,), None, seeded(), torch.float64)
    flow.init_from(data)
    # asinh is the identity for a small gain, so that the whole flow whitens
    covariance = torch.cov(flow.latents(data).mT, correction=0)
    torch.testing.assert_close(covariance, torch.eye(3, dtype=data.dtype), rtol=1e-4, atol=1e-4)


def test_state_dict_restores_a_whitened_flow_without_data() -> None:
    config = DenseConfig("dense_asinh", layers=1, init="whitening")
    flow, x = made(config), points(4, 2)
    fresh = build(config, (2,), None, torch.Generator(), torch.float64)
    fresh.load_state_dict(flow.state_dict())
    assert torch.equal(fresh.log_prob(x), flow.log_prob(x))


@each_model
def test_flows_stack_under_torch_func(name: str) -> None:
    flows, x = [made(CONFIGS[name], 3, seed) for seed in range(3)], points(5, 3)
    parameters, buffers = torch.func.stack_module_state(flows)

    def log_prob(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(flows[0], (parameters, buffers), (x,))

    stacked = torch.func.vmap(log_prob)(parameters, buffers)
    torch.testing.assert_close(stacked, torch.stack([flow.log_prob(x) for flow in flows]))
    torch.func.vmap(torch.func.grad(lambda p, b: log_prob(p, b).sum()))(parameters, buffers)


@each_model
@pytest.mark.parametrize("shape", [(5, 1), (5, 2), (5, 4), (2,), (1,), (), (2, 5, 3), (5, 3, 1)])
def test_points_of_another_shape_are_refused(name: str, shape: tuple[int, ...]) -> None:
    flow = made(CONFIGS[name], 3)
    calls = (
        flow.log_prob,
        flow.latents,
        flow.reconstruct,
        flow.components,
        flow.init_from,
    )
    for call in calls:
        with pytest.raises(UsageError, match=r"shape \(3,\) or \(N, 3\), not \(") as error:
            call(torch.zeros(shape, dtype=torch.float64))
        assert str(tuple(shape)) in str(error.value)


@each_model
def test_one_point_and_no_point(name: str) -> None:
    flow, x = made(CONFIGS[name], 3), points(4, 3)
    torch.testing.assert_close(flow.log_prob(x[1]), flow.log_prob(x)[1])
    torch.testing.assert_close(flow.latents(x[1]), flow.latents(x)[1])
    torch.testing.assert_close(flow.reconstruct(x[1]), x[1])
    one, all_of_them = flow.components(x[1], 2), flow.components(x, 2)
    for name_of in ("values", "std", "directions"):
        torch.testing.assert_close(getattr(one, name_of), getattr(all_of_them, name_of)[1])
    assert flow.log_prob(x[:0]).shape == (0,)
    assert flow.latents(x[:0]).shape == flow.reconstruct(x[:0]).shape == flow.sample(0).shape == (0, 3)
    for method in ("exact", "matrix_free"):
        assert flow.components(x[:0], 2, method).directions.shape == (0, 3, 2)


@each_model
@pytest.mark.parametrize("own", [torch.float32, torch.float64])
def test_another_dtype_and_numpy_are_converted(name: str, own: torch.dtype) -> None:
    flow, x = made(CONFIGS[name], 3).to(own), torch.arange(-6, 6).view(4, 3)
    expected = flow.log_prob(x.to(own))
    read_only = x.numpy().astype("float32")
    read_only.flags.writeable = False
    given = [x, x.to(torch.int8), x.float(), x.double(), x.half(), x.numpy(), read_only]
    given += [x.numpy().astype(">f8"), x.flip(0).numpy()[::-1], x.numpy().tolist()]
    for points in given:
        found = flow.log_prob(points)
        assert found.dtype == own and torch.equal(found, expected)
    assert flow.components(x.numpy()).values.dtype == own


def test_gradients_pass_the_door() -> None:
    flow, x = made(CONFIGS["dense_asinh"], 3), points(4, 3).float().requires_grad_()
    flow.log_prob(x).sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.float32 and x.grad.abs().sum() > 0
    one = torch.func.vmap(torch.func.grad(flow.log_prob))(x.detach())
    torch.testing.assert_close(one, x.grad)


def test_a_slice_takes_what_reaches_it() -> None:
    flow, x = made(CONFIGS["dense_asinh"], 3), points(4, 3)
    tail = flow.slice(None, start=2)
    torch.testing.assert_close(tail.log_prob(flow.chain[:2](x)[0]) + flow.chain[:2](x)[1], flow.log_prob(x))
    with pytest.raises(UsageError, match="N, 3"):
        tail.log_prob(x[:, :2])


@each_model
def test_neither_the_flow_nor_its_door_breaks_a_compiled_graph(name: str) -> None:
    flow, x = made(CONFIGS[name], 3), points(4, 3)
    for call in (flow, flow.log_prob):
        compiled = torch.compile(call, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), flow.log_prob(x))


@each_model
def test_dtype(name: str) -> None:
    flow = build(CONFIGS[name], (3,), None, seeded(), torch.float32)
    assert flow.sample(4, generator=seeded()).dtype == torch.float32
    floating = [value for value in flow.state_dict().values() if value.is_floating_point()]
    assert {value.dtype for value in floating} == {torch.float32}


def test_unknown_words_name_the_known_ones() -> None:
    with pytest.raises(UsageError, match="linear, dense_asinh, dense_softplus"):
        build(LinearConfig("lineer"), (2,), None, seeded(), torch.float64)
    with pytest.raises(UsageError, match="glorot, orthogonal, whitening"):
        build(LinearConfig("linear", init="xavier"), (2,), None, seeded(), torch.float64)
    with pytest.raises(UsageError, match="dimension"):
        build(LinearConfig("linear"), (0,), None, seeded(), torch.float64)
