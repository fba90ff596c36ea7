"""Fréchet and kernel distance against closed forms, direct loops and torchmetrics; their intervals; separability."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn

from flowrepro.metrics.bootstrap import frechet_spread, interval, kernel_spread
from flowrepro.metrics.frechet import frechet_distance, moments, trace_root
from flowrepro.metrics.kernel_distance import kernel_distance, weighted_kernel_distances
from flowrepro.metrics.separability import linear_probe_accuracy, nearest_neighbour_accuracy, silhouette


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exactly_normal(n: int, d: int, seed: int = 0) -> Tensor:
    """Samples whose mean is 0 and whose unbiased covariance is the identity, both exactly."""
    x = normal(n, d, seed)
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (n - 1))).T


class Itself(nn.Module):
    """Features are given in the place of images."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        return x


class TestFrechet:
    def test_a_shift_costs_its_square(self):
        x, shift = exactly_normal(300, 5), torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0], dtype=torch.float64)
        y = exactly_normal(200, 5, seed=1) + shift
        assert frechet_distance(x, y) == pytest.approx(float(shift @ shift), abs=1e-9)

    def test_diagonal_gaussians_have_the_closed_form(self):
        """|m - n|^2 + sum (s_i - t_i)^2."""
        s, t = torch.rand(2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
        x, y = exactly_normal(400, 6) * s + 1, exactly_normal(300, 6, seed=1) * t - 1
        assert frechet_distance(x, y) == pytest.approx(6 * 4 + float((s - t).square().sum()), abs=1e-9)

    def test_the_trace_of_the_root_is_scipys(self):
        c, d = (moments(normal(50, 8, seed) @ normal(8, 8, seed + 2))[1] for seed in range(2))
        assert float(trace_root(c, d)) == pytest.approx(sqrtm((c @ d).numpy()).trace().real, rel=1e-9)

    @pytest.mark.parametrize("n", [12, 200])
    def test_a_set_is_at_no_distance_from_itself_and_distances_are_symmetric(self, n: int):
        """Of singular covariances too (12 samples of 32 features), where C D has complex eigenvalues in floating point."""
        x, y = normal(n, 32), normal(n, 32, seed=1) * 2 + 1
        assert frechet_distance(x, x) == pytest.approx(0, abs=1e-5)
        assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-6)

    @pytest.mark.parametrize(("n", "m"), [(5, 40), (20, 30)])
    def test_few_samples_have_the_distance_of_their_covariances(self, n: int, m: int):
        """Of 32 features, where their own products are the smaller matrix."""
        x, y = normal(n, 32), normal(m, 32, seed=1) @ normal(32, 32, seed=2) + 0.3
        (mean_x, c), (mean_y, d) = moments(x), moments(y)
        traces = c.trace() + d.trace() - 2 * sqrtm((c @ d).numpy()).trace().real
        assert frechet_distance(x, y) == pytest.approx(
            float((mean_x - mean_y).square().sum() + traces), rel=1e-5
        )

    def test_it_is_torchmetrics_own(self):
        fid = pytest.importorskip("torchmetrics.image.fid")
        x, y = normal(150, 10), normal(120, 10, seed=1) @ normal(10, 10, seed=2) + 0.3
        theirs = fid.FrechetInceptionDistance(feature=Itself(10))
        for part in x.split(40):
            theirs.update(part, real=True)
        theirs.update(y, real=False)
        assert frechet_distance(x, y) == pytest.approx(float(theirs.compute()), rel=1e-9)

    def test_a_large_mean_costs_no_digits(self):
        """Sums of squares in float32 would lose the covariance altogether."""
        x, y = exactly_normal(200, 4) + 1e4, exactly_normal(200, 4, seed=1) * 2 + 1e4
        assert frechet_distance(x, y) == pytest.approx(4, abs=1e-6)

    def test_one_sample_has_no_covariance(self):
        with pytest.raises(ValueError, match="at least two"):
            frechet_distance(normal(1, 3), normal(10, 3))


