"""Un-whitened components: PCA for linear flows, the paper's banana, large dimensions, signs."""

import math

import pytest
import torch
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from torch import Tensor

from flowrepro.analysis.components import Components, components_of, neighbour_signs
from flowrepro.analysis.jacobian import jacobian
from flowrepro.config.schema import DenseConfig, LinearConfig
from flowrepro.errors import Diverged, UsageError
from flowrepro.flows.core import Flow
from flowrepro.flows.models import build


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def made(config: DenseConfig | LinearConfig, data: Tensor, seed: int = 0) -> Flow:
    flow = build(config, data.shape[1:], None, seeded(seed), torch.float64)
    flow.init_from(data)
    return flow


def rotation(degrees: float) -> Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def banana(eps: Tensor) -> Tensor:
    """linear_systems Sec. 4: the data from its latents."""
    return torch.stack([2 * eps[:, 0], 0.8 * eps[:, 0] ** 2 + 0.5 * eps[:, 1]], 1)


def straighten(x: Tensor) -> Tensor:
    """linear_systems Sec. 4: the paper's f, which maps the banana to a standard normal."""
    r = math.sqrt(3)
    return torch.stack(
        [
            -x[:, 0] / 4 - r * x[:, 1] + r / 5 * x[:, 0] ** 2,
            r / 4 * x[:, 0] - x[:, 1] + x[:, 0] ** 2 / 5,
        ],
        1,
    )


def rank_correlation(a: Tensor, b: Tensor) -> float:
    return float(spearmanr(a.numpy(), b.numpy()).statistic)


def same_up_to_sign(a: Tensor, b: Tensor, tolerance: float = 1e-8) -> None:
    """Columns of a and b agree, each up to one sign."""
    torch.testing.assert_close(a * (a * b).sum(0).sign(), b, rtol=tolerance, atol=tolerance)


class TestLinearFlow:
    data = points(400, 4) @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.2]).double()) @ points(4, 4, seed=1) + 5

    @pytest.mark.parametrize("init", ["glorot", "orthogonal", "whitening"])
    def test_components_are_projections_on_the_right_singular_vectors_for_any_weight(self, init: str) -> None:
        flow = made(LinearConfig("linear", init=init), self.data)
        found = flow.components(self.data)
        _, s, vh = torch.linalg.svd(flow.chain[1].weight.detach())
        scores = (self.data - self.data.mean(0)) @ vh.mT.flip(1)
        same_up_to_sign(found.values, scores)
        torch.testing.assert_close(found.std, s.reciprocal().flip(0).expand(400, 4), rtol=1e-8, atol=0)

    def test_components_of_the_optimal_flow_are_pca_scores(self) -> None:
        found = made(LinearConfig("linear", init="whitening"), self.data).components(self.data)
        pca = PCA().fit(self.data.numpy())
        same_up_to_sign(found.values, torch.as_tensor(pca.transform(self.data.numpy())), 1e-6)
        for i, direction in enumerate(torch.as_tensor(pca.components_)):
            assert abs(float(found.directions[0, :, i] @ direction)) > 1 - 1e-8
        torch.testing.assert_close(
            found.std[0].square() - 5e-5, torch.as_tensor(pca.explained_variance_) * 399 / 400
        )

    def test_signs_do_not_jump(self) -> None:
        found = made(LinearConfig("linear", init="whitening"), self.data).components(self.data)
        torch.testing.assert_close(found.directions, found.directions[:1].expand_as(found.directions))


class TestBanana:
    eps = points(4000, 2)
    x = banana(eps)

    def test_f_is_a_rotation_of_the_latents_by_120_degrees(self) -> None:
        torch.testing.assert_close(straighten(self.x), self.eps @ rotation(120).mT, rtol=0, atol=1e-10)

    def test_precision_and_singular_values(self) -> None:
        x1, j = self.x[:, 0], jacobian(straighten, self.x)
        precision = torch.stack(
            [0.25 + 16 / 25 * x1**2, -8 / 5 * x1, -8 / 5 * x1, torch.full_like(x1, 4.0)], 1
        )
        torch.testing.assert_close(j.mT @ j, precision.reshape(-1, 2, 2))
        torch.testing.assert_close(torch.linalg.det(j), torch.ones(4000, dtype=j.dtype))
        std = components_of(straighten, self.x).std
        torch.testing.assert_close(std.prod(1), torch.ones(4000, dtype=j.dtype))
        torch.testing.assert_close(std.pow(-2).sum(1), 17 / 4 + 16 / 25 * x1**2)

    def test_singular_values_at_the_centre(self) -> None:
        found = components_of(straighten, torch.zeros(1, 2, dtype=torch.float64))
        torch.testing.assert_close(found.std, torch.tensor([[2.0, 0.5]], dtype=torch.float64))

    def test_projection(self) -> None:
        found = components_of(straighten, self.x)
        assert found.signs == "paper"
        assert rank_correlation(found.values[:, 0], self.eps[:, 0]) == pytest.approx(0.9976, abs=1e-3)
        assert rank_correlation(found.values[:, 1], self.eps[:, 1]) == pytest.approx(-0.991, abs=3e-3)
        # standard errors at 4,000 points: about .05 (heavy tails) and .006
        assert found.values[:, 0].std() == pytest.approx(3.45, abs=0.15)
        assert found.values[:, 1].std() == pytest.approx(0.422, abs=0.02)

    def test_signs_of_the_paper_do_not_flip(self) -> None:
        paper = components_of(straighten, self.x)
        assert torch.equal(neighbour_signs(paper, self.x).values, paper.values)

    def test_first_component_is_nearly_the_latent_times_the_local_std(self) -> None:
        found, e1 = components_of(straighten, self.x), self.eps[:, 0]
        torch.testing.assert_close(found.std[:, 0].square(), 17 / 4 + 2.56 * e1**2 - found.std[:, 1].square())
        pair = torch.stack([found.values[:, 0], e1 * found.std[:, 0]])
        assert torch.corrcoef(pair)[0, 1] > 0.99


