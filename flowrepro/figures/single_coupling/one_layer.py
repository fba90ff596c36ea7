"""What Figures 1 to 3 read off a flow of one coupling: its scale and shift, and the laws of W and WU."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from flowrepro.analysis.coupling import w_entropy, wu_entropy
from flowrepro.figures.claims import Values
from flowrepro.flows.core import Flow
from flowrepro.flows.linear import Rotation


@dataclass(frozen=True)
class WDensity:
    """W or WU: its name, and the entropy (nats) of a given p."""

    title: str
    entropy: Callable[[Tensor], Tensor]


W_DENSITIES = {"w": WDensity("W", w_entropy), "wu": WDensity("WU", wu_entropy)}


def rotation_of(flow: Flow) -> Tensor:
    """Q (2, 2) of the only rotation of a flow."""
    return next(layer.matrix for layer in flow.chain if isinstance(layer, Rotation))


@torch.no_grad()
def scale_and_shift(flow: Flow, p: Tensor) -> tuple[Tensor, Tensor]:
    """(s, t) of a' = a e^s + t for the rotated data [p, a] = Q x, at passive values p (n,); centring included."""
    back = rotation_of(flow)
    at_zero, at_one = (
        flow.latents(torch.stack([p, torch.full_like(p, a)], 1) @ back)[:, 1] for a in (0.0, 1.0)
    )
    return (at_one - at_zero).log(), at_zero


def of_case(case: str, name: str) -> Values:
    """A column of the rows of one case, one value for each seed."""
    return lambda table: [float(v) for v in table.loc[table.case == case, name]]
