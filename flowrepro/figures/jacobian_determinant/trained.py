"""jacobian_determinant: what the figures of trained image flows share: what a run is, and whether it has converged."""

import math
from typing import Any

import numpy as np
import pandas as pd

from flowrepro.figures.claims import Given, Values, at_most, combined, enough, settled

SETS = {
    "cifar10": "CIFAR-10",
    "imagenet32": "ImageNet 32x32",
    "celeba_hq": "CelebA-HQ",
    "fashion_mnist": "Fashion-MNIST, in the place of ImageNet 32x32",
    "faces64": "faces64, standing in for CelebA-HQ",
    "digits": "digits",
}
STAND_INS = ("fashion_mnist", "faces64")
# bits/dim that count as a difference between two flows
BITS = 0.05


def about(m: dict[str, Any], dim: float) -> dict[str, Any]:
    """What a run is, for every row of a table; bits are over `dim` pixel values, seconds those of a step as trained.

    `gain_bits` is what the last fifth of the steps gained on held-out images, `stands_in` whether the images are those
    of another set than the paper's.
    """
    steps, seconds = (m["history"][name][-1] for name in ("step", "seconds"))
    return {
        **{name: m[name] for name in ("case", "seed", "state", "step", "last_fifth_gain")},
        "images": SETS[m["config"]["dataset.name"]],
        "stands_in": float(m["config"]["dataset.name"] in STAND_INS),
        "gain_bits": m["last_fifth_gain"] / (dim * math.log(2)),
        "seconds_a_step": seconds / steps if steps else math.nan,
    }


def bits_of(m: dict[str, Any], dim: float) -> np.ndarray:
    """Held-out bits/dim of a run at its validations (T,)."""
    return -m["history"]["val_log_prob"] / (dim * math.log(2))


def is_settled(gain: Values, who: str) -> Given:
    """Training has converged, in bits/dim of held-out images."""
    return settled(combined(abs, gain), BITS, f"bits/dim of {who}")


def own_images(stands_in: Values) -> Given:
    """What does not hold on other images may well hold on the paper's."""
    return enough(stands_in, at_most(0), "the images are the paper's, no others stand in for them")


def number(table: pd.DataFrame, name: str) -> float:
    """The one value of a column of the rows of a run."""
    return float(table[name].iloc[0])
