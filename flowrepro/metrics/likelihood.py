"""Log-likelihoods over a whole set, with their errors, bits per dimension, and the contribution of each layer."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flowrepro.data.dequantised import Images
from flowrepro.flows.core import Flow
from flowrepro.randomness import generator


def bits_per_dim(log_prob: float, dim: int, levels: int | None = None) -> float:
    """Bits per dimension of a log-likelihood in nats.

    -log_prob / (dim ln 2) is for data as the flow sees it: pixels in [0, 1] for flows on vectors, grey levels for
    image flows. With `levels` (256 for 8-bit images) pixels are q / (levels - 1) with grey levels q = 0 .. levels - 1,
    and log2(levels - 1) is added, which gives the density of grey levels.
    """
    return -log_prob / (dim * math.log(2)) + (math.log2(levels - 1) if levels else 0.0)


def log_prob_of(flow: Flow, seed: int, device: str = "cpu", draw: int = 0) -> Callable[[Tensor], Tensor]:
    """The flow's log_prob for one pass over a set; a base that gives a bound has the same noise in every such pass."""
    ready = Flow(flow.chain, flow.base.prepared(), flow.shape)
    return partial(ready.log_prob, generator=generator(seed, "bounds", draw, device=device))


@torch.no_grad()
def log_probs(
    log_prob: Callable[[Tensor], Tensor],
    x: Tensor | Images,
    batch_size: int,
    device: str = "cpu",
    draw: int = 0,
) -> Tensor:
    """log_prob of every sample, in nats, (N,) float64 on the CPU; of images with this draw of their noise."""
    batches = x.split(batch_size, draw) if isinstance(x, Images) else x.split(batch_size)
    return torch.cat([log_prob(batch.to(device)).double().cpu() for batch in batches])


def summary(values: Tensor) -> dict[str, Any]:
    """Per-sample mean in nats with its standard error, the median, the worst sample, and how many are not finite."""
    finite = values[values.isfinite()]
    if len(finite) == 0:
        return {
            "n": len(values),
            "log_prob": math.nan,
            "se": math.nan,
            "median": math.nan,
            "worst": math.nan,
            "non_finite": len(values),
        }
    return {
        "n": len(values),
        # a single sample of density zero makes the mean minus infinity: it is not excluded
        "log_prob": float(values.mean()),
        "se": float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan,
        "median": float(values.median()),
        "worst": float(finite.min()),
        "non_finite": len(values) - len(finite),
    }


def finite_mean(values: Tensor) -> float:
    """Mean in nats of the samples whose log_prob is finite; -inf if there are none."""
    finite = values[values.isfinite()]
    return float(finite.mean()) if len(finite) else -math.inf


def lost(values: Tensor, most: int = 5) -> list[int]:
    """The first samples whose log_prob is not finite, numbered from 0."""
    found: list[int] = (~values.isfinite()).nonzero()[:most, 0].tolist()
    return found


@torch.no_grad()
def layer_trace(flow: Flow, x: Tensor) -> list[dict[str, Any]]:
    """Mean dlogp (nats) and variance of the output of every layer on a fixed batch; one sample has no variance."""
    return [
        {
            "layer": name,
            "mean_dlogp": float(dlogp.mean()),
            "variance": float(z.var(0).mean()) if len(z) > 1 else math.nan,
        }
        for name, z, dlogp in flow.chain.trace(x)
    ]
