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
from flowrepro.flows.injective import Injection, Noise
from flowrepro.flows.operators import Matrix
from flowrepro.measures.image_flow import sample
from flowrepro.metrics.inverse import exact, round_trip
from flowrepro.randomness import generator


def measure(flow: Flow, data: ImageData, n: int = 32, size: int = 32, seed: int = 0) -> dict[str, Any]:
    """Errors of x -> f(x) -> x, in grey levels, on n images of each kind, and the worst of its matrices.

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
    held_out = {name: found[f"held_out_{name}"] for name in ("max", "lost")}
    conditions = {"condition": largest_condition(flow), "manifold_condition": manifold_condition(flow)}
    return {**found, **conditions, "exact": exact(held_out, data.levels)}


@torch.no_grad()
def largest_condition(flow: Flow) -> float:
    """The largest condition number of a 1x1 matrix (over channels) of the flow; nan where it has none."""
    matrices = (m.weight()[0] for m in flow.modules() if isinstance(m, InvertibleConv))
    return max((float(torch.linalg.cond(w.double())) for w in matrices), default=math.nan)


@torch.no_grad()
def manifold_condition(flow: Flow) -> float:
    """The largest condition number of a Σ^-1/2 A, which embeddings invert; nan where there is no manifold."""
    injections = (m for m in flow.modules() if isinstance(m, Injection) and isinstance(m.noise, Noise))
    whitened = (
        (-0.5 * m.noise(None)[1].double()).exp()[:, None] * m.operator.weight.double()
        for m in injections
        if isinstance(m.operator, Matrix)
    )
    return max((float(torch.linalg.cond(v)) for v in whitened), default=math.nan)


def told(found: dict[str, Any], levels: int) -> list[str]:
    """Lines for the end of `evaluate`, with a warning where gradients by inversion would be wrong."""
    errors = ", ".join(
        f"{kind} {found[f'{key}_max']:.2g}"
        + (f" ({lost:.0%} lost)" if (lost := found[f"{key}_lost"]) else "")
        for key, kind in (("held_out", "held-out images"), ("samples", "samples"), ("noise", "noise"))
    )
    # two kinds of matrices: those of the inverse, and that of the pseudo-inverse onto the manifold
    lines = [f"inverse     largest error of {levels} grey levels: {errors}"]
    for key, of in (("condition", "a 1x1 matrix"), ("manifold_condition", "the manifold's matrix")):
        if not math.isnan(found[key]):
            lines.append(f"            largest condition number of {of}: {found[key]:.3g}")
    if not found["exact"]:
        lines.append(
            "warning     round trips are not exact enough for training.backward=invert: its gradients would be wrong"
        )
    return lines
