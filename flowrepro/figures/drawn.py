"""The arrays that a picture is drawn from, taken from the measures of the seed that is drawn."""

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


def compact(array: np.ndarray) -> np.ndarray:
    """The same numbers in float32, integers in the smallest type that holds them."""
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype.kind in "iu" and array.size:
        return array.astype(np.result_type(np.min_scalar_type(array.min()), np.min_scalar_type(array.max())))
    return array
