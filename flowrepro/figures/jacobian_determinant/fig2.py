"""jacobian_determinant, Fig. 2: the log-determinants of the 1x1 convolutions of Glow over training, on images of two sizes.

What one should see: the log-determinant of each convolution, zero at first, rises throughout training, because the
likelihood rewards it; in earlier layers more, and on large images (b) much more than on small ones (a). Each convolution
acts on every pixel, so that its log-determinant is that of its matrix times their number: the third panel divides by the
dimension of what the convolution acts on, after which little of either remains.

Earlier has two meanings, which the paper does not tell apart: the level, and the step within a level. Images of different
levels have different dimensions, those of the steps of a level the same.

Plain matrices, Adamax at 1e-3 without warm-up, clipping or averaging. Below paper scale the part of CIFAR-10 takes the place
of ImageNet, and faces64 (64x64) that of CelebA 256x256. Two runs per seed, 40 minutes on one core at cpu scale.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flowrepro.figures.claims import (
    Claim,
    Given,
    Values,
    at_least,
    at_most,
    combined,
    must_fail,
    settled,
    smallest,
    within,
)
from flowrepro.figures.drawn import Arrays, Measures
from flowrepro.figures.jacobian_determinant.trained import about, is_settled, number
from flowrepro.metrics.correlation import rank_correlations
from flowrepro.pictures.style import LINES

SMALL, LARGE = "glow small images", "glow large images"
CONVOLUTION = re.compile(r"level(\d+)\..*InvertibleConv")
SHUFFLES = 50


def table(measures: Measures) -> pd.DataFrame:
    """One row per run and convolution: its log-determinant at the end and after four fifths of the steps, in nats.

    `dims` is the dimension of what it acts on, `per_dim` the log-determinant divided by it, `trend` the rank correlation
    of log-determinant and step, `shuffled_trend` the same with the steps in random order.
    """
    return pd.DataFrame([row for m in measures for row in _rows(m)])


def _rows(m: dict[str, Any]) -> Iterator[dict[str, Any]]:
    told, steps = about(m, m["dim"]), m["history"]["step"]
    random = np.random.default_rng(m["seed"])
    dims = dict(zip(m["layer_names"], m["layer_dims"], strict=True))
    for order, (level, block, name, curve) in enumerate(convolutions(m), 1):
        yield told | {
            "source": m["source"],
            "image_dims": m["dim"],
            "level": level,
            "block": block,
            "order": order,
            "dims": dims[name],
            "log_det": curve[-1],
            "log_det_before": np.interp(0.8 * steps[-1], steps, curve),
            "per_dim": curve[-1] / dims[name],
            "trend": _rank_correlation(steps, curve),
            "shuffled_trend": _rank_correlation(steps, random.permutation(curve)),
        }


def convolutions(m: dict[str, Any]) -> list[tuple[int, int, str, np.ndarray]]:
    """Level and block, counted from 1, name, and log-determinants at the validations of every convolution of a run."""
    found: list[tuple[int, int, str, np.ndarray]] = []
    for name, curve in zip(m["trace_layers"], m["trace_log_det"].T, strict=True):
        if level := CONVOLUTION.search(name):
            before = sum(one[0] == int(level[1]) for one in found)
            found.append((int(level[1]), before + 1, str(name), curve))
    return found


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(rank_correlations(np.asarray(a)[:, None], np.asarray(b)[:, None])[0, 0])


def arrays(measures: Measures) -> Arrays:
    """The curves of every convolution, in order of depth (L, T), and their steps."""
    return {
        f"{m['case']}/{name}": value
        for m in measures
        for name, value in (
            ("steps", m["history"]["step"]),
            ("log_det", np.stack([curve for *_, curve in convolutions(m)])),
        )
    }


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """The curves of both sets; the last values per dimension, all seeds."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    first = table[table.seed == table.seed.min()]
    for axis, case, letter in zip(axes, (SMALL, LARGE), "ab", strict=False):
        _draw_curves(axis, first[first.case == case], arrays, f"({letter})")
    _draw_per_dim(axes[2], table)
    return figure


