"""across_dimensions, Fig. 7: Fashion-MNIST by NF and from the manifolds of NIF-64, 128, 256 and 512, one row each.

What one should see: clothes in every row; those from the manifolds are smoother, already those of 64 dimensions. Beside
the rows the distance from held-out images over that of NF at t = 1, at s = 0 and at the s that is best on training images,
on each feature network: they need not agree.

Five runs for each of three seeds, shared with the other figures of Fashion-MNIST; NF and NIF-64 once more at 3 bits, since
the bit depth is open.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions.compared import NETWORKS, Where
from flowrepro.figures.across_dimensions.distances import NIFS, rows, summary
from flowrepro.figures.across_dimensions.pictured import sheet_rows
from flowrepro.figures.claims import Claim, at_least, at_most, column, per_seed
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import BLUE, GREEN, GREY, ORANGE, show_labelled

MODELS, SET = ("NF", *NIFS), "fashion_mnist"
SHEET, COLUMNS = "sheet_t1_s0", 10
COLOURS = {"inception": GREEN, "lite0": BLUE, "classifier": ORANGE}


def table(measures: Measures) -> pd.DataFrame:
    """One row per run of what was counted on its samples (t = 1, s = 0), then one per run, network and kind of distance."""
    sheets = sheet_rows(measures)
    shown = sheets[(sheets.temperature == 1) & (sheets.deviation == 0)]
    return pd.concat([shown, summary(rows(measures))], ignore_index=True)


def arrays(measures: Measures) -> Arrays:
    """The samples that are shown."""
    return taken([m for m in measures if m["case"].endswith(SET)], SHEET, rows=COLUMNS)


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """A row of samples of each model; beside them their distances over that of NF, one colour per network."""
    figure = Figure(figsize=(10.4, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 1])
    samples = np.stack([arrays[f"{model.lower()} {SET}/{SHEET}"] for model in MODELS])
    show_labelled(left, samples[:, :COLUMNS], [], ["NF", *(f"{model}, s = 0" for model in NIFS)])
    left.set_title(f"{table.images.iloc[0]}: samples at t = 1", fontsize=9)
    _draw_ratios(right, table[(table.kind == "frechet") & (table.dataset == SET)])
    return figure


def _draw_ratios(axis: Axes, frechet: pd.DataFrame) -> None:
    """Means over seeds; at s = 0 hollow, at the best s filled."""
    for network, these in frechet.groupby("network"):
        means = these.groupby("model")[["untuned", "manifold", "tuned"]].mean().loc[list(MODELS)]
        places, nf, colour = np.arange(1, len(MODELS)), means.untuned["NF"], COLOURS[network]
        axis.plot(means.manifold[1:] / nf, places, "o", color=colour, mfc="none", label=f"{network}, s = 0")
        axis.plot(means.tuned[1:] / nf, places, "o", color=colour, ms=4, label=f"{network}, best s")
    axis.axvline(1, color=GREY, lw=0.8, ls=":")
    axis.plot(1, 0, "s", color=GREY, ms=4)
    axis.set_yticks(range(len(MODELS)), MODELS)
    axis.set(xlabel="Fréchet distance over that of NF", ylim=(len(MODELS) - 0.5, -0.5))
    axis.legend(fontsize=6)


def _claim(where: Where) -> Claim:
    # that every size improves on the NF at its best s is Table 1's
    return Claim(
        f"small_{where.network}",
        "Fig. 7",
        "Even with small latent state dimensions the NIF generates images of high quality.",
        f"{where.label}, NIF-64 at s = 0 over NF",
        where.over(("NIF-64", "manifold"), ("NF", "untuned")),
        at_most(1),
        given=where.given,
        to_refute=(*where.to_refute, *where.at_three_bits("manifold", ("NF", "untuned"), at_least(1))),
        controls=(where.cold,),
        scales=where.scales,
    )


CLAIMS = [
    *(_claim(Where(SET, network)) for network in NETWORKS["fashion_mnist"]),
    Claim(
        "finite",
        "Fig. 7",
        "Samples are finite.",
        "largest share that is not",
        per_seed("max", column("non_finite", of="sheet")),
        at_most(0),
        kind="check",
    ),
]
