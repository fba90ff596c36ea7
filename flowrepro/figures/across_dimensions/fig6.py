"""across_dimensions, Figure 6: the distance of samples from real faces against s, NIF-128.

What one should see: the paper's FID falls steeply from s = 0 to a minimum at a small s, and rises again towards s = 1:
small deviations from the manifold, hardly seen by the eye, are seen by features. Solid lines are distances from held-out
images, dashed ones those from the part of the training set on which s is chosen (star). The NF at t = 1 and at its own
best t is drawn for scale.

Below paper scale the faces are those of faces64, a stand-in for CelebA and not CelebA: its held-out images are so few that
Fréchet distances are mostly bias; the kernel distance has none.

Costs 20 minutes on two cores at cpu scale, with the two runs side by side.
"""

import textwrap
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions.compared import KINDS, NETWORKS, Where, on_summary
from flowrepro.figures.across_dimensions.distances import rows
from flowrepro.figures.across_dimensions.dots import draw_curves, panels_of, titled
from flowrepro.figures.claims import Claim, Values, at_most, largest, ratio, within
from flowrepro.figures.drawn import Arrays, Measures
from flowrepro.pictures.style import panels

MODEL = "NIF-128"


def table(measures: Measures) -> pd.DataFrame:
    """One row per distance: of samples at each s, and of real images with and without noise, against both splits."""
    return rows(measures)


def arrays(measures: Measures) -> Arrays:
    """Nothing beyond the table."""
    return {}


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """One panel per kind of distance and network."""
    shown = panels_of(table)
    figure, axes = panels(1, len(shown), 4.2, 3.4)
    for axis, (kind, network, label) in zip(axes[0], shown, strict=True):
        draw_curves(axis, table[(table.kind == kind) & (table.network == network)], label)
    figure.suptitle(textwrap.fill(titled(table), 90), fontsize=8)
    return figure


# --- claims ---------------------------------------------------------------------------------------------------------

SOURCE = "App. B.1, Fig. 6"
GAIN = 0.95


def _nearest_end(where: Where) -> Values:
    """The distance at the chosen s over the smaller of those at s = 0 and s = 1."""
    return largest(
        *(ratio(where.of("tuned", MODEL), where.of(end, MODEL)) for end in ("manifold", "untuned"))
    )


def _claims(where: Where) -> list[Claim]:
    common: dict[str, Any] = {"given": where.given, "to_refute": where.to_refute, "scales": where.scales}
    kind = "paper" if where.kind == "frechet" else "beyond"
    return [
        Claim(
            f"deviation_helps_{where.key}",
            SOURCE,
            f"{where.title}, {where.label}: small deviations from the manifold provide significant improvements.",
            "distance at the s chosen on training images over that at s = 0",
            where.over((MODEL, "tuned"), (MODEL, "manifold")),
            at_most(GAIN),
            "< 1",
            kind=kind,
            **common,
        ),
        Claim(
            f"best_inside_{where.key}",
            SOURCE,
            f"{where.title}, {where.label}: the best s lies between 0 and 1.",
            "s chosen on training images",
            where.of("deviation", MODEL),
            within(0.5, 0.49),
            "between 0 and 1",
            kind=kind,
            **common,
        ),
    ]


CLAIMS = [
    on_summary(claim)
    for network in NETWORKS["faces"]
    for distance in KINDS
    for claim in _claims(Where("faces", network, distance))
]
