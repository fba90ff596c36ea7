"""jacobian_determinant, Sec. 2.3: the bounds on determinants (Eq. 8) and on gradients (Eq. 13), on trained flows.

What one should see: left, at held-out points, log |det J| per dimension below log K, with K the largest singular value of
J at that point; no point lies above the line. Right, the gradient of each block's parameters below its bound, which is the
recursion of Eqs. 10 to 12 evaluated layer by layer. Both are theorems, so that what they check is our code; how loose they
are on trained flows is what the paper does not say. The bound of Eq. 13 is a product over the blocks behind, and loosens
with each of them.

K of the paper holds everywhere; here it is taken at each point, which is the stronger statement. Gradients are bounded on
toys only: on images the Jacobians are too large to be formed.

Costs 35 minutes on two cores at cpu scale, 10 of them beyond the runs of Figures 3 and 4.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.claims import (
    EVERY_SCALE,
    Claim,
    Values,
    at_least,
    at_most,
    column,
    combined,
    difference,
    must_fail,
    per_seed,
)
from flowrepro.figures.drawn import Arrays, Measures
from flowrepro.figures.jacobian_determinant.trained import SETS
from flowrepro.pictures.style import GREY, LINES, panels

TOYS = {"8gaussians": "8 Gaussians", "2spirals": "2 spirals", "checkerboard": "checkerboard"}
IMAGES = "variant baseline"


def table(measures: Measures) -> pd.DataFrame:
    """One row per run; log-determinants and singular values as means over points, per dimension in nats
    (of images whose pixels lie between 0 and 1).

    `below_*` and `above_*` are the smallest distances from a bound over points (over blocks too for `below_gradient`,
    in powers of ten), negative where one is violated; `above_largest` is a bound that is wrong by construction.
    `loose_first` and `loose_last` are medians over points of the bound over the gradient, in powers of ten.
    """
    return pd.DataFrame([_row(m) for m in measures])


def _row(m: dict[str, Any]) -> dict[str, Any]:
    largest, smallest = (np.log(m[name]) + unit(m) for name in ("largest", "smallest"))
    log_det, hadamard = (m[name] / m["dim"] + unit(m) for name in ("log_det", "hadamard"))
    return {
        "case": m["case"],
        "dataset": m["config"]["dataset.name"],
        "seed": m["seed"],
        "state": m["state"],
        "last_fifth_gain": m["last_fifth_gain"],
        "dim": m["dim"],
        "points": len(largest),
        "log_det": log_det.mean(),
        "log_largest": largest.mean(),
        "log_smallest": smallest.mean(),
        "below_largest": (largest - log_det).min(),
        "below_hadamard": (hadamard - log_det).min(),
        "hadamard_below": (largest - hadamard).min(),
        "above_smallest": (log_det - smallest).min(),
        "above_largest": (log_det - largest).min(),
        **_gradients(m),
    }


def unit(m: dict[str, Any]) -> float:
    """What makes log-slopes of images, per grey level, those of pixels between 0 and 1; 0 for toys."""
    return float(np.log(m["levels"]))


def _gradients(m: dict[str, Any]) -> dict[str, float]:
    """How far the gradients stay below Eq. 13, and whether points with a larger bound have a larger gradient."""
    bound, gradient = in_blocks(m, "gradient_bound"), in_blocks(m, "gradient")
    loose = np.log10(bound / gradient)
    return {
        "gradient": np.median(gradient[0]),
        "gradient_bound": np.median(bound[0]),
        "below_gradient": loose.min(),
        "loose_first": np.median(loose[0]),
        "loose_last": np.median(loose[-1]),
        "rank_correlation": pd.Series(bound[0]).corr(pd.Series(gradient[0]), method="spearman"),
    }


def in_blocks(m: dict[str, Any], name: str) -> np.ndarray:
    """The rows (blocks, points) of the layers that have parameters; one of nan where nothing is known."""
    known = np.isfinite(m["gradient_bound"]).all(1) & (m["gradient_bound"] > 0).all(1)
    return m[name][known] if known.any() else m[name][:1] * np.nan


def arrays(measures: Measures) -> Arrays:
    """For each case both sides of Eq. 8 at the points, and of Eq. 13 in each block as medians over points."""
    found: Arrays = {}
    for m in measures:
        found |= {
            f"{m['case']}/log_det": m["log_det"] / m["dim"] + unit(m),
            f"{m['case']}/log_largest": np.log(m["largest"]) + unit(m),
            **{
                f"{m['case']}/{name}": np.median(in_blocks(m, name), 1)
                for name in ("gradient", "gradient_bound")
            },
        }
    return found


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Log-determinants beside the largest singular values; gradients of blocks beside their bounds."""
    figure, axes = panels(1, 2, 4.6, 3.8)
    names = TOYS | {IMAGES: SETS[table[table.case == IMAGES].dataset.iloc[0]]}
    for (case, name), colour in zip(names.items(), LINES, strict=False):
        x, y = (arrays[f"{case}/{side}"] for side in ("log_largest", "log_det"))
        axes[0, 0].plot(x, y, "o", ms=3.5, color=colour, alpha=0.8, label=name)
        if case in TOYS:
            _draw_gradients(axes[0, 1], arrays, case, colour)
    ends = axes[0, 0].get_xlim()
    axes[0, 0].plot(ends, ends, color=GREY, lw=1, label="bound")
    axes[0, 0].set(
        xlabel="log K (nats)", ylabel="log |det J| / D (nats)", title="Eq. 8: determinants at held-out points"
    )
    axes[0, 0].legend(fontsize=7.5, loc="lower right")
    axes[0, 1].plot([], [], color=GREY, label="bound")
    axes[0, 1].plot([], [], color=GREY, ls="--", label="gradient")
    axes[0, 1].set(
        yscale="log",
        xlabel="block",
        ylabel="nats per unit of parameter, median",
        title="Eq. 13: gradients of the parameters of a block",
    )
    axes[0, 1].legend(fontsize=7.5)
    return figure


