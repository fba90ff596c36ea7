"""Samples at several temperatures t and deviations s, all from the same noise, and what can be counted on them."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.measures.image_flow import has_manifold, in_batches, pixels
from flowrepro.metrics.images import diversity, total_variation
from flowrepro.randomness import generator

BATCH = 100


def measure(
    flow: Flow, data: ImageData, wanted: list[list[float]], n: int, n_measured: int, seed: int = 0
) -> dict[str, Any]:
    """For each pair (t, s) a sheet of n samples (n, H, W, C) as bytes, and the numbers of n_measured of them.

    Names end in `_t1_s0.5`. Of a flow without a manifold s changes nothing, and its samples are drawn once per t. The
    numbers of held-out images, `real_...`, are for comparison.
    """
    moves, sheets = has_manifold(flow), {}
    for t, s in dict.fromkeys((t, s if moves else 0.0) for t, s in wanted):
        sheets[t, s] = sheet(drawn(flow, max(n, n_measured), t, s, seed), data.val, n, n_measured)
    real = looks(pixels(data.val, data.val[:n_measured]))
    return {
        "sheets_source": data.source,
        **{f"{k}_t{t:g}_s{s:g}": v for t, s in wanted for k, v in sheets[t, s if moves else 0.0].items()},
        **{f"real_{name}": value for name, value in real.items()},
    }


def drawn(flow: Flow, n: int, t: float, s: float, seed: int) -> Tensor:
    """n samples (n, C, H, W) in grey levels, on the CPU: the same noise, whatever t and s scale it by."""
    source, prepared = generator(seed, "sheets", device=device_of(flow)), flow.prepared()
    return in_batches(lambda part: prepared.sample(len(part), t, s, source).cpu(), torch.arange(n), BATCH)


def sheet(x: Tensor, images: Images, n: int, n_measured: int) -> dict[str, Any]:
    """The first n of the samples x (N, C, H, W) as bytes, and the numbers of the first n_measured.

    `non_finite` is a share of samples, `clipped` the share of finite samples' pixels beyond black or white.
    """
    measured = x[:n_measured]
    finite = measured[measured.flatten(1).isfinite().all(1)]
    grey = images.interior(finite)
    beyond = ((grey < 0) | (grey > images.levels)).double()
    return {
        "sheet": pixels(images, x[:n]),
        "non_finite": 1 - len(finite) / len(measured),
        "clipped": float(beyond.mean()) if len(finite) else math.nan,
        **looks(pixels(images, finite)),
    }


def looks(images: np.ndarray) -> dict[str, float]:
    """Diversity and total variation of images (n, H, W, C) of bytes, as shares of the range; nan for less than two."""
    few, shares = len(images) < 2, images / 255
    return {
        "diversity": math.nan if few else diversity(shares),
        "total_variation": math.nan if few else total_variation(shares),
    }
