"""What Figures 5 and 6 share: loss over the number of layers for every way of training."""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from flowrepro.figures.drawn import Measures
from flowrepro.pictures.style import BLUE, GREEN, ORANGE, RED

# method, the second word of a run's name -> label, colour, line style, marker; dashed lines have random rotations
METHODS: dict[str, tuple[str, str, str, str]] = {
    "layerwise_oas": ("layer-wise, OAS", BLUE, "-", "o"),
    "layerwise_random": ("layer-wise, random", BLUE, "--", "o"),
    "progressive_oas": ("progressive, OAS", GREEN, "-", "s"),
    "progressive_random": ("progressive, random", GREEN, "--", "s"),
    "end_to_end": ("end-to-end, random", ORANGE, "-", "D"),
}
REFERENCE_COLOUR = RED
# nats that a mean over 20,000 held-out points can tell apart
TOLD_APART = 0.005


def logarithmic(axis: Axes) -> None:
    """A logarithmic vertical axis with plain numbers at 1, 2 and 5 times powers of ten."""
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def losses(measure: dict[str, Any]) -> dict[int, float]:
    """Divergence in nats for each number of layers that a run has a flow for: every one, or the last alone.

    A flow that is trained layer by layer is a flow of its own at the end of every layer's steps.
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


def layer_updates(method: str, layers: int, per_layer: int) -> int:
    """Gradient steps times the layers that they change: layers * per_layer steps for every method."""
    changed = {"layerwise": layers, "progressive": layers * (layers + 1) // 2, "end": layers * layers}
    return per_layer * changed[method.split("_")[0]]


def collected(measures: Measures, depths: list[int]) -> list[dict[str, Any]]:
    """One row for each data set, method and seed, with kl_<layers> for each depth; end-to-end runs are put together.

    `states` are those of all runs of a row; `state` is completed where all of them are.
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
        row["layers"] = max(row.get("layers", 0), m["config"]["model.layers"])
        if m["config"]["model.layers"] == row["layers"]:
            row |= {k: v for k, v in m.items() if isinstance(v, float) and k not in ("kl_0", "truth")}
            # a run that diverged has no last layer
            row["nll"] = row.get(f"kl_{row['layers']}", math.nan) - m["truth"]
            row["updates"] = layer_updates(method, row["layers"], m["config"]["training.steps_per_layer"])
    return [
        row | {"states": " ".join(sorted(row["states"])), "state": _worst(row["states"])}
        for row in rows.values()
    ]


def _worst(states: set[str]) -> str:
    return next((state for state in states if state != "completed"), "completed")
