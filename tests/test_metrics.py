"""Metrics against closed forms and against scipy."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from flowrepro.analysis.bounds import manifold_log_likelihood
from flowrepro.analysis.components import components_of
from flowrepro.analysis.jacobian import jacobian
from flowrepro.analysis.manifolds import MANIFOLDS
from flowrepro.data.toy import TOYS
from flowrepro.metrics.correlation import rank_correlations
from flowrepro.metrics.distance import energy_distance
from flowrepro.metrics.images import haze, ink, loop, nearest, slant
from flowrepro.metrics.separability import knn_r2


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_rank_correlations_are_scipys():
    a, b = rng().normal(size=(200, 2)), rng(1).normal(size=(200, 3))
    b[:, 0] += a[:, 1] ** 3
    ours = rank_correlations(a, b)
    for i in range(2):
        for j in range(3):
            assert ours[i, j] == pytest.approx(spearmanr(a[:, i], b[:, j]).statistic, abs=1e-12)


def test_knn_r2_is_one_for_what_can_be_read_off_and_none_for_noise():
    angle = rng().uniform(0, 2 * np.pi, 3000)
    features = np.stack([np.cos(angle), np.sin(angle)], 1)
    targets = np.stack([features[:, 0] ** 2, rng(1).normal(size=3000)], 1)
    readable, noise = knn_r2(features, targets)
    assert readable > 0.999 and abs(noise) < 0.2


def test_energy_distance_of_shifted_normals_is_the_closed_form():
    """In one dimension 2 E|X - Y| - E|X - X'| - E|Y - Y'| for N(0, 1), N(2, 1) has a closed form."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4000, 1, generator=generator, dtype=torch.float64) for _ in range(2))

    def mean_abs(mean: float) -> float:  # E|N(mean, 2)|
        from scipy.stats import norm

        s = np.sqrt(2)
        return 2 * s * norm.pdf(mean / s) + mean * (1 - 2 * norm.cdf(-mean / s))

    assert energy_distance(x, y + 2) == pytest.approx(2 * mean_abs(2) - 2 * mean_abs(0), rel=0.03)
    assert abs(energy_distance(x, y)) < 2e-3


def test_slant_is_the_shear_of_a_sheared_bar():
    rows, columns = np.mgrid[:28, :28]
    for shear in (-0.4, 0.0, 0.3):
        bar = (np.abs(columns - 14 - shear * (rows - 14)) < 1.5) & (np.abs(rows - 14) < 9)
        assert slant(bar[None].astype(float))[0] == pytest.approx(shear, abs=0.05)
        assert ink(bar[None].astype(float))[0] == bar.mean()


def test_a_ring_encloses_its_inside_and_a_line_nothing():
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    ring = (np.abs(np.hypot(x, y) - 0.6) < 0.1).astype(float)
    line = (np.abs(x) < 0.1).astype(float)
    enclosed = loop(np.stack([ring, line]))
    assert enclosed[0] == pytest.approx(np.pi * 0.5**2 / 4, rel=0.05) and enclosed[1] == 0


def test_the_nearest_image_is_found_and_its_distance_is_that_of_the_pixels():
    images = np.random.default_rng(0).random((20, 5, 5))
    assert nearest(images, images) == pytest.approx(0, abs=1e-6)
    assert len(nearest(images[:0], images)) == 0
    assert nearest(images[:1], images[1:])[0] == pytest.approx(
        min(np.linalg.norm(images[0] - b) for b in images[1:])
    )


def test_noise_and_smudges_raise_the_haze_of_black_and_white_images():
    generator = np.random.default_rng(0)
    clean = (generator.random((50, 28, 28)) < 0.2).astype(float)
    assert (haze(clean) == 0).all() and haze(np.full((1, 4, 4), 0.5)) == [1]
    noisy = np.clip(clean + 0.1 * generator.standard_normal(clean.shape), 0, 1)
    # half of the pixels are clipped; the others lose |e| - e^2 of a normal of 0.1
    assert haze(noisy).mean() == pytest.approx(2 * (0.1 * np.sqrt(2 / np.pi) - 0.01), rel=0.03)


@pytest.mark.parametrize("name", MANIFOLDS)
class TestManifolds:
    def points(self, name: str, n: int = 4000):
        return TOYS[name].sample(n, torch.Generator().manual_seed(0))

    def test_an_exact_flow_finds_the_normal_latents_and_the_surface(self, name: str):
        x, latents = self.points(name)
        z = MANIFOLDS[name].exact_flow(5e-5)(x)
        assert z[:, 2].abs().max() < 1e-9
        assert z[:, :2].mean(0).abs().max() < 0.05
        assert (z[:, :2].std(0) - 1).abs().max() < 0.05
        assert abs(rank_correlations(z[:, :2].numpy(), latents.numpy())).diagonal().min() > 1 - 1e-12

    def test_the_optimum_is_the_exact_flows_likelihood_up_to_its_bend(self, name: str):
        """log p = log N(f) + log |det J|; the sine's height is not its distance, which costs a known log."""
        x, latents = self.points(name)
        flow = MANIFOLDS[name].exact_flow(5e-5)
        log_det = torch.linalg.slogdet(jacobian(flow, x))[1]
        log_prob = torch.distributions.Normal(0, 1).log_prob(flow(x)).sum(1) + log_det
        if name == "sine":
            log_prob = log_prob - 0.5 * torch.log1p((2 * latents[:, 0]).cos() ** 2)
        error = float(log_prob.std() / len(x) ** 0.5)
        optimum = manifold_log_likelihood(MANIFOLDS[name].surface_entropy, 1, 5e-5)
        assert float(log_prob.mean()) == pytest.approx(optimum, abs=4 * error)
        assert optimum == pytest.approx({"sine": 1.007, "scurve": 1.574}[name], abs=1e-3)

    def test_component_stds_are_the_tangents_of_the_manifold(self, name: str):
        x, latents = self.points(name, 500)
        std = components_of(MANIFOLDS[name].exact_flow(5e-5), x).std
        if name == "sine":
            # the height stands for the distance, which bends the tangent by the order of alpha
            stretch = 2 * (1 + (2 * latents[:, 0]).cos() ** 2).sqrt()
            torch.testing.assert_close(std[:, 0], stretch, rtol=1e-4, atol=0)
            torch.testing.assert_close(std[:, 1], torch.full_like(stretch, 0.5))
        else:
            assert float((std[:, 0] - 0.45 * torch.pi).abs().max()) < 1e-9
            assert float(std[:, 1].max()) < 2 / (2 * torch.pi) ** 0.5 + 1e-9
            assert float((std[:, 2] - 5e-5**0.5).abs().max()) < 1e-12
