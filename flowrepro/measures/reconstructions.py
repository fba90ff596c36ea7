"""Held-out images taken onto the learned manifold and back: what its dimensions keep of them."""

import math
from typing import Any

import torch
from torch import Tensor

from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.device import device_of
from flowrepro.flows.bases import Base
from flowrepro.flows.core import Flow
from flowrepro.flows.injective_bases import GaussianNIF
from flowrepro.measures.image_flow import in_batches, pixels

BATCH = 100
CHECKED = 8


def measure(flow: Flow, data: ImageData, n: int, n_measured: int) -> dict[str, Any]:
    """n held-out images and their reconstructions (n, H, W, C) as bytes, and the errors of n_measured.

    Mean squared errors are of pixels in [0, 1], against the middle of each grey level. `posterior_mean_mse` is by the
    authors' embedding instead of the paper's. `round_trip_max` is the error of the layers alone, without the manifold,
    `latent_residual` the share of the latents' variance that is off it, `nearest_error` as `nearest_error` has it.
    """
    x = data.val[:n_measured].to(device_of(flow))
    z = in_batches(flow.latents, x, BATCH)
    projected = in_batches(flow.base.project, z, BATCH)
    returned = in_batches(flow.chain.inverse, projected, BATCH)
    again = in_batches(flow.chain.inverse, z, BATCH)
    closed = isinstance(flow.base, GaussianNIF)
    finite = returned.flatten(1).isfinite().all(1)
    return {
        "originals": pixels(data.val, x[:n]),
        "reconstructed": pixels(data.val, returned[:n]),
        "reconstruction_mse": error(data.val, returned[finite], x[finite]),
        "train_reconstruction_mse": _train_error(flow, data, n_measured),
        "posterior_mean_mse": _posterior_error(flow, data, x) if closed else math.nan,
        "reconstruction_lost": float((~finite).double().mean()),
        "round_trip_max": float((again - x).abs().max()) / data.levels,
        "latent_residual": float((z - projected).square().sum() / (z - z.mean(0)).square().sum()),
        "nearest_error": nearest_error(flow.base, z[:CHECKED]),
    }


def error(images: Images, returned: Tensor, x: Tensor) -> float:
    """Mean squared error of returned images (n, C, H, W) in shares of the range of grey levels; nan for none."""
    found, wanted = (images.interior(part.cpu().double()) for part in (returned, x))
    levels = images.levels
    return float(((found.clamp(0, levels) - wanted.floor() - 0.5) / levels).square().mean())


def _train_error(flow: Flow, data: ImageData, n: int) -> float:
    x = data.train[:n].to(device_of(flow))
    return error(data.train, in_batches(flow.reconstruct, x, BATCH), x)


def _posterior_error(flow: Flow, data: ImageData, x: Tensor) -> float:
    return error(data.val, in_batches(lambda part: flow.reconstruct(part, "posterior_mean"), x, BATCH), x)


@torch.no_grad()
def nearest_error(base: Base, z: Tensor) -> float:
    """How far the pseudo-inverse of latents z (n, N) lies from the nearest point of the manifold (A.3, Eq. 27).

    The nearest point in the metric Σ^-1 is found by least squares in float64. The largest distance, over that of z from
    b; nan for bases without that metric.
    """
    if not isinstance(base, GaussianNIF):
        return math.nan
    whitened, columns = (part.double().cpu() for part in base.whitened(z))
    nearest = torch.linalg.lstsq(columns, whitened.mT).solution.mT
    apart = (base.embed(z).double().cpu() - nearest) @ columns.mT
    return float((apart.norm(dim=1) / whitened.norm(dim=1)).max())
