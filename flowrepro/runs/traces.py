"""The records that a run keeps of its layers: mean log-determinants in nats, and the variances of their outputs."""

import math
from typing import Any

import numpy as np

Record = list[dict[str, Any]]


def layer_traces(history: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Names (L,) of a run's layers, and their log-determinants and variances (T, L) at each validation of its history.

    nan where a layer was not applied yet.
    """
    records: list[Record] = [record["layers"] for record in history]
    names = [layer["layer"] for layer in max(records, key=len)]

    def of(key: str) -> np.ndarray:
        found = np.full((len(records), len(names)), np.nan)
        for row, layers in zip(found, records, strict=True):
            row[: len(layers)] = [layer[key] for layer in layers]
        return found

    return {
        "trace_layers": np.array(names),
        "trace_log_det": of("mean_dlogp"),
        "trace_variance": of("variance"),
    }


def first_not_finite(layers: Record) -> str | None:
    """The first of the layers of one record whose log-determinant or variance is not finite; None if all are."""
    # the variance of a single sample is nan already before the first layer
    names = ("mean_dlogp",) if math.isnan(layers[0]["variance"]) else ("mean_dlogp", "variance")
    return next((one["layer"] for one in layers if not all(math.isfinite(one[n]) for n in names)), None)
