"""The laws of densities on the latent. A new base is one line in CATALOGUE."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from flowrepro.flows.bases import Base, DiagonalNormal, StandardNormal, std_factor
from flowrepro.flows.injective import ConditionalNoise, Injection, Noise, StochasticCoupling
from flowrepro.flows.injective_bases import GaussianNIF, ImportanceWeighted, UpsamplingNIF
from flowrepro.flows.models.nif import deep_base
from flowrepro.flows.nets import mlp
from flowrepro.flows.operators import Matrix, Upsampling

Make = Callable[[torch.dtype], Base]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


def conditional(dim: int, latent_dim: int, given: int, dtype: torch.dtype) -> Injection:
    """An injection whose noise is set by a small network."""
    net = mlp([given, 8, 2 * dim], seeded(dim), "tanh", dtype=dtype)
    return Injection(Matrix(dim, latent_dim, seeded(latent_dim), dtype=dtype), ConditionalNoise(net))


def stochastic_coupling(dtype: torch.dtype) -> Base:
    """Five dimensions over three."""
    layer = StochasticCoupling(conditional(2, 1, 3, dtype), conditional(3, 2, 1, dtype))
    return ImportanceWeighted(layer, StandardNormal(3, dtype), samples=300)


def upsampled(dtype: torch.dtype) -> Base:
    """The bound over nearest-neighbour upsampling."""
    layer = Injection(Upsampling((1, 1, 1)), Noise(4, dtype))
    return ImportanceWeighted(layer, StandardNormal(1, dtype), samples=300)


CLOSED: dict[str, Make] = {
    "standard_normal": lambda dtype: StandardNormal(3, dtype),
    "diagonal_normal": lambda dtype: DiagonalNormal(3, dtype),
    "gaussian_nif": lambda dtype: GaussianNIF(6, 2, seeded(), dtype=dtype),
    "upsampling_nif": lambda dtype: UpsamplingNIF((1, 1, 2), dtype),
}
BOUNDS: dict[str, Make] = {
    "deep_nif": lambda dtype: deep_base(5, 2, 2, [8], samples=300, generator=seeded(), dtype=dtype),
    "stochastic_coupling": stochastic_coupling,
    "upsampled": upsampled,
}
CATALOGUE = CLOSED | BOUNDS
each_base = pytest.mark.parametrize("make", CATALOGUE.values(), ids=CATALOGUE.keys())
LEARNED = {name: make for name, make in CATALOGUE.items() if list(make(torch.float64).parameters())}
each_learned_base = pytest.mark.parametrize("make", LEARNED.values(), ids=LEARNED.keys())
each_closed_base = pytest.mark.parametrize("make", CLOSED.values(), ids=CLOSED.keys())


def filled(make: Make, dtype: torch.dtype = torch.float64) -> Base:
    """The base, moved away from special values such as zero biases and equal variances."""
    base = make(dtype)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(0.3 * points(*parameter.shape, seed=8, dtype=dtype))
    return base


@each_base
@torch.no_grad()
def test_samples_follow_the_density(make: Make) -> None:
    """E_g [f p / g] = E_p [f] for points of a wider normal g and samples of p; f is 1, every coordinate, its square."""
    base, n = filled(make), 20_000 if make in CLOSED.values() else 4000
    samples = base.sample(n, generator=seeded(1))
    wide = torch.distributions.MultivariateNormal(samples.mean(0), 2 * torch.cov(samples.mT))
    x = wide.mean + points(n, base.dim, seed=2) @ wide.scale_tril.mT
    ratio = (base.log_prob(x, seeded(3)) - wide.log_prob(x)).exp()

    def values(x: Tensor) -> Tensor:
        units = (x - wide.mean) / wide.stddev
        return torch.cat([torch.ones(n, 1), units, units.square()], 1)

    by_density, by_samples = ratio[:, None] * values(x), values(samples)
    error = ((by_density.var(0) + by_samples.var(0)) / n).sqrt()
    assert error.max() < 0.05
    assert ((by_density.mean(0) - by_samples.mean(0)).abs() < 4 * error).all()


@each_learned_base
def test_gradient_reaches_every_parameter(make: Make) -> None:
    base = filled(make)
    base.log_prob(points(20, base.dim), seeded()).sum().backward()
    for name, parameter in base.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@each_base
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtype_are_kept(make: Make, dtype: torch.dtype) -> None:
    base, x = filled(make, dtype), None
    x = base.sample(4, generator=seeded())
    assert x.shape == (4, base.dim) == base.project(x).shape and base.embed(x).shape == (4, base.latent_dim)
    assert base.log_prob(x).shape == (4,)
    assert x.dtype == base.log_prob(x).dtype == base.embed(x).dtype == base.project(x).dtype == dtype


@each_base
def test_the_same_noise_gives_the_same_numbers_and_changes_no_state(make: Make) -> None:
    base = filled(make)
    before = {name: value.clone() for name, value in base.state_dict().items()}
    x, again = (base.sample(5, 0.7, 0.5, seeded(3)) for _ in range(2))
    assert torch.equal(x, again) and not torch.equal(x, base.sample(5, 0.7, 0.5, seeded(4)))
    assert torch.equal(base.log_prob(x, seeded(3)), base.log_prob(x, seeded(3)))
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())


@each_base
def test_a_stored_state_is_the_whole_base(make: Make) -> None:
    base, other = filled(make), make(torch.float64)
    other.load_state_dict(base.state_dict())
    x = base.sample(5, generator=seeded(3))
    assert torch.equal(other.log_prob(x, seeded(1)), base.log_prob(x, seeded(1)))
    assert torch.equal(other.sample(5, generator=seeded(3)), x)


@each_base
def test_projections_are_on_the_manifold(make: Make) -> None:
    """A sample without deviation is its own projection, and its embedding is the z that it came from."""
    base = filled(make)
    on_manifold = base.sample(6, deviation=0.0, generator=seeded()).detach()
    if base.latent_dim < base.dim:
        torch.testing.assert_close(base.project(on_manifold), on_manifold, rtol=1e-8, atol=1e-8)
    x = points(6, base.dim)
    torch.testing.assert_close(base.project(base.project(x)), base.project(x), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(base.embed(base.project(x)), base.embed(x), rtol=1e-8, atol=1e-8)


@each_base
def test_without_temperature_and_deviation_there_is_one_point(make: Make) -> None:
    x = filled(make).sample(3, 0.0, 0.0, seeded())
    assert torch.equal(x, x[:1].expand_as(x))


@each_base
def test_finite_far_outside_the_bulk(make: Make) -> None:
    base = filled(make, torch.float32)
    x = (
        1e4 * torch.cat([torch.eye(base.dim), -torch.eye(base.dim), torch.ones(1, base.dim)])
    ).requires_grad_()
    log_prob = base.log_prob(x, seeded())
    log_prob.sum().backward()
    gradients = [parameter.grad for parameter in base.parameters()]
    assert all(part.isfinite().all() for part in [log_prob, x.grad, *gradients] if part is not None)


@each_base
def test_prepared_is_the_same_density_as_it_is_now(make: Make) -> None:
    base = filled(make)
    x, ready = base.sample(5, generator=seeded(1)).detach(), base.prepared()
    torch.testing.assert_close(ready.log_prob(x, seeded(2)), base.log_prob(x, seeded(2)))
    for part in ("embed", "project"):
        torch.testing.assert_close(getattr(ready, part)(x), getattr(base, part)(x))
    torch.testing.assert_close(ready.sample(5, 0.5, 0.3, seeded(3)), base.sample(5, 0.5, 0.3, seeded(3)))


@each_closed_base
def test_derivatives_are_those_of_torch_func(make: Make) -> None:
    base, x = filled(make), points(4, 8)[:, : filled(make).dim]

    def one(row: Tensor) -> Tensor:
        return base.log_prob(row[None])[0]

    tracked = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(base.log_prob(tracked).sum(), tracked)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(one))(x), gradient)
    hessians = torch.stack([torch.autograd.functional.hessian(one, row) for row in x])
    torch.testing.assert_close(torch.func.vmap(torch.func.jacrev(torch.func.grad(one)))(x), hessians)


@pytest.mark.parametrize(("scales", "factor"), [("std", 4.0), ("variance", 2.0)])
def test_a_temperature_scales_stds_or_variances(scales: str, factor: float) -> None:
    base: Any = filled(CATALOGUE["gaussian_nif"])
    centre = base.injection.noise.bias
    one, hot = (
        base.sample(5, t, 0.0, seeded()) - centre for t in (std_factor(1.0, scales), std_factor(4.0, scales))
    )
    torch.testing.assert_close(hot, factor * one)
