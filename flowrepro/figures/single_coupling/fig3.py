"""single_coupling, Figure 3: conditional KL divergence along p, before and after one coupling, and its lower bound.

What one should see: before training (grey) it depends on p; after it (orange) it is flat and lies on the bound (blue):
zero for W, whose conditionals are normal (Corollary 1), 0.1765 nats for WU, the negentropy of a uniform law. Lines are
exact, by quadrature of the trained scale and shift; dots are estimates from samples alone.

The runs are those of Figure 2.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.claims import (
    Claim,
    at_least,
    at_most,
    column,
    difference,
    must_fail,
    within,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.figures.single_coupling.one_layer import (
    ATTAINED,
    UNIFORM,
    W_DENSITIES,
    is_settled,
)
from flowrepro.pictures.style import AS_PRINTED, BLUE, GREY, ORANGE, panels

CURVES = ("p", "before", "after", "bound", "centres", "sampled_before", "sampled_after")


def table(measures: Measures) -> pd.DataFrame:
    """One row per density and seed, only the numbers."""
    return pd.DataFrame(
        [
            {"case": m["case"], "seed": m["seed"], "state": m["state"]}
            | {k: v for k, v in m.items() if isinstance(v, float)}
            for m in measures
        ]
    )


def arrays(measures: Measures) -> Arrays:
    """Every curve over p, for both densities."""
    return taken(measures, *CURVES)


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """W left, WU right."""
    figure, axes = panels(1, 2, 4.4, 3.0)
    for axis, (case, density) in zip(axes[0], W_DENSITIES.items(), strict=True):
        _draw(axis, {name: arrays[f"{case}/{name}"] for name in CURVES})
        axis.set(title=f"{density.title} density", xlabel="passive $p$", ylim=(-0.06, 1.5))
    axes[0, 0].set_ylabel("conditional KL divergence (nats)")
    # Example 3 of the paper
    axes[0, 1].axhline(UNIFORM, color="black", lw=1, ls=AS_PRINTED, label=f"paper: {UNIFORM:.4f} nats remain")
    axes[0, 1].legend(handles=[axes[0, 1].lines[-1]], fontsize=7, loc="upper center")
    axes[0, 0].legend(fontsize=7, ncols=2, loc="upper center")
    return figure


def _draw(axis: Axes, found: Arrays) -> None:
    axis.plot(found["p"], found["before"], color=GREY, label="before training")
    axis.plot(found["p"], found["after"], color=ORANGE, label="after training")
    axis.plot(found["p"], found["bound"], color=BLUE, ls="--", label="lower bound")
    axis.plot(
        found["centres"], found["sampled_before"], "o", color=GREY, ms=2.5, label="before, from samples"
    )
    axis.plot(
        found["centres"], found["sampled_after"], "o", color=ORANGE, ms=2.5, label="after, from samples"
    )


# closed forms, in nats
BEFORE = {"w": 0.6321036, "wu": 0.8085889}
CLAIMS = [
    Claim(
        "after_w",
        "Ex. 3, Fig. 3 left",
        "After training the conditional divergence of the W density is zero.",
        "mean over p, by quadrature",
        column("mean_after", case="w"),
        at_most(ATTAINED),
        "0",
        "nats",
        to_refute=(is_settled("w"),),
        controls=(must_fail("before training", column("mean_before", case="w")),),
    ),
    Claim(
        "after_wu",
        "Ex. 3, Fig. 3 right",
        "The remaining loss for the WU density is the negentropy of a uniform distribution with unit variance.",
        "mean over p of the conditional divergence, by quadrature",
        column("mean_after", case="wu"),
        within(UNIFORM, ATTAINED),
        f"{UNIFORM:.4f}",
        "nats",
        to_refute=(is_settled("wu"),),
        controls=(
            must_fail("before training", column("mean_before", case="wu")),
            must_fail("W, whose conditionals are normal", column("mean_after", case="w")),
        ),
    ),
    *(
        Claim(
            f"samples_before_{case}",
            "Fig. 3",
            f"Samples in bins of p give the conditional divergence of {density.title} before training.",
            "mean over bins",
            column("mean_sampled_before", case=case),
            within(BEFORE[case], 0.02),
            f"{BEFORE[case]:.4f}",
            "nats",
            kind="check",
            closed_form=True,
        )
        for case, density in W_DENSITIES.items()
    ),
    *(
        Claim(
            f"never_below_{case}",
            "Theorem 1",
            f"The trained coupling of {density.title} does not fall below the bound.",
            "mean over p from samples, minus the bound",
            difference(column("mean_sampled_after", case=case), column("mean_bound", case=case)),
            at_least(-0.005),
            "≥ 0",
            "nats",
            kind="check",
        )
        for case, density in W_DENSITIES.items()
    ),
    *(
        Claim(
            f"samples_agree_{case}",
            "Sec. 3.3",
            f"Sample estimates of the remaining divergence of {density.title} agree with quadrature.",
            "mean over bins minus quadrature",
            difference(column("mean_sampled_after", case=case), column("mean_after", case=case)),
            within(0, 0.02),
            "0",
            "nats",
            kind="check",
        )
        for case, density in W_DENSITIES.items()
    ),
]
