"""jacobian_determinant, Figure 6: the monotone rational-quadratic activation, and its derivative.

What one should see: left, one activation of 16 bins with random parameters, its knots, the boxes of its bins and the outer
box; straight tails outside. In the middle its derivative: continuous and positive, but not below one. The paper bounds the
slopes at the knots and the ratios of height to width of the bins by one, and concludes that the derivative is below one
almost everywhere; in the middle of a bin of ratio r with slopes a and b at its ends it is 4 r^2 / (2 r + a + b), which
comes close to 2. Right, the bounded activations that Figure 4 inserts between couplings and splines: the normal
distribution function itself has slope 0.4 at 0, and a block with it no longer starts as volume-preserving; ours is scaled
to slope 1.

Costs seconds, without training.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Generator, Tensor

from flowrepro.config.schema import QLFVectorsConfig
from flowrepro.figures.claims import (
    EVERY_SCALE,
    Claim,
    at_least,
    at_most,
    column,
    must_fail,
    must_pass,
    within,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.flows.models import build
from flowrepro.flows.quasilinear import INSERTS, Block
from flowrepro.flows.spline import Spline
from flowrepro.pictures.style import BLUE, GREY, LINES, ORANGE, RED, panels

BINS, BETA = 16, 0.7
# the boxes end at 1
REACH, SHOWN = 1.3, 1500
# spread of the random parameters, and the logits of a bin that is nearly as high as wide, with next to no slope at its ends
SPREAD, STEEP, FLAT = 1.5, 8.0, -8.0
LABELS = {"tanh": "tanh", "cdf": "normal CDF, slope 1", "cdf_literal": "normal CDF"}


def measure(seed: int, draws: int, cells: int) -> dict[str, Any]:
    """Slopes of random splines, of the steepest and of that at the start, on a grid; one of them to be drawn."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.linspace(-REACH, REACH, cells, dtype=torch.float64)
    drawn, one = random_spline(draws, generator), random_spline(1, generator)
    start, loose = Spline(1, BETA, bins=BINS, dtype=x.dtype), random_spline(draws, generator, "exponential")
    knots, shown = one.knots(), x[:: max(1, cells // SHOWN)]
    blocks = {name: start_of_block(name) for name in ("none", *INSERTS)}
    return {
        "slopes": slopes(drawn, x),
        "loose_slopes": slopes(loose, x),
        "start_slopes": slopes(start, x)[:, 0],
        "steepest": slopes(steepest_spline(), x).max(),
        "jump": jump(drawn),
        "derivative_error": derivative_error(drawn, x[::50]),
        "inverse_error": inverse_error(drawn, x[::50]),
        "inserts": np.array(list(blocks)),
        "block_log_det": np.array(list(blocks.values())),
        "x": shown.numpy(),
        "f": values(one, shown),
        "slope": slopes(one, shown)[:, 0],
        **{f"knots_{name}": part[0].detach().numpy() for name, part in knots._asdict().items()},
        **{f"insert_{name}": insert().value(3 * shown).numpy() for name, insert in INSERTS.items()},
    }


def random_spline(channels: int, generator: Generator, kind: str = "sigmoid") -> Spline:
    """Splines with random parameters, side by side, in float64."""
    made = Spline(channels, BETA, bins=BINS, slopes=kind, dtype=torch.float64)
    with torch.no_grad():
        for theta, spread in ((made.theta_x, 1.0), (made.theta_y, SPREAD), (made.theta_a, SPREAD)):
            theta.add_(spread * torch.randn(theta.shape, generator=generator, dtype=theta.dtype))
    return made


def steepest_spline() -> Spline:
    """The spline whose bins are nearly as high as wide, and flat at their ends."""
    made = Spline(1, BETA, bins=BINS, dtype=torch.float64)
    with torch.no_grad():
        made.theta_y.fill_(STEEP)
        made.theta_a.fill_(FLAT)
    return made


@torch.no_grad()
def slopes(spline: Spline, x: Tensor) -> np.ndarray:
    """f' at x (N,) for every channel: (N, C)."""
    log_slopes = spline.value_and_log_slope(x[:, None].expand(-1, len(spline.theta_x)))[1]
    found: np.ndarray = log_slopes.exp().numpy()
    return found


@torch.no_grad()
def values(spline: Spline, x: Tensor) -> np.ndarray:
    """f at x (N,) of the first channel."""
    found: np.ndarray = spline.value_and_log_slope(x[:, None])[0][:, 0].numpy()
    return found


@torch.no_grad()
def jump(spline: Spline, distance: float = 1e-11) -> float:
    """The largest difference of the log-slopes on both sides of a knot."""
    x = spline.knots().x.mT
    left, right = (spline.value_and_log_slope(x + side * distance)[1] for side in (-1, 1))
    return float((right - left).abs().max())


def derivative_error(spline: Spline, x: Tensor) -> float:
    """The largest difference of Eq. 17 from the derivative of Eq. 16 by autograd."""
    x = x[:, None].repeat(1, len(spline.theta_x)).requires_grad_()
    z, log_slope = spline.value_and_log_slope(x)
    (derivative,) = torch.autograd.grad(z.sum(), x)
    return float((log_slope.exp() - derivative).detach().abs().max())


@torch.no_grad()
def inverse_error(spline: Spline, x: Tensor) -> float:
    """The largest error of f^-1(f(x))."""
    x = x[:, None].repeat(1, len(spline.theta_x))
    return float((spline.inverse(spline.value_and_log_slope(x)[0]) - x).abs().max())


@torch.no_grad()
def start_of_block(insert: str) -> float:
    """log |det J| per dimension at 0 of a block as it starts, with this activation between couplings and spline."""
    config = QLFVectorsConfig("qlf_vectors", beta=BETA, layers=2, hidden=[4], insert=insert)
    flow = build(config, (2,), None, torch.Generator().manual_seed(0), torch.float64)
    first = next(layer for layer in flow.chain if isinstance(layer, Block))
    return float(first(torch.zeros(1, 2, dtype=torch.float64))[1]) / 2


def table(measures: Measures) -> pd.DataFrame:
    """One row per seed and kind of spline with its slopes, and per inserted activation with log |det J| of a block."""
    return pd.DataFrame([{"seed": m["seed"], **row} for m in measures for row in _rows(m)])


def _rows(m: dict[str, Any]) -> list[dict[str, Any]]:
    errors = {name: m[name] for name in ("jump", "derivative_error", "inverse_error")}
    above = {
        "share_above_one": (m["slopes"].max(0) > 1).mean(),
        "length_above_one": (m["slopes"] > 1).mean(),
    }
    return [
        {"part": "random", **_range(m["slopes"]), **above, **errors},
        {"part": "steepest", "slope_max": float(m["steepest"])},
        {"part": "start", **_range(m["start_slopes"])},
        {"part": "unbounded", **_range(m["loose_slopes"])},
        *(
            {"part": "block", "insert": name, "log_det": value}
            for name, value in zip(m["inserts"], m["block_log_det"], strict=True)
        ),
    ]


def _range(found: np.ndarray) -> dict[str, float]:
    away = np.abs(found - BETA).max()
    return {"slope_min": found.min(), "slope_max": found.max(), "from_beta": away}


def arrays(measures: Measures) -> Arrays:
    """The activation that is drawn, its knots and its derivative; the inserted ones."""
    knots = [f"knots_{name}" for name in ("x", "y", "slope")]
    return taken(measures, "x", "f", "slope", *knots, *(f"insert_{name}" for name in INSERTS))


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """The activation, its derivative, and the inserted activations."""
    figure, axes = panels(1, 3, 3.7, 3.5)
    _draw_activation(axes[0, 0], arrays)
    _draw_derivative(axes[0, 1], arrays, table)
    _draw_inserts(axes[0, 2], arrays, table)
    return figure


def _draw_activation(axis: Axes, arrays: Arrays) -> None:
    x, y = arrays["knots_x"], arrays["knots_y"]
    for i in range(len(x) - 1):
        axis.add_patch(_box(x[i : i + 2], y[i : i + 2], GREY, 0.5))
    axis.add_patch(_box(x[[0, -1]], y[[0, -1]], ORANGE, 1.2))
    axis.plot(arrays["x"], arrays["f"], color=BLUE, label="$f_{act}$")
    axis.plot(x, y, "o", color=BLUE, ms=3, label="knots")
    axis.plot([], [], color=GREY, lw=0.5, label="boxes of bins")
    axis.plot([], [], color=ORANGE, lw=1.2, label="outer box")
    axis.set(xlabel="x / w", ylabel="f(x) / w", title="(a) an activation with 16 bins", ylim=(-1, 1.3))
    axis.legend(fontsize=7.5, loc="upper left")


def _box(x: np.ndarray, y: np.ndarray, colour: str, width: float) -> Rectangle:
    return Rectangle((x[0], y[0]), x[1] - x[0], y[1] - y[0], fill=False, ec=colour, lw=width)


def _draw_derivative(axis: Axes, arrays: Arrays, table: pd.DataFrame) -> None:
    axis.plot(arrays["x"], arrays["slope"], color=BLUE)
    axis.plot(arrays["knots_x"], arrays["knots_slope"], "o", color=BLUE, ms=3, label="knots")
    axis.axhline(1, color=RED, lw=0.9, ls="--", label="bound of the paper")
    steepest = table[table.part == "steepest"].slope_max.max()
    axis.axhline(steepest, color=GREY, lw=0.9, ls=":", label=f"steepest found, {steepest:.3f}")
    axis.set(xlabel="x / w", ylabel="f'(x)", title="(b) its derivative", ylim=(0, 2.5))
    axis.legend(fontsize=7.5, loc="upper left")


def _draw_inserts(axis: Axes, arrays: Arrays, table: pd.DataFrame) -> None:
    log_dets = table[table.part == "block"].groupby("insert").log_det.first()
    for (name, label), colour in zip(LABELS.items(), LINES, strict=False):
        text = f"{label}: {round(log_dets[name], 2) + 0:.2f} nats"
        axis.plot(3 * arrays["x"], arrays[f"insert_{name}"], color=colour, label=text)
    axis.set(
        xlabel="x",
        title="(c) inserted activations, and log |det J| / D\nof a block with them at the start",
        ylim=(-1.4, 2.2),
    )
    axis.legend(fontsize=7.5, loc="upper left")


CLOSED: dict[str, Any] = {"scales": EVERY_SCALE, "closed_form": True}
BLOCK = {"part": "block"}
CLAIMS = [
    Claim(
        "monotone",
        "Sec. 4.1",
        "The activation is monotone.",
        "smallest slope of random activations",
        column("slope_min", part="random"),
        at_least(1e-9),
        "> 0",
        **CLOSED,
    ),
    Claim(
        "below_one",
        "Sec. 4.1, App. C, Fig. 6 (b)",
        "The derivative of the activation is less than one almost everywhere.",
        "largest slope of random activations",
        column("slope_max", part="random"),
        at_most(1),
        "< 1",
        controls=(must_pass("the straight line that it starts as", column("slope_max", part="start")),),
        why="ratios of height to width and slopes at knots are below 1, but inside a bin the slope can be twice the ratio: "
        "`slope_max` exceeds 1 in the fraction `share_above_one` of random activations, on the fraction "
        "`length_above_one` of the line that is looked at",
        **CLOSED,
    ),
    Claim(
        "below_two",
        "beyond the paper",
        "The derivative of the activation stays below two.",
        "slope of the activation that comes closest",
        column("slope_max", part="steepest"),
        within(1.95, 0.05),
        kind="beyond",
        controls=(must_fail("ratios and slopes without bounds", column("slope_max", part="unbounded")),),
        **CLOSED,
    ),
    Claim(
        "straight",
        "Sec. 4.1",
        "With equal ratios and slopes beta the activation is a straight line of this slope.",
        "largest distance of its slope from beta",
        column("from_beta", part="start"),
        at_most(1e-9),
        "0",
        controls=(must_fail("random activations", column("from_beta", part="random")),),
        **CLOSED,
    ),
    Claim(
        "derivative",
        "Eq. 17",
        "Eq. 17 is the derivative of Eq. 16.",
        "largest difference from that by autograd",
        column("derivative_error", part="random"),
        at_most(1e-9),
        "0",
        kind="check",
        **CLOSED,
    ),
    Claim(
        "continuous",
        "Fig. 6 (b)",
        "The derivative is continuous at the knots.",
        "largest jump of its logarithm",
        column("jump", part="random"),
        at_most(1e-6),
        "0",
        kind="check",
        **CLOSED,
    ),
    Claim(
        "invertible",
        "Sec. 4.1",
        "The activation has an analytic inverse.",
        "largest error of the way there and back, in half widths of the box",
        column("inverse_error", part="random"),
        at_most(1e-9),
        "0",
        kind="check",
        **CLOSED,
    ),
    Claim(
        "normal_cdf",
        "beyond the paper",
        "The normal CDF inserted as it is breaks the volume-preserving start of a block, by ½ log 2π per dimension.",
        "log |det J| per dimension of a block at 0",
        column("log_det", insert="cdf_literal", **BLOCK),
        within(-0.5 * math.log(2 * math.pi), 1e-6),
        unit="nats",
        kind="beyond",
        controls=(must_fail("scaled to slope 1", column("log_det", insert="cdf", **BLOCK)),),
        **CLOSED,
    ),
]