def _draw_gradients(axis: Axes, arrays: Arrays, case: str, colour: str) -> None:
    for name, style in (("gradient_bound", "-"), ("gradient", "--")):
        values = arrays[f"{case}/{name}"]
        axis.plot(range(1, len(values) + 1), values, style, marker="o", ms=3, color=colour)
    axis.set_xticks(range(1, len(values) + 1))


def _least(name: str) -> Values:
    """The smallest value over all runs of a seed."""
    return per_seed("min", column(name))


def _on_toys(name: str) -> Values:
    """A column in the rows of the toys."""
    return lambda table: column(name)(table[table.case.isin(list(TOYS))])


# the singular values of images are found by iteration
ROUNDING = at_least(-1e-4)
CLAIMS = [
    Claim(
        "lipschitz",
        "Eq. 8",
        "|det J| is at most K^D, with K the Lipschitz constant of the flow.",
        "smallest distance of log |det J| / D from log K at the same point",
        _least("below_largest"),
        ROUNDING,
        "≥ 0",
        "nats",
        kind="check",
        controls=(must_fail("the same with the sides exchanged", per_seed("min", column("above_largest"))),),
        scales=EVERY_SCALE,
    ),
    Claim(
        "hadamard",
        "Eq. 8",
        "Hadamard's bound lies between the two sides, on toys.",
        "smallest distance from one of them, per dimension",
        per_seed("min", combined(np.minimum, _on_toys("below_hadamard"), _on_toys("hadamard_below"))),
        ROUNDING,
        "≥ 0",
        "nats",
        kind="check",
        scales=EVERY_SCALE,
    ),
    Claim(
        "inverse",
        "Sec. 2.3",
        "The determinant of the inverse is bounded by the Lipschitz constant K' of the inverse in the same way.",
        "smallest distance of log |det J| / D from -log K' at the same point",
        _least("above_smallest"),
        ROUNDING,
        "≥ 0",
        "nats",
        kind="check",
        scales=EVERY_SCALE,
    ),
    Claim(
        "gradient",
        "Eq. 13",
        "The gradient of a block's parameters is at most the product of the norms behind it, with the residual terms.",
        "smallest bound over gradient, over points and blocks of all toys, in powers of ten",
        per_seed("min", _on_toys("below_gradient")),
        at_least(0),
        "≥ 0",
        kind="check",
        scales=EVERY_SCALE,
    ),
    Claim(
        "loosens",
        "beyond the paper",
        "The bound on gradients loosens with the blocks behind: it is looser for the first block than for the last.",
        "median bound over gradient of the first block over that of the last, in powers of ten, smallest of all toys",
        per_seed("min", difference(_on_toys("loose_first"), _on_toys("loose_last"))),
        at_least(0.3),
        kind="beyond",
    ),
    Claim(
        "predicts",
        "beyond the paper",
        "Where the bound on the first block's gradient is larger, so is the gradient.",
        "rank correlation over points, smallest of all toys",
        per_seed("min", _on_toys("rank_correlation")),
        at_least(0.3),
        kind="beyond",
    ),
    Claim(
        "far_from_equality",
        "beyond the paper",
        "On images the bound on the determinant is far from equality: K is that of a few directions.",
        "log |det J| / D minus log K on CIFAR-10",
        difference(column("log_det", case=IMAGES), column("log_largest", case=IMAGES)),
        at_most(-1),
        unit="nats",
        kind="beyond",
    ),
]
