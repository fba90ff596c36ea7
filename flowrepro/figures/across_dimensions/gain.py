"""across_dimensions, beyond the paper: what the gain of NIFs over the NF consists of, Fashion-MNIST (4 bits), three seeds.

What one should see: the paper compares a NIF whose s is tuned with an NF whose t is not. Between the two stand an NF whose
t is tuned as well, and the NF on a learned diagonal Gaussian, which has everything that a NIF has except its manifold. What
a NIF gains beyond those two is due to the manifold. Each panel is another judge: Fréchet and kernel distance, each on
features of a network trained on ImageNet (lite0) and on those of a small classifier trained on Fashion-MNIST itself, and
the total variation of samples, low where they look clean. Small dots are seeds, large ones their mean. The judges need not
agree, and so no claim speaks for all of them.

Costs two hours on two cores at cpu scale, shared with the other figures of this paper.
"""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions.compared import KINDS, NETWORKS, Where
from flowrepro.figures.across_dimensions.distances import NIFS, rows, summary
from flowrepro.figures.across_dimensions.dots import MARKS, draw_models, panels_of, titled
from flowrepro.figures.claims import (
    Claim,
    Given,
    Values,
    at_least,
    at_most,
    average,
    difference,
    enough,
    largest,
    ratio,
    smallest,
)
from flowrepro.figures.drawn import Arrays, Measures
from flowrepro.pictures.style import GREY


def table(measures: Measures) -> pd.DataFrame:
    """One row per run, network and kind of distance."""
    return summary(rows(measures))


def arrays(measures: Measures) -> Arrays:
    """Nothing beyond the table."""
    return {}


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """One panel per kind of distance and network, and one of total variation."""
    shown = panels_of(table)
    figure = Figure(figsize=(2.5 * (len(shown) + 1) + 0.8, 3.4), layout="constrained")
    axes = figure.subplots(1, len(shown) + 1)
    for axis, (kind, network, label) in zip(axes[:-1], shown, strict=True):
        found = table[(table.kind == kind) & (table.network == network)]
        draw_models(axis, found)
        axis.axvline(found.floor.mean(), color=GREY, ls=":", lw=1)
        axis.set_title(label, fontsize=8)
    kind, network, label = shown[0]
    draw_models(axes[-1], table[(table.kind == kind) & (table.network == network)], "_total_variation")
    axes[-1].axvline(table.real_total_variation.mean(), color=GREY, ls=":", lw=1, label="real images")
    axes[-1].set_title(f"total variation (tuned by {label})", fontsize=8)
    for axis in axes[1:]:
        axis.set_yticklabels([])
    for mark in MARKS:
        axes[-1].plot([], [], ls="", label=mark.label, **mark.style)
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8,
        title=titled(table), title_fontsize=8.5,
    )  # fmt: skip
    return figure


# --- claims ---------------------------------------------------------------------------------------------------------

SOURCE = "beyond the paper"
# the largest ratio that counts as a gain
GAIN = 0.95
AT_ONE, CHOSEN, DIAGONAL = ("NF", "untuned"), ("NF", "tuned"), ("diagonal", "tuned")


def _share_of_diagonal(where: Where) -> Values:
    """What the diagonal Gaussian alone takes off the NF's distance, over what NIFs take off, each at its best."""
    nf = where.of("untuned", "NF")
    nifs = average(*(where.of("tuned", m) for m in NIFS))
    return ratio(difference(nf, where.of("tuned", "diagonal")), difference(nf, nifs))


def _claims(where: Where) -> list[Claim]:
    common: dict[str, Any] = {"given": where.given, "scales": where.scales}
    settled: dict[str, Any] = {"to_refute": where.to_refute}
    # the comparison with the NF at t = 1 is Table 1's
    return [
        Claim(
            f"over_tuned_nf_{where.key}",
            SOURCE,
            f"At 4 bits, {where.label}: every NIF is nearer than the NF at its own best temperature.",
            "distance at the chosen s over that of the NF at its chosen t, largest of four sizes",
            where.worst(NIFS, "tuned", CHOSEN),
            at_most(GAIN),
            kind="beyond",
            controls=(where.cold,),
            **common | settled,
        ),
        Claim(
            f"over_diagonal_{where.key}",
            SOURCE,
            f"At 4 bits, {where.label}: the manifold adds to what a learned diagonal Gaussian gives.",
            "distance at the chosen s over that of the diagonal at its chosen t, largest of four sizes",
            where.worst(NIFS, "tuned", DIAGONAL),
            at_most(GAIN),
            kind="beyond",
            **common | settled,
        ),
        Claim(
            f"share_of_diagonal_{where.key}",
            SOURCE,
            f"At 4 bits, {where.label}: the diagonal Gaussian alone, at its best t, gives under half of the gain of NIFs.",
            "what it takes off the NF's distance at t = 1, over what NIFs take off on average",
            _share_of_diagonal(where),
            at_most(0.5),
            kind="beyond",
            given=(*where.given, *_gains(where)),
            to_refute=where.to_refute,
            scales=where.scales,
        ),
        Claim(
            f"untuned_{where.key}",
            SOURCE,
            f"At 4 bits, {where.label}: without tuning, at s = 1, no NIF is nearer than the NF at t = 1.",
            "distance at s = 1 over that of the NF, smallest of four sizes",
            where.best(NIFS, "untuned", AT_ONE),
            at_least(1),
            kind="beyond",
            **common | settled,
        ),
    ]


def _gains(where: Where) -> tuple[Given, ...]:
    nearer = average(*(where.over((m, "tuned"), AT_ONE) for m in NIFS))
    return (enough(nearer, at_most(GAIN), "there is a gain to share: distance of NIFs over that of the NF"),)


def _variation(where: Where) -> Values:
    """The largest total variation of samples on the manifold, over that of samples at s = 1."""
    names = ("manifold_total_variation", "untuned_total_variation")
    return largest(*(ratio(*(where.of(name, m) for name in names)) for m in NIFS))


def _further(where: Where) -> Claim:
    return Claim(
        f"further_{where.key}",
        SOURCE,
        f"At 4 bits, {where.label}: samples on the manifold look cleaner, and are further away than those at the best s.",
        "distance at s = 0 over that at the chosen s, smallest of four sizes",
        smallest(*(where.over((m, "manifold"), (m, "tuned")) for m in NIFS)),
        at_least(1 / GAIN),
        kind="beyond",
        given=(*where.given, enough(_variation(where), at_most(GAIN), "total variation, s = 0 over s = 1")),
        to_refute=where.to_refute,
        scales=where.scales,
    )


PLACES = [Where("fashion_mnist", network, kind) for kind in KINDS for network in NETWORKS["fashion_mnist"]]
CLAIMS = [
    *(claim for where in PLACES for claim in _claims(where)),
    *(_further(where) for where in PLACES if where.kind == "frechet"),
    Claim(
        "cleaner",
        SOURCE,
        "Samples on the manifold look cleaner than those at s = 1.",
        "total variation at s = 0 over that at s = 1, largest of four sizes",
        _variation(Where("fashion_mnist", "lite0")),
        at_most(GAIN),
        kind="beyond",
    ),
]
