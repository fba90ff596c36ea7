"""jacobian_determinant, Eqs. 4 to 6 and the QLF* of Table 1: the optimum of quasi-linear flows.

What one should see: left, Eq. 5 for a single point x in five dimensions under W(t), which is optimal along x and
multiplies all other directions by t. It grows by D - 1 nats per unit of log t without end, because S = x x^T has D - 1
eigenvalues 0; under a covariance of full rank the same W(t) has a maximum. Right, Eq. 6 for images as bits/dim under all
readings of S that give it a value, beside the printed 2.01 of CIFAR-10 and the printed result of Glow, a flow that the
paper counts as quasi-linear and that the optimum should be below.

Costs half a minute on one core, without training.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor

from flowrepro.analysis import readings
from flowrepro.analysis.quasi_linear import (
    log_likelihood,
    log_likelihood_of_moment,
    optimal_map,
    optimum,
    ppca_moment,
    single_sample_log_likelihood,
    single_sample_map,
)
from flowrepro.config.compose import compose
from flowrepro.data.pixels import pixels
from flowrepro.figures.claims import (
    EVERY_SCALE,
    Claim,
    Values,
    at_most,
    column,
    combined,
    difference,
    enough,
    must_fail,
    must_pass,
    per_seed,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import AS_PRINTED, BLUE, GREEN, GREY, ORANGE, RED, panels

# Table 1
PRINTED = {"cifar10": 2.01, "imagenet32": 1.75}
GLOW = {"cifar10": 3.35, "imagenet32": 4.09}
# the length at which Eq. 5 is -5.97 nats for t = 1
DIM, LENGTH = 5, 2.4
TS = (1.0, 10.0, 1e3, 1e6)
CURVE = np.geomspace(0.1, 1e6, 100)
RANDOM, RANDOM_IMAGES = "random pixels", 100
VECTORS, STARTS = 10_000, 3
NOISE_AVERAGED, PSEUDO, COVARIANCE = "x xᵀ + I/12", "x xᵀ, eigenvalues 0 left out", "covariance of the set"


def measure(seed: int, datasets: list[str], n: int, n_train: int, rounded: int) -> dict[str, Any]:
    """Eq. 5 of a single point, the optimum of shared matrices, and the readings of Eq. 6 for images."""
    generator = torch.Generator().manual_seed(seed)
    found = one_point(generator) | {"datasets": np.array([*datasets, RANDOM])}
    for name in datasets:
        set_ = pixels(compose([f"dataset={name}"]).dataset)
        train, val = (torch.from_numpy(part) for part in (set_.train[:n_train], set_.val[:n]))
        found |= _named(name, read(val, set_.levels, train, rounded, generator))
    noise = torch.randint(0, set_.levels, (RANDOM_IMAGES, *val.shape[1:]), generator=generator)
    found |= _named(RANDOM, read(noise, set_.levels, None, 0, generator))
    vectors = readings.shifted(train, set_.levels).unfold(1, 2, 2).unfold(2, 2, 2).flatten(3).flatten(0, 2)
    return found | shared(vectors[:VECTORS], generator)


def _named(dataset: str, values: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {f"{dataset}: {name}": v.numpy() for name, v in values.items()}


def read(
    grey: Tensor, levels: int, train: Tensor | None, rounded: int, generator: Generator
) -> dict[str, Tensor]:
    """Bits/dim by the name of the reading, one or more values each, of grey levels (n, H, W, C)."""
    x = readings.shifted(grey, levels)
    colours = f"x{x.shape[3]}" if x.shape[3] > 1 else ""
    found = {
        NOISE_AVERAGED: readings.noise_averaged(x),
        PSEUDO: readings.pseudo_determinant(x),
        **{f"batches of {b}": readings.minibatches(x, b) for b in (16, 128, 1024) if b <= len(x)},
        f"patches 2x2{colours} of an image": readings.patches(x, 2, 2),
        f"patches 4x4{colours} of an image": readings.patches(x, 4, 4),
        f"patches 4x4{colours}, overlapping": readings.patches(x, 4, 1),
        "rows of an image": readings.rows(x),
        "rows of a channel": readings.rows_by_channel(x),
        "pixels of an image": readings.channels(x),
    }
    if train is not None:
        fitted = readings.shifted(train, levels)
        found |= {COVARIANCE: readings.covariance(fitted)}
        found |= {"covariance, on held-out images": readings.covariance_held_out(fitted, x)}
    if rounded:
        noise = torch.rand(x[:rounded].shape, generator=generator, dtype=x.dtype) - 0.5
        found |= {"x xᵀ, rounding of float32": readings.rounding_errors(x[:rounded] + noise)}
    return found


def one_point(generator: Generator) -> dict[str, Any]:
    """Eq. 5 for x in five dimensions under W(t), its gradient in W, and the same for a covariance of full rank."""
    x, *others = torch.randn(1 + 40 * DIM, DIM, generator=generator, dtype=torch.float64)
    x = LENGTH * x / x.norm()
    moment = torch.stack(others).mT.cov(correction=0) * LENGTH**2 / DIM
    maps = [single_sample_map(x, t).requires_grad_() for t in TS]
    values = torch.stack([log_likelihood(w, x[None])[0] for w in maps])
    curve = [float(log_likelihood_of_moment(single_sample_map(x, t), moment)) for t in CURVE]
    return {
        "log_prob": values.detach().numpy(),
        "closed_form": np.array([single_sample_log_likelihood(LENGTH, DIM, t) for t in TS]),
        "gradient": np.array([float(g.norm()) for g in torch.autograd.grad(values.sum(), maps)]),
        "full_rank": np.array([float(log_likelihood_of_moment(w.detach(), moment)) for w in maps]),
        "full_rank_curve": np.array(curve),
    }


def shared(vectors: Tensor, generator: Generator) -> dict[str, Any]:
    """Eq. 21 on real vectors (n, D): its optimum, where ascent leads from random W, and PPCA of several ranks."""
    from sklearn.decomposition import PCA

    n, dim = vectors.shape
    moment = torch.cov(vectors.mT, correction=0)
    ranks = sorted({1, dim // 2, dim})
    ours = [
        log_likelihood_of_moment(optimal_map(ppca_moment(moment * n / (n - 1), r)), moment) for r in ranks
    ]
    starts = [torch.randn(dim, dim, generator=generator, dtype=torch.float64) for _ in range(STARTS)]
    return {
        "ranks": np.array(ranks),
        "ppca": torch.stack(ours).numpy(),
        "sklearn": np.array([PCA(r, svd_solver="full").fit(vectors.numpy()).score(vectors) for r in ranks]),
        "shared_optimum": float(optimum(moment)),
        "shared_start": np.array([float(log_likelihood_of_moment(w, moment)) for w in starts]),
        "shared_reached": np.array([ascended(w, moment) for w in starts]),
    }


def ascended(w: Tensor, moment: Tensor, steps: int = 500) -> float:
    """Where L-BFGS leads from W (D, D) on Eq. 21, in nats."""
    w = w.clone().requires_grad_()
    search = torch.optim.LBFGS(
        [w], max_iter=steps, history_size=50, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        search.zero_grad()
        value = -log_likelihood_of_moment(w, moment)
        value.backward()
        return value

    search.step(loss)
    return -float(loss().detach())


def table(measures: Measures) -> pd.DataFrame:
    """One row per seed and t, start, rank or reading; `part` says which. All in nats but bits_per_dim."""
    return pd.DataFrame([{"seed": m["seed"], **row} for m in measures for row in _rows(m)])


def _rows(m: dict[str, Any]) -> list[dict[str, Any]]:
    single = ("log_prob", "closed_form", "gradient", "full_rank")
    return [
        *({"part": "single point", "t": t, **{k: m[k][i] for k in single}} for i, t in enumerate(TS)),
        *(
            {"part": "shared map", "optimum": m["shared_optimum"], "start": a, "log_prob": b}
            for a, b in zip(m["shared_start"], m["shared_reached"], strict=True)
        ),
        *(
            {"part": "PPCA", "rank": r, "log_prob": a, "sklearn": b}
            for r, a, b in zip(m["ranks"], m["ppca"], m["sklearn"], strict=True)
        ),
        *(_reading(name, values) for name, values in m.items() if ": " in name),
    ]


def _reading(name: str, values: np.ndarray) -> dict[str, Any]:
    dataset, reading = name.split(": ")
    se = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {
        "part": "reading",
        "dataset": dataset,
        "reading": reading,
        "bits_per_dim": values.mean(),
        "se": se,
        "values": len(values),
    }


def arrays(measures: Measures) -> Arrays:
    """Eq. 5 under W(t) for a covariance of full rank."""
    return taken(measures, "full_rank_curve")


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Eq. 5 of a single point over t; the readings of Eq. 6."""
    figure, axes = panels(1, 2, 5.2, 3.9)
    _draw_one_point(axes[0, 0], table, arrays)
    _draw_readings(axes[0, 1], table)
    return figure


