"""Bits/dim, samples, interpolations and the inverse of an image flow, compared with a Gaussian fitted to the same images."""

from typing import Any

from flowrepro.analysis.bounds import linear_baseline
from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.measures.image_flow import bits, faults, in_batches, interpolate, pixels, sample
from flowrepro.metrics.likelihood import bits_per_dim

BATCH, OTHER_BATCH = 250, 96
# grey levels squared: the best of 0.01 to 100 on the part of CIFAR-10, which has few images for its 3,072 dimensions
GAUSSIAN_ALPHA = 1.0


def measure(
    flow: Flow, data: ImageData, n: int, n_samples: int, temperatures: list[float], side: int = 6
) -> dict[str, Any]:
    """Bits/dim of n images of both sets over draws of their noise, samples, interpolations, errors of the inverse."""
    device = device_of(flow)
    train, val = (images.first(n) for images in data.reported.values())
    scores = {
        "train": bits(flow, train, data, 1, BATCH, device),
        "val": bits(flow, val, data, 3, BATCH, device),
    }
    few = val.first(BATCH)
    both = [bits(flow, few, data, 1, size, device)["bits_per_dim"] for size in (BATCH, OTHER_BATCH)]
    x = few[:].to(device)
    error = (in_batches(flow.reconstruct, x, BATCH) - x).abs()
    drawn = {t: sample(flow, n_samples, t, 0, BATCH, device) for t in temperatures}
    return {
        "source": data.source,
        "dim": float(data.dim),
        "parameters": float(sum(p.numel() for p in flow.parameters())),
        "train_bits_per_dim": scores["train"]["bits_per_dim"],
        **{k: float(v) for k, v in scores["val"].items() if k.startswith("bits_")},
        "gaussian_bits_per_dim": gaussian_bits(data.train, val),
        "batch_difference": abs(both[0] - both[1]),
        "reconstruction_max": float(error.max()),
        **{f"{k}_{t:g}": float(v) for t in temperatures for k, v in faults(drawn[t], data.levels).items()},
        "held_out": pixels(val, x[: side**2]),
        **{f"samples_{t:g}": pixels(val, drawn[t][: side**2]) for t in temperatures},
        "interpolated": pixels(val, interpolate(flow, x[: 2 * side], side, BATCH)),
    }


def gaussian_bits(train: Images, val: Images) -> float:
    """Bits/dim of held-out images under the Gaussian of the training images, both without their borders."""
    fitted, held_out = (images.interior(images[:]).flatten(1) for images in (train, val))
    values = linear_baseline(fitted, held_out, GAUSSIAN_ALPHA)
    return bits_per_dim(float(values.mean()), fitted.shape[1])
