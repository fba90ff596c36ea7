"""The divergence that remains of the two Gaussians after one trained coupling, and its bound."""

import functools
import math
from typing import Any, cast

import numpy as np
import torch

from flowrepro.analysis.coupling import gmm_conditionals, kl_to_normal
from flowrepro.analysis.pushforward import on_grid, pushforward, square_grid
from flowrepro.data import Data
from flowrepro.data.toy import GMM_VARIANCE, TOYS
from flowrepro.device import device_of
from flowrepro.flows.core import Flow, Layer
from flowrepro.flows.preprocess import Center
from flowrepro.measures.one_coupling import rotation_of, scale_and_shift

REACH = 3.0
ANGLES = np.arange(0, 181, 2.0)
SAMPLE_SEED = 3


def kl_before() -> float:
    """KL of the mixture from the standard normal, in nats; no rotation changes it."""
    assert TOYS["gmm"].entropy is not None
    return kl_to_normal(TOYS["gmm"].entropy, 1 + GMM_VARIANCE, 2)


@functools.cache
def bounds() -> np.ndarray:
    """The lowest possible remaining divergence at each of ANGLES, in nats."""
    return np.array([kl_before() - gmm_conditionals(angle).improvement() for angle in ANGLES])


def measure(flow: Flow, data: Data, cells: int, n: int) -> dict[str, Any]:
    """The divergence remaining after the trained coupling by quadrature, its bound, and both densities on a grid."""
    flow, device, log_density = flow.double(), device_of(flow), TOYS["gmm"].log_density
    assert log_density is not None
    q = rotation_of(flow)
    angle = math.degrees(math.atan2(float(q[0, 1]), float(q[0, 0])))
    exact = gmm_conditionals(angle)
    # centring by the mean of the training points moves the passive dimension a little
    moved = float((q @ next(layer.mean for layer in flow.chain if isinstance(layer, Center)))[0])
    excess = exact.excess(*scale_and_shift(flow, exact.p)) + moved**2 / 2
    x = TOYS["gmm"].sample(n, torch.Generator().manual_seed(SAMPLE_SEED))[0].to(device)
    points, area = square_grid(-REACH, REACH, cells)
    pushed = on_grid(pushforward(log_density, flow.chain), points.to(device))
    turned = on_grid(pushforward(log_density, cast(Layer, flow.chain[:2])), points.to(device))
    bound = kl_before() - exact.improvement()
    return {
        "angle": angle,
        "bound": bound,
        "kl": bound + excess,
        "excess": excess,
        "kl_sampled": float((log_density(x) - flow.log_prob(x)).mean()),
        "mass": float(pushed.sum()) * area,
        "turned": turned.float(),
        "pushed": pushed.float(),
        "edges": np.linspace(-REACH, REACH, cells + 1),
        "angles": ANGLES,
        "bounds": bounds(),
    }
