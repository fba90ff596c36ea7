"""A flow on the S-curve or the sine manifold, in float64 and with its log-determinant made exact."""

import copy
from typing import Any

import torch

from flowrepro.data import Data
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.flows.linear import Dense
from flowrepro.measures import manifold
from flowrepro.metrics.likelihood import log_probs


def measure(flow: Flow, data: Data, n: int) -> dict[str, Any]:
    """What `manifold` measures of the exact flow, and the training log-likelihood (nats) as training computed it."""
    own = float(log_probs(flow.log_prob, data.train, manifold.BATCH, device_of(flow)).mean())
    return manifold.measure(exact_flow(flow), data.to(torch.float64), n) | {"own_log_prob": own}


def exact_flow(flow: Flow) -> Flow:
    """The same weights in float64 with the exact log-determinant."""
    exact = copy.deepcopy(flow).double()
    for layer in exact.chain:
        if isinstance(layer, Dense):
            layer.log_det = "slogdet"
    return exact
