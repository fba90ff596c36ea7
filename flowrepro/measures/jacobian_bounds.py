"""The bounds of jacobian_determinant Sec. 2.3 at held-out points: log |det J|, singular values of J, gradients."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from flowrepro.analysis.jacobian import BatchMap, jacobian, top_svd
from flowrepro.analysis.lipschitz import gradient_bounds, hadamard
from flowrepro.data import Data, ImageData
from flowrepro.device import device_of
from flowrepro.flows.core import Flow, Layer

# dimensions up to which whole Jacobians are formed
EXACT = 256
# of singular vectors; values are then exact to its square
TOLERANCE = 1e-2


def measure(
    flow: Flow, data: Data | ImageData, n: int = 32, n_images: int = 8, size: int = 8
) -> dict[str, Any]:
    """At n points, or n_images, `size` at once, in float64 and nats; layers are the L parts of the flow's chain.

    Returns:
        dim: D. levels: grey levels of images, else 1. log_det: log |det J| of the flow (n,);
        largest, smallest: singular values of J (n,), the inverse's largest is
        1 / smallest. D log smallest <= log_det <= D log largest (Eq. 8). layer_log_det, layer_largest: of each layer
        (L, n). hadamard: sum_i log |J e_i| (n,), nan above 256 dimensions. gradient, gradient_bound: of vector flows,
        |d log p / d theta_l| of each layer and its bound by Eq. 13 (L, n), 0 without parameters; else nan.
    """
    flow, device = flow.double(), device_of(flow)
    x = data.val[: n_images if isinstance(data, ImageData) else n].double().to(device)
    parts = [_at(flow, part) for part in x.split(size)]
    return {
        "layers": np.array([type(layer).__name__ for layer in flow.chain]),
        "dim": flow.dim,
        "levels": data.levels or 1,
        **{name: torch.cat([part[name] for part in parts], -1) for name in parts[0]},
    }


def _at(flow: Flow, x: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        log_det, layers = flow.chain(x)[1], _by_layer(flow, x)
    return {
        "log_det": log_det,
        **_singular_values(flow, x),
        **layers,
        **(_gradients(flow, x) if len(flow.shape) == 1 else _unknown(layers["layer_largest"])),
    }


def _singular_values(flow: Flow, x: Tensor) -> dict[str, Tensor]:
    """The largest and smallest of J, and Hadamard's bound where J is small enough to be formed."""
    push = _of_vectors(flow.chain, x)
    if flow.dim <= EXACT:
        j = jacobian(push, x.flatten(1)).detach()
        s = torch.linalg.svdvals(j)
        return {"largest": s[:, 0], "smallest": s[:, -1], "hadamard": hadamard(j)}
    with torch.no_grad():
        z = flow.chain(x)[0]
    ready = flow.prepared().chain
    largest = largest_of(push, x)
    inverse = largest_of(lambda z: ready.inverse(z).flatten(1), z)
    return {"largest": largest, "smallest": 1 / inverse, "hadamard": torch.full_like(largest, torch.nan)}


def largest_of(push: BatchMap, x: Tensor) -> Tensor:
    """The largest singular value of the Jacobian of a map of vectors, at x (B, ...): (B,)."""
    return top_svd(push, x.flatten(1), 1, TOLERANCE)[1][:, 0]


def _by_layer(flow: Flow, x: Tensor) -> dict[str, Tensor]:
    largest, log_dets = [], []
    for layer in flow.chain:
        largest.append(largest_of(_of_vectors(layer, x), x))
        x, log_det = layer(x)
        log_dets.append(log_det)
    return {"layer_largest": torch.stack(largest), "layer_log_det": torch.stack(log_dets)}


def _of_vectors(layer: Layer, x: Tensor) -> BatchMap:
    """A layer that takes batches of the shape of x, as a map of vectors (B, D)."""
    return lambda v: layer(v.reshape(-1, *x.shape[1:]))[0].flatten(1)


def _gradients(flow: Flow, x: Tensor) -> dict[str, Tensor]:
    """|d log p / d theta_l| at each point, from autograd through the whole flow, and its bound layer by layer."""
    parameters = {k: v.detach() for k, v in flow.named_parameters() if k.startswith("chain.")}
    found = vmap(grad(lambda p, x: functional_call(flow, p, (x[None],))[0]), in_dims=(None, 0))(parameters, x)
    squares = x.new_zeros(len(flow.chain), len(x))
    for name, gradient in found.items():
        squares[int(name.split(".")[1])] += gradient.flatten(1).square().sum(1)
    bound = gradient_bounds(list(flow.chain), flow.base.log_prob, x)
    return {"gradient": squares.sqrt(), "gradient_bound": bound}


def _unknown(like: Tensor) -> dict[str, Tensor]:
    return {name: torch.full_like(like, torch.nan) for name in ("gradient", "gradient_bound")}
