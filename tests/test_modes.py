"""Local maxima of derivatives of monotone maps (jacobian_determinant Sec. 3.3): counted where their number is known."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from flowrepro.analysis.modes import counts, local_maxima, log_slope
from flowrepro.figures.claims import FAILS, HOLDS, MIXED, UNSETTLED, judge
from flowrepro.figures.jacobian_determinant import maxima
from flowrepro.flows.spline import Spline


def grid(low: float, high: float, n: int = 4001) -> Tensor:
    return torch.linspace(low, high, n, dtype=torch.float64)


def waves(x: Tensor) -> tuple[Tensor, Tensor]:
    """x + sin(x) / 2, whose slope has its maxima at the multiples of 2 pi."""
    return x + 0.5 * x.sin(), (1 + 0.5 * x.cos()).log()


def test_maxima_inside_count_and_ends_do_not() -> None:
    assert local_maxima(np.array([3.0, 1, 2, 1, 3])) == 1
    assert local_maxima(np.array([0.0, 1, 1, 0, 1, 1])) == 1, "a plateau once, and not at an end"
    assert local_maxima(np.linspace(0, 1, 9)) == local_maxima(np.ones(9)) == 0
    assert local_maxima(np.array([0.0, 1, 1 - 1e-9, 1, 0])) == 1, "rounding makes no maxima"


def test_maxima_of_a_map_are_minima_of_its_inverse() -> None:
    x = grid(-10, 10)[:, None]
    of_f, of_g = counts(log_slope([waves], x))
    assert (of_f, of_g) == (3, 4)
    # the same from the inverse itself, on a grid of its own
    z = grid(-9.9, 9.9)
    g = torch.from_numpy(np.interp(z, waves(grid(-11, 11, 400_001))[0], grid(-11, 11, 400_001)))
    assert local_maxima(-waves(g)[1].numpy()) == 4


def test_the_slope_of_a_chain_is_that_of_autograd() -> None:
    x = grid(-3, 3, 50).requires_grad_()
    maps = [waves, maxima.tanh, maxima.normal_cdf]
    z = x
    for f in maps:
        z = f(z)[0]
    (slope,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(log_slope(maps, x).exp(), slope)


def test_the_density_of_a_mixture_is_the_slope_of_its_distribution_function() -> None:
    x = grid(-9, 9, 40)[:, None].requires_grad_()
    z, log_density = maxima.mixture(3, 1, torch.Generator().manual_seed(0))(x)
    torch.testing.assert_close(torch.autograd.grad(z.sum(), x)[0], log_density.exp())
    assert z[[0, -1], 0].tolist() == pytest.approx([0, 1], abs=1e-2)


@pytest.mark.parametrize("bins", [1, 3, 16])
def test_a_spline_of_as_many_bins_has_at_most_as_many_maxima(bins: int) -> None:
    """On a finer grid than the figure's there are no more; and the one that is made to have them all has them."""
    x = grid(-1.2, 1.2, 20_000)[:, None]
    random = maxima.random_spline(bins, 40, torch.Generator().manual_seed(1))
    assert counts(log_slope([random], x.expand(-1, 40)))[0].max() <= bins
    assert counts(log_slope([maxima.built_spline(bins)], x))[0] == bins


def test_a_bin_has_one_extremum_at_most() -> None:
    """The Schwarzian of a rational function of degree two has one sign, whatever the slopes at its ends."""
    generator = torch.Generator().manual_seed(0)
    a, b, ratio = (3 * torch.randn(3, 500, generator=generator, dtype=torch.float64)).exp()
    u = grid(0, 1, 2001)[:, None]
    inside = u * (1 - u)
    gamma = b * u**2 + 2 * ratio * inside + a * (1 - u) ** 2
    log_slopes = 2 * ratio.log() + gamma.log() - 2 * (ratio + (a + b - 2 * ratio) * inside).log()
    most, least = counts(log_slopes)
    assert (most + least <= 1).all() and most.sum() > 50 and least.sum() > 50


def test_the_chain_of_straight_splines_has_none() -> None:
    straight = Spline(1, slope=0.7, bins=16, dtype=torch.float64)
    assert counts(log_slope([straight.value_and_log_slope] * 3, grid(-2, 2)[:, None]))[0] == 0


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return maxima.table([{"seed": 0, **maxima.measure(0, draws=20, cells=3000)}])


def verdicts(table: pd.DataFrame) -> dict[str, str]:
    found = judge(maxima.CLAIMS, table, "cpu")
    return dict(zip(found.key, found.verdict, strict=True))


def test_claims_of_the_maxima(table: pd.DataFrame) -> None:
    assert verdicts(table) == {
        "one_spline": HOLDS,
        "chain_of_splines": HOLDS,
        "mixture": HOLDS,
        "capacity": HOLDS,
        "depth_alone": HOLDS,
    }


def test_claims_of_the_maxima_can_turn(table: pd.DataFrame) -> None:
    def changed(most: float, **where: object) -> dict[str, str]:
        rows = np.logical_and.reduce([table[key] == value for key, value in where.items()])
        return verdicts(table.assign(most=table.most.where(~rows, most)))

    assert changed(5, map="spline", bins=4, layers=1)["one_spline"] == MIXED
    assert changed(16, map="spline", bins=16, layers=4)["chain_of_splines"] == MIXED
    assert changed(2, map="tanh", layers=8)["depth_alone"] == FAILS
    assert changed(1, map="spline", bins=2, layers=8)["depth_alone"] == UNSETTLED
