"""Held-out points of a two-dimensional toy set on their way through the blocks of a flow, and the density it learned."""

from typing import Any

import numpy as np
import torch

from flowrepro.analysis.pushforward import on_grid, square_grid
from flowrepro.data import Data
from flowrepro.data.pinwheel import log_density_of
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.measures.blocks import at_blocks
from flowrepro.measures.toy_density import REACH, SHOWN_REACH
from flowrepro.metrics.likelihood import log_probs

BATCH = 4000
# of the points lie in the domain that is drawn
COVERED = 0.999


def measure(flow: Flow, data: Data, cells: int, n: int) -> dict[str, Any]:
    """On all held-out points and a grid; the first n points are those that are drawn.

    Returns:
        truth: mean true log-density in nats, minus the entropy as the held-out points have it; kl: what the flow's own
        is below it. density, true_density: on the part of the grid that is drawn, whose `edges` those are; mass: of the
        flow's on the whole grid. points: (2 L + 1, n, 2), the data, and after either part of each of L blocks;
        domains: half the width of a square around 0 that holds 99.9 % of all held-out points there, relative to that
        of the data (2 L + 1,).
    """
    flow, device, log_density = flow.double(), device_of(flow), log_density_of(data.name)
    x = data.val.double()
    truth = log_probs(log_density, x, BATCH, device).mean()
    maps = [x] + [h for _, parts in at_blocks(flow, x) for h in (parts.stretched, parts.z)]
    reaches = torch.stack([h.abs().amax(1).quantile(COVERED) for h in maps])
    points, area = square_grid(-REACH, REACH, cells)
    first, last = (round(cells * (1 + side * SHOWN_REACH / REACH) / 2) for side in (-1, 1))
    density = on_grid(flow.log_prob, points.to(device))
    return {
        "truth": float(truth),
        "kl": float(truth - log_probs(flow.log_prob, x, BATCH, device).mean()),
        "mass": float(density.sum()) * area,
        "density": density[first:last, first:last].float(),
        "true_density": on_grid(log_density, points)[first:last, first:last].float(),
        "edges": np.linspace(-REACH, REACH, cells + 1)[first : last + 1],
        "points": torch.stack([h[:n] for h in maps]).float(),
        "domains": reaches / reaches[0],
    }
