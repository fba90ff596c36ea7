"""What Figures 1 to 3 read off a flow of one coupling: its scale and shift, and the laws of W and WU."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from flowrepro.analysis.coupling import w_entropy, wu_entropy
from flowrepro.figures.claims import Given, column, near, settled
from flowrepro.flows.core import Flow
from flowrepro.flows.linear import Rotation


@dataclass(frozen=True)
class WDensity:
    """W or WU: its name, and the entropy (nats) of a given p."""

    title: str
    entropy: Callable[[Tensor], Tensor]


# nats of excess over the bound: below this a coupling counts as trained to it
ATTAINED = 0.05
# nats: missing one of the 5.3 oscillations of sigma(p) costs 0.0105
ONE_OSCILLATION = 0.01
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


def is_settled(case: str, margin: float = ATTAINED) -> Given:
    """Training of one density has ended where it leads."""
    return settled(column("last_fifth_gain", case=case), margin, "couplings")


def is_near(case: str, margin: float) -> Given:
    """The coupling of one density is near the best one: the excess is exact, and all that training could still gain."""
    return near(column("excess", case=case), margin, "couplings are near the best one, in nats")
