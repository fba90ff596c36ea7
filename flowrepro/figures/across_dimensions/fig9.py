"""across_dimensions, Fig. 9: CIFAR-10 by NF (a), from the manifold of NIF-128, s = 0 (b), and away from it, s = 1 (c).

What one should see: samples on the manifold are blurred and lack what one expects of such photographs; away from it they
resemble those of the NF. Distances on different features need not agree with that, or with each other.

Two runs, shared with the other figures of CIFAR-10. If only a part of CIFAR-10 is available, the title says so.
"""

import textwrap
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions.compared import NETWORKS, Where
from flowrepro.figures.across_dimensions.distances import rows, summary
from flowrepro.figures.across_dimensions.pictured import sheet_rows
from flowrepro.figures.claims import Claim, at_least, at_most, column, must_fail, per_seed, within
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import show_images

SIDE = 6
SHEETS = {
    "(a) NF": "nf cifar10/sheet_t1_s0",
    "(b) NIF-128, s = 0": "nif-128 cifar10/sheet_t1_s0",
    "(c) NIF-128, s = 1": "nif-128 cifar10/sheet_t1_s1",
}


def table(measures: Measures) -> pd.DataFrame:
    """One row per run and s of what was counted on its samples, then one per run, network and kind of distance."""
    sheets = sheet_rows(measures)
    return pd.concat([sheets[sheets.temperature == 1], summary(rows(measures))], ignore_index=True)


def arrays(measures: Measures) -> Arrays:
    """The samples that are shown."""
    there = taken(measures, "sheet_t1_s0", "sheet_t1_s1", rows=SIDE**2)
    return {name: there[name] for name in SHEETS.values()}


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Three sheets side by side."""
    figure = Figure(figsize=(9, 3.7), layout="constrained")
    for axis, (title, name) in zip(figure.subplots(1, 3), SHEETS.items(), strict=True):
        show_images(axis, arrays[name] / 255, SIDE)
        axis.set_title(title, fontsize=9)
    figure.suptitle(textwrap.fill(f"samples at t = 1; {table.source.iloc[0]}", 110), fontsize=8)
    return figure


def _claims(where: Where) -> list[Claim]:
    nf, on, off = ("NF", "untuned"), ("NIF-128", "manifold"), ("NIF-128", "untuned")
    shared: dict[str, Any] = {"given": where.given, "to_refute": where.to_refute, "scales": where.scales}
    cold = (must_fail("the NF over the NF at t = 0.3", where.over(nf, ("NF", "cold"))),)
    return [
        Claim(
            f"worse_{where.network}",
            "Fig. 9, B.4",
            "Samples on the manifold can look worse than those of the normalizing flow.",
            f"{where.label}, NIF-128 at s = 0 over NF",
            where.over(on, nf),
            at_least(1),
            controls=cold,
            **shared,
        ),
        Claim(
            f"leaves_{where.network}",
            "Fig. 9, B.4",
            "Samples away from the manifold are better than those on it.",
            f"{where.label}, NIF-128 at s = 0 over s = 1",
            where.over(on, off),
            at_least(1),
            controls=cold,
            **shared,
        ),
        Claim(
            f"reverts_{where.network}",
            "Fig. 9, B.4",
            "Away from the manifold (s = 1) the NIF reverts to the normalizing flow.",
            f"{where.label}, NIF-128 at s = 1 over NF",
            where.over(off, nf),
            within(1, 0.1),
            controls=(where.cold,),
            **shared,
        ),
    ]


CLAIMS = [
    *(claim for network in NETWORKS["cifar10"] for claim in _claims(Where("cifar10", network))),
    Claim(
        "finite",
        "Fig. 9",
        "Samples are finite.",
        "largest share that is not",
        per_seed("max", column("non_finite", of="sheet")),
        at_most(0),
        kind="check",
    ),
]
