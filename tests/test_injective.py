"""Noisy injective flows against closed forms, other libraries and quadrature (across_dimensions Sec. 3, 4, A)."""

import math
from typing import Any

import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal, kl_divergence

from flowrepro.flows.bases import DiagonalNormal, StandardNormal
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.injective import ConditionalNoise, Injection, StochasticCoupling, with_unit_noise
from flowrepro.flows.injective_bases import GaussianNIF, ImportanceWeighted, LinearNIF, UpsamplingNIF
from flowrepro.flows.low_rank import low_rank_score
from flowrepro.flows.models.nif import deep_base, latent_flow
from flowrepro.flows.nets import mlp
from flowrepro.flows.operators import Matrix, Upsampling

LOG_2PI = math.log(2 * math.pi)
DIM, LATENT = 37, 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def parts(nif: LinearNIF) -> tuple[Tensor, Tensor, Tensor]:
    """(A (N, M), b, the diagonal of Σ) in float64."""
    bias, log_var = (part.detach().double() for part in nif.injection.noise(None))
    columns = nif.injection.operator(torch.eye(nif.latent_dim, dtype=torch.float64)).detach()
    return columns.mT, bias, log_var.exp()


def filled(nif: Any) -> Any:
    """The base with b, log-variances and A of no special values."""
    with torch.no_grad():
        for i, parameter in enumerate(nif.parameters()):
            parameter.add_(0.5 * points(*parameter.shape, seed=8 + i).to(parameter.dtype))
    return nif


def gaussian(dim: int = DIM, latent_dim: int = LATENT) -> GaussianNIF:
    return filled(GaussianNIF(dim, latent_dim, seeded(), dtype=torch.float64))


def terms(nif: LinearNIF, x: Tensor) -> dict[str, Tensor]:
    """The letters of Eq. 9, computed as they are printed."""
    a, b, var = parts(nif)
    mu = x - b
    return {"mu": mu, "u": (mu / var) @ a, "Lambda": a.mT @ (a / var[:, None]), "var": var, "A": a}


def log_z_x(t: dict[str, Tensor]) -> Tensor:
    mu, var = t["mu"], t["var"]
    return 0.5 * ((mu.square() / var).sum(1) + var.log().sum() + mu.shape[1] * LOG_2PI)


def test_the_closed_form_is_that_of_torch_and_scipy() -> None:
    nif, x = gaussian(), 2 * points(20, DIM, seed=3)
    a, b, var = parts(nif)
    close(nif.log_prob(x), LowRankMultivariateNormal(b, a, var).log_prob(x))
    covariance = (a @ a.mT + var.diag()).numpy()
    theirs = torch.from_numpy(multivariate_normal(b.numpy(), covariance).logpdf(x.numpy()))
    close(nif.log_prob(x), theirs)
    close(nif.prepared().log_prob(x), theirs)
    close(LinearNIF.log_prob(nif, x), theirs)


def test_eq_41_as_printed_is_too_large_by_half_m_log_2_pi() -> None:
    nif, x = gaussian(), points(20, DIM, seed=3)
    t = terms(nif, x)
    capacitance = torch.eye(LATENT, dtype=x.dtype) + t["Lambda"]
    inner = (t["u"] * torch.linalg.solve(capacitance, t["u"].mT).mT).sum(1)
    log_z_hat = 0.5 * (inner - torch.logdet(capacitance) + LATENT * LOG_2PI)
    printed = log_z_hat - log_z_x(t)
    close(printed - nif.log_prob(x), torch.full((20,), LATENT / 2 * LOG_2PI, dtype=x.dtype))


