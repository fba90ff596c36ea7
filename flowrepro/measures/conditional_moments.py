"""The conditional moments that one coupling has learned of W or WU, and the density it produces."""

import math
from typing import Any

import numpy as np
import torch
from scipy.stats import kstest

from flowrepro.analysis.coupling import w_conditionals
from flowrepro.analysis.pushforward import on_grid, pushforward, square_grid
from flowrepro.data import Data
from flowrepro.data.toy import TOYS
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.measures.one_coupling import scale_and_shift
from flowrepro.metrics.independence import dependence

REACH = 3.0
BINS = 60
ROOT3 = math.sqrt(3)
SAMPLE_SEED = 1


def measure(flow: Flow, data: Data, cells: int, n: int) -> dict[str, Any]:
    """Learned moments at quadrature nodes of p, the laws of a' from n fresh samples, densities on a grid."""
    toy, exact, flow, device = TOYS[data.name], w_conditionals(), flow.double(), device_of(flow)
    assert toy.log_density is not None
    s, t = scale_and_shift(flow, exact.p)
    mean, std = -t * (-s).exp(), (-s).exp()
    after_mean, after_std = exact.mean * s.exp() + t, exact.variance.sqrt() * s.exp()
    x = toy.sample(n, torch.Generator().manual_seed(SAMPLE_SEED))[0]
    z = flow.latents(x.to(device)).cpu()
    active = z[:, 1].numpy()
    points, area = square_grid(-REACH, REACH, cells)
    pushed = on_grid(pushforward(toy.log_density, flow.chain), points.to(device))
    arrays = {
        "p": exact.p,
        "mean": mean,
        "std": std,
        "true_mean": exact.mean,
        "true_std": exact.variance.sqrt(),
        "after_mean": after_mean,
        "after_std": after_std,
        "density": on_grid(toy.log_density, points),
        "pushed": pushed,
    }
    return {
        **{name: values.float() for name, values in arrays.items()},
        "edges": np.linspace(-REACH, REACH, cells + 1),
        "bin_edges": np.linspace(-REACH, REACH, BINS + 1),
        "histogram": np.histogram(active, BINS, (-REACH, REACH), density=True)[0],
        "mass": float(pushed.sum()) * area,
        "rms_error_mean": math.sqrt(exact.expectation((mean - exact.mean).square())),
        "rms_error_std": math.sqrt(exact.expectation((std - exact.variance.sqrt()).square())),
        "excess": exact.excess(s, t),
        "rms_after_mean": math.sqrt(exact.expectation(after_mean.square())),
        "rms_after_std_error": math.sqrt(exact.expectation((after_std - 1).square())),
        "worst_after_mean": float(after_mean.abs().max()),
        "worst_after_std_error": float((after_std - 1).abs().max()),
        "ks_normal": float(kstest(active, "norm").statistic),
        "ks_uniform": float(kstest(active, "uniform", args=(-ROOT3, 2 * ROOT3)).statistic),
        "dependence_before": dependence(x[:, 0].numpy(), x[:, 1].numpy()),
        "dependence": dependence(z[:, 0].numpy(), active),
    }
