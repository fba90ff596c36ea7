"""What the figures on bits/dim of across_dimensions share: the paper's Table 2, and rows of the measure `image_bits`."""

import math
from typing import Any

import pandas as pd

from flowrepro.figures.across_dimensions.pictured import about

# bits/dim of Table 2; the diagonal is ours
PAPER = {
    "fashion_mnist": {"NF": 1.518, "NIF-64": 1.506, "NIF-128": 1.506, "NIF-256": 1.515, "NIF-512": 1.523},
    "cifar10": {"NF": 1.072, "NIF-64": 1.069, "NIF-128": 1.071, "NIF-256": 1.073, "NIF-512": 1.070},
    "faces": {"NF": 0.852, "NIF-64": 0.839, "NIF-128": 0.835, "NIF-256": 0.830, "NIF-512": 0.838},
}


def row(m: dict[str, Any]) -> dict[str, Any]:
    """What a run is and its numbers by `image_bits`, with the paper's number; of a swept run's case the first two words."""
    model_and_set = " ".join(m["case"].split()[:2])
    told = about(m | {"case": model_and_set}, int(m["dim"]))
    numbers = {k: v for k, v in m.items() if isinstance(v, float) and k not in told}
    paper = PAPER[told["dataset"]].get(told["model"], math.nan)
    return {**told, "source": m["source"], **numbers, "paper_bits_per_dim": paper}


def set_name(table: pd.DataFrame, dataset: str) -> str:
    """The name of the images and their bit depth; where they are only a part of a set, this is said."""
    row = table[table.dataset == dataset].iloc[0]
    return f"{'part of ' * ('a part of' in row.source)}{row.images}, {math.log2(row.levels):.0f} bits"
