"""The scores of a flow on pixel vectors in [0, 1] and of the best linear flow, and samples."""

import math
from typing import Any

import numpy as np
import torch

from flowrepro.analysis.bounds import linear_baseline
from flowrepro.data import Data
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.metrics.images import high_frequency_energy
from flowrepro.metrics.likelihood import bits_per_dim, log_probs, summary

ALPHA = 5e-5  # for the linear flow, as in linear_systems Sec. 6.2
BATCH = 500


def measure(flow: Flow, data: Data, n: int, shown: int = 36) -> dict[str, Any]:
    """Scores on both splits with standard errors and worst images, the linear flow's, and n samples."""
    found: dict[str, Any] = {}
    for split, x in data.reported.items():
        scores = summary(log_probs(flow.log_prob, x, BATCH, device_of(flow)))
        base = summary(linear_baseline(data.train, x, ALPHA))
        found |= {f"{split}_{k}": float(scores[k]) for k in ("log_prob", "se", "median", "worst")}
        found |= {f"{split}_bits_per_dim": bits_per_dim(scores["log_prob"], data.dim)}
        found |= {f"linear_{split}": base["log_prob"], f"linear_{split}_se": base["se"]}
    assert data.image_shape is not None
    drawn = flow.sample(n, generator=torch.Generator().manual_seed(0))
    finite = drawn[drawn.isfinite().all(1)].clamp(0, 1).reshape(-1, *data.image_shape).cpu().numpy()
    real = data.val.reshape(-1, *data.image_shape).cpu().numpy()
    return found | {
        "non_finite_samples": float(n - len(finite)),
        "noise": high_frequency_energy(finite) if len(finite) else math.nan,
        "noise_of_data": high_frequency_energy(real),
        "samples": (255 * finite[:shown]).astype(np.uint8),
    }