def test_derivatives_of_the_score_are_right_twice() -> None:
    y, v = points(3, 5).requires_grad_(), points(5, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(low_rank_score, (y, v))
    assert torch.autograd.gradgradcheck(low_rank_score, (y, v))


def test_gradients_in_float32_are_those_of_torch() -> None:
    nif = filled(GaussianNIF(DIM, LATENT, seeded()))
    x = points(10, DIM).float()
    nif.log_prob(x).mean().backward()
    ours = [parameter.grad for parameter in nif.parameters()]
    nif.zero_grad()
    bias, log_var = nif.injection.noise(None)
    theirs = LowRankMultivariateNormal(bias, nif.injection.operator.weight, log_var.exp())
    theirs.log_prob(x).mean().backward()
    for a, parameter in zip(ours, nif.parameters(), strict=True):
        torch.testing.assert_close(a, parameter.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("log_var", [0.0, -4.0, -12.0])
@pytest.mark.parametrize("collinear", [False, True])
@torch.no_grad()
def test_float32_is_exact_for_small_noise(log_var: float, collinear: bool) -> None:
    """Also for columns that differ by one part in a thousand, where Λ has a condition number of 1e8."""
    nif = GaussianNIF(3072, 64, seeded())
    nif.injection.noise.log_var.fill_(log_var)
    if collinear:
        weight = nif.injection.operator.weight
        weight.copy_(weight[:, :1] + 1e-3 * weight)
    x = torch.cat([nif.sample(8, generator=seeded(1)), nif.sample(8, 4.0, generator=seeded(1))])
    a, b, var = parts(nif)
    exact = LowRankMultivariateNormal(b, a, var).log_prob(x.double())
    assert (nif.log_prob(x) - exact).abs().max() < 0.05
    assert (nif.prepared().log_prob(x) - exact).abs().max() < 0.05


def test_torchs_float32_loses_nats_where_ours_does_not() -> None:
    """The test above can tell."""
    nif = GaussianNIF(3072, 64, seeded())
    with torch.no_grad():
        nif.injection.noise.log_var.fill_(-12.0)
        x = nif.sample(8, generator=seeded(1))
    a, b, var = parts(nif)
    exact = LowRankMultivariateNormal(b, a, var).log_prob(x.double())
    theirs = LowRankMultivariateNormal(b.float(), a.float(), var.float()).log_prob(x)
    assert (theirs - exact).abs().max() > 0.5


def test_a_prepared_base_stays_as_it_was() -> None:
    nif, x = gaussian(), points(4, DIM)
    before, ready = nif.log_prob(x).detach(), nif.prepared()
    with torch.no_grad():
        for parameter in nif.parameters():
            parameter.mul_(1.5)
    close(ready.log_prob(x), before)
    assert (nif.log_prob(x) - before).abs().min() > 1e-3
    close(nif.prepared().log_prob(x), nif.log_prob(x))


def test_parameters_that_are_not_finite_give_nan_and_no_exception() -> None:
    nif = gaussian()
    with torch.no_grad():
        nif.injection.noise.log_var.fill_(torch.nan)
    assert nif.log_prob(points(3, DIM)).isnan().all() and nif.embed(points(3, DIM)).isnan().all()


@torch.no_grad()
def test_without_a_manifold_it_is_the_diagonal_and_the_standard_normal() -> None:
    nif, diagonal = GaussianNIF(3072, 64, seeded()), DiagonalNormal(3072)
    nif.injection.operator.weight.zero_()
    x = points(10, 3072).float()
    per_dim = (nif.log_prob(x) - StandardNormal(3072).log_prob(x)).abs() / 3072
    assert per_dim.max() < 1e-5
    assert (nif.log_prob(x) - StandardNormal(3072).log_prob(x)).abs().max() < 2e-3
    for base in (nif.injection.noise, diagonal):
        base.bias.copy_(points(3072, seed=1))
        base.log_var.copy_(points(3072, seed=2))
    torch.testing.assert_close(nif.log_prob(x), diagonal.log_prob(x))


def test_a_manifold_starts_small_but_not_at_the_saddle() -> None:
    nif, x = GaussianNIF(400, 5, seeded(), dtype=torch.float64), points(50, 400)
    weight = nif.injection.operator.weight
    torch.testing.assert_close(weight.norm(dim=0), torch.ones(5, dtype=x.dtype), rtol=0.15, atol=0)
    for factor, moves in ((1.0, True), (0.0, False)):
        with torch.no_grad():
            weight.mul_(factor)
        nif.zero_grad()
        nif.log_prob(x).sum().backward()
        assert bool(weight.grad.abs().sum() > 0) is moves


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_the_manifold_term_is_the_integral_over_z(latent_dim: int) -> None:
    nif, x = gaussian(4, latent_dim), points(3, 4, seed=2)
    a, b, var = parts(nif)
    axis = torch.linspace(-40, 40, 801, dtype=x.dtype)
    z = torch.cartesian_prod(*latent_dim * [axis]).view(-1, latent_dim)
    log_p = torch.stack([MultivariateNormal(row, var.diag()).log_prob(z @ a.mT + b) for row in x])
    integral = log_p.logsumexp(1) + latent_dim * (axis[1] - axis[0]).log()
    close(nif.injection.fit(x).log_integral, integral)


def test_the_manifold_term_is_eq_9() -> None:
    nif, x = gaussian(), points(20, DIM, seed=3)
    t = terms(nif, x)
    inner = (t["u"] * torch.linalg.solve(t["Lambda"], t["u"].mT).mT).sum(1)
    log_z_z = 0.5 * (inner - torch.logdet(t["Lambda"]) + LATENT * LOG_2PI)
    close(nif.injection.fit(x).log_integral, log_z_z - log_z_x(t))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_the_papers_manifold_term_for_equal_variances_is_wrong_unless_they_are_one(sigma: float) -> None:
    """Its log |A^T A| / (2 σ) must be log |A^T A| / 2."""
    nif, x = gaussian(), points(20, DIM, seed=3)
    with torch.no_grad():
        nif.injection.noise.log_var.fill_(math.log(sigma))
    t = terms(nif, x)
    a, mu = t["A"], t["mu"]
    log_det = torch.logdet(a.mT @ a)
    projection = torch.linalg.lstsq(a, mu.mT).solution.mT @ a.mT
    rest = -(mu * (mu - projection)).sum(1) / (2 * sigma) - (DIM - LATENT) / 2 * math.log(2 * math.pi * sigma)
    ours = nif.injection.fit(x).log_integral
    close(ours, rest - log_det / 2)
    printed = rest - log_det / (2 * sigma)
    close(printed - ours, (0.5 * (1 - 1 / sigma) * log_det).expand(20))
    assert (sigma == 1) == bool((printed - ours).abs().max() < 1e-9)


def test_the_stochastic_inverse_is_the_normalised_likelihood() -> None:
    """log q(z|x) + log ∫ p(x|z) dz = log p(x|z) for every z (Eq. 6), and draws have its moments."""
    nif, x = gaussian(6, 2), points(3, 6, seed=2)
    a, b, var = parts(nif)
    fit, z = nif.injection.fit(x), points(3, 2, seed=4)
    t = terms(nif, x)
    inverse = MultivariateNormal(fit.mean, precision_matrix=t["Lambda"])
    likelihood = MultivariateNormal(z @ a.mT + b, var.diag())
    close(inverse.log_prob(z) + fit.log_integral, likelihood.log_prob(x))
    draws, dlogp = nif.injection.infer(x, 40_000, seeded())
    close(dlogp, fit.log_integral.expand(40_000, 3))
    covariance = inverse.covariance_matrix[0]
    error = 5 * covariance.diagonal().max() / 200
    assert ((draws.mean(0) - fit.mean).abs() < error.sqrt() / 10).all()
    for i in range(3):
        assert ((torch.cov(draws[:, i].mT) - covariance).abs() < error).all()


def test_the_bound_of_eq_7_and_its_gap() -> None:
    """E_q log p(z) in closed form; what is missing is KL(q || posterior)."""
    nif, x = gaussian(9, 4), points(2, 9, seed=2)
    base = ImportanceWeighted(nif.injection, StandardNormal(4, torch.float64))
    fit, t = nif.injection.fit(x), terms(nif, x)
    spread = torch.linalg.inv(t["Lambda"]).trace()
    expected = fit.log_integral - 0.5 * (fit.mean.square().sum(1) + spread + 4 * LOG_2PI)
    weights = base.log_weights(x, 40_000, seeded()).detach()
    assert ((weights.mean(0) - expected).abs() < 4 * weights.std(0) / 200).all()
    inverse = MultivariateNormal(fit.mean, precision_matrix=t["Lambda"])
    posterior = MultivariateNormal(
        nif.embed(x, "posterior_mean"), precision_matrix=torch.eye(4, dtype=x.dtype) + t["Lambda"]
    )
    close(nif.log_prob(x) - expected, kl_divergence(inverse, posterior))


@torch.no_grad()
def test_importance_weighting_closes_the_gap() -> None:
    nif, x = gaussian(9, 4), points(6, 9, seed=2).repeat(500, 1)
    gaps = {}
    for samples in (1, 4, 32, 256):
        base = ImportanceWeighted(nif.injection, StandardNormal(4, torch.float64), samples)
        gaps[samples] = float((nif.log_prob(x) - base.log_prob(x, seeded(samples))).mean())
    assert gaps[1] > 2 * gaps[4] > 4 * gaps[32] > 8 * gaps[256] > 0
    assert gaps[32] < 0.1 and gaps[256] < 0.01


def test_embeddings_are_the_pseudo_inverse_and_the_posterior_mean() -> None:
    nif, x = gaussian(), points(8, DIM, seed=3)
    a, b, var = parts(nif)
    std = var.sqrt()
    nearest = torch.linalg.lstsq(a / std[:, None], ((x - b) / std).mT).solution.mT
    close(nif.embed(x), nearest)
    close(nif.project(x), nearest @ a.mT + b)
    covariance = a @ a.mT + var.diag()
    close(nif.embed(x, "posterior_mean"), torch.linalg.solve(covariance, (x - b).mT).mT @ a)


def test_a_projection_is_the_nearest_point_in_the_metric_of_the_noise() -> None:
    nif, x = gaussian(), points(8, DIM, seed=3)
    a, b, var = parts(nif)
    best = ((x - nif.project(x)).square() / var).sum(1)
    for seed in range(20):
        other = nif.embed(x) + 0.1 * points(8, LATENT, seed=seed)
        assert (((x - other @ a.mT - b).square() / var).sum(1) > best).all()


def test_an_embedding_without_a_manifold_is_nan() -> None:
    nif = gaussian()
    with torch.no_grad():
        nif.injection.operator.weight.zero_()
    assert nif.embed(points(3, DIM)).isnan().all()
    close(nif.embed(points(3, DIM), "posterior_mean"), torch.zeros(3, LATENT, dtype=torch.float64))


@torch.no_grad()
def test_temperature_moves_along_the_manifold_and_deviation_away_from_it() -> None:
    nif = gaussian()
    bias = nif.injection.noise.bias

    def drawn(t: float, s: float) -> Tensor:
        return nif.sample(6, t, s, seeded(5))

    close(drawn(3.0, 0.0) - bias, 3 * (drawn(1.0, 0.0) - bias))
    close(drawn(2.0, 0.7) - drawn(2.0, 0.0), 0.7 * (drawn(1.0, 1.0) - drawn(1.0, 0.0)))
    many = nif.sample(200_000, 0.5, 2.0, seeded(6))
    a, _, var = parts(nif)
    covariance = 0.25 * a @ a.mT + 4 * var.diag()
    variances = covariance.diagonal()
    error = ((variances.outer(variances) + covariance.square()) / len(many)).sqrt()
    assert ((torch.cov(many.mT) - covariance).abs() < 5 * error).all() and 5 * error.max() < 0.5 * var.max()


@torch.no_grad()
def test_samples_without_deviation_are_on_the_manifold() -> None:
    nif = filled(GaussianNIF(3072, 64, seeded()))
    x = nif.sample(10, 2.0, 0.0, seeded(1))
    a, b, _ = parts(nif)
    shifted = x.double() - b
    range_of_a = torch.linalg.qr(a).Q
    assert (shifted - shifted @ range_of_a @ range_of_a.mT).abs().max() < 1e-4
    off = nif.sample(10, 2.0, 0.01, seeded(1)).double() - b
    assert (off - off @ range_of_a @ range_of_a.mT).abs().max() > 1e-3


@torch.no_grad()
def test_samples_may_have_unit_noise_instead_of_the_learned_one() -> None:
    nif = gaussian()
    unit = with_unit_noise(nif)
    on_manifold, drawn, other = (
        base.sample(100_000, 1.0, s, seeded(6)) for base, s in ((nif, 0.0), (nif, 0.5), (unit, 0.5))
    )
    close((other - on_manifold).var(0), 0.25 * torch.ones(DIM, dtype=torch.float64), 0.01)
    close((drawn - on_manifold).var(0), 0.25 * parts(nif)[2], 0.02)
    assert (parts(nif)[2] - 1).abs().max() > 0.5


def upsampling(shape: tuple[int, int, int] = (2, 3, 2)) -> UpsamplingNIF:
    return filled(UpsamplingNIF(shape, torch.float64))


def test_upsampling_is_that_of_torch_with_a_diagonal_precision() -> None:
    shape = (2, 3, 2)
    operator, z = Upsampling(shape), points(4, 12)
    theirs = torch.nn.functional.interpolate(z.view(4, *shape), scale_factor=2, mode="nearest")
    close(operator(z), theirs.flatten(1))
    a = operator(torch.eye(12, dtype=z.dtype)).mT
    close(a.mT @ a, 4 * torch.eye(12, dtype=z.dtype))
    close(operator.transposed(points(4, 48)), points(4, 48) @ a)
    weights = points(48).exp()
    close(operator.precision(weights, 1.0).diagonal.diag(), torch.eye(12) + a.mT @ (a * weights[:, None]))


def test_upsampling_has_the_closed_form_of_any_nif() -> None:
    nif, x = upsampling(), points(10, 48, seed=3)
    a, b, var = parts(nif)
    close(nif.log_prob(x), LowRankMultivariateNormal(b, a, var).log_prob(x))


def test_the_manifold_term_of_upsampling_by_children() -> None:
    """z+ is the mean of a pixel's four children, weighted by their precision; -1/2 log lambda for each pixel."""
    nif, x = upsampling(), points(10, 48, seed=3)
    a, b, var = parts(nif)
    parent = a.argmax(1)
    mu, rate = x - b, torch.zeros(12, dtype=x.dtype).index_add(0, parent, 1 / var)
    mean = torch.zeros(10, 12, dtype=x.dtype).index_add(1, parent, mu / var) / rate
    square = ((mu - mean[:, parent]).square() / var).sum(1)
    expected = -0.5 * (square + rate.log().sum() + var.log().sum() + (48 - 12) * LOG_2PI)
    close(nif.injection.fit(x).log_integral, expected)
    close(nif.embed(x), mean)


def test_upsampling_takes_images_of_which_a_matrix_would_not_fit() -> None:
    nif = UpsamplingNIF((3, 128, 128))
    x = nif.sample(2, generator=seeded())
    assert nif.log_prob(x).isfinite().all() and nif.embed(x).shape == (2, 49_152)


def conditional(dim: int, given: int, seed: int) -> Injection:
    """An injection of one latent whose noise is set by a small network."""
    net = mlp([given, 8, 2 * dim], seeded(seed), "tanh", dtype=torch.float64)
    return Injection(Matrix(dim, 1, seeded(seed), 1.5, torch.float64), ConditionalNoise(net))


@torch.no_grad()
def test_stochastic_coupling_is_the_integral_of_eq_40() -> None:
    """By quadrature over z_1 and z_2, for x of four dimensions."""
    layer = StochasticCoupling(conditional(2, 2, seed=1), conditional(2, 1, seed=2))
    prior = StandardNormal(2, torch.float64)
    x = ImportanceWeighted(layer, prior).sample(3, generator=seeded(3))
    axis = torch.linspace(-8, 8, 401, dtype=x.dtype)
    z = torch.cartesian_prod(axis, axis)

    def normal(part: Injection, value: Tensor, latent: Tensor, given: Tensor) -> Tensor:
        bias, log_var = part.noise(given)
        mean = latent @ part.operator.weight.mT + bias
        return torch.distributions.Normal(mean, (0.5 * log_var).exp()).log_prob(value).sum(-1)

    z_1, z_2 = z.split(1, 1)
    for row in x:
        x_1, x_2 = row[:2], row[2:]
        integrand = (
            prior.log_prob(z)
            + normal(layer.second, x_2, z_2, z_1)
            + normal(layer.first, x_1, z_1, x_2.expand(len(z), 2))
        )
        exact = float(integrand.logsumexp(0) + 2 * (axis[1] - axis[0]).log())
        weights = ImportanceWeighted(layer, prior).log_weights(row[None], 400_000, seeded(4))[:, 0]
        estimate = float(weights.logsumexp(0)) - math.log(len(weights))
        ratio = (weights - exact).exp()
        assert abs(float(ratio.mean()) - 1) < 4 * float(ratio.std()) / len(ratio) ** 0.5 < 0.1
        few = weights.view(-1, 32).logsumexp(1).mean() - math.log(32)
        assert float(weights.mean()) < float(few) < estimate + 0.01


def test_the_latent_flow_is_that_of_the_paper() -> None:
    """Ten couplings with networks of four layers of 1,024 units, ActNorm and a reversal between them; B.5."""
    flow = latent_flow(6, generator=seeded())
    names = [type(layer).__name__ for layer in flow.chain]
    assert names == [*9 * ["AffineCoupling", "ActNorm", "Permutation"], "AffineCoupling"]
    coupling: Any = flow.chain[0]
    assert isinstance(coupling, AffineCoupling) and coupling.scale == "tanh"
    assert [layer.out_features for layer in coupling.net if isinstance(layer, torch.nn.Linear)] == [
        *4 * [1024],
        6,
    ]
    reverse: Any = flow.chain[2]
    assert torch.equal(reverse.order, torch.arange(5, -1, -1))


@torch.no_grad()
def test_a_deep_nif_starts_as_a_gaussian_one_and_is_initialised_by_embeddings() -> None:
    deep: Any = deep_base(9, 4, 3, [16], generator=seeded(), dtype=torch.float64)
    nif, x = LinearNIF(deep.injection), points(5, 9)
    ratios = (deep.log_weights(x, 20_000, seeded()) - nif.log_prob(x)).exp()
    error = ratios.std(0) / 20_000**0.5
    assert ((ratios.mean(0) - 1).abs() < 4 * error).all() and error.max() < 0.05
    data = nif.sample(500, generator=seeded(2)) + 1
    deep.init_from(data)
    reached = deep.prior.chain[:2](deep.embed(data))[0]
    close(reached.mean(0), torch.zeros(4, dtype=x.dtype))
    close(reached.std(0, correction=0), torch.ones(4, dtype=x.dtype), 1e-4)


def test_a_deep_nif_learns_what_a_gaussian_one_cannot() -> None:
    """A latent of two clusters, in ten dimensions: 150 steps of the bound beat the best Gaussian."""
    signs = torch.randint(2, (4000, 1), generator=seeded()) * 2 - 1
    x = 4 * signs * torch.ones(1, 10) / 10**0.5 + 0.3 * points(4000, 10).float()
    deep = deep_base(10, 2, 3, [16], 8, seeded())
    deep.init_from(x[:500])
    optimizer = torch.optim.Adam(deep.parameters(), 2e-2)
    for step in range(150):
        batch = x[torch.randint(4000, (100,), generator=seeded(step))]
        optimizer.zero_grad()
        (-deep.log_prob(batch, seeded(step)).mean()).backward()
        optimizer.step()
    wide, found = x.double(), deep.log_prob(x, seeded()).detach().mean()
    best = MultivariateNormal(wide.mean(0), torch.cov(wide.mT, correction=0)).log_prob(wide).mean()
    assert found > best + 0.3
