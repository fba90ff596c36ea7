"""What the figures on bits/dim of across_dimensions share: the paper's Table 2, its sets, and rows of `image_bits`."""

import math
from typing import Any

import pandas as pd

MODELS = {
    "nf": "NF",
    "diagonal": "diagonal",
    "nif-64": "NIF-64",
    "nif-128": "NIF-128",
    "nif-256": "NIF-256",
    "nif-512": "NIF-512",
}
NIFS = [name for name in MODELS if name.startswith("nif")]
SETS = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "faces": "CelebA"}
# bits/dim of Table 2; the diagonal is ours
PAPER = {
    "fashion_mnist": {"nf": 1.518, "nif-64": 1.506, "nif-128": 1.506, "nif-256": 1.515, "nif-512": 1.523},
    "cifar10": {"nf": 1.072, "nif-64": 1.069, "nif-128": 1.071, "nif-256": 1.073, "nif-512": 1.070},
    "faces": {"nf": 0.852, "nif-64": 0.839, "nif-128": 0.835, "nif-256": 0.830, "nif-512": 0.838},
}


def row(m: dict[str, Any]) -> dict[str, Any]:
    """Case, seed, state and numbers of a run with the measure `image_bits`, and the paper's number beside them.

    `gain_bits` is what held-out bits/dim still gained over the last fifth of the steps.
    """
    model, dataset, *_ = m["case"].split()
    numbers = {k: v for k, v in m.items() if isinstance(v, float)}
    return {
        "dataset": dataset,
        "trained_on": m["config"]["dataset.name"],
        "model": model,
        "seed": m["seed"],
        "state": m["state"],
        "step": m["step"],
        "source": m["source"],
        **numbers,
        "gain_bits": m["last_fifth_gain"] / (m["dim"] * math.log(2)),
        "paper_bits_per_dim": PAPER[dataset].get(model, math.nan),
    }


def set_name(table: pd.DataFrame, dataset: str) -> str:
    """The paper's name of a set with our bit depth; where only a part of it or another set is there, this is said."""
    row = table[table.dataset == dataset].iloc[0]
    name = "faces64, in CelebA's place" if row.trained_on == "faces64" else SETS[dataset]
    return f"{'part of ' * ('a part of' in row.source)}{name}, {math.log2(row.levels):.0f} bits"
