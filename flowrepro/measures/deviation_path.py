"""Samples that leave the learned manifold: the same latent and the same noise, at rising deviation s."""

from typing import Any

import torch
from torch import Tensor

from flowrepro.data import ImageData
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.measures.image_flow import in_batches, pixels
from flowrepro.metrics.images import total_variation
from flowrepro.randomness import generator

BATCH = 100


@torch.no_grad()
def measure(
    flow: Flow, data: ImageData, deviations: list[float], n: int = 3, n_measured: int = 50, seed: int = 0
) -> dict[str, Any]:
    """Paths (n, k, H, W, C) of n samples over k deviations as bytes, and mean distances of n_measured from s = 0, (k,).

    `path_latent_distance` is Euclidean, `path_pixel_distance` root mean square of pixels in [0, 1]. `off_manifold_max`
    is the largest coordinate of the latents at s = 0 minus their own projections.
    """
    device = device_of(flow)

    def latents(s: float) -> Tensor:
        return flow.base.sample(n_measured, 1.0, s, generator(seed, "deviation path", device=device))

    start, paths = latents(0.0), torch.stack([latents(s) for s in deviations])
    images = in_batches(flow.chain.inverse, torch.cat([start, paths.flatten(0, 1)]), BATCH).cpu()
    grey = (data.val.interior(images) / data.levels).clamp(0, 1).double()
    # (1 + k, n_measured, H, W, C), the manifold first
    grey = grey.unflatten(0, (1 + len(deviations), n_measured))
    shown = pixels(data.val, images[n_measured:]).reshape(*grey[1:].shape)
    return {
        "deviations": torch.tensor(deviations, dtype=torch.float64),
        "paths": shown[:, :n].swapaxes(0, 1),
        "path_latent_distance": (paths - start).double().norm(dim=2).mean(1),
        "path_pixel_distance": (grey[1:] - grey[0]).square().flatten(2).mean(2).sqrt().mean(1),
        "path_total_variation": torch.tensor([total_variation(part.numpy()) for part in grey[1:]]),
        "off_manifold_max": float((start - flow.base.project(start)).abs().max()),
    }
