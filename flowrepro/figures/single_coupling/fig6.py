"""single_coupling, Figure 6: twelve layers on six toy densities, trained layer-wise, progressively or end-to-end.

What one should see: columns are data sets, rows the true density and what each method has learned after twelve layers, with
optimal (OAS) or random rotations; below each column the divergence over the number of layers. Layer-wise densities keep
structure that the data do not have: filaments between and beyond the modes. Equal numbers of gradient steps for all, 1,000
for each layer; end-to-end is trained afresh at each depth, and updates twelve times as many layers as layer-wise training
with the same steps (the table counts them). The red line needs no training: couplings from binned conditional moments.

The paper's toy densities are not known; these are the usual ones, each with its density, so that divergences have their
floor at zero. Data are standardised by the first layer. The paper tuned each method; here all have the same settings.

Costs 100 minutes on two cores at cpu scale, five seeds.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.figures.single_coupling.depth import METHODS, REFERENCE_COLOUR, collected, logarithmic
from flowrepro.figures.single_coupling.fig6_claims import CLAIMS, DEPTHS, TITLES

__all__ = ["CLAIMS", "arrays", "draw", "table"]

SHADES = 24


def table(measures: Measures) -> pd.DataFrame:
    """One row per data set, method and seed: divergence in nats at each depth, mass outside the support."""
    return pd.DataFrame(collected(measures, DEPTHS))


def arrays(measures: Measures) -> Arrays:
    """Densities of the deepest flows as 8-bit shades, and the divergences without training."""
    last = max(m["config"]["model.layers"] for m in measures)
    deepest = [m for m in measures if m["config"]["model.layers"] == last]
    shades = [m | {name: _shades(m, name) for name in ("density", "true_density")} for m in deepest]
    truths = [m for m in shades if " layerwise_oas " in m["case"]]
    in_turn = [m for m in deepest if " layerwise_" in m["case"]]
    return taken(shades, "density") | taken(truths, "true_density", "edges") | taken(in_turn, "reference")


def _shades(measure: dict[str, Any], name: str) -> np.ndarray:
    """The square root of a density, which shows faint spurious structure; 255 is the peak of the true one."""
    share = np.sqrt(measure[name] / measure["true_density"].max())
    shades: np.ndarray = (255 * share.clip(0, 1)).round().astype(np.uint8)
    return shades


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """The true density, a row for each method, and the curves."""
    datasets = list(dict.fromkeys(table.dataset))
    figure = Figure(figsize=(1.35 * len(datasets) + 0.9, 11.0), layout="constrained")
    grid = figure.add_gridspec(
        len(METHODS) + 2, len(datasets), height_ratios=[*(len(METHODS) + 1) * [1], 1.5]
    )
    last = int(table.layers.max())
    for place, dataset in enumerate(datasets):
        deep = {m: f" model.layers={last}" * (m == "end_to_end") for m in METHODS}
        names = {m: f"toys {m}{deep[m]} dataset={dataset}" for m in METHODS}
        truth, edges = (arrays[f"{names['layerwise_oas']}/{name}"] for name in ("true_density", "edges"))
        images = [("data", truth), *((m, arrays[f"{names[m]}/density"]) for m in METHODS)]
        for row, (name, image) in enumerate(images):
            axis = figure.add_subplot(grid[row, place])
            _draw_density(axis, image, edges)
            axis.set_title(
                TITLES.get(dataset, dataset) if row == 0 else _told(table, dataset, name), fontsize=7.5
            )
            if place == 0:
                axis.set_ylabel(
                    METHODS[name][0].replace(", ", ",\n") if name in METHODS else "data", fontsize=8
                )
        axis = figure.add_subplot(grid[-1, place])
        _draw_curves(axis, table[table.dataset == dataset], arrays, names)
        axis.set_xlabel("layers")
        if place == 0:
            axis.set_ylabel("KL divergence (nats)")
            handles = axis.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=4, fontsize=7.5)
    return figure


def _draw_density(axis: Axes, image: np.ndarray, edges: np.ndarray) -> None:
    extent = (edges[0], edges[-1], edges[0], edges[-1])
    # fewer shades make a smaller file
    shades = colormaps["Blues"].resampled(SHADES)
    axis.imshow(image, origin="lower", extent=extent, cmap=shades, vmin=0, vmax=255)
    axis.set(xticks=[], yticks=[])


def _told(table: pd.DataFrame, dataset: str, method: str) -> str:
    rows = table[(table.dataset == dataset) & (table.method == method)]
    first = rows[rows.seed == rows.seed.min()].iloc[0]
    return f"KL {first[f'kl_{int(first.layers)}']:.3f}, outside {100 * first.outside:.0f} %"


def _draw_curves(axis: Axes, table: pd.DataFrame, arrays: Arrays, names: dict[str, str]) -> None:
    for method, (label, colour, style, marker) in METHODS.items():
        rows = table[table.method == method]
        depths = [k for k in DEPTHS if f"kl_{k}" in rows and rows[f"kl_{k}"].notna().all()]
        values = rows[[f"kl_{k}" for k in depths]].to_numpy()
        axis.fill_between(depths, values.min(0), values.max(0), color=colour, alpha=0.12, lw=0)
        axis.plot(depths, values.mean(0), color=colour, ls=style, marker=marker, ms=3, lw=1, label=label)
    for method, style in (("layerwise_oas", "-"), ("layerwise_random", "--")):
        curve = arrays[f"{names[method]}/reference"]
        label = f"without training, {'OAS' if style == '-' else 'random'}"
        axis.plot(range(1, len(curve)), curve[1:], color=REFERENCE_COLOUR, ls=style, lw=0.9, label=label)
    logarithmic(axis)
    axis.tick_params(labelsize=7)
