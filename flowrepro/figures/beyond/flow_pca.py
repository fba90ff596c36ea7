"""beyond the papers: FlowPCA beside PCA, KernelPCA and UMAP, with the defaults of each.

What one should see: on curved manifolds the two factors can be read off two components of FlowPCA, which lead back to
the data, where PCA mixes or folds them; UMAP keeps neighbourhoods and classes at least as well, in a fraction of the time,
but has no density and no exact way back. Rows of the table where another method recovers more come first.

Costs a quarter of an hour on two cores: 6 to 20 seconds a flow.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.beyond.factors import SETS, Made
from flowrepro.figures.beyond.methods import Found, timed
from flowrepro.figures.claims import Claim, Values, at_least, at_most, column, difference, ratio
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.flow_pca import FlowPCA
from flowrepro.metrics.correlation import distance_correlation
from flowrepro.metrics.separability import knn_r2, nearest_neighbour_accuracy
from flowrepro.pictures.style import BLUE, DOTS, GREEN, GREY, LATENT_MAP, ORANGE, RED, panels

K = 2
TEST_SHARE = 1 / 6
DRAWN = 600
COLOURS = {"FlowPCA": BLUE, "FlowPCA local": "#9CC9E3", "PCA": GREY, "KernelPCA": ORANGE, "UMAP": GREEN}
OURS = ("FlowPCA", "FlowPCA local")


def measure(
    seed: int, sets: list[str], dimensions: list[str], methods: list[str], n: int, max_iter: int, timing: bool
) -> dict[str, Any]:
    """Rows of numbers for every set and method, two components of the first set, and its curve of local stds.

    Without `timing`, seconds are left out: they differ each time.
    """
    rows: list[dict[str, Any]] = []
    found: dict[str, Any] = {"rows": rows}
    for name in sets:
        made, train, test = split(name, n, seed)
        for method in methods:
            one = timed(method, train, test, min(K, train.shape[1]), seed, max_iter)
            rows.append({"set": name, "method": method, **scores(one, made, test)})
            if name == sets[0]:
                found |= {f"{method}_components": one.components[:DRAWN], "factor": made.factors[:DRAWN, 0]}
            if name == sets[0] and method == "FlowPCA":
                curve = one.estimator.dimension_curve_
                found |= {"variance": curve["variance"], "std": curve["std"]}
    for name in dimensions:
        made, train, test = split(name, n, seed)
        one = timed("FlowPCA", train, test, min(K, train.shape[1]), seed, max_iter)
        rows.append({"set": name, "method": "FlowPCA", **scores(one, made, test)})
    for row in rows if not timing else []:
        row["seconds"] = np.nan
    return found


def split(name: str, n: int, seed: int) -> tuple[Made, np.ndarray, np.ndarray]:
    """What the test rows were made from, training rows and test rows (standardised by the training rows)."""
    made = SETS[name](n, seed)
    first = round(len(made.x) * TEST_SHARE)
    test, train = made.x[:first], made.x[first:]
    std = train.std(0)
    scale = np.where(std > 0, std, 1.0)
    ours = Made(test, made.factors[:first], made.dimension)
    return ours, (train - train.mean(0)) / scale, (test - train.mean(0)) / scale


def scores(found: Found, made: Made, test: np.ndarray) -> dict[str, float]:
    """How well components tell factors (the lower R^2 of the nearest neighbours) or classes, and what else is known.

    `unexplained` is the squared distance to the nearest points over the variance; `dimension_error` that of
    `intrinsic_dimension_`, where the dimension is known.
    """
    classes = made.factors.dtype.kind in "iu"
    factors = np.eye(made.factors.max() + 1)[made.factors] if classes else made.factors
    recovered = (
        nearest_neighbour_accuracy(found.components, made.factors)
        if classes
        else float(knn_r2(found.components, factors).min())
    )
    told = {
        "recovered": recovered,
        "distance_correlation": distance_correlation(found.components, factors),
        "unexplained": np.nan,
        "log_prob": found.log_prob,
        "seconds": found.seconds,
        "dimension_error": np.nan,
    }
    if found.nearest is not None:
        told["unexplained"] = float(((found.nearest - test) ** 2).sum() / (test**2).sum())
    if made.dimension and isinstance(found.estimator, FlowPCA):
        told["dimension_error"] = abs((found.estimator.intrinsic_dimension_ or np.nan) - made.dimension)
    return told


def table(measures: Measures) -> pd.DataFrame:
    """One row per seed, set and method; sets where another method recovers more than FlowPCA come first."""
    found = pd.DataFrame([{"seed": m["seed"], **row} for m in measures for row in m["rows"]])
    found["behind"] = [behind(found, name) for name in found["set"]]
    return found.sort_values(["behind", "set", "seed"], ascending=[False, True, True], kind="stable")


def behind(found: pd.DataFrame, name: str) -> float:
    """How much more of the factors of a set the best other method recovers than FlowPCA, in the mean over seeds."""
    mean = found[found["set"] == name].groupby("method")["recovered"].mean()
    return float(mean.drop([*OURS], errors="ignore").max() - mean["FlowPCA"])


def arrays(measures: Measures) -> Arrays:
    """Components of the first set by every method, its first factor, and the curve of FlowPCA's local stds."""
    names = [key for key in measures[0] if key.endswith("_components")]
    return taken(measures, *names, "factor", "variance", "std")


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Components of the first set, and for every set how much is recovered, unexplained, and the density's gain."""
    figure, axes = panels(2, 4, 2.8, 2.6)
    methods = [name for name in COLOURS if f"{name}_components" in arrays]
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, method in zip([*axes[0], axes[1, 3]], methods, strict=False):
        axis.set_visible(True)
        axis.scatter(*arrays[f"{method}_components"].T, c=arrays["factor"], cmap=LATENT_MAP, **DOTS)
        axis.set(title=method, xticks=[], yticks=[])
    _draw_bars(axes[1, 0], table, "recovered", "factors recovered", methods)
    _draw_bars(axes[1, 1], table, "unexplained", "variance unexplained by two", methods)
    _draw_curve(axes[1, 2], arrays)
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8)
    return figure