def _draw_curves(axis: Axes, rows: pd.DataFrame, arrays: Arrays, letter: str) -> None:
    case = rows.case.iloc[0]
    for row, curve in zip(rows.itertuples(), arrays[f"{case}/log_det"], strict=True):
        blocks = rows[rows.level == row.level].block.max()
        label = f"level {row.level}" if row.block == blocks else None
        axis.plot(
            arrays[f"{case}/steps"], curve, lw=1, color=_shade(row.level, row.block / blocks), label=label
        )
    axis.set(
        title=f"{letter} {rows.images.iloc[0]}\n{rows.image_dims.iloc[0]:,.0f} dimensions",
        xlabel="step",
        ylabel="log-determinant (nats)",
    )
    axis.set_ylim(top=1.25 * arrays[f"{case}/log_det"].max())
    axis.legend(fontsize=7, loc="upper left", title="darker: later blocks", title_fontsize=7, ncols=3)


def _shade(level: int, share: float) -> tuple[float, ...]:
    """The colour of a level, pale for its first block and full for its last."""
    full = np.array(to_rgb(LINES[(level - 1) % len(LINES)]))
    return tuple(1 - (0.3 + 0.7 * share) * (1 - full))


def _draw_per_dim(axis: Axes, table: pd.DataFrame) -> None:
    for case, marker, name in ((SMALL, "o", "(a)"), (LARGE, "^", "(b)")):
        rows = table[table.case == case]
        colours = [LINES[(level - 1) % len(LINES)] for level in rows.level]
        shift = 0.3 * (rows.seed.rank(method="dense") - 1)
        axis.scatter(rows.order + shift, rows.per_dim, c=colours, marker=marker, s=12, lw=0)
        axis.plot([], [], marker, color="#555555", ms=4, label=name)
    axis.set(xlabel="convolution, in order of depth", ylabel="log-determinant per dimension (nats)")
    axis.set_title("at the end, divided by the dimension")
    axis.set_ylim(min(0, axis.get_ylim()[0]), None)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=7, loc="upper left")


def _by_run(case: str, number: Callable[[pd.DataFrame], float]) -> Values:
    """A number of the convolutions of each run of a case, by seed."""

    def values(table: pd.DataFrame) -> pd.Series:
        rows = table[table.case == case]
        return pd.Series({seed: number(group) for seed, group in rows.groupby("seed")}, dtype=float)

    return values


def _rising(name: str) -> Values:
    """The share of convolutions with a positive trend, the smaller of both sets."""
    return smallest(*(_by_run(case, lambda rows: (rows[name] > 0).mean()) for case in (SMALL, LARGE)))


def level_ratio(rows: pd.DataFrame, name: str) -> float:
    """The mean of a level over that of the next, the smallest of a run."""
    means = rows.groupby("level")[name].mean().to_numpy()
    return float((means[:-1] / means[1:]).min())


def step_order(rows: pd.DataFrame, name: str) -> float:
    """The rank correlation of log-determinant and block within a level, mean over levels; -1: earlier blocks have more."""
    return float(np.mean([_rank_correlation(one.block, one[name]) for _, one in rows.groupby("level")]))


def shuffled(
    number: Callable[[pd.DataFrame, str], float], name: str = "log_det"
) -> Callable[[pd.DataFrame], float]:
    """The number with the log-determinants of a run dealt out to its convolutions at random, mean over deals."""

    def mean(rows: pd.DataFrame) -> float:
        random = np.random.default_rng(0)
        dealt = (rows.assign(**{name: random.permutation(rows[name])}) for _ in range(SHUFFLES))
        return float(np.mean([number(one, name) for one in dealt]))

    return mean


def _levels(name: str = "log_det") -> Values:
    return smallest(*(_by_run(case, lambda rows: level_ratio(rows, name)) for case in (SMALL, LARGE)))


def _order(case: str, name: str = "log_det") -> Values:
    return _by_run(case, lambda rows: step_order(rows, name))


def _total(case: str, name: str = "log_det") -> Values:
    return _by_run(case, lambda rows: rows[name].sum())


def _larger(name: str = "log_det") -> Values:
    """The sum over convolutions on large images over that on small ones."""
    return combined(lambda large, small: large / small, _total(LARGE, name), _total(SMALL, name))


def _by_dimension(name: str = "log_det") -> Values:
    """The same, over the ratio of the images' dimensions."""
    dims = [_by_run(case, lambda rows: rows.image_dims.iloc[0]) for case in (LARGE, SMALL)]
    return combined(lambda ratio, large, small: ratio / (large / small), _larger(name), *dims)


