"""What one affine coupling can do (single_coupling Sec. 3): closed forms against known values and brute force."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad
from scipy.optimize import minimize
from torch import Tensor

from flowrepro.analysis.coupling import (
    conditional_kl,
    gmm_conditionals,
    improvement,
    kl_to_normal,
    square_conditionals,
    w_conditionals,
    w_entropy,
    wu_entropy,
)
from flowrepro.data.toy import GMM_VARIANCE, TOYS
from flowrepro.flows.moments import best_coupling_of
from flowrepro.metrics.independence import dependence

NEGENTROPY_UNIFORM = 0.5 * math.log(2 * math.pi * math.e) - math.log(2 * math.sqrt(3))


def draw(name: str, n: int = 200_000, seed: int = 0) -> Tensor:
    return TOYS[name].sample(n, torch.Generator().manual_seed(seed))[0]


def test_moments_of_w() -> None:
    c = w_conditionals()
    assert c.expectation(torch.ones_like(c.p)) == pytest.approx(1, abs=1e-12)
    assert c.expectation(c.mean.square()) == pytest.approx(0.125, abs=1e-7)
    assert c.expectation(c.variance) == pytest.approx(0.1534851, abs=1e-7)
    assert c.expectation(c.variance.log()) == pytest.approx(-1.9857222, abs=1e-7)
    assert c.improvement() == pytest.approx(0.6321036, abs=1e-7)


@pytest.mark.parametrize(
    ("entropy", "joint", "before", "after", "conditional"),
    [
        (w_entropy, 1.8123718, 0.8314145, 0.1993108, 0.0),
        (wu_entropy, 1.6358866, 1.0078997, 0.3757960, 0.1764852),
    ],
)
def test_divergences_of_w_and_wu(entropy, joint, before, after, conditional) -> None:
    c = w_conditionals()
    total_entropy = c.expectation(entropy(c.p)) + math.log(4)
    passive_kl = kl_to_normal(math.log(4), 4 / 3, 1)
    second_moment = 4 / 3 + c.expectation(c.mean.square() + c.variance)
    assert total_entropy == pytest.approx(joint, abs=1e-7)
    assert passive_kl == pytest.approx(0.1993108, abs=1e-7)
    assert kl_to_normal(total_entropy, second_moment, 2) == pytest.approx(before, abs=1e-7)
    assert before - c.improvement() == pytest.approx(after, abs=1e-6)
    # after the best coupling the active dimension has mean 0 and variance 1 at every p
    best = conditional_kl(torch.zeros_like(c.p), torch.ones_like(c.p), entropy(c.p) - c.variance.log() / 2)
    assert best.numpy() == pytest.approx(conditional, abs=1e-7)
    assert passive_kl + conditional == pytest.approx(after, abs=1e-6)


def test_conditional_divergence_before_training_along_p() -> None:
    p = torch.linspace(-2, 2, 200_001, dtype=torch.float64)
    mean, variance = 0.5 * (math.pi * p).cos(), ((3 - (8 * math.pi / 3 * p).cos()) / 8).square()
    w, wu = (conditional_kl(mean, variance, entropy(p)) for entropy in (w_entropy, wu_entropy))
    assert float(w.max()) == pytest.approx(1.04254, abs=1e-5) == pytest.approx(float(w[100_000]), abs=1e-5)
    assert float(w.min()) == pytest.approx(0.33388, abs=1e-5)
    assert (wu - w).numpy() == pytest.approx(0.1764852, abs=1e-7)
    assert NEGENTROPY_UNIFORM == pytest.approx(0.1764852, abs=1e-7)


def test_least_loss_depends_on_the_moments_alone() -> None:
    """Eq. 8 at its minimum, and the active part of it; the same for W and WU."""
    c = w_conditionals()
    active = 0.5 + 0.5 * c.expectation(c.variance.log())
    assert active == pytest.approx(-0.4928611, abs=1e-7)
    assert active + 2 / 3 == pytest.approx(0.1738056, abs=1e-7)
    assert active + 2 / 3 + math.log(2 * math.pi) == pytest.approx(2.0116826, abs=1e-7)


def test_lemma_1_by_minimising_the_loss_numerically() -> None:
    """The minimiser of E[(a e^s + t)^2 / 2 - s] over two numbers is s = -log sigma, t = -m / sigma."""
    a = 0.7 + 0.3 * draw("wu")[:, 1].numpy()
    found = minimize(lambda v: np.mean((a * np.exp(v[0]) + v[1]) ** 2) / 2 - v[0], [0.0, 0.0], tol=1e-12)
    assert found.x == pytest.approx([-math.log(a.std()), -a.mean() / a.std()], abs=1e-5)
    gain = np.mean(a**2) / 2 - found.fun
    expected = improvement(torch.tensor(a.mean()), torch.tensor(a.var()))
    assert gain == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.parametrize(
    ("degrees", "delta"),
    [
        (0, 0.712701),
        (10, 0.725761),
        (15, 0.741565),
        (20, 0.762656),
        (30, 0.815383),
        (40, 0.865653),
        (45, 0.878659),
        (46.4097, 0.8794489),
        (50, 0.873422),
        (55, 0.839335),
        (60, 0.765050),
        (65, 0.643074),
        (70, 0.477815),
        (75, 0.293761),
        (80, 0.133143),
        (90, 0.0),
        (133.5903, 0.8794489),
    ],
)
def test_improvement_of_the_two_gaussians(degrees: float, delta: float) -> None:
    assert gmm_conditionals(degrees).improvement() == pytest.approx(delta, abs=1e-6)
    assert gmm_conditionals(-degrees).improvement() == pytest.approx(delta, abs=1e-6)


def test_best_angle_of_the_two_gaussians() -> None:
    angles = np.arange(46, 47, 1e-3)
    gains = [gmm_conditionals(angle).improvement() for angle in angles]
    assert angles[int(np.argmax(gains))] == pytest.approx(46.4097, abs=2e-3)
    before = kl_to_normal(1.1997688, 1 + GMM_VARIANCE, 2)
    assert before == pytest.approx(1.1868583, abs=1e-6)
    assert before - max(gains) == pytest.approx(0.3074094, abs=1e-6)
    assert before - gmm_conditionals(0).improvement() == pytest.approx(0.4741568, abs=1e-6)


def test_conditionals_of_the_two_gaussians_by_brute_force() -> None:
    """Delta at 30 degrees by a two-dimensional quadrature of the density itself."""
    angle = math.radians(30)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    centre, var = turn @ np.array([0.95, 0.0]), GMM_VARIANCE

    def density(a: float, p: float) -> float:
        terms = [
            math.exp(-((p - s * centre[0]) ** 2 + (a - s * centre[1]) ** 2) / (2 * var)) for s in (-1, 1)
        ]
        return sum(terms) / (4 * math.pi * var)

    c = gmm_conditionals(30)
    for power, expected in ((1, c.mean * c.p), (2, c.mean.square() + c.variance)):
        factor = (lambda a, p: a * p) if power == 1 else (lambda a, p: a * a)
        total = dblquad(lambda a, p, f=factor: f(a, p) * density(a, p), -4, 4, -4, 4, epsabs=1e-7)[0]
        assert c.expectation(expected) == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize(
    ("degrees", "delta"),
    [
        (0, 0.2159728),
        (10, 0.28883),
        (20, 0.33576),
        (30, 0.36081),
        (40, 0.36901),
        (45, 0.3693992),
        (90, 0.2159728),
    ],
)
def test_improvement_of_the_square(degrees: float, delta: float) -> None:
    c = square_conditionals(degrees)
    assert c.expectation(torch.ones_like(c.p)) == pytest.approx(1, abs=1e-9)
    assert c.improvement() == pytest.approx(delta, abs=6e-6 if degrees % 45 else 1e-7)
    assert c.expectation(c.p.square()) == pytest.approx(1 / 3, abs=1e-9)
    assert c.expectation(c.mean.square() + c.variance) == pytest.approx(1 / 3, abs=1e-9)


def test_the_square_in_closed_form() -> None:
    assert 0.5 * (1 / 3 - 1 + math.log(3)) == pytest.approx(square_conditionals(0).improvement(), abs=1e-9)
    assert 0.5 * (1 / 3 + math.log(1.5)) == pytest.approx(square_conditionals(45).improvement(), abs=1e-6)
    before = kl_to_normal(math.log(4), 2 / 3, 2)
    assert before == pytest.approx(0.7849160, abs=1e-7)
    assert before - square_conditionals(45).improvement() == pytest.approx(0.4155168, abs=1e-6)
    # along the axes a second coupling finds nothing but the other axis
    assert before - 2 * square_conditionals(0).improvement() == pytest.approx(
        2 * NEGENTROPY_UNIFORM, abs=1e-7
    )


def test_excess_is_what_a_wrong_coupling_loses() -> None:
    c = w_conditionals()
    s, t = -c.variance.log() / 2, -c.mean * c.variance.rsqrt()
    assert c.excess(s, t) == pytest.approx(0, abs=1e-12)
    # of the identity: all of Delta
    assert c.excess(torch.zeros_like(s), torch.zeros_like(t)) == pytest.approx(c.improvement(), abs=1e-12)
    wrong = c.excess(s + 0.1, t + 0.2)
    assert wrong == pytest.approx(
        0.5 * (0.2**2 + (-0.0 + math.exp(0.2)) - 1 - 0.2) + 0.5 * _cross(c), abs=1e-9
    )


def _cross(c) -> float:
    """What the mean that e^0.1 leaves behind adds: E[(0.2 + m/sigma (1 - e^0.1))^2] - 0.2^2."""
    ratio = c.mean * c.variance.rsqrt()
    return c.expectation((0.2 + ratio * (math.exp(0.1) - 1)).square()) - 0.2**2


class TestLemma2:
    """The best coupling makes a independent of p exactly when a = f(p) + n g(p) with n independent of p and g > 0."""

    n = 100_000
    noise = 0.03  # of the largest of 16 distances at 6,250 samples a bin

    def normalised(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        x = draw(name, self.n)
        p, a = x.unbind(1)
        mean, std = 0.5 * (math.pi * p).cos(), (3 - (8 * math.pi / 3 * p).cos()) / 8
        return p.numpy(), ((a - mean) / std).numpy()

    @pytest.mark.parametrize("name", ["w", "wu"])
    def test_of_that_form_it_does(self, name: str) -> None:
        x = draw(name, self.n).numpy()
        assert dependence(x[:, 0], x[:, 1]) > 0.4
        assert dependence(*self.normalised(name)) < self.noise

    def test_of_another_form_it_does_not(self) -> None:
        """Two narrow peaks left of p = 0, a normal right of it: moments are the same everywhere, laws are not."""
        rng = np.random.default_rng(0)
        p = rng.uniform(-2, 2, self.n)
        peaks = np.sign(rng.normal(size=self.n)) * math.sqrt(0.9) + math.sqrt(0.1) * rng.normal(size=self.n)
        a = np.where(p < 0, peaks, rng.normal(size=self.n))
        assert abs(a[p < 0].mean()) < 0.02 and a[p < 0].var() == pytest.approx(1, abs=0.02)
        assert dependence(p, a) > 5 * self.noise / 3

    def test_g_must_not_change_its_sign(self) -> None:
        """sigma is |g| sigma_n: a skewed n is mirrored where g < 0, which no coupling undoes."""
        rng = np.random.default_rng(0)
        p, n = rng.uniform(-2, 2, self.n), rng.exponential(size=self.n) - 1
        a = n * np.where(p < 0, -1.0, 1.0)
        assert dependence(p, a) > 0.1
        assert dependence(p, n) < self.noise


def test_dependence_is_zero_but_for_noise_and_one_at_most() -> None:
    rng = np.random.default_rng(1)
    p = rng.normal(size=20_000)
    assert dependence(p, rng.normal(size=20_000)) < 0.06
    assert 0.9 < dependence(p, p) <= 1


@pytest.mark.parametrize("n", [20, 64, 100])
def test_few_or_tied_samples_still_give_a_coupling(n):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for samples in (x, torch.cat([x[:, :1].sign(), x[:, 1:]], 1)):
        z = best_coupling_of(samples, 1)
        assert z.isfinite().all() and z[:, 1].abs().max() < 6
        assert z[:, 1].std() > 0.5