class TestKernel:
    def loop(self, x: np.ndarray, y: np.ndarray) -> float:
        def k(a: np.ndarray, b: np.ndarray) -> float:
            return (float(a @ b) / len(a) + 1) ** 3

        def within(z: np.ndarray) -> float:
            return sum(k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j) / (
                len(z) * (len(z) - 1)
            )

        return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))

    def test_it_is_the_direct_double_loop(self, monkeypatch):
        monkeypatch.setattr("flowrepro.metrics.kernel_distance.CHUNK", 7)
        x, y = normal(30, 5), normal(20, 5, seed=1) + 0.5
        assert kernel_distance(x, y) == pytest.approx(self.loop(x.numpy(), y.numpy()), rel=1e-12)

    def test_it_is_torchmetrics_own_on_one_subset_of_all(self):
        kid = pytest.importorskip("torchmetrics.image.kid")
        x, y = normal(60, 8), normal(60, 8, seed=1) * 1.5
        with pytest.warns(UserWarning, match="memory"):
            theirs = kid.KernelInceptionDistance(feature=Itself(8), subsets=1, subset_size=60)
        theirs.update(x, real=True)
        theirs.update(y, real=False)
        assert kernel_distance(x, y) == pytest.approx(float(theirs.compute()[0]), rel=1e-9)

    def test_whole_weights_are_repeated_samples_without_pairs_of_the_same(self):
        x, y = normal(6, 3), normal(5, 3, seed=1)
        weights = torch.tensor([[2.0, 0, 1, 3, 0, 1]])
        ours = weighted_kernel_distances(x, y, weights, torch.ones(1, 5))
        counts = weights[0].long().tolist()
        chosen = [i for i, n in enumerate(counts) for _ in range(n)]
        pairs = [(i, j) for i in chosen for j in chosen if i != j]
        k = ((x @ x.T / 3 + 1) ** 3).numpy()
        across = ((x[chosen] @ y.T / 3 + 1) ** 3).mean()
        within_y = self.loop(y.numpy(), y.numpy())  # within(y) twice, less twice the mean of all pairs
        within_y = (within_y + 2 * float(((y @ y.T / 3 + 1) ** 3).mean())) / 2
        expected = np.mean([k[i, j] for i, j in pairs]) + within_y - 2 * float(across)
        assert float(ours[0]) == pytest.approx(expected, rel=1e-12)

    def test_it_is_unbiased(self):
        """Of equal Gaussians it is zero on average, at however few samples."""
        values = torch.tensor(
            [kernel_distance(normal(10, 4, 2 * i), normal(10, 4, 2 * i + 1)) for i in range(400)]
        )
        assert abs(values.mean()) < 3 * values.std() / 20


def test_bootstrap_intervals_cover_the_expected_distance():
    """Of 80 pairs of Gaussian samples: the mean over 2,000 others lies inside about 95 % of them."""

    def pair(seed: int) -> tuple[Tensor, Tensor]:
        return normal(100, 4, 2 * seed), normal(120, 4, 2 * seed + 1) * 1.3 + 0.5

    for measure, spread in ((frechet_distance, frechet_spread), (kernel_distance, kernel_spread)):
        expected = np.mean([measure(*pair(seed)) for seed in range(1000, 3000)])
        intervals = [interval(measure(*pair(seed)), spread(*pair(seed), 40)) for seed in range(80)]
        inside = np.mean([low <= expected <= high for low, high in intervals])
        assert 0.85 <= inside <= 1
        # nor are they so wide that they cover anything
        assert np.mean([low <= 0 for low, _ in intervals]) < 0.5


def test_the_spread_is_a_function_of_its_seed():
    x, y = normal(50, 3), normal(40, 3, seed=1)
    for spread in (frechet_spread, kernel_spread):
        assert spread(x, y, 10, seed=1) == spread(x, y, 10, seed=1) != spread(x, y, 10, seed=2)


class TestSeparability:
    """Two classes in four corners: diagonal corners share one, which no line tells apart."""

    corners = np.random.default_rng(0).integers(0, 2, (400, 2))
    x = 10 * corners + np.random.default_rng(1).normal(size=(400, 2))

    def test_separate_classes(self):
        labels = self.corners[:, 0]
        assert nearest_neighbour_accuracy(self.x, labels) == linear_probe_accuracy(self.x, labels) == 1
        line = self.x[:, :1]
        # inside a class |x - x'| is 2/sqrt(pi) on average, to the other class 10
        assert silhouette(line, labels) == pytest.approx(1 - 2 / np.sqrt(np.pi) / 10, abs=0.01)

    def test_classes_that_no_line_separates(self):
        labels = self.corners.sum(1) % 2
        assert nearest_neighbour_accuracy(self.x, labels) == 1
        assert linear_probe_accuracy(self.x, labels) < 0.6

    def test_labels_by_chance_are_not_found(self):
        labels = np.random.default_rng(2).integers(0, 4, 400)
        assert nearest_neighbour_accuracy(self.x, labels) < 0.35
        assert linear_probe_accuracy(self.x, labels) < 0.35
        assert silhouette(self.x, labels) < 0.05
