"""The layers of a flow over its training: what their log-determinants were, and how far their outputs spread."""

import math
from typing import Any

import numpy as np


def layer_traces(history: list[dict[str, Any]], status: dict[str, Any]) -> dict[str, np.ndarray]:
    """What a run has recorded of each layer: `trace_step` (T,), `trace_layers` (L,) names, and by step and layer (T, L)
    `trace_dlogp`, the mean in nats, and `trace_variance` of the output.

    A row per validation, of the flow that is evaluated. Where the run diverged, one row more: the flow as it was, on the
    batch of the step that could not be taken. nan for layers that did not take part yet.
    """
    records = [(record["step"], record["layers"]) for record in history]
    if "layers" in status:
        records.append((status["step"], status["layers"]))
    names = [layer["layer"] for layer in max((layers for _, layers in records), key=len)]

    def of(name: str) -> np.ndarray:
        found = np.full((len(records), len(names)), np.nan)
        for row, (_, layers) in zip(found, records, strict=True):
            row[: len(layers)] = [layer[name] for layer in layers]
        return found

    steps = np.array([step for step, _ in records])
    return {
        "trace_step": steps,
        "trace_layers": np.array(names),
        "trace_dlogp": of("mean_dlogp"),
        "trace_variance": of("variance"),
    }


def first_not_finite(layers: list[dict[str, Any]]) -> str | None:
    """The first of the layers of one record whose log-determinant or variance is not finite; None if all are."""
    # the variance of a single sample is nan already before the first layer
    names = ("mean_dlogp",) if math.isnan(layers[0]["variance"]) else ("mean_dlogp", "variance")
    return next((one["layer"] for one in layers if not all(math.isfinite(one[n]) for n in names)), None)
