"""Local components of a flow in a plane of R^3 or on a curve in R^2, and their angles to the true directions."""

import math
import statistics
from typing import Any

import torch
from torch import Tensor

from flowrepro.analysis.autoencoder import linear_decoder
from flowrepro.analysis.bounds import manifold_log_likelihood
from flowrepro.analysis.components import median_angle
from flowrepro.analysis.manifolds import SINE_STRETCH, normal_entropy
from flowrepro.data import Data
from flowrepro.data.toy import PLANE
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.metrics.likelihood import log_probs

# of the data with respect to the area of the plane and the length of the curve, in nats
ENTROPY = {"plane3d": normal_entropy(2) + normal_entropy(1), "curve2d": normal_entropy(2) + SINE_STRETCH}
# trained from as many starts
AUTOENCODERS = 10
# of the regularised flows of linear_systems Fig. 6, whose optimum is told beside every flow
ALPHA = {"plane3d": 1e-4, "curve2d": 1e-5}


def measure(flow: Flow, data: Data, n: int) -> dict[str, Any]:
    """Singular values, components and their angles to the true ones at the first n training points."""
    assert data.train_latents is not None
    x, latents = data.train[:n], data.train_latents[:n]
    found = flow.components(x)
    drawn = flow.sample(n, generator=torch.Generator().manual_seed(0))
    angles = (
        plane_angles(found.directions[0], data) if data.dim == 3 else curve_angles(found.directions, latents)
    )
    return angles | {
        "train_log_prob": float(log_probs(flow.log_prob, data.train, 1_000, device_of(flow)).mean()),
        "optimum": manifold_log_likelihood(ENTROPY[data.name], 1, ALPHA[data.name]),
        "s_max": float((1 / found.std[:, -1]).median()),
        "std_1": float(found.std[:, 0].median()),
        "std_2": float(found.std[:, 1].median()),
        "non_finite_samples": int((~drawn.isfinite().all(1)).sum()) / n,
        "x": x,
        "centre": data.train.mean(0),
        "directions": found.directions,
        "std": found.std,
        "latents": latents,
    }


def plane_angles(directions: Tensor, data: Data) -> dict[str, float]:
    """In degrees: the learned plane (columns 1 and 2) against the true one, the first axis against the data's first.

    The true axes are the principal axes of the training points themselves, so that their sampling error is left out.
    Linear autoencoders with two codes are told beside the flow: their plane (the worst) and the direction of their first
    code, against the nearer of the two axes (the median over starts).
    """
    normal = torch.linalg.cross(PLANE[0], PLANE[1]).to(directions)
    centred = data.train - data.train.mean(0)
    _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
    stds = singular / math.sqrt(len(centred))
    codes = torch.stack([linear_decoder(centred, 2, seed) for seed in range(AUTOENCODERS)])
    first, second = (codes / codes.norm(dim=1, keepdim=True)).unbind(2)
    across = torch.linalg.cross(first, second)
    planes = [degrees(a @ normal.double()) for a in across / across.norm(dim=1, keepdim=True)]
    nearer = [min(degrees(a @ axis.double()) for axis in axes[:2]) for a in first]
    return {
        "angle": degrees(directions[:, 2] @ normal),
        "axis_angle": degrees(directions[:, 0] @ axes[0]),
        "pca_std_1": float(stds[0]),
        "pca_std_2": float(stds[1]),
        "autoencoder_angle": max(planes),
        "autoencoder_axis_angle": statistics.median(nearer),
    }


def curve_angles(directions: Tensor, latents: Tensor) -> dict[str, float]:
    """In degrees: the median angle between the first component and the curve's tangent (2, 2 cos 2e)."""
    tangents = torch.cat([torch.ones_like(latents), (2 * latents).cos()], 1)
    tangents = tangents / tangents.norm(dim=1, keepdim=True)
    return {"angle": median_angle(directions[:, :, 0], tangents)}


def degrees(cosine: Tensor) -> float:
    """The angle between two lines."""
    return math.degrees(math.acos(min(1.0, abs(float(cosine)))))
