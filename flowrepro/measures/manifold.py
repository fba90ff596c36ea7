"""A flow on the S-curve or the sine manifold: its likelihood, components and samples, and an exact flow's components."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowrepro.analysis.bounds import ALPHA, manifold_log_likelihood
from flowrepro.analysis.components import Components, components_of, median_angle, neighbour_signs
from flowrepro.analysis.manifolds import MANIFOLDS
from flowrepro.data import Data
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.metrics.correlation import rank_correlations
from flowrepro.metrics.distance import energy_distance
from flowrepro.metrics.likelihood import log_probs
from flowrepro.metrics.separability import knn_r2

BATCH = 1_000
# a component counts whose local standard deviation is this many times the sqrt(alpha) of a direction without any data
WIDE = 10


def measure(flow: Flow, data: Data, n: int) -> dict[str, Any]:
    """Everything about a flow trained on a manifold, at the first n training points and for n samples."""
    device = device_of(flow)
    x, latents = _finite_points(flow, data, n)
    train = log_probs(flow.log_prob, data.train, BATCH, device)
    val = log_probs(flow.log_prob, data.val, BATCH, device)
    by_rule = flow.components(x)
    found = neighbour_signs(by_rule, x)
    exact = components_of(MANIFOLDS[data.name].exact_flow(ALPHA), x.double())
    spread, normals = found.values[:, 0].abs(), found.directions[:, :, -1].double()
    return (
        projection_numbers(found, latents)
        # with the paper's rule of signs
        | {f"rule_{name}": value for name, value in projection_numbers(by_rule, latents).items()}
        | sample_numbers(flow, data)
        | {
            "train_log_prob": float(train.mean()),
            "val_log_prob": float(val.mean()),
            "val_worst": float(val.min()),
            "optimum": manifold_log_likelihood(MANIFOLDS[data.name].surface_entropy, 1, ALPHA),
            "std_1": float(found.std[:, 0].median()),
            "std_2": float(found.std[:, 1].median()),
            "null_std": float(found.std[:, -1].median()),
            "wide": int((found.std.median(0).values > WIDE * math.sqrt(ALPHA)).sum()),
            "normal_angle": median_angle(normals, exact.directions[:, :, -1]),
            "shuffled_normal_angle": median_angle(normals.flip(0), exact.directions[:, :, -1]),
            "s_max": float(1 / found.std[:, -1].min()),
            "s_max_p99": float((1 / found.std[:, -1]).quantile(0.99)),
            "spread": float(spread.std()),
            "spread_p99": float(spread.quantile(0.99)),
            "spread_max": float(spread.max()),
            # beyond the 99th percentile of the exact flow's first components
            "outliers": float((spread > exact.values[:, 0].abs().quantile(0.99)).double().mean()),
            "non_finite_points": n - len(x),
            "x": x,
            "latents": latents,
            "components": found.values[:, :2].float(),
            "exact": neighbour_signs(exact, x).values[:, :2].float(),
        }
    )


def sample_numbers(flow: Flow, data: Data) -> dict[str, float]:
    """Energy distance to the held-out points of as many samples; of other points of the data, and of the best Gaussian's."""
    val, train = data.val.double(), data.train.double()
    generator = torch.Generator().manual_seed(0)
    drawn = flow.sample(len(val), generator=generator).double()
    finite = drawn[drawn.isfinite().all(1)]
    noise = torch.randn(len(val), data.dim, generator=generator, dtype=torch.float64)
    gaussian = train.mean(0) + noise @ torch.linalg.cholesky(train.T.cov()).T
    return {
        "energy": energy_distance(finite, val),
        "energy_of_data": energy_distance(train[: len(val)], val),
        "energy_of_gaussian": energy_distance(gaussian, val),
        "lost_samples": len(drawn) - len(finite),
    }


def projection_numbers(found: Components, latents: Tensor) -> dict[str, float]:
    """Rank correlations and k-NN R^2 of the two factors with the two leading components."""
    top, factors = found.values[:, :2].double().cpu().numpy(), latents.cpu().numpy()
    correlations = np.abs(rank_correlations(top, factors))
    readable = knn_r2(top, factors)
    return {
        "correlation_1": float(correlations[0, 0]),
        "correlation_2": float(correlations[1, 1]),
        "r2_1": float(readable[0]),
        "r2_2": float(readable[1]),
    }


@torch.no_grad()
def _finite_points(flow: Flow, data: Data, n: int) -> tuple[Tensor, Tensor]:
    """The first n training points and their latent factors, except those at which the flow is not finite."""
    assert data.train_latents is not None
    x, latents = data.train[:n], data.train_latents[:n]
    there = flow.log_prob(x).isfinite()
    return x[there], latents[there]
