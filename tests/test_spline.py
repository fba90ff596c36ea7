"""The rational-quadratic activation: its formula, its gradient by hand, its start, its slope, its accuracy."""

import math

import pytest
import torch
from torch import Tensor

from flowrepro.flows import spline as module
from flowrepro.flows.spline import ByHand, Spline, spline


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


def made(channels: int = 3, spread: float = 1.0, dtype: torch.dtype = torch.float64, **settings) -> Spline:
    """A spline whose knots have moved."""
    layer = Spline(channels, dtype=dtype, **settings)
    with torch.no_grad():
        for i, parameter in enumerate(layer.parameters()):
            parameter.add_(spread * points(*parameter.shape, seed=i, dtype=dtype))
    return layer


def at_knots_and_between(layer: Spline) -> Tensor:
    """Points (N, C) on the knots and at ten places in every bin."""
    x = layer.knots().x.detach()
    share = torch.linspace(0, 1, 11, dtype=x.dtype)[:, None, None]
    return (x[:, :-1] + share * x.diff()).mT.flatten(0, 1)


@pytest.mark.parametrize("slope", [0.5, 0.7, 0.99])
def test_it_starts_as_a_straight_line_through_the_origin(slope: float) -> None:
    x = 3 * points(50, 2)
    z, dlogp = Spline(2, slope, dtype=torch.float64)(x)
    torch.testing.assert_close(z, slope * x)
    torch.testing.assert_close(dlogp, torch.full((50,), 2 * math.log(slope), dtype=x.dtype))
    single = Spline(2, slope, dtype=torch.float32)(x.float())[1]
    assert (single - 2 * math.log(slope)).abs().max() < 1e-5


def test_knots_are_those_of_the_paper_with_one_before_them() -> None:
    """Eqs. 27 to 32 give knots 1 to I; knot 0 is (-w, -w Y)."""
    layer = made()
    width, w = layer.theta_x.softmax(1), layer.log_half_width.exp()[:, None]
    height = layer.theta_y.sigmoid() * width
    x, y, slope = layer.knots()
    torch.testing.assert_close(x[:, 1:], (2 * width.cumsum(1) - 1) * w)
    total = height.cumsum(1).amax(1, keepdim=True)
    torch.testing.assert_close(y[:, 1:], (2 * height.cumsum(1) - total) * w)
    torch.testing.assert_close(torch.cat([x[:, :1], y[:, :1]]), torch.cat([-w, -w * total]))
    torch.testing.assert_close(slope, layer.theta_a.sigmoid())
    assert x.shape == y.shape == slope.shape == (3, 17)


def test_value_and_slope_are_eqs_16_and_17() -> None:
    layer, x = made(1, slope=0.6), torch.linspace(-3, 3, 501, dtype=torch.float64)
    knots, ys, slopes = (k[0].detach() for k in layer.knots())
    inside = x[(x > knots[0]) & (x < knots[-1])]
    i = torch.searchsorted(knots, inside) - 1
    width, height, a, b = knots.diff()[i], ys.diff()[i], slopes[i], slopes[i + 1]
    ratio, xi = height / width, (inside - knots[i]) / width
    below = ratio + (a + b - 2 * ratio) * xi * (1 - xi)
    value = ys[i] + height * (ratio * xi**2 + a * xi * (1 - xi)) / below
    gamma = b * xi**2 + 2 * ratio * xi * (1 - xi) + a * (1 - xi) ** 2
    z, dlogp = layer(inside[:, None])
    torch.testing.assert_close(z[:, 0], value)
    torch.testing.assert_close(dlogp.exp(), gamma * ratio**2 / below**2)


@pytest.mark.parametrize("bins", [1, 5, 16, 17])
def test_any_number_of_bins_is_continuous_in_value_and_slope_and_linear_outside(bins: int) -> None:
    layer = made(bins=bins)
    x, y, slope = layer.knots()
    for side in (-1e-9, 0.0, 1e-9):
        z, _, pushed = layer.forward_tangents(x.mT + side, torch.ones(bins + 1, 3, 1, dtype=x.dtype))
        torch.testing.assert_close(z, y.mT, rtol=0, atol=1e-8)
        torch.testing.assert_close(pushed[..., 0], slope.mT, rtol=1e-5, atol=1e-6)
    for end, sign in ((0, -1.0), (-1, 1.0)):
        far = torch.tensor([[1.0], [1e5]], dtype=x.dtype) * sign
        torch.testing.assert_close(layer(x[:, end] + far)[0], y[:, end] + slope[:, end] * far)


