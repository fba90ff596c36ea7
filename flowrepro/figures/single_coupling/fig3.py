"""single_coupling, Figure 3: conditional KL divergence along p, before and after one coupling, and its lower bound.

What one should see: before training (grey) it depends on p; after it (orange) it is flat and lies on the bound (blue):
zero for W, whose conditionals are normal (Corollary 1), 0.1765 nats for WU, the negentropy of a uniform law. Lines are
exact, by quadrature of the trained scale and shift; dots are estimates from samples alone.

The runs are those of Figure 2.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.claims import TRAINED, Claim, Values, at_least, at_most, tested, within
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.figures.single_coupling.one_layer import W_DENSITIES, of_case
from flowrepro.pictures.style import BLUE, GREY, ORANGE, panels

CURVES = ("p", "before", "after", "bound", "centres", "sampled_before", "sampled_after")


def table(measures: Measures) -> pd.DataFrame:
    """One row for each density and seed, the numbers alone."""
    return pd.DataFrame(
        [
            {"case": m["case"], "seed": m["seed"], "state": m["state"]}
            | {k: v for k, v in m.items() if isinstance(v, float)}
            for m in measures
        ]
    )


def arrays(measures: Measures) -> Arrays:
    """Every curve over p, of both densities."""
    return taken(measures, *CURVES)


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """W left, WU right."""
    figure, axes = panels(1, 2, 4.4, 3.0)
    for axis, (case, density) in zip(axes[0], W_DENSITIES.items(), strict=True):
        _draw(axis, {name: arrays[f"{case}/{name}"] for name in CURVES})
        axis.set(title=f"{density.title} density", xlabel="passive $p$", ylim=(-0.06, 1.5))
    axes[0, 0].set_ylabel("conditional KL divergence (nats)")
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


def _difference(case: str, first: str, second: str) -> Values:
    return lambda table: [
        a - b for a, b in zip(of_case(case, first)(table), of_case(case, second)(table), strict=True)
    ]


# closed forms, in nats
BEFORE = {"w": 0.6321036, "wu": 0.8085889}
TRAINED_WHY = "the network's kinks do not resolve all oscillations of σ(p)"
CLAIMS = [
    Claim(
        "after_w",
        "Ex. 3, Fig. 3 left",
        "after training the conditional divergence of W is zero: mean over p",
        tested(of_case("w", "mean_after"), at_most(0.05)),
        "0",
        "nats",
        scales=TRAINED,
        why=TRAINED_WHY,
    ),
    Claim(
        "after_wu",
        "Ex. 3, Fig. 3 right",
        "after training the conditional divergence of WU is the negentropy of a uniform: mean over p",
        tested(of_case("wu", "mean_after"), within(0.1764852, 0.05)),
        "0.1765",
        "nats",
        scales=TRAINED,
        why=TRAINED_WHY,
    ),
    *(
        Claim(
            f"samples_before_{case}",
            "Fig. 3",
            f"before training, mean over p for {density.title}, from samples in bins of p",
            tested(of_case(case, "mean_sampled_before"), within(BEFORE[case], 0.02)),
            unit="nats",
            scales=TRAINED,
        )
        for case, density in W_DENSITIES.items()
    ),
    *(
        Claim(
            f"never_below_{case}",
            "Theorem 1",
            f"from samples the trained coupling stays above the bound for {density.title}: mean over p minus the bound",
            tested(_difference(case, "mean_sampled_after", "mean_bound"), at_least(-0.005)),
            "≥ 0",
            "nats",
        )
        for case, density in W_DENSITIES.items()
    ),
    *(
        Claim(
            f"samples_agree_{case}",
            "Sec. 3.3",
            f"samples alone tell the same for {density.title}: mean over bins, minus quadrature",
            tested(_difference(case, "mean_sampled_after", "mean_after"), within(0, 0.02)),
            "0",
            "nats",
            scales=TRAINED,
        )
        for case, density in W_DENSITIES.items()
    ),
]