def _draw_one_point(axis: Axes, table: pd.DataFrame, arrays: Arrays) -> None:
    rows = table[table.part == "single point"]
    line = [single_sample_log_likelihood(LENGTH, DIM, t) for t in CURVE]
    axis.plot(CURVE, line, color=BLUE, lw=1.2, label="closed form, S = x xᵀ")
    axis.plot(rows.t, rows.log_prob, "o", color=BLUE, ms=5, label="Eq. 5, S = x xᵀ")
    for row in rows.itertuples():
        axis.annotate(
            f"{row.log_prob:.3g}",
            (row.t, row.log_prob),
            (-6, 6),
            textcoords="offset points",
            fontsize=8,
            ha="right",
        )
    axis.plot(CURVE, arrays["full_rank_curve"], color=ORANGE, label="Eq. 21, covariance of full rank")
    axis.set(
        xscale="log",
        ylim=(-60, 62),
        xlabel="t, the stretch across x",
        ylabel="log-likelihood (nats)",
        title="no maximum for a single point",
    )
    axis.legend(fontsize=7, loc="lower right")


def _draw_readings(axis: Axes, table: pd.DataFrame) -> None:
    rows = table[table.part == "reading"]
    first = rows.dataset.iloc[0]
    shown = rows[rows.dataset == first].sort_values("bits_per_dim")
    noise = rows[rows.dataset == RANDOM].set_index("reading").bits_per_dim
    places = np.arange(len(shown))
    axis.plot(shown.bits_per_dim, places, "o", color=BLUE, ms=6, label=first)
    axis.plot(noise.reindex(shown.reading), places, "o", mfc="none", color=GREY, ms=9, label="random pixels")
    for printed, colour, text in ((PRINTED, RED, "QLF*"), (GLOW, GREEN, "Glow")):
        if first in printed:
            axis.axvline(
                printed[first], color=colour, lw=1, ls=AS_PRINTED, label=f"paper: {text}, {printed[first]:g}"
            )
    axis.set(
        yticks=places,
        xlabel="Eq. 6 (bits/dim)",
        xlim=(-3.2, 9),
        title="readings of S that give Eq. 6 a value",
    )
    axis.set_yticklabels(shown.reading, fontsize=7)
    for place, value in zip(places, shown.bits_per_dim, strict=True):
        axis.annotate(f"{value:.2f}", (value, place), (7, -3), textcoords="offset points", fontsize=7)
    axis.legend(fontsize=7, loc="lower right")


