"""The runs that a figure shows, and the arrays that a picture is drawn from: those of the seed that is drawn."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Measures = list[dict[str, Any]]
Arrays = dict[str, np.ndarray]


def taken(measures: Measures, *names: str, rows: int | None = None) -> Arrays:
    """The first rows of the named arrays, as `case/name` if there are cases; `history_x` is column x of the history."""
    found: Arrays = {}
    for m in measures:
        prefix = f"{m['case']}/" if "case" in m else ""
        there = m | {f"history_{k}": v for k, v in m.get("history", {}).items()}
        found |= {prefix + name: there[name][:rows] for name in names}
    return found


def best(measures: Measures, option: str, score: Callable[[dict[str, Any]], float]) -> Measures:
    """For each case without an option that was swept, and each seed, the run with the highest score.

    A run that diverged, or whose score is not finite, is taken only if there is no other.
    """

    def found(measure: dict[str, Any]) -> float:
        value = score(measure) if measure["state"] == "completed" else math.nan
        return value if math.isfinite(value) else -math.inf

    kept: dict[tuple[str, int], dict[str, Any]] = {}
    for m in measures:
        case = " ".join(word for word in m["case"].split() if not word.startswith(f"{option}="))
        other = kept.get((case, m["seed"]))
        if other is None or found(m) > found(other):
            kept[case, m["seed"]] = m | {"case": case}
    return list(kept.values())


def compact(array: np.ndarray) -> np.ndarray:
    """The same numbers in float32, integers in the smallest type that holds them."""
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype.kind in "iu" and array.size:
        return array.astype(np.result_type(np.min_scalar_type(array.min()), np.min_scalar_type(array.max())))
    return array
