"""Log-likelihoods over a whole set, with their errors, and bits per dimension."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def bits_per_dim(log_prob: float, dim: int, levels: int | None = None) -> float:
    """Bits per dimension of a log-likelihood in nats.

    -log_prob / (dim ln 2) is for data as the flow sees it (pixels in [0, 1]). With `levels` (256 for 8-bit images)
    log2(levels) is added: the same density for pixels counted in grey levels (facts on linear_systems, Sec. 4).
    """
    return -log_prob / (dim * math.log(2)) + (math.log2(levels) if levels else 0.0)


@torch.no_grad()
def log_probs(
    log_prob: Callable[[Tensor], Tensor], x: Tensor, batch_size: int, device: str = "cpu"
) -> Tensor:
    """log_prob of every sample, in nats, (N,) float64 on the CPU."""
    return torch.cat([log_prob(batch.to(device)).double().cpu() for batch in x.split(batch_size)])


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
        # a single sample of density zero makes the mean minus infinity: it is not left out
        "log_prob": float(values.mean()),
        "se": float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan,
        "median": float(values.median()),
        "worst": float(finite.min()),
        "non_finite": len(values) - len(finite),
    }