def test_invariant_under_a_rotation_of_the_latents() -> None:
    flow = made(DenseConfig("dense_asinh", layers=3), points(200, 5))
    x, r = 2 * points(50, 5, seed=2), torch.linalg.qr(points(5, 5, seed=3)).Q
    plain, rotated = components_of(flow.latents, x), components_of(lambda x: flow.latents(x) @ r.mT, x)
    torch.testing.assert_close(plain.values.abs(), rotated.values.abs(), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(plain.std, rotated.std)


def test_ordered_by_local_std_with_unit_directions() -> None:
    found = made(DenseConfig("dense_asinh", layers=3), points(200, 5)).components(points(50, 5))
    assert (found.std.diff(dim=1) <= 0).all()
    torch.testing.assert_close(found.directions.mT @ found.directions, torch.eye(5).double().expand(50, 5, 5))


def test_k_takes_the_head() -> None:
    flow, x = made(DenseConfig("dense_asinh", layers=2), points(200, 4)), points(10, 4)
    head, full = flow.components(x, 2), flow.components(x)
    assert head.values.shape == head.std.shape == (10, 2) and head.directions.shape == (10, 4, 2)
    torch.testing.assert_close(head.values, full.values[:, :2])


@pytest.mark.parametrize("dim", [40, 100])
def test_matrix_free_is_the_head_of_the_exact(dim: int) -> None:
    data = points(1000, dim) / torch.arange(1, dim + 1)
    flow = made(DenseConfig("dense_asinh", layers=3, init="whitening", gain=0.5), data)
    x = data[:20]
    exact, free = (flow.components(x, 2, method) for method in ("exact", "matrix_free"))
    torch.testing.assert_close(free.std, exact.std, rtol=1e-4, atol=0)
    torch.testing.assert_close(free.values.abs(), exact.values.abs(), rtol=1e-2, atol=1e-3)
    assert torch.einsum("bdk,bdk->bk", free.directions, exact.directions).abs().min() > 0.999
    if dim > 64:
        assert torch.equal(flow.components(x, 2).values, free.values)


def test_neighbouring_stds_are_separated_in_large_dimensions() -> None:
    """Stds 0.6 % apart, of a linear flow that has them by construction."""
    std = 1.006 ** -torch.arange(100, dtype=torch.float64)
    axes = torch.linalg.qr(points(100, 100, seed=1)).Q
    flow = build(LinearConfig("linear"), (100,), None, seeded(), torch.float64)
    with torch.no_grad():
        flow.chain[1].weight.copy_(torch.linalg.qr(points(100, 100, seed=2)).Q / std @ axes.mT)
    found = flow.components(points(3, 100), 2)
    torch.testing.assert_close(found.std, std[:2].expand(3, 2), rtol=1e-6, atol=0)
    assert (found.directions * axes[:, :2]).sum(1).abs().min() > 1 - 1e-6


@pytest.mark.parametrize("unit", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("dim", [30, 100])
def test_components_are_in_the_units_of_the_data(unit: float, dim: int) -> None:
    """In float32, where squares of such units overflow or vanish."""
    data = points(300, dim) * 1.2 ** -torch.arange(dim)
    flow, x = made(DenseConfig("dense_asinh", layers=2, init="whitening"), data), data[:4]
    expected = flow.components(x, 2)
    with torch.no_grad():
        flow.chain[1].weight.div_(unit)
        flow.chain[1].bias.mul_(unit)
    flow.chain[0].mean.mul_(unit)
    found = flow.float().components(unit * x, 2)
    torch.testing.assert_close(found.std.double() / unit, expected.std, rtol=1e-3, atol=0)
    assert (found.directions.double() * expected.directions).sum(1).abs().min() > 0.999


@pytest.mark.parametrize("method", ["exact", "matrix_free"])
def test_components_where_squares_overflow(method: str) -> None:
    """Units so small that asinh sees 1e25 in float32: as they are in float64."""
    flow = made(DenseConfig("dense_asinh", layers=2, init="whitening"), points(200, 3))
    with torch.no_grad():
        flow.chain[1].weight.mul_(1e25)
    x = points(20, 3, seed=1)
    expected, single = flow.components(x, method=method), flow.float()
    assert single.log_prob(x).isfinite().all()
    found = single.components(x, method=method)
    torch.testing.assert_close(found.std.double(), expected.std, rtol=1e-3, atol=0)
    torch.testing.assert_close(found.values.double().abs(), expected.values.abs(), rtol=1e-3, atol=1e-4)


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, x = made(DenseConfig("dense_asinh", layers=2), points(200, 3)), points(50, 3)
    whole = flow.components(x)
    monkeypatch.setattr("flowrepro.analysis.components.CHUNK_ELEMENTS", 63)
    torch.testing.assert_close(flow.components(x).values, whole.values)


def test_keeps_the_dtype_and_no_graph() -> None:
    flow = build(DenseConfig("dense_asinh", layers=1), (3,), None, seeded(), torch.float32)
    found = flow.components(points(4, 3).float())
    assert found.values.dtype == found.std.dtype == found.directions.dtype == torch.float32
    assert not found.values.requires_grad


def test_mistakes_are_told() -> None:
    flow, x = made(LinearConfig("linear"), points(20, 3)), points(4, 3)
    with pytest.raises(UsageError, match="4 components"):
        flow.components(x, 4)
    with pytest.raises(UsageError, match="0 components"):
        flow.components(x, 0)
    with pytest.raises(UsageError, match="auto, exact, matrix_free"):
        flow.components(x, 2, "magic")
    with pytest.raises(Diverged, match="1 of 4 points"):
        flow.components(torch.cat([x[:3], torch.full_like(x[:1], torch.nan)]))


def test_an_inverse_that_overflows_is_told() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 1000.0]], dtype=torch.float64)
    with pytest.raises(Diverged, match="1 of 2 points"):
        components_of(torch.asinh, x.sinh().clamp(max=1e300), 2, lambda z: torch.sinh(2 * z), "matrix_free")


