"""Toy sets: samplers and densities agree, densities integrate to one, entropies and moments are the known ones."""

import math

import pytest
import torch

from flowrepro.config.compose import compose
from flowrepro.data import load
from flowrepro.data.toy import GMM_DELTA, PLANE, TOYS

# slow ones, and smooth enough for a coarse grid
BY_QUADRATURE = ("moons", "swissroll", "2spirals")
WITH_DENSITY = [name for name, toy in TOYS.items() if toy.log_density]
# entropies in nats, by quadrature or Monte Carlo outside this project (uncertain by 0.006 where the toys are)
ENTROPIES = {
    "banana": (2.8378770664, 1e-9),
    "square": (1.3862944, 1e-6),
    "gmm": (1.1997688, 1e-6),
    "w": (1.8123718, 1e-6),
    "wu": (1.6358866, 1e-6),
    "checkerboard": (3.465736, 1e-6),
    "moons": (2.393, 0.012),
    "circles": (3.267, 0.012),
    "rings": (2.620, 0.012),
    "8gaussians": (2.835, 0.012),
    "2spirals": (2.655, 0.012),
    "swissroll": (2.665, 0.012),
}
STDS = {
    "moons": (1.744, 1.008),
    "circles": (1.694, 1.694),
    "rings": (1.455, 1.455),
    "8gaussians": (2.031, 2.031),
    "2spirals": (1.610, 1.584),
    "checkerboard": (2.309, 2.309),
    "swissroll": (1.340, 1.405),
    "gmm": (1.0, 0.31225),
    "square": (0.57735, 0.57735),
}


def draw(name: str, n: int = 100_000, seed: int = 0) -> torch.Tensor:
    return TOYS[name].sample(n, torch.Generator().manual_seed(seed))[0]


def grid(half: float, cells: int) -> tuple[torch.Tensor, float]:
    """Midpoints of a square grid on [-half, half]^2, and the area of a cell."""
    side = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells * 2 * half - half
    return torch.cartesian_prod(side, side), (2 * half / cells) ** 2


@pytest.mark.parametrize("name", TOYS)
def test_a_sampler_is_a_function_of_its_generator(name):
    toy = TOYS[name]
    x, latents = toy.sample(100, torch.Generator().manual_seed(1))
    assert x.shape == (100, toy.dim) and x.dtype == torch.float64 and x.isfinite().all()
    assert (latents is None) == (not toy.latent_names)
    assert latents is None or latents.shape == (100, len(toy.latent_names))
    assert torch.equal(x, draw(name, 100, seed=1))
    assert not torch.equal(x, draw(name, 100, seed=2))


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_a_density_integrates_to_one(name):
    points, area = grid(7.0, 160) if name in BY_QUADRATURE else grid(12.0, 1200)
    log_density = TOYS[name].log_density
    total = sum(float(log_density(chunk).exp().sum()) for chunk in points.split(40_000)) * area
    # the edges of W, WU and the square fall between grid points
    tolerance = {"w": 5e-3, "wu": 5e-3}.get(name, 1e-3)
    assert total == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_sampler_and_density_agree_with_the_known_entropy(name):
    toy, (entropy, uncertainty) = TOYS[name], ENTROPIES[name]
    x = draw(name, 20_000 if name in BY_QUADRATURE else 100_000)
    values = -torch.cat([toy.log_density(chunk) for chunk in x.split(10_000)])
    error = float(values.std()) / math.sqrt(len(values))
    assert values.isfinite().all()
    assert float(values.mean()) == pytest.approx(entropy, abs=uncertainty + 4 * error)
    assert toy.entropy is None or toy.entropy == pytest.approx(entropy, abs=1e-6)


@pytest.mark.parametrize(
    "name", ["moons", "circles", "swissroll", "2spirals", "checkerboard", "wu", "gmm", "banana"]
)
def test_samples_fall_into_cells_as_often_as_the_density_says(name):
    x, (points, area) = draw(name, 200_000), grid(6.0, 120 if name in BY_QUADRATURE else 600)
    probability = TOYS[name].log_density(points).exp() * area
    expected, counts = torch.zeros(12, 12), torch.zeros(12, 12)
    for target, where, weight in ((expected, points, probability), (counts, x, torch.ones(len(x)) / len(x))):
        cell = (where + 6).floor().long()
        keep = ((cell >= 0) & (cell < 12)).all(1)
        target.index_put_((cell[keep, 0], cell[keep, 1]), weight[keep].float(), accumulate=True)
    assert (expected - counts).abs().max() < 4 * math.sqrt(0.25 / 200_000) + 3e-3


@pytest.mark.parametrize("name", STDS)
def test_standard_deviations(name):
    for got, known in zip(draw(name, 400_000).std(0).tolist(), STDS[name], strict=True):
        assert got == pytest.approx(known, rel=0.006)


def test_the_papers_manifolds():
    x, e = TOYS["sine"].sample(1000, torch.Generator().manual_seed(0))
    assert torch.allclose(x, torch.stack([2 * e[:, 0], e[:, 1] / 2, (2 * e[:, 0]).sin()], 1))
    x, latents = TOYS["scurve"].sample(100_000, torch.Generator().manual_seed(0))
    assert latents[:, 0].std().item() == pytest.approx(1.41372, rel=0.01)
    expected = torch.tensor([[0.491, 0, -0.436], [0, 0.333, 0], [-0.436, 0, 0.773]], dtype=torch.float64)
    assert torch.allclose(x.T.cov(), expected, atol=0.01)
    # the angle is arc length, the width is the second axis: distances along the surface are those of the latents
    assert torch.allclose(x[:, 1], latents[:, 1])
    assert torch.allclose(x[:, 0], latents[:, 0].sin())
    banana = draw("banana")
    assert banana.mean(0).tolist() == pytest.approx([0, 0.8], abs=0.02)
    assert banana.var(0).tolist() == pytest.approx([4, 1.53], rel=0.03)
    assert torch.allclose(PLANE @ PLANE.T, torch.eye(2, dtype=torch.float64))
    assert torch.linalg.svdvals(draw("plane3d", 1000))[2] < 1e-10


def test_moments_of_the_coupling_densities():
    x = draw("w", 400_000)
    half = x[:, 0].abs() < 0.02
    assert x[half, 1].mean().item() == pytest.approx(0.5, abs=0.02)
    assert x[half, 1].std().item() == pytest.approx(0.25, abs=0.01)
    assert draw("gmm").abs().mean(0)[0].item() == pytest.approx(GMM_DELTA, abs=0.01)


def test_load_splits_and_adds_noise():
    config = compose(["dataset=sine", "dataset.n_train=50", "dataset.n_val=20"])
    data = load(config.dataset, torch.float32)
    assert (data.train.shape, data.val.shape, data.train.dtype) == ((50, 3), (20, 3), torch.float32)
    assert data.train_latents.shape == (50, 2) and data.latent_names == ("e1", "e2")
    noisy = load(compose(["dataset=square", "dataset.noise=0.1"]).dataset, torch.float64)
    assert noisy.entropy is None and noisy.train.abs().max() > 1.1
    assert load(compose(["dataset=square"]).dataset, torch.float64).entropy == pytest.approx(math.log(4))


def test_fingerprints_tell_data_apart():
    def fingerprint(*words):
        return load(compose(["dataset=sine", *words]).dataset, torch.float64).fingerprint

    assert fingerprint() == fingerprint("seed=3") == fingerprint("dtype=float32")
    assert len({fingerprint(), fingerprint("dataset.seed=1"), fingerprint("dataset.n_val=7")}) == 3
