"""across_dimensions, Fig. 1: faces by NF (top) and from the manifold of NIF-128 (below) at rising temperature.

What one should see: at t = 1 both draw faces; beyond, the NF's fall apart into saturated patches while those of the NIF
become caricatures of faces. In a row the same noise is scaled by t: its standard deviation, as in the authors' code; the
text scales the variance. Whether an image is a face no number here tells; counted are pixels beyond black or white, which
the logit allows by a twentieth of the range, and the rise of the distance from held-out images.

Two runs, shared with the other figures of faces. There are 119 held-out images of faces64: distances are coarse.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.features.names import label
from flowrepro.figures.across_dimensions.compared import NETWORKS, SCALES, of_celeba
from flowrepro.figures.across_dimensions.distances import COLD, rows
from flowrepro.figures.across_dimensions.pictured import (
    counted,
    departure,
    is_settled,
    pairs,
    sheet_rows,
)
from flowrepro.figures.claims import (
    Claim,
    Values,
    at_most,
    column,
    difference,
    enough,
    largest,
    must_fail,
    per_seed,
    ratio,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import BLUE, GREY, ORANGE, show_labelled

MODELS = {"NF": "nf faces", "NIF-128": "nif-128 faces"}
STYLES = {"NF": (ORANGE, "s"), "NIF-128": (BLUE, "o")}
SHOWN = 3
HOT = (2, 3, 4, 5)


def table(measures: Measures) -> pd.DataFrame:
    """One row per run and t of what was counted on its samples at s = 0, then its distances from held-out images."""
    sheets, distances = sheet_rows(measures), rows(measures)
    held_out = distances[distances.split == "test"]
    return pd.concat([sheets[sheets.deviation == 0], held_out], ignore_index=True)


def arrays(measures: Measures) -> Arrays:
    """The samples that are shown."""
    return taken(measures, *(f"sheet_t{t:g}_s0" for t, s in pairs(measures[0]) if s == 0), rows=SHOWN)


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Samples, one column per temperature; beside them the share of clipped pixels and the total variation over t."""
    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[2, 1])
    sheets = table[table["of"] == "sheet"]
    temperatures = sorted(sheets.temperature.unique())
    shown = [
        np.stack([arrays[f"{case}/sheet_t{t:g}_s0"] for t in temperatures], 1) for case in MODELS.values()
    ]
    left = figure.add_subplot(grid[:, 0])
    show_labelled(left, np.concatenate(shown), [f"t = {t:g}" for t in temperatures], ["NF", "NIF-128\ns = 0"])
    left.set_title(f"{sheets.images.iloc[0]}; t scales the standard deviation of z", fontsize=9)
    upper, lower = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
    _draw_numbers(upper, sheets, "clipped")
    upper.set_title("share of pixels beyond black or white", fontsize=8)
    _draw_numbers(lower, sheets, "total_variation")
    lower.axhline(sheets.real_total_variation.iloc[0], color=GREY, ls=":", label="held-out images")
    lower.set_title("total variation", fontsize=8)
    lower.set_xlabel("temperature t")
    lower.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.45, -0.22), ncols=3)
    return figure


def _draw_numbers(axis: Axes, sheets: pd.DataFrame, name: str) -> None:
    for model, (colour, marker) in STYLES.items():
        these = sheets[sheets.model == model].sort_values("temperature")
        axis.plot(these.temperature, these[name], color=colour, marker=marker, ms=4, label=model)
    axis.set_ylim(0, None)


def _distance(model: str, t: float, network: str, kind: str) -> Values:
    """Of samples at t, those of the NIF at s = 0."""
    deviation = 1.0 if model == "NF" else 0.0
    where = {"of": "samples", "model": model, "temperature": t, "deviation": deviation}
    return column("value", **where, network=network, kind=kind)


def _rise(model: str, network: str, kind: str) -> Values:
    """The distance at t = 2 over that at 1."""
    return ratio(_distance(model, 2, network, kind), _distance(model, 1, network, kind))


def _rises(network: str, kind: str) -> Claim:
    cold = ratio(_distance("NF", COLD, network, kind), _distance("NF", 1, network, kind))
    left_out = column("left_out", of="samples", network=network, kind=kind)
    return Claim(
        f"rises_{network}_{kind}",
        "Fig. 1, Sec. 5.1",
        "The NIF generates faces for a large range of temperatures, normalizing flows only below 1.",
        f"rise of {label(kind, network)} from t = 1 to 2, that of NIF-128 (s = 0) over that of NF",
        ratio(_rise("NIF-128", network, kind), _rise("NF", network, kind)),
        at_most(1),
        kind="paper" if kind == "frechet" else "beyond",
        given=(enough(left_out, at_most(0), "samples that are not finite"),),
        to_refute=(is_settled(), of_celeba()),
        controls=(
            must_fail("NF at t = 0.3 over NF at 1", cold),
            must_fail("NF's own rise", _rise("NF", network, kind)),
        ),
        scales=SCALES[network],
    )


def _excess(t: float) -> Values:
    return difference(counted("clipped", "NIF-128", t), counted("clipped", "NF", t))


CLAIMS = [
    Claim(
        "space_of_images",
        "Fig. 1",
        "The NIF maps more of the latent space to the space of images than a standard normalizing flow.",
        "largest share of pixels beyond black or white of NIF-128 minus that of NF, at t = 2 to 5",
        largest(*(_excess(t) for t in HOT)),
        at_most(0),
        to_refute=(is_settled(), of_celeba()),
        controls=(
            must_fail(
                "NF at t = 5 minus NF at 1",
                difference(counted("clipped", "NF", 5), counted("clipped", "NF", 1)),
            ),
        ),
    ),
    *(_rises(network, kind) for network in NETWORKS["faces"] for kind in ("frechet", "kernel")),
    Claim(
        "noise",
        "Fig. 1",
        "Hot samples of the NIF stay as smooth as images are, those of the NF do not.",
        "largest departure of NIF-128's total variation from that of held-out images, over NF's, at t = 2 to 5",
        largest(*(ratio(departure("NIF-128", t), departure("NF", t)) for t in HOT)),
        at_most(1),
        kind="beyond",
        to_refute=(is_settled(), of_celeba()),
    ),
    Claim(
        "finite",
        "Fig. 1",
        "Samples are finite at every temperature.",
        "largest share that is not",
        per_seed("max", column("non_finite", of="sheet")),
        at_most(0),
        kind="check",
    ),
]