class TestNeighbourSigns:
    eps = points(3000, 2, seed=5)
    x = banana(eps)

    def turned(self) -> Components:
        """The banana's components, its latents turned so that the largest loading changes along it."""
        return components_of(lambda x: straighten(x) @ rotation(15).mT, self.x)

    def test_the_papers_rule_flips_and_neighbours_agree(self) -> None:
        paper = self.turned()
        found = neighbour_signs(paper, self.x)
        assert found.signs == "neighbours"
        assert abs(rank_correlation(paper.values[:, 0], self.eps[:, 0])) < 0.9
        assert abs(rank_correlation(found.values[:, 0], self.eps[:, 0])) > 0.99
        assert abs(rank_correlation(found.values[:, 1], self.eps[:, 1])) > 0.98

    def test_only_signs_change(self) -> None:
        paper = self.turned()
        found = neighbour_signs(paper, self.x)
        assert torch.equal(found.values.abs(), paper.values.abs())
        assert torch.equal(found.std, paper.std)
        torch.testing.assert_close(
            found.values[:, None] * paper.directions, paper.values[:, None] * found.directions
        )

    def test_directions_of_neighbours_agree_along_an_open_circle(self) -> None:
        """The tangent turns by 270 degrees, which no rule for single points survives."""
        angle = torch.linspace(-0.75 * math.pi, 0.75 * math.pi, 500, dtype=torch.float64)
        circle = torch.stack([angle.cos(), angle.sin()], 1)
        tangent = torch.stack([-angle.sin(), angle.cos()], 1)
        upwards = torch.where(tangent[:, 1:] >= 0, tangent, -tangent)
        sign = (upwards * tangent).sum(1)
        before = Components((sign * angle)[:, None], torch.ones(500, 1), upwards[..., None])
        found = neighbour_signs(before, circle)
        assert abs(rank_correlation(before.values[:, 0], angle)) < 0.9
        assert rank_correlation(found.values[:, 0], angle) == pytest.approx(1)

    def test_separate_clusters_are_joined(self) -> None:
        x = torch.cat([points(50, 2), points(50, 2, seed=1) + 100, points(50, 2, seed=2) - 100])
        direction = torch.tensor([1.0, 0.0]).double().expand(150, 2)
        flips = points(150, 1, seed=3).sign()
        before = Components(flips, torch.ones(150, 1), (flips * direction)[..., None])
        found = neighbour_signs(before, x, neighbours=5)
        assert found.values.unique().numel() == 1
        assert found.values[0, 0] == flips.sum().sign()

    def test_few_and_equal_points(self) -> None:
        before = Components(torch.ones(3, 1), torch.ones(3, 1), torch.tensor([1.0, -1.0, 1.0])[:, None, None])
        assert neighbour_signs(before, torch.zeros(3, 1)).directions.unique().numel() == 1
        single = Components(torch.ones(1, 1), torch.ones(1, 1), torch.ones(1, 1, 1))
        assert torch.equal(neighbour_signs(single, torch.zeros(1, 1)).values, single.values)
