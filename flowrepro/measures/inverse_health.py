"""How exact the inverse of an image flow is: round trips through the latent, and the matrices that it inverts."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowrepro.data import ImageData
from flowrepro.device import device_of
from flowrepro.flows.convolution import InvertibleConv
from flowrepro.flows.core import Flow
from flowrepro.measures.image_flow import in_batches, sample
from flowrepro.randomness import generator

# share of the range of grey levels. In flows of 24 steps whose weights were made wilder and wilder, gradients by
# inversion were as exact as others of float32 up to this error, and wrong by a tenth of a percent and more from 1 on
EXACT = 1e-3


def measure(flow: Flow, data: ImageData, n: int = 32, size: int = 32, seed: int = 0) -> dict[str, Any]:
    """Errors of x -> f(x) -> x, in grey levels, on n images of each kind, and the worst of the 1x1 matrices.

    Held-out images lie where the flow was trained, its own samples close by, and uniform noise far away. For each kind
    the largest and the mean error of those that come back finite, and the share of those that do not.
    """
    device = device_of(flow)

    def noise() -> Tensor:
        source = generator(seed, "noise")
        return data.levels * torch.rand(n, *data.shape, generator=source, dtype=data.val.dtype)

    # one after the other: large images of all kinds need not fit into memory together
    kinds: dict[str, Callable[[], Tensor]] = {
        "held_out": lambda: data.val[:n],
        "samples": lambda: sample(flow, n, 1.0, seed, size, device),
        "noise": noise,
    }
    found: dict[str, Any] = {}
    for kind, images in kinds.items():
        errors = round_trip(flow, images().to(device), size)
        found |= {f"{kind}_{name}": value for name, value in errors.items()}
    exact = found["held_out_max"] <= EXACT * data.levels and not found["held_out_lost"]
    return {**found, "condition": largest_condition(flow), "exact": exact}


def round_trip(flow: Flow, x: Tensor, size: int) -> dict[str, float]:
    """Largest and mean error of images x (n, C, H, W) there and back, and the share that is lost: not finite."""
    error = (in_batches(lambda x: flow.chain.inverse(flow.chain(x)[0]), x, size) - x).abs().flatten(1)
    whole = error[error.isfinite().all(1)]
    largest, mean = (float(whole.max()), float(whole.mean())) if len(whole) else (math.nan, math.nan)
    return {"max": largest, "mean": mean, "lost": 1 - len(whole) / len(error)}


@torch.no_grad()
def largest_condition(flow: Flow) -> float:
    """The largest condition number of a 1x1 matrix (over channels) of the flow; nan where it has none."""
    matrices = (m.weight()[0] for m in flow.modules() if isinstance(m, InvertibleConv))
    return max((float(torch.linalg.cond(w.double())) for w in matrices), default=math.nan)


def told(found: dict[str, Any], levels: int) -> list[str]:
    """Lines for the end of `evaluate`, with a warning where gradients by inversion would be wrong."""
    errors = ", ".join(
        f"{kind} {found[f'{key}_max']:.2g}"
        + (f" ({lost:.0%} lost)" if (lost := found[f"{key}_lost"]) else "")
        for key, kind in (("held_out", "held-out images"), ("samples", "samples"), ("noise", "noise"))
    )
    lines = [f"inverse     largest error of {levels} grey levels: {errors}"]
    if not math.isnan(found["condition"]):
        lines.append(f"            largest condition number of a 1x1 matrix: {found['condition']:.3g}")
    if not found["exact"]:
        lines.append(
            "warning     round trips are not exact enough for training.backward=invert: its gradients would be wrong"
        )
    return lines