def _at(t: float, name: str = "log_prob") -> Values:
    return column(name, part="single point", t=t)


def _growth(name: str = "log_prob") -> Values:
    """What Eq. 5 gains from t = 1e3 to 1e6."""
    return difference(_at(1e6, name), _at(1e3, name))


def _off(table: pd.DataFrame) -> pd.DataFrame:
    """For each seed and reading how far it is from the printed numbers, the largest of both sets, and its error."""
    rows = table[table.dataset.isin(list(PRINTED))]
    off = (rows.bits_per_dim - rows.dataset.map(PRINTED)).abs()
    return rows.assign(off=off).groupby(["seed", "reading"])[["off", "se"]].max().reset_index("reading")


def _nearest(table: pd.DataFrame) -> pd.Series:
    """The distance of the nearest reading."""
    return _off(table).off.groupby(level=0).min()


def _nearest_error(table: pd.DataFrame) -> pd.Series:
    """The standard error of the nearest reading."""
    return _off(table).sort_values("off").groupby(level=0).se.first()


def _apart(reading: str) -> Values:
    """How far a reading of CIFAR-10 is from that of random pixels."""
    one, other = (column("bits_per_dim", dataset=dataset, reading=reading) for dataset in ("cifar10", RANDOM))
    return combined(abs, difference(one, other))


def _between_ranks() -> Values:
    """How far PPCA of the smallest rank is from that of the full one."""
    scores = column("sklearn", part="PPCA")
    return difference(per_seed("max", scores), per_seed("min", scores))


