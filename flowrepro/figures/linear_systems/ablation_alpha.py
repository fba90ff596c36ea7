"""linear_systems, ablation of alpha (Sec. 5): one flow on the sine manifold for each alpha from 0 to 0.1.

What one should see: with alpha the std across the surface follows sqrt(alpha), until it is so large that it blurs the
sine; without it the std across the surface keeps falling throughout training. Rank correlations of the
two components with the true factors hold over the range of alpha that the paper uses, 1e-5 to 1e-4. The
training likelihood follows the closed form -h - log(2 pi alpha) / 2 for small alpha.

Costs a quarter of an hour on two cores at cpu scale, three seeds.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.claims import (
    Claim,
    Given,
    Values,
    at_least,
    at_most,
    column,
    combined,
    difference,
    largest,
    must_fail,
    near,
    settled,
    smallest,
)
from flowrepro.figures.drawn import Arrays, Measures
from flowrepro.figures.linear_systems.coherence import FACTORS, control_numbers, weaker
from flowrepro.pictures.style import AS_PRINTED, BLUE, GREY, ORANGE, RED, panels

# of the table's column `optimum`, and the paper's: that of analysis/bounds.py, which imports torch
OPTIMUM_ALPHA = 5e-5


def table(measures: Measures) -> pd.DataFrame:
    """One row per run, by alpha and seed; `own_optimum` is the optimum for the run's own alpha, nan at alpha 0."""
    return pd.DataFrame([_row(m) for m in measures]).sort_values(["alpha", "seed"])


def _row(m: dict[str, Any]) -> dict[str, Any]:
    alpha = m["config"]["regularizer.alpha"]
    return {
        "alpha": alpha,
        "seed": m["seed"],
        "state": m["state"],
        "step": m["step"],
        **{k: v for k, v in m.items() if isinstance(v, float)},
        **control_numbers(m),
        "lost_samples": m["lost_samples"],
        "own_optimum": m["optimum"] - math.log(alpha / OPTIMUM_ALPHA) / 2 if alpha else math.nan,
    }


def arrays(measures: Measures) -> Arrays:
    """None: the picture is drawn from the table."""
    return {}


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Four panels over alpha, one dot per seed and a line through the means."""
    figure, axes = panels(1, 4, 3.1, 2.9)
    likelihood, across, factors, tails = axes[0]
    _curve(likelihood, table, "train_log_prob", BLUE, "training", "o")
    _curve(likelihood, table, "val_log_prob", ORANGE, "validation", "s")
    alphas = np.geomspace(1e-5, 1e-1, 50)
    # -h - log(2 pi alpha) / 2
    closed = table.optimum.iloc[0] - np.log(alphas / OPTIMUM_ALPHA) / 2
    likelihood.plot(alphas, closed, color=GREY, ls=":", label="closed form for small α")
    likelihood.set(ylabel="log-likelihood (nats)", title="likelihood")
    _curve(across, table, "null_std", BLUE, "median std across the surface", "o")
    across.plot(alphas, np.sqrt(alphas), color=GREY, ls=AS_PRINTED, label="paper: $\\sqrt{\\alpha}$")
    across.set(yscale="log", ylabel="std", title="the null direction")
    _curve(factors, table, "correlation_1", BLUE, "component 1 with $\\epsilon_1$", "o")
    _curve(factors, table, "correlation_2", ORANGE, "component 2 with $\\epsilon_2$", "s")
    factors.set(ylim=(-0.03, 1.05), ylabel="rank correlation", title="the factors")
    _curve(tails, table, "outliers", RED, "beyond the exact flow's 99 %", "o")
    tails.axhline(0.01, color=GREY, ls=":", label="exact flow")
    tails.set(ylabel="share of points", title="outliers of component 1", ylim=(0, None))
    for axis in axes[0]:
        axis.set_xscale("symlog", linthresh=1e-5, linscale=0.5)
        axis.set(xlabel="α", xlim=(-3e-6, 0.2), xticks=[0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
        axis.legend(fontsize=7)
    return figure


def _curve(axis: Axes, table: pd.DataFrame, column: str, colour: str, label: str, marker: str) -> None:
    mean = table.groupby("alpha")[column].mean()
    axis.plot(mean.index, mean, color=colour, lw=1.2, label=label)
    axis.plot(table.alpha, table[column], color=colour, marker=marker, ms=3.5, ls="", alpha=0.7)


# the std across the surface may be off by this factor, which costs this many nats
FACTOR = 3
NATS = math.log(FACTOR)
# of the paper's own and around it
SMALL, FOLLOWING = (1e-5, 5e-5), (1e-5, 5e-5, 1e-3)


def _off(alpha: float, of: float | None = None) -> Values:
    """The factor between the std across the surface and sqrt(alpha), at least 1; optionally of another alpha's flow."""

    def factor(null_std: pd.Series) -> pd.Series:
        share = null_std / math.sqrt(alpha)
        return np.maximum(share, 1 / share)

    return combined(factor, column("null_std", alpha=alpha if of is None else of))


def _learned(*alphas: float, margin: float) -> Given:
    distance = largest(
        *(difference(column("own_optimum", alpha=a), column("val_log_prob", alpha=a)) for a in alphas)
    )
    return near(distance, margin, "the flows are near their optimum (validation nats)")


def _settled(*alphas: float, margin: float) -> Given:
    """For a refutation: that more training will not turn it."""
    gain = largest(*(combined(abs, column("last_fifth_gain", alpha=a)) for a in alphas))
    return settled(gain, margin, "the flows")


CLAIMS = [
    Claim(
        "null_std_follows_alpha",
        "Sec. 5",
        "Tikhonov regularisation adds α to the variance: across the surface the standard deviation is √α.",
        "largest factor between the two, in either direction, for α of 1e-5, 5e-5 and 1e-3",
        largest(*(_off(a) for a in FOLLOWING)),
        at_most(FACTOR),
        "1",
        given=(_learned(*FOLLOWING, margin=NATS),),
        to_refute=(_settled(*FOLLOWING, margin=NATS),),
        controls=(
            must_fail("the flow of α = 0.1 compared with 1e-3", _off(1e-3, of=0.1)),
            must_fail("the flow of α = 0 compared with 1e-3", _off(1e-3, of=0.0)),
        ),
    ),
    Claim(
        "factors_found",
        "Sec. 6.1",
        "Both latent factors are recovered for α from 1e-5 to 5e-5.",
        "smallest rank correlation of a component with its factor",
        smallest(*(weaker(alpha=a) for a in SMALL)),
        at_least(0.95),
        kind="beyond",
        given=(_learned(*SMALL, margin=FACTORS),),
        to_refute=(_settled(*SMALL, margin=FACTORS),),
        controls=(
            must_fail("shuffled projections", largest(*(weaker("shuffled_", alpha=a) for a in SMALL))),
        ),
    ),
    Claim(
        "unregularised_shrinks",
        "Sec. 5",
        "Without regularisation the standard deviation across the surface tends to 0.",
        "its median at α = 0 over √5e-5",
        combined(lambda std: std / math.sqrt(OPTIMUM_ALPHA), column("null_std", alpha=0.0)),
        at_most(0.5),
        "to 0",
        to_refute=(_settled(0.0, margin=NATS),),
    ),
]
