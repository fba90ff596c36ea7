"""Closed forms of the linear flow (linear_systems Sec. 3.1 and 5)."""

import math

import mpmath
import pytest
import torch
from torch import Tensor

from flowrepro.analysis.bounds import (
    best_linear,
    linear_baseline,
    linear_log_likelihood,
    tikhonov_singular_values,
)
from flowrepro.errors import UsageError

EIGENVALUES = torch.tensor([4.0, 1.0, 0.0], dtype=torch.float64)


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact_data(eigenvalues: Tensor, n: int = 200) -> Tensor:
    """Points (n, D) with mean 3 and exactly the covariance diag(eigenvalues)."""
    noise = points(n, len(eigenvalues))
    centred = noise - noise.mean(0)
    white = torch.linalg.qr(centred).Q * math.sqrt(n)
    return white * eigenvalues.sqrt() + 3


def test_singular_values_of_the_example() -> None:
    s = tikhonov_singular_values(EIGENVALUES, 1e-4)
    torch.testing.assert_close(s, torch.tensor([0.499994, 0.99995, 100.0], dtype=s.dtype), rtol=1e-6, atol=0)
    # the authors' code with the same number has twice the alpha
    assert tikhonov_singular_values(EIGENVALUES, 2e-4)[2] == pytest.approx(70.7107, abs=1e-4)


@pytest.mark.parametrize(("alpha", "nll"), [(1e-4, -0.155207), (2e-4, 0.191366)])
def test_likelihood_of_the_example(alpha: float, nll: float) -> None:
    assert -linear_log_likelihood(EIGENVALUES, alpha) == pytest.approx(nll, abs=1e-6)


def test_samples_of_the_best_linear_flow_have_its_mean_and_covariance() -> None:
    best = best_linear(exact_data(EIGENVALUES.flip(0)), alpha=0.5)
    torch.testing.assert_close(best.variances, EIGENVALUES + 0.5)
    drawn = best.sample(200_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), torch.full_like(EIGENVALUES, 3), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.mT.cov(), torch.diag(EIGENVALUES.flip(0) + 0.5), atol=0.05, rtol=0)


def test_objective_of_the_example() -> None:
    """The paper's objective, tr(S W^T W) - log det(W^T W) + alpha ||W||^2, is D + sum log(lambda + alpha)."""
    s = tikhonov_singular_values(EIGENVALUES, 1e-4)
    objective = (EIGENVALUES * s**2 - 2 * s.log() + 1e-4 * s**2).sum()
    assert float(objective) == pytest.approx(3 + float((EIGENVALUES + 1e-4).log().sum()))
    assert float(objective) == pytest.approx(-4.823921, abs=1e-6)


def test_baseline_on_its_training_set_is_the_closed_form() -> None:
    data = exact_data(EIGENVALUES)
    found = linear_baseline(data, data, 1e-4)
    assert found.shape == (200,) and found.dtype == torch.float64
    assert float(found.mean()) == pytest.approx(0.155207, abs=1e-6)


def test_baseline_of_float32_data_is_float64() -> None:
    data = exact_data(EIGENVALUES)
    torch.testing.assert_close(
        linear_baseline(data.float(), data.float(), 1e-2),
        linear_baseline(data, data, 1e-2),
        rtol=1e-4,
        atol=1e-4,
    )


def test_without_alpha_the_entropy_of_the_gaussian() -> None:
    data = exact_data(torch.tensor([4.0, 1.0], dtype=torch.float64))
    entropy = 0.5 * math.log(4) + math.log(2 * math.pi * math.e)
    assert float(linear_baseline(data, data, 0.0).mean()) == pytest.approx(-entropy)


def test_baseline_is_the_gaussian_of_torch() -> None:
    train, x = points(50, 3, seed=1), points(7, 3, seed=3)
    cov = torch.cov(train.mT, correction=0) + 1e-2 * torch.eye(3)
    theirs = torch.distributions.MultivariateNormal(train.mean(0), cov).log_prob(x)
    torch.testing.assert_close(linear_baseline(train, x, 1e-2), theirs)


def test_baseline_with_fewer_points_than_dimensions() -> None:
    train, x = points(4, 6, seed=1), points(7, 6, seed=3)
    cov = torch.cov(train.mT, correction=0) + 1e-2 * torch.eye(6)
    theirs = torch.distributions.MultivariateNormal(train.mean(0), cov).log_prob(x)
    torch.testing.assert_close(linear_baseline(train, x, 1e-2), theirs)


@pytest.mark.parametrize("size", [1e7, 1e9])
def test_baseline_of_large_columns_and_their_sum_has_its_digits(size: float) -> None:
    """Against 60 digits: alpha is 1e-18 of the variances, and all there is across the plane of the data."""
    parts = (size * (1 + points(40, 2).abs())).round()
    data = torch.cat([parts, parts.sum(1, keepdim=True)], 1)
    train = data[:36]
    with mpmath.workdps(60):
        rows = mpmath.matrix(train.tolist())
        centre = [mpmath.fsum(rows[:, j]) / 36 for j in range(3)]
        left = mpmath.matrix([[rows[i, j] - centre[j] for j in range(3)] for i in range(36)])
        cov = left.T * left / 36 + mpmath.mpf(5e-5) * mpmath.eye(3)
        inverse, log_det = cov**-1, mpmath.log(mpmath.det(cov))
        for row, found in zip(data.tolist(), linear_baseline(train, data, 5e-5).tolist(), strict=True):
            v = mpmath.matrix([row[j] - centre[j] for j in range(3)])
            exact = -((v.T * inverse * v)[0] + log_det + 3 * mpmath.log(2 * mpmath.pi)) / 2
            assert found == pytest.approx(float(exact), abs=1e-4)


def test_a_singular_covariance_is_told() -> None:
    data = torch.cat([points(50, 2), torch.zeros(50, 1)], 1)
    with pytest.raises(UsageError, match="alpha > 0"):
        linear_baseline(data, data, 0.0)
