"""The scores of a flow on pixel vectors in [0, 1] and of the best linear flow, and samples."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowrepro.analysis.bounds import ALPHA, best_linear
from flowrepro.data import Data
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.metrics.images import haze, nearest
from flowrepro.metrics.likelihood import bits_per_dim, log_probs, summary

BATCH = 500
# standard deviation of the noise added to images as a control: 13 grey levels
NOISE = 0.05


def measure(flow: Flow, data: Data, n: int, shown: int = 36, worst: int = 6) -> dict[str, Any]:
    """Scores on both splits with standard errors, the worst validation images, the linear flow's, and n samples.

    `haze` of samples and their distance to the `nearest` training image are medians over all n, so that up to half of
    them may be anything; a sample that is not finite counts as infinitely hazy and far.
    """
    found: dict[str, Any] = {}
    best = best_linear(data.train, ALPHA)
    scores = {
        split: log_probs(flow.log_prob, x, BATCH, device_of(flow)) for split, x in data.reported.items()
    }
    for split, x in data.reported.items():
        told, base = summary(scores[split]), summary(best.log_prob(x))
        found |= {f"{split}_{k}": float(told[k]) for k in ("log_prob", "se", "median", "worst")}
        found |= {f"{split}_bits_per_dim": bits_per_dim(told["log_prob"], data.dim)}
        found |= {f"linear_{split}": base["log_prob"], f"linear_{split}_se": base["se"]}
    lowest = scores["val"].nan_to_num(nan=-math.inf).argsort()[:worst]
    assert data.image_shape is not None
    real = _images(data.val, data.image_shape)
    generator = torch.Generator().manual_seed(0)
    finite = _images(flow.sample(n, generator=generator), data.image_shape)
    train = _images(data.train, data.image_shape)
    linear = _images(best.sample(n, generator), data.image_shape)
    noisy = np.clip(real + NOISE * np.random.default_rng(0).standard_normal(real.shape), 0, 1)
    lost = np.full(n - len(finite), math.inf)
    return found | {
        "val_negative": float((scores["val"] < 0).double().mean()),
        "non_finite_samples": float(len(lost)),
        "haze": float(np.median(np.concatenate([haze(finite), lost]))),
        "haze_of_data": float(np.median(haze(real))),
        "haze_of_noisy_data": float(np.median(haze(noisy))),
        "nearest": float(np.median(np.concatenate([nearest(finite, train), lost]))),
        "nearest_of_data": float(np.median(nearest(real, train))),
        "nearest_of_linear": float(np.median(nearest(linear, train))),
        "samples": (255 * finite[:shown]).astype(np.uint8),
        "worst_images": (255 * real[lowest.numpy()]).astype(np.uint8),
        "worst_scores": scores["val"][lowest].numpy(),
    }


def _images(x: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """The finite rows of x (n, D) as images with pixels in [0, 1]."""
    return x[x.isfinite().all(1)].clamp(0, 1).reshape(-1, *shape).cpu().numpy()