def _another_seed(table: pd.DataFrame) -> pd.Series:
    """The sum on small images over that of another seed on the same images."""
    totals = _total(SMALL)(table)
    return totals / np.roll(totals, 1)


def _change(values: Callable[[str], Values]) -> Values:
    """By how much a number changes over the last fifth of the steps."""
    return combined(lambda now, before: now - before, values("log_det"), values("log_det_before"))


def _converged(case: str) -> Given:
    """Early in training an order may still change, however slowly."""
    return is_settled(_by_run(case, lambda rows: number(rows, "gain_bits")), case.replace("glow", "Glow on"))


def _within_level(case: str, images: str) -> Claim:
    return Claim(
        f"earlier_steps_{case.split()[1]}",
        "Fig. 2",
        f"Within a level, too, it is the earlier layers whose log-determinant rises more, on {images} images.",
        "rank correlation of log-determinant and place within the level, mean over levels",
        _order(case),
        at_most(-0.5),
        "negative",
        to_refute=(
            settled(_change(lambda name: _order(case, name)), 0.5, "the order of the layers"),
            _converged(case),
        ),
        controls=(
            must_fail("log-determinants dealt out at random", _by_run(case, shuffled(step_order))),
            must_fail("those of the layers in reverse order of a level that falls", _reversed(case)),
        ),
        why="the levels differ in dimension, which multiplies `log_det`; among layers of one level, of equal `dims`, "
        "it grows with `block`",
    )


def _reversed(case: str) -> Values:
    """The order if the log-determinant were the place itself."""
    return _by_run(case, lambda rows: step_order(rows.assign(log_det=rows.block), "log_det"))


CLAIMS = [
    Claim(
        "rises",
        "Fig. 2, Sec. 2.2",
        "The log-determinant of every 1x1 convolution increases over iterations, as the objective maximizes it.",
        "share of the convolutions whose log-determinant has a positive trend, the smaller of both sets",
        _rising("trend"),
        at_least(0.8),
        "1",
        controls=(must_fail("the same values in random order", _rising("shuffled_trend")),),
    ),
    Claim(
        "earlier_levels",
        "Fig. 2, Sec. 2.2",
        "It rises more in earlier layers: in each level more than in the next.",
        "mean log-determinant of a level over that of the next, the smallest of both sets",
        _levels(),
        at_least(1.2),
        "> 1",
        to_refute=(settled(_change(_levels), 0.5, "the ratio of the levels"),),
        controls=(
            must_fail(
                "log-determinants dealt out at random, small images", _by_run(SMALL, shuffled(level_ratio))
            ),
        ),
    ),
    _within_level(SMALL, "small"),
    _within_level(LARGE, "large"),
    Claim(
        "larger_images",
        "Fig. 2, Sec. 2.3",
        "On larger images it rises significantly more.",
        "sum over convolutions on large images over that on small ones",
        _larger(),
        at_least(2),
        "> 1",
        to_refute=(settled(_change(_larger), 1, "the ratio of the sums"),),
        controls=(must_fail("another seed on the same images", _another_seed),),
    ),
    Claim(
        "proportional",
        "Fig. 2",
        "The scale is proportional to the dimension of input features.",
        "the same ratio, divided by that of the images' dimensions",
        _by_dimension(),
        within(1, 0.25),
        "1",
        to_refute=(
            settled(_change(_by_dimension), 0.25, "the ratio of the sums per dimension"),
            _converged(SMALL),
            _converged(LARGE),
        ),
        controls=(must_fail("not divided", _larger()),),
    ),
    Claim(
        "levels_per_dimension",
        "beyond the paper",
        "Per dimension, too, it rises more in each level than in the next.",
        "mean log-determinant per dimension of a level over that of the next, the smallest of both sets",
        _levels("per_dim"),
        at_least(1.2),
        kind="beyond",
        controls=(
            must_fail(
                "log-determinants dealt out at random, small images",
                _by_run(SMALL, shuffled(level_ratio, "per_dim")),
            ),
        ),
        why="from level to level it is `dims` that falls, and `log_det` with it; `per_dim` does not fall as much",
    ),
]
