"""What Figures 5 and 6 share: loss over the number of layers for each training method."""

import math
import re
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from flowrepro.figures.claims import (
    ENOUGH_SEEDS,
    Given,
    Values,
    at_least,
    column,
    combined,
    difference,
    gathered,
    near,
    per_seed,
    settled,
    smallest,
)
from flowrepro.figures.drawn import Measures
from flowrepro.pictures.style import BLUE, GREEN, GREY, ORANGE, RED

# method, the second word of a run's name -> label, colour, line style, marker; dashed lines have random rotations
METHODS: dict[str, tuple[str, str, str, str]] = {
    "layerwise_oas": ("layer-wise, OAS", BLUE, "-", "o"),
    "layerwise_random": ("layer-wise, random", BLUE, "--", "o"),
    "progressive_oas": ("progressive, OAS", GREEN, "-", "s"),
    "progressive_random": ("progressive, random", GREEN, "--", "s"),
    "end_to_end": ("end-to-end, random", ORANGE, "-", "D"),
}
OAS, RANDOM, END_TO_END = "layerwise_oas", "layerwise_random", "end_to_end"
# the depth at which the paper compares
LAYERS = 12
# nats that a mean over 20,000 held-out points can resolve
TOLD_APART = 0.005
# nats: more layers can do all that fewer can; a flow that is worse than a shallower one by more than this got stuck
STUCK = 0.02


def logarithmic(axis: Axes, highest: float) -> None:
    """A logarithmic axis from the lowest value up to `highest`, with a few plain numbers."""
    lowest = 0.8 * axis.dataLim.minposy
    axis.set_yscale("log")
    axis.set_ylim(lowest, highest)
    many, some, few = (1.0, 2.0, 3.0, 4.0, 5.0, 7.0), (1.0, 2.0, 3.0, 5.0), (1.0, 3.0)
    span = highest / lowest
    axis.yaxis.set_major_locator(LogLocator(subs=many if span < 5 else some if span < 40 else few))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def draw_losses(axis: Axes, rows: pd.DataFrame, method: str, depths: Sequence[int]) -> None:
    """Mean and range over the seeds of one method; stuck runs are crosses (upright: random) and count for neither."""
    label, colour, style, marker = METHODS[method]
    there = [k for k in depths if f"kl_{k}" in rows and rows[f"kl_{k}"].notna().all()]
    values = rows[[f"kl_{k}" for k in there]].to_numpy()
    stuck = np.array([[k in stuck_at(at) for k in there] for at in rows["stuck"]])
    kept = np.where(stuck & ~stuck.all(0), np.nan, values)
    axis.fill_between(there, np.nanmin(kept, 0), np.nanmax(kept, 0), color=colour, alpha=0.13, lw=0)
    axis.plot(there, np.nanmean(kept, 0), color=colour, ls=style, marker=marker, ms=3.5, lw=1.2, label=label)
    # a flow that blew up stretches no axis
    shown = values[stuck].clip(max=rows.kl_0.max())
    cross = "+" if style == "--" else "x"
    axis.plot(np.array(there)[np.nonzero(stuck)[1]], shown, cross, color=colour, ms=7)


def draw_references(axis: Axes, curves: dict[str, np.ndarray]) -> None:
    """The divergences (layers + 1,) of flows without training, by the layer-wise method whose rotations they have."""
    for method, curve in curves.items():
        label = "without training, " + ("OAS" if method == OAS else "random")
        layers = np.arange(1, len(curve))
        axis.plot(layers, curve[1:], color=RED, ls=METHODS[method][2], lw=0.9, label=label)


def stuck_entry() -> Line2D:
    """What a legend says of the crosses."""
    return Line2D(
        [],
        [],
        color=GREY,
        marker="x",
        ls="",
        label="stuck, in no mean (+: layer-wise or progressive, random)",
    )


def losses(measure: dict[str, Any]) -> dict[int, float]:
    """Divergence in nats for each number of layers at which a run has a flow: every one, or only the last.

    A flow trained layer by layer gives a flow of its own at the end of each layer's steps.
    """
    config, history = measure["config"], measure["history"]
    layers, per_layer = config["model.layers"], config["training.steps_per_layer"]
    in_turn = config["phases.name"] != "end_to_end"
    at = {
        step // per_layer: value
        for step, value in zip(history["step"], history["val_log_prob"], strict=True)
        if step % per_layer == 0
    }
    return {k: measure["truth"] - at[k] for k in (range(1, layers + 1) if in_turn else [layers]) if k in at}


