"""Baselines for a trained flow of couplings: no coupling at all, and the flow that needs no training."""

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowrepro.data import Data
from flowrepro.data.toy import TOYS
from flowrepro.device import device_of
from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.core import Flow
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.linear import Rotation
from flowrepro.flows.optimal import OptimalRotation, layerwise_by_moments
from flowrepro.flows.preprocess import Standardize
from flowrepro.metrics.likelihood import log_probs

REFERENCE_SAMPLES = 2**15
# number of points whose true density is computed at once
BATCH = 4000


def measure(flow: Flow, data: Data) -> dict[str, Any]:
    """Mean log-density of the held-out points; divergences in nats before any coupling and of the flow without training."""
    without = reference(flow, data)
    return baselines(flow.double(), data) | {"without_training": float(without[-1]), "reference": without}


def stops(flow: Flow) -> list[int]:
    """How many layers of the chain lead up to each number of couplings, from none on."""
    ends = [i + 1 for i, layer in enumerate(flow.chain) if isinstance(layer, AffineCoupling)]
    first = next(i for i, layer in enumerate(flow.chain) if isinstance(layer, Rotation))
    return [first, *ends]


@torch.no_grad()
def baselines(flow: Flow, data: Data) -> dict[str, float]:
    """Mean log-density of the held-out points, and the divergence before any coupling, in nats."""
    log_density = TOYS[data.name].log_density
    assert log_density is not None
    x = data.val.double()
    truth = float(log_probs(log_density, x, BATCH, device_of(flow)).mean())
    return {"truth": truth, "kl_0": truth - float(flow.slice(stops(flow)[0]).log_prob(x).mean())}


def reference(flow: Flow, data: Data) -> np.ndarray:
    """Divergences (layers + 1,) of the flow that needs no training, with optimal rotations or those of this flow."""
    rotations = [layer for layer in flow.chain if isinstance(layer, Rotation)]
    given = (
        None
        if isinstance(rotations[0], OptimalRotation)
        else tuple(r.matrix.double().cpu().numpy().tobytes() for r in rotations)
    )
    standardize = any(isinstance(layer, Standardize) for layer in flow.chain)
    return _reference(data.name, len(rotations), given, standardize)


@functools.cache
def _reference(name: str, layers: int, given: tuple[bytes, ...] | None, standardize: bool) -> np.ndarray:
    toy = TOYS[name]
    assert toy.log_density is not None
    x, held_out = (toy.sample(REFERENCE_SAMPLES, torch.Generator().manual_seed(seed))[0] for seed in (11, 12))
    rotations = [Rotation(_matrix(raw)) for raw in given] if given else None
    chain = layerwise_by_moments(x, layers, rotations, standardize=standardize)
    flow = Flow(chain, StandardNormal(2, x.dtype))
    truth = log_probs(toy.log_density, held_out, BATCH).mean()
    first = len(chain) - 2 * layers
    losses = [truth - flow.slice(first + 2 * k).log_prob(held_out).mean() for k in range(layers + 1)]
    return torch.stack(losses).numpy()


def _matrix(raw: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(raw).reshape(2, 2).copy())
