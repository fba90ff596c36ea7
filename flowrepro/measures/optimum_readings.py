"""Eq. 6 of jacobian_determinant for the held-out images of a run, in bits/dim, beside which its flow may be put."""

import math
from typing import Any

import torch

from flowrepro.analysis import readings
from flowrepro.data import ImageData
from flowrepro.flows.core import Flow


def measure(flow: Flow, data: ImageData, n: int) -> dict[str, Any]:
    """`eq6`, literally, which is -inf: S = x x^T has eigenvalues 0; and two readings of S that give it a value.

    `eq6_noise_averaged` has S = x x^T + I/12, `eq6_pseudo_determinant` leaves the zeros out; means over n images.
    """
    x = readings.shifted(data.val.pixels[:n] // data.val.step, data.levels)
    return {
        "eq6": float(readings.bits(torch.tensor(math.inf), data.dim)),
        "eq6_noise_averaged": float(readings.noise_averaged(x).mean()),
        "eq6_pseudo_determinant": float(readings.pseudo_determinant(x).mean()),
    }