def _draw_bars(axis: Axes, table: pd.DataFrame, what: str, title: str, methods: list[str]) -> None:
    """Bars of a column, the sets where FlowPCA is behind first."""
    axis.set_visible(True)
    compared = table.dropna(subset="behind")
    sets = list(dict.fromkeys(compared["set"]))
    for i, method in enumerate(methods):
        mean = compared[compared["method"] == method].groupby("set")[what].mean().reindex(sets)
        places = np.arange(len(sets)) + 0.8 * (i - (len(methods) - 1) / 2) / len(methods)
        axis.barh(places, mean.clip(0, 1), 0.8 / len(methods), color=COLOURS[method], label=method)
    axis.set(yticks=range(len(sets)), yticklabels=sets, title=title, xlim=(0, 1))
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)


def _draw_curve(axis: Axes, arrays: Arrays) -> None:
    """How the local stds of the first set move with added noise."""
    axis.set_visible(True)
    axis.loglog(arrays["variance"], arrays["std"], color=BLUE, marker=".", lw=1)
    axis.loglog(arrays["variance"], np.sqrt(arrays["variance"]), color=RED, lw=1, ls="--", label="noise")
    axis.set(title="local stds of FlowPCA", xlabel="variance of the added noise")
    axis.legend(fontsize=7)


def of(what: str, name: str, method: str = "FlowPCA") -> Values:
    """A column of one set and method."""
    return column(what, set=name, method=method)


MANIFOLDS = ("scurve", "sine", "swissroll")
TABLES = ("digits", "wine", "cancer")
KNOWN = ("plane", "sine", "scurve", "sphere", "gaussian")
DEFAULTS = "beyond the papers"
CLAIMS = [
    *(
        Claim(
            f"umap_ahead_{name}",
            DEFAULTS,
            f"UMAP's two components of {name} tell the classes at least as well as FlowPCA's.",
            "accuracy of the nearest neighbour, UMAP's minus FlowPCA's",
            difference(of("recovered", name, "UMAP"), of("recovered", name)),
            at_least(0),
            kind="beyond",
        )
        for name in TABLES
    ),
    *(
        Claim(
            f"factors_{name}",
            DEFAULTS,
            f"Two components of FlowPCA tell both factors of {name}.",
            "R² of ten nearest neighbours, of the factor that is told worse",
            of("recovered", name),
            at_least(0.9),
            kind="beyond",
        )
        for name in MANIFOLDS
    ),
    *(
        Claim(
            f"reconstruction_{name}",
            DEFAULTS,
            f"Two components of FlowPCA leave at most half as much of {name} unexplained as PCA's.",
            "unexplained variance of held-out rows, FlowPCA's over PCA's",
            ratio(of("unexplained", name), of("unexplained", name, "PCA")),
            at_most(0.5),
            kind="beyond",
        )
        for name in MANIFOLDS
    ),
    *(
        Claim(
            f"likelihood_{name}",
            DEFAULTS,
            f"Held-out rows of {name} are likelier under FlowPCA than under the Gaussian.",
            "mean log-density, FlowPCA's minus the Gaussian's",
            difference(of("log_prob", name), of("log_prob", name, "PCA")),
            at_least(0),
            unit="nats",
            kind="beyond",
        )
        for name in MANIFOLDS + TABLES
    ),
    *(
        Claim(
            f"dimension_{name}",
            DEFAULTS,
            f"The intrinsic dimension of {name} is found.",
            "difference to the true one",
            of("dimension_error", name),
            at_most(0),
            kind="beyond",
        )
        for name in KNOWN
    ),
    Claim(
        "time",
        DEFAULTS,
        "A fit of 6,000 rows of 8 columns takes less than 20 s.",
        "processor time of fit, transform and inverse_transform, on the machine of this figure",
        of("seconds", "eight"),
        at_most(20),
        unit="s",
        kind="beyond",
    ),
]
