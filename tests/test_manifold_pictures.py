"""Pictures of what is on and off a learned manifold: samples, reconstructions, paths away from it, and their numbers."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from flowrepro.config.schema import NFConfig, NIFConfig, NIFDeepConfig
from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.flows.core import Flow
from flowrepro.flows.models import build
from flowrepro.measures import deviation_path, reconstructions, sheets
from flowrepro.metrics.images import diversity, total_variation

SIDE, LEVELS, M = 8, 16, 5
CONFIGS = {
    "nf": NFConfig("nf", levels=2, steps=1, hidden=4),
    "nif": NIFConfig("nif", levels=2, steps=1, hidden=4, latent_dim=M),
    "nif_deep": NIFDeepConfig(
        *("nif_deep", 2, 1, 4), latent_dim=M, latent_couplings=2, latent_hidden=[6], importance_samples=4
    ),
}
with_manifold = pytest.mark.parametrize("name", ["nif", "nif_deep"])
WANTED = [[1, 0], [1, 1], [3, 0]]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(n: int = 40) -> ImageData:
    grey = torch.randint(0, LEVELS, (n, SIDE, SIDE, 3), generator=seeded(), dtype=torch.uint8)
    images = Images(grey, LEVELS)
    return ImageData("noise", images, images, "noise", "")


def made(name: str, spread: float = 0.05) -> Flow:
    """An initialised flow whose every parameter is moved; in float32 as when trained."""
    flow = build(CONFIGS[name], (3, SIDE, SIDE), LEVELS, seeded(), torch.float32).eval()
    flow.init_from(data().val[:])
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(spread * torch.randn(parameter.shape, generator=seeded(8)))
    return flow.requires_grad_(False)


def columns(flow: Flow) -> Tensor:
    """A, (N, M) in float64."""
    return flow.base.injection.operator.weight.double()


def bias(flow: Flow) -> Tensor:
    return flow.base.injection.noise(None)[0].double()


class TestSheets:
    @pytest.mark.parametrize("name", CONFIGS)
    def test_there_is_a_sheet_and_its_numbers_for_every_pair(self, name: str) -> None:
        found = sheets.measure(made(name), data(), WANTED, n=6, n_measured=20)
        for end in ("t1_s0", "t1_s1", "t3_s0"):
            assert found[f"sheet_{end}"].shape == (6, SIDE, SIDE, 3)
            assert found[f"sheet_{end}"].dtype == np.uint8
            assert found[f"non_finite_{end}"] == 0 and 0 <= found[f"clipped_{end}"] < 1
            assert 0 < found[f"diversity_{end}"] < 1 and 0 < found[f"total_variation_{end}"] < 1

    def test_a_flow_without_a_manifold_has_the_same_samples_at_every_deviation(self) -> None:
        found = sheets.measure(made("nf"), data(), WANTED, n=6, n_measured=20)
        assert (found["sheet_t1_s0"] == found["sheet_t1_s1"]).all()
        assert found["diversity_t1_s0"] == found["diversity_t1_s1"] != found["diversity_t3_s0"]

    def test_all_pairs_scale_the_same_noise(self) -> None:
        """Behind an affine base: latents at t = 3 are those at t = 1, three times as far from b; s moves each apart."""
        flow = made("nif")
        at = {
            (t, s): flow.latents(sheets.drawn(flow.double(), 9, t, s, 0))
            for t, s in itertools.product((1, 3), (0, 1))
        }
        torch.testing.assert_close(at[3, 0] - bias(flow), 3 * (at[1, 0] - bias(flow)), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(at[3, 1] - at[3, 0], at[1, 1] - at[1, 0], rtol=1e-6, atol=1e-6)

    def test_faults_are_counted(self) -> None:
        x = torch.full((4, 3, SIDE, SIDE), 5.0)
        x[0, 1, 2, 3] = torch.nan
        x[1, 0, 0, :2] = torch.tensor([-0.1, LEVELS + 0.1])
        x[2, 0, 0, 0] = LEVELS
        found = sheets.sheet(x, data().val, 2, 4)
        assert found["non_finite"] == 0.25
        assert found["clipped"] == pytest.approx(2 / (3 * 3 * SIDE**2))
        lost = sheets.sheet(x[:1], data().val, 1, 1)
        assert lost["non_finite"] == 1 and math.isnan(lost["clipped"]) and math.isnan(lost["diversity"])

    def test_diversity_is_the_mean_over_pairs(self) -> None:
        images = np.random.default_rng(0).random((7, 4, 5, 3))
        pairs = [np.sqrt(((a - b) ** 2).mean()) for a, b in itertools.combinations(images, 2)]
        assert diversity(images) == pytest.approx(np.mean(pairs), rel=1e-12)

    def test_total_variation_of_a_ramp_and_of_noise(self) -> None:
        """A ramp has its slope along one axis and 0 along the other; two independent uniforms differ by 1/3."""
        ramp = np.broadcast_to(np.arange(10)[None, :, None, None] / 10, (2, 10, 10, 3))
        assert total_variation(ramp) == pytest.approx(0.05)
        noise = np.random.default_rng(0).random((20, 64, 64, 1))
        assert total_variation(noise) == pytest.approx(1 / 3, abs=0.005)


class TestReconstructions:
    def test_the_layers_are_exact_and_the_manifold_is_not(self) -> None:
        found = reconstructions.measure(made("nif"), data(), n=3, n_measured=20)
        assert found["originals"].shape == found["reconstructed"].shape == (3, SIDE, SIDE, 3)
        assert found["round_trip_max"] < 1e-3 and found["reconstruction_lost"] == 0
        # a random manifold holds its share of the dimensions
        assert found["latent_residual"] == pytest.approx(1 - M / (3 * SIDE**2), abs=0.1)
        assert found["reconstruction_mse"] > 0.01 and found["posterior_mean_mse"] > 0.01
        assert (found["originals"] == data().val.pixels[:3].numpy() * 17).all()

    def test_without_a_manifold_images_come_back(self) -> None:
        found = reconstructions.measure(made("nf"), data(), n=3, n_measured=20)
        assert (found["originals"] == found["reconstructed"]).all() and found["round_trip_max"] < 1e-3
        # what is left is the noise that was added: uniform, of one grey level
        assert found["reconstruction_mse"] == pytest.approx(1 / 12 / LEVELS**2, rel=0.05)
        assert found["latent_residual"] == 0 and math.isnan(found["nearest_error"])

    def test_the_pseudo_inverse_is_nearest_and_the_posterior_mean_is_not(self) -> None:
        """In the metric Σ^-1, by least squares in float64."""
        flow = made("nif", 0.3)
        z = flow.latents(data().val[:6])
        assert reconstructions.nearest_error(flow.base, z) < 1e-4
        weights = (-0.5 * flow.base.injection.noise(None)[1].double()).exp()
        target, design = weights * (z.double() - bias(flow)), weights[:, None] * columns(flow)
        best = torch.linalg.lstsq(design, target.mT).solution.mT @ columns(flow).mT + bias(flow)
        torch.testing.assert_close(flow.base.project(z).double(), best, rtol=1e-4, atol=1e-4)
        other = copy.deepcopy(flow.base)
        other.embed = lambda z: flow.base.embed(z, "posterior_mean")
        assert reconstructions.nearest_error(other, z) > 1e-3

    def test_the_error_is_from_the_middle_of_a_grey_level(self) -> None:
        x = torch.tensor([2.9, 3.1]).view(2, 1, 1, 1).expand(2, 3, SIDE, SIDE)
        returned = torch.tensor([2.5, -7.0]).view(2, 1, 1, 1).expand(2, 3, SIDE, SIDE)
        expected = (0.0 + (3.5 / LEVELS) ** 2) / 2
        assert reconstructions.error(data().val, returned, x) == pytest.approx(expected)

    def test_a_deep_flow_is_reconstructed_by_the_pseudo_inverse_alone(self) -> None:
        found = reconstructions.measure(made("nif_deep"), data(), n=3, n_measured=20)
        assert found["reconstruction_mse"] > 0.01 and math.isnan(found["posterior_mean_mse"])


class TestPaths:
    DEVIATIONS = (0.0, 0.25, 0.5, 1.0, 2.0)

    @with_manifold
    def test_latents_leave_the_manifold_in_proportion_to_s(self, name: str) -> None:
        found = deviation_path.measure(made(name), data(), list(self.DEVIATIONS), n=2, n_measured=12)
        assert found["paths"].shape == (2, 5, SIDE, SIDE, 3) and found["paths"].dtype == np.uint8
        away = found["path_latent_distance"]
        torch.testing.assert_close(
            away, away[3] * torch.tensor(self.DEVIATIONS).double(), rtol=1e-5, atol=1e-6
        )
        # the noise has N coordinates of variance Σ
        variance = made(name).base.injection.noise(None)[1].exp().sum()
        assert float(away[3]) == pytest.approx(math.sqrt(variance), rel=0.05)
        pixel = found["path_pixel_distance"]
        assert pixel[0] == 0 and bool((pixel.diff() > 0).all())
        assert found["off_manifold_max"] < 1e-4

    @with_manifold
    def test_samples_at_s_0_lie_in_the_range_of_the_matrix(self, name: str) -> None:
        """By least squares in float64; at s = 1 they do not."""
        flow = made(name)

        def residual(s: float) -> float:
            z = flow.base.sample(10, 1.0, s, seeded()).double() - bias(flow)
            fit = columns(flow) @ torch.linalg.lstsq(columns(flow), z.mT).solution
            return float((z.mT - fit).abs().max())

        assert residual(0) < 1e-4 < 0.1 < residual(1)

    def test_what_is_off_the_manifold_is_noticed(self, monkeypatch) -> None:
        flow = made("nif")
        generate = flow.base.injection.generate
        monkeypatch.setattr(
            flow.base.injection, "generate", lambda z, s, source: generate(z, s + 0.01, source)
        )
        assert deviation_path.measure(flow, data(), [0, 1], n_measured=5)["off_manifold_max"] > 1e-3
