"""across_dimensions: what the figures that show images share: what a run is, its sheets as a table."""

import math
import re
from typing import Any

import pandas as pd

from flowrepro.figures.across_dimensions import distances
from flowrepro.figures.across_dimensions.compared import BITS
from flowrepro.figures.claims import Given, Values, column, combined, settled
from flowrepro.figures.drawn import Measures

SETS = {
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "faces64": "faces64, standing in for CelebA",
    "celeba": "CelebA",
}
NUMBERS = ("non_finite", "clipped", "diversity", "total_variation")
REAL = ("real_diversity", "real_total_variation")


def about(m: dict[str, Any], dim: float) -> dict[str, Any]:
    """What a run is as tables of distances tell it, with the name of its images."""
    return distances.about(m, dim, images=SETS[m["config"]["dataset.name"]])


def sheet_rows(measures: Measures) -> pd.DataFrame:
    """One row per run, t and s: what was counted on its samples; `of` is "sheet"."""
    rows = []
    for m in measures:
        told = about(m, math.prod(m["sheet_t1_s0"].shape[1:]))
        told |= {"source": m["sheets_source"], "of": "sheet"} | {name: m[name] for name in REAL}
        for t, s in pairs(m):
            numbers = {name: m[f"{name}_t{t:g}_s{s:g}"] for name in NUMBERS}
            rows.append(told | {"temperature": t, "deviation": s} | numbers)
    return pd.DataFrame(rows)


def pairs(m: dict[str, Any]) -> list[tuple[float, float]]:
    """The pairs (t, s) whose sheets a run has."""
    found = (re.fullmatch(r"sheet_t(.+)_s(.+)", name) for name in m)
    return sorted((float(f[1]), float(f[2])) for f in found if f)


def counted(name: str, model: str, t: float, s: float = 0.0) -> Values:
    """A number of the sheet of a model at t and s."""
    return column(name, of="sheet", model=model, temperature=t, deviation=s)


def is_settled() -> Given:
    """Training has converged, in bits/dim of held-out images."""
    return settled(column("gain_bits"), BITS, "bits/dim of the flows")


def departure(model: str, t: float) -> Values:
    """How far the total variation of a model's sheet at t and s = 0 is from that of held-out images."""
    own, real = (counted(name, model, t) for name in ("total_variation", "real_total_variation"))
    return combined(lambda a, b: (a - b).abs(), own, real)
