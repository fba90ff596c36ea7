"""Tikhonov: exact against autograd, Hutchinson unbiased, and the closed-form optimum of a linear flow."""

import itertools

import pytest
import torch
from torch import Tensor

from flowrepro.analysis.bounds import linear_log_likelihood, tikhonov_singular_values
from flowrepro.config.schema import DenseConfig, LinearConfig, NoRegularizerConfig, TikhonovConfig
from flowrepro.errors import UsageError
from flowrepro.flows.core import Flow
from flowrepro.flows.models import build as build_flow
from flowrepro.training.regularizers import NoRegularizer, Tikhonov, build, half_squares, rademacher


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def made(name: str = "dense_asinh", dim: int = 3) -> Flow:
    flow = build_flow(DenseConfig(name, layers=3), (dim,), None, seeded(), torch.float64)
    flow.init_from(points(100, dim, seed=9))
    return flow


def reference(flow: Flow, x: Tensor) -> Tensor:
    """1/2 ||J||_F^2 by reverse-mode Jacobians, differentiable in the parameters."""
    jacobians = torch.func.vmap(torch.func.jacrev(lambda row: flow.latents(row[None])[0]))(x)
    return 0.5 * jacobians.square().sum((1, 2))


def gradients(value: Tensor, flow: Flow) -> list[Tensor]:
    parameters = list(flow.parameters())
    return list(torch.autograd.grad(value.mean(), parameters, allow_unused=True, materialize_grads=True))


def all_signs(dim: int, batch: int) -> Tensor:
    """All 2^D vectors of signs as tangents (batch, D, 2^D)."""
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=dim)), dtype=torch.float64)
    return signs.mT.expand(batch, -1, -1)


@pytest.mark.parametrize("name", ["dense_asinh", "dense_softplus"])
def test_exact_is_half_the_squared_frobenius_norm_in_value_and_gradient(name: str) -> None:
    flow, x = made(name), points(20, 3)
    log_prob, term = Tikhonov(estimator="exact")(flow, x)
    torch.testing.assert_close(term, reference(flow, x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_prob, flow.log_prob(x), rtol=1e-10, atol=1e-10)
    for a, b in zip(gradients(term, flow), gradients(reference(flow, x), flow), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_the_term_of_a_linear_flow_is_half_the_squared_norm_of_its_weight() -> None:
    flow = build_flow(LinearConfig("linear"), (4,), None, seeded(), torch.float64)
    term = Tikhonov()(flow, points(3, 4))[1]
    torch.testing.assert_close(term, (0.5 * flow.chain[1].weight.square().sum()).expand(3))


@pytest.mark.parametrize("dim", [2, 4])
def test_the_mean_over_all_sign_probes_is_exact_in_value_and_gradient(dim: int) -> None:
    flow, x = made(dim=dim), points(10, dim)
    mean = half_squares(flow, x, all_signs(dim, 10))[1] / 2**dim
    exact = Tikhonov(estimator="exact")(flow, x)[1]
    torch.testing.assert_close(mean, exact, rtol=1e-10, atol=1e-10)
    for a, b in zip(gradients(mean, flow), gradients(exact, flow), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("probes", [1, 4])
def test_hutchinson_is_unbiased(probes: int) -> None:
    flow, x, generator = made(), points(8, 3), seeded(1)
    hutchinson = Tikhonov(estimator="hutchinson", probes=probes)
    draws = torch.stack([hutchinson(flow, x, generator)[1] for _ in range(400)])
    error = draws.std(0) / 20
    assert ((draws.mean(0) - reference(flow, x)).abs() < 4 * error).all()


def test_hutchinson_has_an_unbiased_gradient() -> None:
    flow, x, generator = made(), points(8, 3), seeded(2)
    draws = [
        torch.cat(
            [g.flatten() for g in gradients(Tikhonov(estimator="hutchinson")(flow, x, generator)[1], flow)]
        )
        for _ in range(300)
    ]
    stacked = torch.stack(draws)
    exact = torch.cat([g.flatten() for g in gradients(reference(flow, x), flow)])
    error = stacked.std(0) / len(draws) ** 0.5
    assert ((stacked.mean(0) - exact).abs() < 4 * error + 1e-12).double().mean() > 0.99


def test_probes_are_signs_of_the_generator() -> None:
    like = torch.zeros(1)
    first, again = (rademacher((50, 3, 4), like, seeded(3)) for _ in range(2))
    assert torch.equal(first, again) and first.dtype == torch.float32
    assert first.abs().unique().tolist() == [1.0] and abs(float(first.mean())) < 0.2


def test_auto_is_exact_up_to_16_dimensions() -> None:
    for dim, exact in ((16, True), (17, False)):
        flow, x = made(dim=dim), points(4, dim)
        term = Tikhonov()(flow, x, seeded())[1]
        assert torch.allclose(term, Tikhonov(estimator="exact")(flow, x)[1]) == exact


def test_none_is_the_plain_likelihood() -> None:
    flow, x = made(), points(5, 3)
    log_prob, term = NoRegularizer()(flow, x, seeded())
    assert torch.equal(log_prob, flow.log_prob(x)) and torch.equal(term, torch.zeros(5, dtype=x.dtype))


def test_build_from_configs() -> None:
    built = build(TikhonovConfig("tikhonov", alpha=0.3, estimator="hutchinson", probes=2))
    assert isinstance(built, Tikhonov)
    assert (built.alpha, built.estimator, built.probes) == (0.3, "hutchinson", 2)
    assert build(NoRegularizerConfig("none")).alpha == 0.0


def test_unknown_words_name_the_known_ones() -> None:
    with pytest.raises(UsageError, match="none, tikhonov"):
        build(TikhonovConfig("tichonov"))
    with pytest.raises(UsageError, match="auto, exact, hutchinson"):
        Tikhonov(estimator="approximate")
    with pytest.raises(UsageError, match="at least 1"):
        Tikhonov(probes=0)


@pytest.mark.parametrize("alpha", [1e-2, 1e-4])
def test_a_trained_linear_flow_reaches_the_closed_form(alpha: float) -> None:
    """linear_systems Sec. 5: s_i = (lambda_i + alpha)^(-1/2), on data of rank 2 in three dimensions."""
    data = points(500, 2) @ points(2, 3, seed=1) + 2
    flow = build_flow(LinearConfig("linear"), (3,), None, seeded(), torch.float64)
    flow.init_from(data)
    tikhonov = Tikhonov(alpha)
    optimizer = torch.optim.LBFGS(
        flow.parameters(), max_iter=500, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        log_prob, term = tikhonov(flow, data)
        loss = (alpha * term - log_prob).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    eigenvalues = torch.linalg.eigvalsh(torch.cov(data.mT, correction=0)).clamp(min=0)
    expected = tikhonov_singular_values(eigenvalues, alpha)
    torch.testing.assert_close(
        torch.linalg.svdvals(flow.chain[1].weight.detach()), expected, rtol=1e-3, atol=0
    )
    found = flow.log_prob(data).mean().item()
    assert found == pytest.approx(linear_log_likelihood(eigenvalues, alpha), abs=1e-4)
