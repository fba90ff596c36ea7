"""How many dimensions the output of every layer of a flow has, and how many parameters the flow."""

from typing import Any

import numpy as np
import torch

from flowrepro.data import Data, ImageData
from flowrepro.device import device_of
from flowrepro.flows.core import Flow


@torch.no_grad()
def measure(flow: Flow, data: Data | ImageData) -> dict[str, Any]:
    """`layer_names` (L,) as in the trace of a run, `layer_dims` (L,) of one point, `dim` of the data, `parameters`."""
    traced = [(name, z[0].numel()) for name, z, _ in flow.chain.trace(data.val[:1].to(device_of(flow)))]
    names, dims = zip(*traced, strict=True)
    return {
        "layer_names": np.array(names),
        "layer_dims": np.array(dims),
        "dim": float(data.dim),
        "parameters": float(sum(p.numel() for p in flow.parameters())),
        "source": data.source,
    }
