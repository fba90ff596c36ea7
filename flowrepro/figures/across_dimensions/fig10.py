"""across_dimensions, Figure 10: the distance of samples from real images of CIFAR-10 against s, NIFs of four sizes.

What one should see: in the paper the NIFs are further away than the NF close to their manifold, and come down to it as s
approaches 1: CIFAR-10 has no manifold of so few dimensions. Solid lines are distances from held-out images, dashed ones
those from the part of the training set on which s is chosen (stars); horizontal lines the NF at t = 1 and at the t chosen
on the same images.

Costs an hour on two cores at cpu scale.
"""

import textwrap
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions.compared import NETWORKS, Where, on_summary
from flowrepro.figures.across_dimensions.distances import NIFS, rows
from flowrepro.figures.across_dimensions.dots import draw_curves, panels_of, titled
from flowrepro.figures.claims import Claim, Values, at_least, at_most, combined, largest, smallest
from flowrepro.figures.drawn import Arrays, Measures
from flowrepro.pictures.style import panels


def table(measures: Measures) -> pd.DataFrame:
    """One row per distance: of samples at each s or t, and of real images with and without noise, against both splits."""
    return rows(measures)


def arrays(measures: Measures) -> Arrays:
    """Nothing beyond the table."""
    return {}


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """One panel per kind of distance and network."""
    shown = panels_of(table)
    columns = min(2, len(shown))
    figure, axes = panels(-(-len(shown) // columns), columns, 4.4, 3.2)
    for axis, (kind, network, label) in zip(axes.flat, shown, strict=True):
        draw_curves(axis, table[(table.kind == kind) & (table.network == network)], label)
    figure.suptitle(textwrap.fill(titled(table), 100), fontsize=8)
    return figure


# --- claims ---------------------------------------------------------------------------------------------------------

SOURCE = "App. B.4, Fig. 10"
AT_ONE = ("NF", "untuned")


def _furthest(where: Where) -> Values:
    """The largest |ratio - 1| of a NIF's distance at s = 1 to that of the NF."""
    ratios = [where.over((m, "untuned"), AT_ONE) for m in NIFS]
    return largest(*(combined(lambda r: (r - 1).abs(), r) for r in ratios))


def _claims(where: Where) -> list[Claim]:
    common: dict[str, Any] = {"given": where.given, "to_refute": where.to_refute, "scales": where.scales}
    return [
        Claim(
            f"worse_on_manifold_{where.key}",
            SOURCE,
            f"{where.label}: close to the manifold NIFs are further away than the NF.",
            "distance at s = 0 over that of the NF at t = 1, smallest of four sizes",
            where.best(NIFS, "manifold", AT_ONE),
            at_least(1.05),
            "> 1",
            **common,
        ),
        Claim(
            f"falls_{where.key}",
            SOURCE,
            f"{where.label}: the distance falls as s approaches 1.",
            "rank correlation of distance and s from 0 to 1, largest of four sizes",
            largest(*(where.of("trend", m) for m in NIFS)),
            at_most(-0.7),
            "falling",
            **common,
        ),
        Claim(
            f"manifold_over_one_{where.key}",
            SOURCE,
            f"{where.label}: NIFs are further away on the manifold than at s = 1.",
            "distance at s = 0 over that at s = 1, smallest of four sizes",
            smallest(*(where.over((m, "manifold"), (m, "untuned")) for m in NIFS)),
            at_least(1.05),
            "> 1",
            **common,
        ),
        Claim(
            f"reverts_{where.key}",
            SOURCE,
            f"{where.label}: at s = 1 NIFs are as near as the NF.",
            "difference of the distance at s = 1 to that of the NF at t = 1, relative, largest of four sizes",
            _furthest(where),
            at_most(0.2),
            "0",
            **common,
        ),
    ]


CLAIMS = [
    on_summary(claim) for network in NETWORKS["cifar10"] for claim in _claims(Where("cifar10", network))
]