def _error(of: str, truth: str, part: str) -> Values:
    """The largest distance between two columns."""
    return per_seed("max", combined(abs, difference(column(of, part=part), column(truth, part=part))))


CLAIMS = [
    Claim(
        "shared_maximum",
        "App. A",
        "With one W for all points the likelihood is maximal at W = U Λ^(-1/2) Vᵀ, and the maximum is given by the "
        "eigenvalues of the covariance (Eq. 21).",
        f"largest distance between that value and where ascent leads, from {STARTS} random W, on patches of images",
        _error("log_prob", "optimum", "shared map"),
        at_most(1e-4),
        "0",
        "nats",
        controls=(must_fail("the random W themselves", _error("start", "optimum", "shared map")),),
        scales=EVERY_SCALE,
        closed_form=True,
    ),
    Claim(
        "ppca",
        "Sec. 2.1.2, App. A.2",
        "Probabilistic PCA is the quasi-linear flow whose W does not depend on x.",
        "largest distance between Eq. 21 and scikit-learn's PCA.score, over ranks, on patches of images",
        _error("log_prob", "sklearn", "PPCA"),
        at_most(1e-6),
        "0",
        "nats",
        controls=(must_fail("another rank", _between_ranks()),),
        scales=EVERY_SCALE,
        closed_form=True,
    ),
    Claim(
        "single_maximum",
        "Sec. 2.1.2, Eq. 6",
        "With a W(x) for each point the likelihood has a global maximum, given by the eigenvalues of S = x xᵀ.",
        f"gain from t = 1,000 to 1,000,000 for a point in {DIM} dimensions; at most 0 beyond a maximum",
        _growth(),
        at_most(0),
        "≤ 0",
        "nats",
        controls=(must_pass("under a covariance of full rank", _growth("full_rank")),),
        scales=EVERY_SCALE,
        closed_form=True,
        why=f"S = x xᵀ has D - 1 eigenvalues 0, in whose directions nothing limits W: `log_prob` grows by {DIM - 1} nats "
        "per unit of log t, and the `gradient` in W is zero at no t; Eq. 6 itself contains log 0",
    ),
    Claim(
        "qlf_star",
        "Table 1 (QLF*)",
        "The optimum of quasi-linear flows by Eq. 6 is 2.01 bits/dim on CIFAR-10, and 1.75 on ImageNet 32x32.",
        "distance of the nearest of all readings of S that give Eq. 6 a value, the larger of the sets that are there",
        _nearest,
        at_most(0.02),
        "0",
        "bits/dim",
        # without a value there is nothing to compare; among readings there may be one that nobody has tried
        to_refute=(
            enough(
                _growth(),
                at_most(0),
                "Eq. 6 has a value for S = x xᵀ, so that no reading of S has to be guessed",
            ),
            enough(_nearest_error, at_most(0.005), "the standard error of the nearest reading"),
        ),
        scales=EVERY_SCALE,
        closed_form=True,
    ),
    *(
        Claim(
            key,
            "beyond the paper",
            f"{words}, Eq. 6 is the same number for all data, near {value}, and says nothing about them.",
            "difference between CIFAR-10 and random pixels",
            _apart(reading),
            at_most(0.01),
            unit="bits/dim",
            kind="beyond",
            controls=(must_fail("patches 4x4 of an image", _apart("patches 4x4x3 of an image")),),
            scales=EVERY_SCALE,
            closed_form=True,
        )
        for key, words, reading, value in (
            (
                "noise_alone",
                "With the dequantisation noise averaged",
                NOISE_AVERAGED,
                "½ log₂(2πe/12) = 0.25",
            ),
            ("nothing_alone", "With zero eigenvalues left out", PSEUDO, "½ log₂(2πe) = 2.05"),
        )
    ),
    Claim(
        "eq_5",
        "Eq. 5",
        "Eq. 5 of a single point under W(t) is its closed form.",
        "largest difference over t",
        _error("log_prob", "closed_form", "single point"),
        at_most(1e-6),
        "0",
        "nats",
        kind="check",
        controls=(
            must_fail("a covariance of full rank", _error("full_rank", "closed_form", "single point")),
        ),
        scales=EVERY_SCALE,
        closed_form=True,
    ),
]
