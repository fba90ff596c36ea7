"""What every block of a quasi-linear flow does to held-out points: how its parts stretch and compress, how far it moves."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowrepro.data import Data, ImageData
from flowrepro.device import device_of
from flowrepro.flows.convolution import InvertibleConv
from flowrepro.flows.core import Flow
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.quasilinear import Block


class Parts(NamedTuple):
    """A block at n points: the input x, what the couplings make of it and what comes out, and both log-determinants."""

    x: Tensor
    stretched: Tensor
    z: Tensor
    expansion: Tensor
    compression: Tensor


def measure(flow: Flow, data: Data | ImageData, n: int) -> dict[str, Any]:
    """At the first n held-out points, for each of L blocks, per dimension of its input; nats.

    Returns:
        expansion, compression: mean log |det| of the convolution with its couplings, and of what follows them (L,);
        expansion_spread, compression_spread: their standard deviations over points. moved: mean squares ||z - x||^2
        (L,). dim: D of the data.
    """
    flow, x = flow.double(), data.val[:n].double().to(device_of(flow))
    found = at_blocks(flow, x)
    log_dets = {
        name: torch.stack([getattr(parts, name) / parts.x[0].numel() for _, parts in found])
        for name in ("expansion", "compression")
    }
    return {
        **{name: values.mean(1) for name, values in log_dets.items()},
        **{f"{name}_spread": values.std(1) for name, values in log_dets.items()},
        "moved": torch.stack([b.displacement(p.x, p.z).mean() / p.x[0].numel() for b, p in found]),
        "dim": flow.dim,
    }


@torch.no_grad()
def at_blocks(flow: Flow, x: Tensor) -> list[tuple[Block, Parts]]:
    """The blocks of a flow in order, each with what it makes of the points x that the flow is given."""
    found: list[tuple[Block, Parts]] = []

    def passed(block: Block, given: tuple[Tensor], made: Any) -> None:
        found.append((block, taken_apart(block, given[0])))

    hooks = [part.register_forward_hook(passed) for part in flow.modules() if isinstance(part, Block)]
    try:
        flow.chain(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def taken_apart(block: Block, x: Tensor) -> Parts:
    """The block's two parts, the first up to its couplings."""
    first = sum(isinstance(layer, InvertibleConv | AffineCoupling) for layer in block)
    stretched, expansion = block[:first](x)
    z, compression = block[first:](stretched)
    return Parts(x, stretched, z, expansion, compression)
