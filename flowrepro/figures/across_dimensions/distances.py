"""across_dimensions: the distances of samples from real images, as tables that its figures share."""

import math

import numpy as np
import pandas as pd

from flowrepro.figures.drawn import Measures

DATASETS = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "faces": "faces64 for CelebA"}
SHARED = ("dim", "source", "real_total_variation")
COLUMNS = (
    "of network kind split temperature deviation tuned value low high floor total_variation "
    "n_real n_fake left_out label"
).split()


def rows(measures: Measures) -> pd.DataFrame:
    """One row per distance of every run: what it is of, on which network, of which kind, against which split.

    `gain_bits` is what the last fifth of the steps gained on held-out images, in bits/dim; `tuned` marks the t or s that
    is best on the training split, for each network and kind.
    """
    return pd.concat([_rows(m) for m in measures], ignore_index=True)


def _rows(m: dict) -> pd.DataFrame:
    frame = pd.DataFrame({name: m[f"distances_{name}"] for name in COLUMNS})
    model, dataset = m["case"].split()
    told = {
        "case": m["case"],
        "model": named(model),
        "latent_dim": m["config"].get("model.latent_dim", np.nan),
        "dataset": dataset,
        **{name: m[name] for name in ("seed", "state", "step", "last_fifth_gain")},
        "gain_bits": m["last_fifth_gain"] / (m["distances_dim"] * math.log(2)),
        **{name: m[f"distances_{name}"] for name in SHARED},
    }
    return frame.assign(**told)[[*told, *COLUMNS]]


def named(model: str) -> str:
    """What a run's model is called.

    >>> named("nf"), named("diagonal"), named("nif-64")
    ('NF', 'diagonal', 'NIF-64')
    """
    return model if model == "diagonal" else model.upper()


def tuned(frame: pd.DataFrame) -> pd.DataFrame:
    """The held-out distances at the t or s that is best on the training split, for each run, network and kind."""
    return frame[frame.tuned & (frame.split == "test")]
