"""across_dimensions, Fig. 3: samples of faces by NF (top) and on the manifold of NIF-128, s = 0 (below).

What one should see: the NF's samples have the colours and textures of faces but fall apart; those from the manifold are
smoother, and more often one face. Clear is measured by the total variation, which should be that of photographs, face-like
by distances on features; both can only stand in for the eye.

Two runs, shared with the other figures of faces. There are 119 held-out images of faces64: distances are coarse.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions.compared import NETWORKS, Where, of_celeba
from flowrepro.figures.across_dimensions.distances import rows, summary
from flowrepro.figures.across_dimensions.pictured import (
    counted,
    departure,
    is_settled,
    sheet_rows,
)
from flowrepro.figures.claims import EVERY_SCALE, Claim, at_most, column, difference
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import show_labelled

NF, NIF = "nf faces", "nif-128 faces"
SHEET, COLUMNS, ROWS = "sheet_t1_s0", 10, 2


def table(measures: Measures) -> pd.DataFrame:
    """One row per run of what was counted on its samples (t = 1, s = 0), then one per run, network and kind of distance."""
    sheets = sheet_rows(measures)
    shown = sheets[(sheets.temperature == 1) & (sheets.deviation == 0)]
    off = {m["case"]: m["off_manifold_max"] for m in measures}
    return pd.concat(
        [shown.assign(off_manifold_max=shown.case.map(off)), summary(rows(measures))], ignore_index=True
    )


def arrays(measures: Measures) -> Arrays:
    """The samples that are shown."""
    return taken(measures, SHEET, rows=ROWS * COLUMNS)


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Two rows of samples of each model."""
    figure = Figure(figsize=(9.4, 4.3), layout="constrained")
    axis = figure.subplots()
    samples = np.concatenate([arrays[f"{case}/{SHEET}"] for case in (NF, NIF)])
    show_labelled(axis, samples.reshape(-1, COLUMNS, *samples.shape[1:]), [], ["NF", "NIF-128\ns = 0"])
    axis.set_title(f"{table.images.iloc[0]}: samples at t = 1", fontsize=9)
    return figure


def _claims(where: Where) -> list[Claim]:
    shared: dict[str, Any] = {
        "threshold": at_most(1),
        "given": where.given,
        "to_refute": where.to_refute,
        "controls": (where.cold,),
        "scales": where.scales,
    }
    return [
        Claim(
            f"cohesive_{where.network}_{where.kind}",
            "Fig. 3, Sec. 5.2",
            "Samples from the manifold exhibit more cohesive facial structure than samples of the normalizing flow.",
            f"{where.label}, NIF-128 at s = 0 over NF",
            where.over(("NIF-128", "manifold"), ("NF", "untuned")),
            kind="paper" if where.kind == "frechet" else "beyond",
            **shared,
        ),
        Claim(
            f"tuned_{where.network}_{where.kind}",
            "Fig. 3",
            "So they do when the temperature of the normalizing flow is tuned.",
            f"{where.label}, NIF-128 at s = 0 over NF at its best t",
            where.over(("NIF-128", "manifold"), ("NF", "tuned")),
            kind="beyond",
            **shared,
        ),
    ]


CLAIMS = [
    Claim(
        "clearer",
        "Fig. 3, Sec. 5.2",
        "Samples from the manifold are clearer than those of the normalizing flow.",
        "departure of the total variation from that of held-out images, NIF-128 (s = 0) minus NF",
        difference(departure("NIF-128", 1), departure("NF", 1)),
        at_most(0),
        unit="of the range of grey levels",
        to_refute=(is_settled(), of_celeba()),
    ),
    *(
        c
        for n in NETWORKS["faces"]
        for kind in ("frechet", "kernel")
        for c in _claims(Where("faces", n, kind))
    ),
    Claim(
        "on_manifold",
        "Sec. 5.2",
        "Samples at s = 0 lie on the learned manifold.",
        "largest coordinate of their latents minus the nearest points of the manifold",
        column("off_manifold_max", of="sheet", model="NIF-128"),
        at_most(1e-4),
        kind="check",
        scales=EVERY_SCALE,
    ),
    Claim(
        "finite",
        "Fig. 3",
        "Samples from the manifold are finite.",
        "share that is not",
        counted("non_finite", "NIF-128", 1),
        at_most(0),
        kind="check",
    ),
]
