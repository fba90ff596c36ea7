"""What Figures 5 and 6 share: loss over the number of layers for each training method."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from flowrepro.figures.claims import (
    Given,
    Values,
    column,
    combined,
    difference,
    largest,
    near,
    per_seed,
    settled,
)
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
# the depth at which the paper compares
LAYERS = 12
REFERENCE_COLOUR = RED
# nats that a mean over 20,000 held-out points can resolve
TOLD_APART = 0.005


def logarithmic(axis: Axes) -> None:
    """A logarithmic vertical axis with plain numbers at 1, 2 and 5 times powers of ten."""
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


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


def collected(measures: Measures, depths: list[int]) -> list[dict[str, Any]]:
    """One row per data set, method and seed; end-to-end runs are combined.

    For each depth there is kl_<layers>, last_fifth_gain_<layers>, and reference_<layers> of the flow without training
    (`without_training` at the last depth). `states` are those of all runs of a row; `state` is completed if all are.
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
            row["updates"] = layer_updates(method, row["layers"], m["config"]["training.steps_per_layer"])
    return [
        row | {"states": " ".join(sorted(row["states"])), "state": _worst(row["states"])}
        for row in rows.values()
    ]


def _worst(states: set[str]) -> str:
    return next((state for state in sorted(states) if state != "completed"), "completed")


def kl(method: str, layers: int, dataset: str) -> Values:
    """The divergence of a method after that many layers, in nats."""
    return column(f"kl_{layers}", method=method, dataset=dataset)


def above_reference(method: str, layers: int, dataset: str) -> Values:
    """Nats by which a layer-wise flow stays above the one without training with rotations chosen the same way."""
    name = "without_training" if layers == LAYERS else f"reference_{layers}"
    return difference(kl(method, layers, dataset), column(name, method=method, dataset=dataset))


def trained_out(
    methods: Sequence[str], depths: Sequence[int], margin: float, datasets: Sequence[str]
) -> tuple[Given, ...]:
    """What a comparison of methods needs at those depths: each is settled, and layer-wise ones are near their reference."""
    places = list(product(methods, depths, datasets))
    gains = [column(f"last_fifth_gain_{k}", method=m, dataset=d) for m, k, d in places]
    above = [above_reference(m, k, d) for m, k, d in places if m.startswith("layerwise")]
    is_settled = settled(largest(*(combined(abs, gain) for gain in gains)), margin)
    if not above:
        return (is_settled,)
    return near(
        largest(*above), margin, "layer-wise flows are near those without training (nats)"
    ), is_settled


def not_stuck(shallower: int, margin: float, datasets: Sequence[str]) -> Given:
    """End-to-end training at full depth reaches at least what it reaches at a smaller depth."""
    losses = [difference(kl("end_to_end", LAYERS, d), kl("end_to_end", shallower, d)) for d in datasets]
    what = f"{LAYERS} layers trained end-to-end are not worse than {shallower} (nats)"
    return near(largest(*losses), margin, what)


# the largest deviation of a density's mass on the grid from one, for each seed
MASS_ERROR = per_seed("max", combined(lambda mass: abs(mass - 1), column("mass")))
