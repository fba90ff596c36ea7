"""The density of the data after some of a flow's couplings, on a grid, and the angle of the first rotation."""

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from flowrepro.analysis.pushforward import on_grid, pushforward, square_grid
from flowrepro.data import Data
from flowrepro.data.toy import TOYS
from flowrepro.device import device_of
from flowrepro.flows.core import Flow, Layer
from flowrepro.measures.untrained import stops

REACH = 3.2


def measure(flow: Flow, data: Data, cells: int, depths: list[int]) -> dict[str, Any]:
    """Densities after these numbers of couplings, if the flow has that many, exact by the change of variables."""
    flow, device, log_density = flow.double(), device_of(flow), TOYS[data.name].log_density
    assert log_density is not None
    points, area = square_grid(-REACH, REACH, cells)
    ends = stops(flow)
    shown = [k for k in depths if k < len(ends)]
    densities = [
        on_grid(pushforward(log_density, cast(Layer, flow.chain[: ends[k]])), points.to(device))
        for k in shown
    ]
    axis = cast(Tensor, flow.chain[ends[0]].matrix)[0]
    return {
        "first_angle": math.degrees(math.atan2(float(axis[1]), float(axis[0]))) % 180,
        "mass": float(densities[-1].sum()) * area,
        "depths": np.array(shown),
        "densities": torch.stack(densities).float(),
        "edges": np.linspace(-REACH, REACH, cells + 1),
    }
