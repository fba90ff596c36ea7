"""The rotation, scale and shift of a flow with one coupling."""

import torch
from torch import Tensor

from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.flows.linear import Rotation


def rotation_of(flow: Flow) -> Tensor:
    """Q (2, 2) of the only rotation of a flow."""
    return next(layer.matrix for layer in flow.chain if isinstance(layer, Rotation))


@torch.no_grad()
def scale_and_shift(flow: Flow, p: Tensor) -> tuple[Tensor, Tensor]:
    """(s, t) of a' = a e^s + t for the rotated data [p, a] = Q x, at passive values p (n,); centring included."""
    back = rotation_of(flow)
    rotated = [torch.stack([p, torch.full_like(p, a)], 1).to(device_of(flow)) for a in (0.0, 1.0)]
    at_zero, at_one = (flow.latents(y @ back)[:, 1].to(p) for y in rotated)
    return (at_one - at_zero).log(), at_zero