def gains(measure: dict[str, Any]) -> dict[int, float]:
    """Nats gained over the last fifth of the steps of each layer; of all steps, if the layers are trained together.

    Counted from the last validation before that fifth; without one within a layer's steps, all that the layer gained.
    """
    config, history = measure["config"], measure["history"]
    per_layer, in_turn = config["training.steps_per_layer"], config["phases.name"] != "end_to_end"
    steps, values = history["step"], history["val_log_prob"]

    def gain(layers: int) -> float:
        end = layers * per_layer
        before = end - (per_layer if in_turn else end) / 5
        now, earlier = (values[np.searchsorted(steps, step, side="right") - 1] for step in (end, before))
        return float(now - earlier)

    return {k: gain(k) for k in losses(measure)}


def layer_updates(method: str, layers: int, per_layer: int) -> int:
    """Gradient steps times the layers they update, for layers * per_layer steps with every method."""
    changed = {"layerwise": layers, "progressive": layers * (layers + 1) // 2, "end": layers * layers}
    return per_layer * changed[method.split("_")[0]]


def tuned(measures: Measures) -> Measures:
    """For each data set, method, number of layers and seed the run with the best learning rate, by its held-out points."""
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    for m in measures:
        case = " ".join(w for w in m["case"].split() if not w.startswith("training.lr="))
        other = best.get((case, m["seed"]))
        if other is None or _held_out(m) > _held_out(other):
            best[case, m["seed"]] = m | {"case": case}
    return list(best.values())


def _held_out(measure: dict[str, Any]) -> float:
    """The log-likelihood of held-out points at the end, in nats; minus infinity for a run that diverged."""
    value = float(measure["history"]["val_log_prob"][-1])
    return value if measure["state"] == "completed" and math.isfinite(value) else -math.inf


def collected(measures: Measures, depths: list[int]) -> list[dict[str, Any]]:
    """One row per data set, method and seed; end-to-end runs are combined.

    For each depth there is kl_<layers>, last_fifth_gain_<layers>, and reference_<layers> of the flow without training
    (`without_training` at the last depth). `states` are those of all runs of a row; `state` is completed if all are;
    `stuck` names the depths at which a flow is worse than a shallower one. Trained end-to-end, one layer with a random
    rotation is what layer-wise training has after its first: these columns are taken from there.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for m in measures:
        method, dataset = m["case"].split()[1], m["config"]["dataset.name"]
        row = rows.setdefault(
            (dataset, method, m["seed"]),
            {"dataset": dataset, "method": method, "seed": m["seed"], "states": set(), "kl_0": m["kl_0"]},
        )
        row["states"].add(m["state"])
        row |= {f"kl_{k}": v for k, v in losses(m).items() if k in depths}
        row |= {f"last_fifth_gain_{k}": v for k, v in gains(m).items() if k in depths}
        row["layers"] = max(row.get("layers", 0), m["config"]["model.layers"])
        if m["config"]["model.layers"] == row["layers"]:
            row |= {k: v for k, v in m.items() if isinstance(v, float) and k not in ("kl_0", "truth")}
            row |= {f"reference_{k}": float(m["reference"][k]) for k in depths if k < row["layers"]}
            # a run that diverged has no last layer
            row["nll"] = row.get(f"kl_{row['layers']}", math.nan) - m["truth"]
            row["lr"] = m["config"]["training.lr"]
            row["updates"] = layer_updates(method, row["layers"], m["config"]["training.steps_per_layer"])
    for dataset, method, seed in rows:
        if method == "end_to_end":
            first = rows.get((dataset, RANDOM, seed), {})
            rows[dataset, method, seed] = {k: first[k] for k in ONE_LAYER if k in first} | rows[
                dataset, method, seed
            ]
    return [
        row
        | {
            "states": " ".join(sorted(row["states"])),
            "state": _worst(row["states"]),
            "stuck": _stuck(row, depths),
        }
        for row in rows.values()
    ]


ONE_LAYER = ("kl_1", "last_fifth_gain_1")


def _stuck(row: dict[str, Any], depths: list[int]) -> str:
    """The depths at which the divergence is higher than at a smaller one: `at 8, 12`, or nothing."""
    lowest, found = row["kl_0"], []
    for k in depths:
        value = row.get(f"kl_{k}", math.nan)
        found += [str(k)] if value > lowest + STUCK else []
        lowest = min(lowest, value) if value == value else lowest
    return f"at {', '.join(found)}" if found else ""


def _worst(states: set[str]) -> str:
    return next((state for state in sorted(states) if state != "completed"), "completed")


def kl(method: str, layers: int, dataset: str) -> Values:
    """The divergence of a method after that many layers, in nats."""
    return column(f"kl_{layers}", method=method, dataset=dataset)


def unstuck(values: Values, methods: Sequence[str], depths: Sequence[int]) -> Values:
    """The same without the seeds for which one of the methods got stuck at one of these depths."""
    return lambda table: values(table).loc[lambda v: ~v.index.isin(_stuck_seeds(table, methods, depths))]


def _stuck_seeds(table: pd.DataFrame, methods: Sequence[str], depths: Sequence[int]) -> set[int]:
    rows = table[table.method.isin(methods)]
    cells = zip(rows.seed, rows["stuck"], strict=True)
    return {int(seed) for seed, at in cells if stuck_at(at) & set(depths)}


def stuck_at(told: object) -> set[int]:
    """The depths in a cell of the column `stuck`, which is empty for most."""
    return {int(k) for k in re.findall(r"\d+", told)} if isinstance(told, str) else set()


def seeds_left(values: Values) -> Given:
    """Enough seeds are left without those that have a stuck run."""
    what = f"at least {ENOUGH_SEEDS} seeds without a stuck run (column stuck)"
    return Given(what, seeds_of(values), at_least(ENOUGH_SEEDS))


def seeds_of(values: Values) -> Values:
    """The number of seeds that have a value."""
    return lambda table: pd.Series([float(len(values(table)))])


def errors_apart(one: Values, other: Values) -> Values:
    """The difference of the means over seeds in its standard errors, at each seed."""

    def apart(table: pd.DataFrame) -> pd.Series:
        a, b = one(table), other(table)
        return (a.mean(skipna=False) - b.mean(skipna=False)) / standard_error(one, other)(table)

    return apart


def standard_error(one: Values, other: Values) -> Values:
    """Of the difference of the means over seeds, at each seed; each has its own held-out points, so theirs is included."""

    def error(table: pd.DataFrame) -> pd.Series:
        a, b = one(table), other(table)
        return pd.Series(math.hypot(a.sem(), b.sem()), index=b.index)

    return error


def without_training(method: str, layers: int, dataset: str) -> Values:
    """The divergence, in nats, of the flow without training whose rotations are chosen as a layer-wise method does."""
    name = "without_training" if layers == LAYERS else f"reference_{layers}"
    return column(name, method=method, dataset=dataset)


def at_best(method: str, layers: int, dataset: str) -> Values:
    """The divergence of a layer-wise flow, or of the one without training if that is lower, in nats; nan if it diverged."""
    return smallest(kl(method, layers, dataset), without_training(method, layers, dataset))


def above_reference(method: str, layers: int, dataset: str) -> Values:
    """Nats by which a layer-wise flow stays above the one without training with rotations chosen the same way."""
    return difference(kl(method, layers, dataset), without_training(method, layers, dataset))


def converged(
    methods: Sequence[str],
    depths: Sequence[int],
    margin: float,
    datasets: Sequence[str],
    who: str = "the flows",
) -> Given:
    """The last fifth of the steps gains little with each of these methods, at these depths, on all data sets."""
    places = product(methods, depths, datasets)
    gains = [column(f"last_fifth_gain_{k}", method=m, dataset=d) for m, k, d in places]
    return settled(gathered(*gains), margin, who)


def near_reference(
    layerwise: Sequence[str], depths: Sequence[int], margin: float, datasets: Sequence[str]
) -> Given:
    """Layer-wise flows are not far above those without training, at these depths, on all data sets."""
    above = [above_reference(m, k, d) for m, k, d in product(layerwise, depths, datasets)]
    return near(gathered(*above), margin, "layer-wise flows are near those without training (nats)")


def trained_out(
    methods: Sequence[str], depths: Sequence[int], margin: float, datasets: Sequence[str]
) -> tuple[Given, ...]:
    """What comparing methods at those depths needs: each has converged, and layer-wise ones are near their reference."""
    layerwise = [m for m in methods if m.startswith("layerwise")]
    near_them = (near_reference(layerwise, depths, margin, datasets),) if layerwise else ()
    return *near_them, converged(methods, depths, margin, datasets)


# the largest deviation of a density's mass on the grid from one, for each seed
MASS_ERROR = per_seed("max", combined(lambda mass: abs(mass - 1), column("mass")))
