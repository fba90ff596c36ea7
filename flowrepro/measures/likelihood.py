"""The mean log-likelihoods of both sets in nats, as the flow itself computes them in its own dtype."""

from flowrepro.data import Data
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.metrics.likelihood import log_probs

BATCH = 1_000


def measure(flow: Flow, data: Data, n: int | None = None) -> dict[str, float]:
    """For the first n training samples (None: all) and all held-out ones."""
    device = device_of(flow)
    return {
        "train_log_prob": float(log_probs(flow.log_prob, data.train[:n], BATCH, device).mean()),
        "val_log_prob": float(log_probs(flow.log_prob, data.val, BATCH, device).mean()),
    }