@pytest.mark.parametrize("layout", ["vectors", "channels_first", "channels_last"])
@pytest.mark.parametrize("chunk", [7, 10_000])
def test_the_gradient_by_hand_is_that_of_autograd(layout: str, chunk: int, monkeypatch) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    layer, x = made(), 2 * (points(40, 3) if layout == "vectors" else points(5, 3, 2, 4))
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    g, q = points(*x.shape, seed=1), points(*x.shape, seed=2)

    def gradients() -> list[Tensor]:
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        z, log_slope = layer.value_and_log_slope(leaf)
        assert z.stride() == log_slope.stride() == leaf.stride()
        return list(torch.autograd.grad((g * z + q * log_slope).sum(), [leaf, *layer.parameters()]))

    by_hand = gradients()
    monkeypatch.setattr(module, "transformed", lambda: True)
    for ours, theirs in zip(by_hand, gradients(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_second_derivatives_pass_through_the_gradient_by_hand() -> None:
    tables = made().tables().detach().requires_grad_()
    x = points(4, 3, 1).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x, tables: ByHand.apply(x, tables)[1].sum(), (x, tables))
    assert torch.autograd.gradcheck(lambda x, tables: spline(x, tables), (x, tables))


def test_the_slope_passes_one_but_not_two() -> None:
    """The paper's sufficient condition for slopes below 1 is not one: 4 r^2 / (2 r + a + b) in the middle of a bin."""
    found = []
    for seed in range(30):
        layer = Spline(8, dtype=torch.float64)
        with torch.no_grad():
            for i, parameter in enumerate(layer.parameters()):
                parameter.copy_(4 * points(*parameter.shape, seed=100 * seed + i))
        x = at_knots_and_between(layer)
        found.append(layer.forward_tangents(x, torch.ones_like(x)[..., None])[2].max())
    assert 1.5 < max(found) < 2 and min(found) > 0
    steep = Spline(1, bins=3, dtype=torch.float64)
    with torch.no_grad():
        steep.theta_y.copy_(torch.tensor([[-4.0, 4.0, -4.0]]))
        steep.theta_a.fill_(-4.0)
    middle = steep.forward_tangents(torch.zeros(1, 1).double(), torch.ones(1, 1, 1).double())[2].item()
    r, a = torch.tensor([4.0, -4.0]).double().sigmoid().tolist()
    assert middle == pytest.approx(4 * r * r / (2 * r + 2 * a)) and middle > 1.9


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_the_inverse_is_exact_to_1e_5_in_float32(spread: float) -> None:
    layer, x = made(8, spread, torch.float32), points(4000, 8, dtype=torch.float32)
    with torch.no_grad():
        assert (layer.inverse(layer(x)[0]) - x).abs().max() < 1e-5


def test_values_and_gradients_far_outside_the_box_are_finite() -> None:
    layer = made(2, dtype=torch.float32)
    x = torch.tensor([[1e6, -1e6], [1e30, -1e30], [0.0, 3e38]]).requires_grad_()
    z, dlogp = layer(x)
    gradients = torch.autograd.grad(
        (z / x.detach().abs().clamp(min=1)).sum() - dlogp.sum(), [x, *layer.parameters()]
    )
    assert all(found.isfinite().all() for found in (z, dlogp, layer.inverse(z.detach()), *gradients))


def test_the_tails_are_those_of_the_papers_wide_bins_in_float64() -> None:
    """The printed outer bins reach from the box to (1e5, slope 1e5), and their slopes are those at the knots."""
    layer = Spline(1, 0.7, dtype=torch.float64)
    with torch.no_grad():
        layer.theta_a[:, -1] = 1.5
    x = torch.linspace(1.001, 100, 200, dtype=torch.float64)[:, None]
    far, a, edge = 1e5, layer.knots().slope[0, -1].item(), layer.knots().y[0, -1].item()
    width, height = far - 1, 0.7 * far - edge
    ratio, xi = height / width, (x - 1) / width
    below = ratio + (a + 0.7 - 2 * ratio) * xi * (1 - xi)
    printed = edge + height * (ratio * xi**2 + a * xi * (1 - xi)) / below
    torch.testing.assert_close(layer(x)[0], printed, rtol=2e-3, atol=0)


@pytest.mark.parametrize("inverse", [False, True])
def test_zuko_has_the_same_splines(inverse: bool) -> None:
    transforms = pytest.importorskip("zuko.transforms")
    raw = [points(3, 1, 1, n, seed=i) for i, n in enumerate((16, 16, 15))]
    theirs = transforms.MonotonicRQSTransform(*raw, bound=2.0)
    ours = Spline(3, half_width=2.0, slopes="exponential", dtype=torch.float64)
    with torch.no_grad():
        widths, heights = (edges[:, 0, 0].diff() for edges in (theirs.horizontal, theirs.vertical))
        ours.theta_x.copy_(widths.log())
        ours.theta_y.copy_((heights / widths).log())
        ours.theta_a.copy_(theirs.derivatives[:, 0, 0].log())
    x = 1.5 * points(20, 3, 2, 2)
    if inverse:
        torch.testing.assert_close(ours.inverse(x), theirs.inv(x))
        return
    z, log_slope = theirs.call_and_ladj(x)
    torch.testing.assert_close(ours(x)[0], z)
    torch.testing.assert_close(ours(x)[1], log_slope.flatten(1).sum(1))
