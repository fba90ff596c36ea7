"""single_coupling, Figure 6: twelve layers on three toy densities, trained layer-wise, progressively or end-to-end.

What one should see: rows are data sets, columns the true density and what each method has learned after twelve layers, with
optimal (OAS) or random rotations; right the divergence over the number of layers. Layer-wise densities keep structure that
the data do not have: filaments between and beyond the modes. Equal numbers of gradient steps for all, 2,500
for each layer; end-to-end is trained afresh at each depth, and updates twelve times as many layers as layer-wise training
with the same steps (the table counts them). The red line needs no training: couplings from binned conditional moments.
Below each density, its divergence and the mass outside the data's support. A run that is worse than a shallower one of its
method got stuck; it is a cross, counts for no mean, and the table names it.

The paper's toy densities are not known; these are the usual ones, each with its density, so that divergences have their
floor at zero. Data are standardised by the first layer. As the paper tuned each method, each has on each data set the
better of two learning rates by the held-out points of the first seed, end-to-end training at each depth; all else is the
same. Optimal rotations against random ones, on six data sets: fig6_rotations.

Costs two hours on two cores at cpu scale, three seeds.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.figures.single_coupling.depth import (
    END_TO_END,
    METHODS,
    OAS,
    collected,
    draw_losses,
    draw_references,
    logarithmic,
    stuck_entry,
    tuned,
)
from flowrepro.figures.single_coupling.fig6_claims import CLAIMS, DEPTHS, TITLES

__all__ = ["CLAIMS", "arrays", "draw", "table"]

SHADES = 24


def table(measures: Measures) -> pd.DataFrame:
    """One row per data set, method and seed: learning rate, divergence in nats at each depth, mass outside the support."""
    return pd.DataFrame(collected(tuned(measures), DEPTHS))


def arrays(measures: Measures) -> Arrays:
    """Densities of the deepest flows as 8-bit shades, and the divergences without training."""
    measures = tuned(measures)
    last = max(m["config"]["model.layers"] for m in measures)
    deepest = [m for m in measures if m["config"]["model.layers"] == last]
    shades = [m | {name: _shades(m, name) for name in ("density", "true_density")} for m in deepest]
    truths = [m for m in shades if f" {OAS} " in m["case"]]
    in_turn = [m for m in deepest if " layerwise_" in m["case"]]
    return taken(shades, "density") | taken(truths, "true_density", "edges") | taken(in_turn, "reference")


def _shades(measure: dict[str, Any], name: str) -> np.ndarray:
    """The square root of a density, which shows faint spurious structure; 255 is the peak of the true one."""
    share = np.sqrt(measure[name] / measure["true_density"].max())
    shades: np.ndarray = (255 * share.clip(0, 1)).round().astype(np.uint8)
    return shades


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """A row for each data set: its density, those of each method of the table, and the curves."""
    methods = [m for m in METHODS if m in set(table.method)]
    datasets, columns = list(dict.fromkeys(table.dataset)), len(methods) + 1
    figure = Figure(figsize=(1.4 * columns + 2.4, 1.6 * len(datasets) + 1.4), layout="constrained")
    grid = figure.add_gridspec(len(datasets), columns + 1, width_ratios=[1.0] * columns + [1.4])
    axes = []
    for row, dataset in enumerate(datasets):
        names = _cases(methods, arrays, dataset, int(table.layers.max()))
        truth, edges = (arrays[f"{names[OAS]}/{name}"] for name in ("true_density", "edges"))
        shown = {"data": truth} | {m: arrays[f"{names[m]}/density"] for m in methods}
        for place, (name, density) in enumerate(shown.items()):
            axes.append(figure.add_subplot(grid[row, place]))
            image = _draw_density(axes[-1], density, edges)
            label = TITLES.get(dataset, dataset) if name == "data" else _told(table, dataset, name)
            axes[-1].set_xlabel(label, fontsize=8)
            if row == 0:
                axes[-1].set_title("data" if name == "data" else METHODS[name][0].replace(", ", ",\n"))
        curves = figure.add_subplot(grid[row, columns])
        _draw_curves(curves, table[table.dataset == dataset], arrays, names)
        if row == len(datasets) - 1:
            curves.set_xlabel("layers")
    _draw_scale(figure, axes, image)
    handles, _ = curves.get_legend_handles_labels()
    wide = 4 if columns > 4 else 2
    figure.legend(handles=[*handles, stuck_entry()], loc="outside upper center", ncols=wide, fontsize=8)
    return figure


def _cases(methods: list[str], arrays: Arrays, dataset: str, deepest: int) -> dict[str, str]:
    """Each method's name in the arrays; those of end-to-end training have a number of layers."""
    group = next(name for name in arrays if f" dataset={dataset}/" in name).split()[0]
    layers = {m: f" model.layers={deepest}" * (m == END_TO_END) for m in methods}
    return {m: f"{group} {m}{layers[m]} dataset={dataset}" for m in methods}


def _draw_density(axis: Axes, image: np.ndarray, edges: np.ndarray) -> AxesImage:
    extent = (edges[0], edges[-1], edges[0], edges[-1])
    axis.set(xticks=[], yticks=[])
    # fewer shades make a smaller file
    shades = colormaps["Blues"].resampled(SHADES)
    return axis.imshow(image, origin="lower", extent=extent, cmap=shades, vmin=0, vmax=255)


def _draw_scale(figure: Figure, axes: list[Axes], image: AxesImage) -> None:
    """The scale of all densities: shades are square roots."""
    shares = np.array([0, 0.05, 0.2, 0.5, 1])
    label = "density over the peak of the data's\nbelow a density: its divergence, its mass outside the data's support"
    bar = figure.colorbar(image, ax=axes, location="bottom", aspect=60, pad=0.01)
    bar.set_label(label, fontsize=8)
    bar.set_ticks(255 * np.sqrt(shares), labels=[f"{share:g}" for share in shares])


def _told(table: pd.DataFrame, dataset: str, method: str) -> str:
    rows = table[(table.dataset == dataset) & (table.method == method)]
    first = rows[rows.seed == rows.seed.min()].iloc[0]
    return f"{first[f'kl_{int(first.layers)}']:.2f} nats, {100 * first.outside:.0f} %"


def _draw_curves(axis: Axes, table: pd.DataFrame, arrays: Arrays, names: dict[str, str]) -> None:
    for method in names:
        draw_losses(axis, table[table.method == method], method, DEPTHS)
    draw_references(
        axis, {m: arrays[f"{name}/reference"] for m, name in names.items() if m.startswith("layerwise")}
    )
    logarithmic(axis, 1.2 * float(table.kl_0.max()))
    axis.set(ylabel="divergence (nats)", xticks=(1, 4, 8, 12))
    axis.tick_params(labelsize=8)
