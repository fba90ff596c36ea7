"""The density of a flow on a two-dimensional toy set, the true one, and the fraction outside the data's support."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowrepro.analysis.pushforward import LogDensity, on_grid, square_grid
from flowrepro.data import Data
from flowrepro.data.toy import TOYS
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.metrics.likelihood import log_probs

# the grid for the mass check extends beyond what is shown
REACH, SHOWN_REACH = 8.0, 4.4
BATCH = 4000
SUPPORT = 0.999
SAMPLE_SEED = 4


def measure(flow: Flow, data: Data, cells: int, n: int) -> dict[str, Any]:
    """The density on a grid, its mass there, and the fraction of n samples outside the data's support."""
    flow, device, log_density = flow.double(), device_of(flow), TOYS[data.name].log_density
    assert log_density is not None
    points, area = square_grid(-REACH, REACH, cells)
    first, last = (round(cells * (1 + side * SHOWN_REACH / REACH) / 2) for side in (-1, 1))
    density = on_grid(flow.log_prob, points.to(device))
    return {
        "mass": float(density.sum()) * area,
        "outside": outside(flow, log_density, data.val.double(), n),
        "density": density[first:last, first:last].float(),
        "true_density": on_grid(log_density, points)[first:last, first:last].float(),
        "edges": np.linspace(-REACH, REACH, cells + 1)[first : last + 1],
    }


@torch.no_grad()
def outside(flow: Flow, log_density: LogDensity, held_out: Tensor, n: int) -> float:
    """The fraction of n samples where the data's density is below that of 99.9 % of the data; 0.001 for a perfect flow."""
    device = str(held_out.device)
    there = log_probs(log_density, held_out, BATCH, device)
    level = there.quantile(1 - SUPPORT) - 1e-9
    x = flow.sample(n, generator=torch.Generator().manual_seed(SAMPLE_SEED))
    log_p = log_probs(log_density, x, BATCH, device)
    # a non-finite sample counts as outside too
    return float((~(log_p >= level)).double().mean())
