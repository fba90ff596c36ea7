"""jacobian_determinant, Sec. 3.3: how many local maxima the density of one layer has, and that of a chain of them.

What one should see: left, the derivative of one spline of 16 bins, which is the density of the flow with a uniform base;
with slopes near 0 at the knots it has a maximum in every bin, and random parameters give fewer. More is impossible: the
Schwarzian derivative of a rational function of degree two has one sign, so that a bin has at most one maximum or one
minimum, and of 2 I - 1 places (the bins, and the knots between them) at most I can be maxima with minima between. In the
middle, a chain of four random splines has many more than 16. Right, the most maxima of all draws over the number of
layers: splines exceed the number of their bins as soon as there are two, but chains of tanh or of the normal CDF, with
affine maps between them, have one maximum however long they are: both have a negative Schwarzian derivative, and so
have all their chains.

Costs half a minute on one core, without training.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid, softplus

from flowrepro.analysis.modes import MonotoneMap, counts, log_slope
from flowrepro.figures.claims import (
    EVERY_SCALE,
    Claim,
    Values,
    at_least,
    at_most,
    column,
    difference,
    gathered,
    largest,
    must_fail,
    per_seed,
    within,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.flows.spline import Spline
from flowrepro.pictures.style import BLUE, GREEN, GREY, LINES, ORANGE, RED, panels

BINS, LAYERS, COMPONENTS = (2, 4, 8, 16), (1, 2, 4, 8), (1, 2, 4)
# of the grid: the boxes of the splines end at 1
REACH, SHOWN = 1.2, 2000
# steepness of random parameters, and the slope at the knots (its logit) of the spline made to have many maxima
SPREAD, FLAT = 2.0, -8.0


def measure(seed: int, draws: int, cells: int) -> dict[str, Any]:
    """Numbers of local maxima of f' and of g' = (f^-1)' for each kind of map and number of layers."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.linspace(-REACH, REACH, cells, dtype=torch.float64)[:, None].expand(-1, draws)
    found: dict[str, Any] = {}
    for bins in BINS:
        splines = [random_spline(bins, draws, generator) for _ in range(max(LAYERS))]
        for n in LAYERS:
            found |= _named("spline", bins, n, log_slope(splines[:n], x))
        found |= _named("built spline", bins, 1, log_slope([built_spline(bins)], x[:, :1]))
    for name, squash in SQUASHING.items():
        maps = [squashing(squash, draws, generator) for _ in range(max(LAYERS))]
        for n in LAYERS:
            found |= _named(name, 1, n, log_slope(maps[:n], 5 * x))
    for k in COMPONENTS:
        found |= _named("mixture of logistics", k, 1, mixture(k, draws, generator)(5 * x)[1])
    at = slice(None, None, max(1, cells // SHOWN))
    shown = {"one": splines[:1], "chain": splines[:4], "built": [built_spline(max(BINS))]}
    curves = {name: log_slope(maps, x)[at, 0].exp().detach().numpy() for name, maps in shown.items()}
    return found | {"x": x[at, 0].numpy()} | curves


def _named(name: str, bins: int, layers: int, log_slopes: Tensor) -> dict[str, np.ndarray]:
    return {f"{name}: {bins}: {layers}": np.stack(counts(log_slopes))}


def random_spline(bins: int, draws: int, generator: Generator) -> MonotoneMap:
    """`draws` random splines of the paper's activation, side by side, each stretched back onto its box."""
    spline = Spline(draws, bins=bins, dtype=torch.float64)
    with torch.no_grad():
        for theta, spread in ((spline.theta_x, 1.0), (spline.theta_y, SPREAD), (spline.theta_a, SPREAD)):
            theta.copy_(spread * torch.randn(theta.shape, generator=generator, dtype=theta.dtype))
    return _stretched(spline)


def built_spline(bins: int) -> MonotoneMap:
    """A spline with the slope 1/2 on average in every bin, and next to none at the knots."""
    spline = Spline(1, slope=0.5, bins=bins, dtype=torch.float64)
    with torch.no_grad():
        spline.theta_a.fill_(FLAT)
    return _stretched(spline)


def _stretched(spline: Spline) -> MonotoneMap:
    """The spline and a linear map behind it, which makes up for its contraction, so that the next one is met by all."""
    top = spline.knots().y[:, -1].detach()

    @torch.no_grad()
    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        z, slope = spline.value_and_log_slope(x)
        return z / top, slope - top.log()

    return f


def tanh(x: Tensor) -> tuple[Tensor, Tensor]:
    """tanh x and log of its derivative."""
    return x.tanh(), 2 * (math.log(2) - x - softplus(-2 * x))


def normal_cdf(x: Tensor) -> tuple[Tensor, Tensor]:
    """Phi(x) and log of its derivative."""
    return torch.special.ndtr(x), -0.5 * x.square() - 0.5 * math.log(2 * math.pi)


SQUASHING = {"tanh": tanh, "normal CDF": normal_cdf}


def squashing(squash: MonotoneMap, draws: int, generator: Generator) -> MonotoneMap:
    """`draws` random affine maps side by side, and tanh or Phi after them."""
    shift, log_scale = torch.randn(2, draws, generator=generator, dtype=torch.float64)

    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        z, slope = squash(log_scale.exp() * x + shift)
        return z, slope + log_scale

    return f


def mixture(components: int, draws: int, generator: Generator) -> MonotoneMap:
    """`draws` distribution functions of equal mixtures of logistic laws of random place and width, side by side."""
    place, log_width = torch.randn(2, components, 1, draws, generator=generator, dtype=torch.float64)
    place, width = 2 * place, (0.5 * log_width - 1).exp()

    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        u = (x - place) / width
        parts = logsigmoid(u) + logsigmoid(-u) - width.log() - math.log(components)
        return u.sigmoid().mean(0), parts.logsumexp(0)

    return f


def table(measures: Measures) -> pd.DataFrame:
    """One row per seed, map, bins (or components) and layers.

    most, mean: over draws of the parameters, local maxima of the density f'; most_of_g: of the Jacobian of generation.
    """
    return pd.DataFrame(
        [{"seed": m["seed"], **_row(name, m[name])} for m in measures for name in m if name.count(": ") == 2]
    )


def _row(name: str, found: np.ndarray) -> dict[str, Any]:
    kind, bins, layers = name.split(": ")
    return {
        "map": kind,
        "bins": int(bins),
        "layers": int(layers),
        "draws": found.shape[1],
        "most": found[0].max(),
        "mean": found[0].mean(),
        "most_of_g": found[1].max(),
    }


def arrays(measures: Measures) -> Arrays:
    """Derivatives of a built and a random spline, and of a chain."""
    return taken(measures, "x", "built", "one", "chain")


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Derivatives of one spline and of a chain; the most maxima over the number of layers."""
    figure, axes = panels(1, 3, 3.9, 3.4)
    x, bins = arrays["x"], max(BINS)
    axes[0, 0].plot(x, arrays["built"], color=BLUE, lw=1, label="slopes at the knots near 0")
    axes[0, 0].plot(x, arrays["one"], color=ORANGE, lw=1, label="random parameters")
    axes[0, 0].set(title=f"one spline of {bins} bins", xlabel="x", ylabel="derivative f'(x)")
    axes[0, 0].set_ylim(top=1.35 * max(arrays["one"].max(), arrays["built"].max()))
    axes[0, 0].legend(fontsize=7, loc="upper left")
    axes[0, 1].plot(x, arrays["chain"], color=BLUE, lw=1)
    axes[0, 1].set(title=f"four random splines of {bins} bins", xlabel="x", ylabel="derivative f'(x)")
    _draw_most(axes[0, 2], table)
    return figure


def _draw_most(axis: Axes, table: pd.DataFrame) -> None:
    most = table.groupby(["map", "bins", "layers"]).most.max()
    for bins, colour in zip(BINS, (GREEN, LINES[5], ORANGE, BLUE), strict=True):
        axis.plot(most["spline", bins], color=colour, marker="o", ms=4, label=f"splines of {bins} bins")
    for name, colour, marker in (("tanh", RED, "s"), ("normal CDF", GREY, "x")):
        axis.plot(most[name, 1], color=colour, marker=marker, ms=5, ls="--", label=name)
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="layers",
        ylabel="most local maxima of all draws",
        title="chains",
        ylim=(0.8, 600),
    )
    axis.set_xticks(LAYERS, [str(n) for n in LAYERS])
    axis.set_xticks([], minor=True)
    axis.legend(fontsize=7, ncols=2, loc="upper left")


def _per_bin(layers: int, *kinds: str) -> Values:
    """The most maxima over the number of bins, for each number of bins."""

    def values(table: pd.DataFrame) -> pd.Series:
        rows = table[table["map"].isin(kinds) & (table.layers == layers)]
        most = rows.groupby(["seed", "bins"]).most.max().reset_index("bins")
        return most.most / most.bins

    return values


def _most(name: str, layers: int = 1, of: str = "most", **where: Any) -> Values:
    return per_seed("max", column(of, map=name, layers=layers, **where))


def _more_of(of: str, name: str, bins: int) -> Values:
    """How many more maxima another column has than the density."""
    return difference(_most(name, of=of, bins=bins), _most(name, bins=bins))


# whose parameters give all p of their kind: map, components
FAMILIES = (("normal CDF", 1), ("mixture of logistics", 2))

CLAIMS = [
    Claim(
        "one_spline",
        "Sec. 4.1, after Eq. 17",
        "The derivative of a spline of I bins has at most I local maxima, and can have as many.",
        "most local maxima over I, for random parameters and for slopes near 0 at the knots, for each I",
        _per_bin(1, "spline", "built spline"),
        within(1, 0.01),
        "1",
        controls=(must_fail("chains of two", _per_bin(2, "spline")),),
        scales=EVERY_SCALE,
        closed_form=True,
    ),
    Claim(
        "chain_of_splines",
        "Sec. 3.3",
        "A single mapping has a limit, which the combination of mappings breaks.",
        "most local maxima of chains of four random splines of I bins over I, for each I",
        _per_bin(4, "spline"),
        at_least(1.2),
        "> 1",
        controls=(
            must_fail("one spline", _per_bin(1, "spline", "built spline")),
            must_fail("four times tanh", _per_bin(4, "tanh")),
        ),
        scales=EVERY_SCALE,
        closed_form=True,
    ),
    Claim(
        "mixture",
        "Sec. 3.3",
        "A layer that is a mixture of logistics provides several maxima.",
        "most local maxima with four components",
        _most("mixture of logistics", bins=4),
        at_least(2),
        "> 1",
        controls=(must_fail("one component", _most("mixture of logistics", bins=1)),),
        scales=EVERY_SCALE,
        closed_form=True,
    ),
    Claim(
        "capacity",
        "Sec. 3.3",
        "The σ(p) ≤ max σ(J_g) of Sec. 3.3 is true of J_f: p is 1 / J_g at z = f(x), whose maxima are the minima of J_g, "
        "and between these J_g has one maximum less.",
        "most local maxima of J_g inside its domain minus most of p, for a uniform base: the normal distribution function "
        "of any mean and variance, and mixtures of two logistic laws",
        gathered(*(_more_of("most_of_g", *family) for family in FAMILIES)),
        within(-1, 0.01),
        kind="beyond",
        controls=(must_fail("J_f in the place of J_g", gathered(*(_more_of("most", *f) for f in FAMILIES))),),
        scales=EVERY_SCALE,
        closed_form=True,
    ),
    Claim(
        "depth_alone",
        "beyond the paper",
        "Longer chains of tanh or of the normal CDF, with affine maps between them, never have more than one maximum.",
        f"most local maxima with {max(LAYERS)} layers",
        largest(*(_most(name, max(LAYERS)) for name in SQUASHING)),
        at_most(1),
        kind="beyond",
        controls=(must_fail("splines of two bins", _most("spline", max(LAYERS), bins=2)),),
        scales=EVERY_SCALE,
        closed_form=True,
    ),
]
