"""across_dimensions, Figure 2: supervised UMAP of the latents of CIFAR-10's test images, NF left, NIF-64 right.

What one should see: the paper shows classes apart for the NIF and mixed for the NF. But this UMAP is given the labels of
the very points that it shows, and the two embeddings differ in dimension (3,072 and 64). So beside each map stand two
controls by the same UMAP: the same latents with their labels shuffled, and pure noise of the same shape with the right
labels. What these separate is handed in, by the labels and by the dimension; where noise separates as well as latents
do, a map says nothing of the latents. Under each map is what needs no map: leave-one-out 1-NN and a linear probe on the
latents themselves, of which chance gets a tenth.

The NIF's embedding is the pseudo-inverse (Eq. 42). The paper has 10,000 test images, the part of CIFAR-10 2,000. Without
the extra `umap` the maps are linear discriminants, and say so.

Costs 25 minutes on two cores at cpu scale, one run on each, of which the maps take one.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from flowrepro.figures.across_dimensions.pictured import about
from flowrepro.figures.claims import (
    Claim,
    Values,
    at_least,
    column,
    combined,
    difference,
    enough,
    largest,
    must_fail,
    settled,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import BLUE, DOTS, GREEN, GREY, ORANGE, PALE, RED, robust_limits

MODELS = {"NF": "nf cifar10", "NIF-64": "nif-64 cifar10"}
MAPS = {"": "", "_shuffled": "labels shuffled", "_noise": "noise, right labels"}
EVIDENCE = ("nearest", "probe")
# in the order of the labels
CLASSES = dict(
    zip(
        "airplane automobile bird cat deer dog frog horse ship truck".split(),
        (BLUE, ORANGE, GREEN, RED, GREY, PALE, "#CC79A7", "#F0E442", "#000000", "#332288"),
        strict=True,
    )
)


def table(measures: Measures) -> pd.DataFrame:
    """One row per run; `*_gain` is its accuracy minus that of the NF, `*_gain_se` its error over the same images."""
    baseline = {m["seed"]: m for m in measures if m["case"].startswith("nf")}
    rows = []
    for m in measures:
        row = about(m, int(m["dim"])) | {k: m[k] for k in ("map", "map_versions", "embedding")}
        row |= {k: v for k, v in m.items() if isinstance(v, float)}
        for name in EVIDENCE:
            gain = m[f"{name}_hits"].astype(float) - baseline[m["seed"]][f"{name}_hits"]
            row |= {f"{name}_gain": gain.mean(), f"{name}_gain_se": gain.std(ddof=1) / math.sqrt(len(gain))}
        rows.append(row)
    return pd.DataFrame(rows)


def arrays(measures: Measures) -> Arrays:
    """The maps with the labels that they were given."""
    return taken(measures, "labels", "labels_shuffled", *(f"coordinates{name}" for name in MAPS))


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """For each model its map, and at its right the two controls."""
    figure = Figure(figsize=(12.4, 5.0), layout="constrained")
    grid = figure.add_gridspec(2, 4, width_ratios=[2, 1, 2, 1])
    for i, model in enumerate(MODELS):
        row = table[table.model == model].iloc[0]
        places = (grid[:, 2 * i], grid[0, 2 * i + 1], grid[1, 2 * i + 1])
        for place, name in zip(places, MAPS, strict=True):
            _draw_map(figure.add_subplot(place), arrays, model, name, row)
    dots = [Line2D([], [], marker="o", ls="", ms=4, color=colour) for colour in CLASSES.values()]
    figure.legend(dots, list(CLASSES), loc="outside upper center", ncols=10, fontsize=7.5, handletextpad=0)
    return figure


def _draw_map(axis: Axes, arrays: Arrays, model: str, name: str, row: pd.Series) -> None:
    points = arrays[f"{MODELS[model]}/coordinates{name}"]
    given = arrays[f"{MODELS[model]}/labels{'_shuffled' if name == '_shuffled' else ''}"]
    order = np.random.default_rng(0).permutation(len(points))
    colours = np.array(list(CLASSES.values()))
    axis.scatter(points[order, 0], points[order, 1], c=colours[given[order]], **DOTS)
    axis.set(xticks=[], yticks=[], xlim=robust_limits(points[:, 0]), ylim=robust_limits(points[:, 1]))
    dim, apart = f"{row.embedded_dim:,.0f} dimensions", f"silhouette {row[f'silhouette_map{name}']:.2f}"
    if name:
        axis.set_title(f"control: {MAPS[name]}\n{dim}, {apart}", fontsize=7.5)
        return
    axis.set_title(f"{model}: supervised {row['map']} of {row.n_latents:,.0f} latents\n{dim}, {apart}")
    axis.set_xlabel(
        f"on the latents themselves: 1-NN {row.nearest_neighbour:.1%}, linear probe {row.linear_probe:.1%},\n"
        f"silhouette {row.silhouette_latents:.3f}; labels shuffled: 1-NN {row.nearest_neighbour_shuffled:.1%}, "
        f"linear probe {row.linear_probe_shuffled:.1%}",
        fontsize=7.5,
    )


# silhouettes, and shares of images, that count as a difference; bits/dim that training may still gain
APART, MORE, BITS = 0.05, 0.01, 0.05


def _of(name: str, model: str = "NIF-64") -> Values:
    return column(name, model=model)


def _more(name: str, nf: str = "") -> Values:
    """A number of the NIF minus one of the NF, by default the same."""
    return difference(_of(name), _of(nf or name, "NF"))


_gain = largest(*(combined(abs, _of("gain_bits", model)) for model in MODELS))
SETTLED = settled(_gain, BITS, "bits/dim of both flows")


def _in_errors(name: str) -> Values:
    return combined(lambda gain, se: gain.abs() / se, _of(f"{name}_gain"), _of(f"{name}_gain_se"))


def _evidence(name: str, column_name: str, words: str) -> Claim:
    return Claim(
        f"{name}_evidence",
        "beyond the paper",
        f"The NIF's latents tell the classes better than the NF's do, by {words} on the latents themselves.",
        "accuracy of NIF-64 minus that of the NF on the same images",
        _of(f"{name}_gain"),
        at_least(MORE),
        kind="beyond",
        given=(
            enough(
                _in_errors(name),
                at_least(2),
                "the difference over its standard error",
            ),
        ),
        to_refute=(SETTLED,),
        controls=(must_fail("the NIF's labels shuffled", _more(f"{column_name}_shuffled", column_name)),),
    )


CLAIMS = [
    Claim(
        "map_separates",
        "Sec. 5.1, Fig. 2",
        "The NIF embedding separates the classes, and the NF's does not, in a supervised UMAP.",
        "silhouette of the map of NIF-64 minus that of the NF",
        _more("silhouette_map"),
        at_least(APART),
        "> 0",
        to_refute=(SETTLED,),
        controls=(
            must_fail("noise of 64 against noise of 3,072 dimensions", _more("silhouette_map_noise")),
            must_fail(
                "the NIF's latents with shuffled labels", _more("silhouette_map_shuffled", "silhouette_map")
            ),
        ),
    ),
    Claim(
        "more_than_noise",
        "beyond the paper",
        "The NIF's map separates more than the same UMAP makes of noise of 64 dimensions and the same labels.",
        "silhouette of the map of NIF-64 minus that of noise",
        difference(_of("silhouette_map"), _of("silhouette_map_noise")),
        at_least(APART),
        kind="beyond",
        to_refute=(SETTLED,),
        controls=(
            must_fail(
                "its labels shuffled", difference(_of("silhouette_map_shuffled"), _of("silhouette_map_noise"))
            ),
        ),
    ),
    Claim(
        "nf_more_than_noise",
        "beyond the paper",
        "The NF's map separates more than the same UMAP makes of noise of 3,072 dimensions and the same labels.",
        "silhouette of the map of the NF minus that of noise",
        difference(_of("silhouette_map", "NF"), _of("silhouette_map_noise", "NF")),
        at_least(APART),
        kind="beyond",
        to_refute=(SETTLED,),
    ),
    _evidence("nearest", "nearest_neighbour", "the nearest neighbour"),
    _evidence("probe", "linear_probe", "a linear probe"),
]
