"""What `evaluate` measures on an image flow: bits/dim, samples, interpolations, reconstructions, layers."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from flowrepro.config.schema import Config
from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.flows.bases import std_factor
from flowrepro.flows.core import Flow
from flowrepro.flows.injective import with_unit_noise
from flowrepro.metrics.likelihood import bits_per_dim, layer_trace, log_prob_of, log_probs, summary
from flowrepro.randomness import generator
from flowrepro.writing import save_arrays, write_text

GRID, PAIRS, PATH = 64, 8, 8
RECONSTRUCTED = 32


def measure_images(
    flow: Flow, data: ImageData, scores: dict[str, Tensor], config: Config, device: str, folder: Path
) -> tuple[dict[str, Any], list[str]]:
    """Writes likelihood.csv, layers.csv and samples.npz; returns numbers for measures.json and lines to print.

    `scores` are log p in nats of the images of each split, (draws, N).
    """
    settings, size = config.evaluation, config.training.eval_batch_size
    table = likelihood_table(scores, data, config.model.name)
    write_text(folder / "likelihood.csv", table.to_csv(index=False))
    shown, ends = (data.val[:n].to(device) for n in (RECONSTRUCTED, 2 * PAIRS))
    layers = layer_trace(flow, shown[:size])
    write_text(folder / "layers.csv", pd.DataFrame(layers).to_csv(index=False))

    drawn_from = with_unit_noise(flow) if settings.sample_noise == "identity" else flow

    def samples(n: int, temperature: float, deviation: float) -> Tensor:
        t, s = (std_factor(v, settings.scaling) for v in (temperature, deviation))
        return sample(drawn_from, n, t, config.seed, size, device, s)

    drawn = samples(settings.n_samples, settings.temperature, settings.deviation)
    sheets = {f"temperature_{t:g}": samples(GRID, t, settings.deviation) for t in settings.temperatures}
    deviations = settings.deviations if has_manifold(flow) else []
    sheets |= {f"deviation_{s:g}": samples(GRID, settings.temperature, s) for s in deviations}
    returned = in_batches(lambda x: flow.reconstruct(x, settings.embedding), shown, size)
    ways = interpolate(flow, ends, PATH, size, settings.embedding)
    pictures = {"samples": drawn, "reconstructed": returned, "interpolated": ways, **sheets}
    save_arrays(
        folder / "samples.npz",
        reference=pixels(data.val, data.val[:GRID]),
        **{name: pixels(data.val, x) for name, x in pictures.items()},
    )
    error = (returned - shown).abs()
    measures = {
        "source": data.source,
        "dim": data.dim,
        "padded_dim": data.padded_dim,
        "latent_dim": flow.base.latent_dim,
        "levels": data.levels,
        "temperature": settings.temperature,
        "temperatures": settings.temperatures,
        "deviation": settings.deviation,
        "deviations": deviations,
        "scaling": settings.scaling,
        "sample_noise": settings.sample_noise,
        "embedding": settings.embedding,
        **faults(drawn, data.levels),
        "sheets": {name: faults(x, data.levels) for name, x in sheets.items()},
        # in grey levels; to the manifold and back where there is one
        "reconstruction_max": float(error.max()),
        "reconstruction_mean": float(error.mean()),
    }
    return measures, _told(table, measures)


def has_manifold(flow: Flow) -> bool:
    """Whether the flow's base knows a manifold of fewer dimensions than the images have."""
    return flow.base.latent_dim < flow.base.dim


def likelihood_table(scores: dict[str, Tensor], data: ImageData, model: str) -> pd.DataFrame:
    """Nats and bits/dim of both sets."""
    return pd.DataFrame(
        [{"model": model, "split": split, **bits_of(values, data)} for split, values in scores.items()]
    )


def bits(
    flow: Flow, images: Images, data: ImageData, draws: int, size: int, device: str = "cpu", seed: int = 0
) -> dict[str, Any]:
    """The row of one set, in batches of `size`; the rest as in `log_probs_of_draws` and `bits_of`."""
    return bits_of(log_probs_of_draws(flow, images, draws, size, device, seed), data)


def log_probs_of_draws(
    flow: Flow, images: Tensor | Images, draws: int, size: int, device: str = "cpu", seed: int = 0
) -> Tensor:
    """log p of every image, or vector, in nats for each draw of the dequantisation noise, (draws, N).

    `seed` is of the noise of bounds; that of the pixels is the data's own.
    """
    return torch.stack(
        [
            log_probs(log_prob_of(flow, seed, device, draw), images, size, device, draw)
            for draw in range(draws)
        ]
    )


def bits_of(values: Tensor, data: ImageData) -> dict[str, Any]:
    """Nats and bits/dim of values (draws, N): `bits_se` is over images, `bits_se_draws` over draws of the noise."""
    found, draws = summary(values.mean(0)), len(values)
    means = [bits_per_dim(float(v), data.dim) for v in values.mean(1)]
    return {
        **found,
        "bits_per_dim": bits_per_dim(found["log_prob"], data.dim),
        "bits_se": abs(bits_per_dim(found["se"], data.dim)),
        "draws": draws,
        "bits_se_draws": float(np.std(means, ddof=1) / math.sqrt(draws)) if draws > 1 else math.nan,
        "bits_per_padded_dim": bits_per_dim(found["log_prob"], data.padded_dim),
    }


def sample(
    flow: Flow,
    n: int,
    temperature: float,
    seed: int,
    size: int,
    device: str = "cpu",
    deviation: float = 1.0,
) -> Tensor:
    """n samples (n, C, H, W) in grey levels, `size` at once, on the CPU; non-finite ones are kept.

    Another `deviation` moves the same samples to another distance from the manifold.
    """
    # 1 and 1.0 name the same stream
    source, flow = generator(seed, "samples", float(temperature), device=device), flow.prepared()
    sizes = [len(part) for part in torch.arange(n).split(size)]
    return torch.cat([flow.sample(k, temperature, deviation, source).cpu() for k in sizes])


def faults(drawn: Tensor, levels: int) -> dict[str, int]:
    """How many samples (n, C, H, W) there are, are not finite, or run away: leave the grey levels by all their range.

    Behind a logit (model=nf) none can: there what runs away is black or white.
    """
    values = drawn.flatten(1)
    finite = values.isfinite().all(1)
    away = ((values < -levels) | (values > 2 * levels)).any(1)
    return {
        "n_samples": len(values),
        "non_finite_samples": int((~finite).sum()),
        "runaway_samples": int((finite & away).sum()),
    }


@torch.no_grad()
def in_batches(f: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Tensor:
    """f(x) of `size` samples at a time: large images need not fit into memory together."""
    return torch.cat([f(part) for part in x.split(size)])


def interpolate(flow: Flow, x: Tensor, points: int, size: int, by: str = "pseudo_inverse") -> Tensor:
    """Images (n * points, C, H, W) on straight lines in latent space from x (2n, C, H, W), first half to second.

    Where the base has a manifold the lines are taken onto it, as `Flow.reconstruct` does.
    """
    z = in_batches(flow.latents, x, size)
    pairs = max(1, len(z) // 2)
    left, right = z[:pairs], z[-pairs:]
    share = torch.linspace(0, 1, points, dtype=x.dtype, device=x.device)[:, None]
    ways = torch.cat([a + share * (b - a) for a, b in zip(left, right, strict=True)])
    return in_batches(lambda z: flow.chain.inverse(flow.base.project(z, by)), ways, size)


def pixels(images: Images, x: Tensor) -> np.ndarray:
    """Grey levels (n, C, H, W) as bytes (n, H, W, C) without border; what is not finite becomes black."""
    inside = images.interior(x.cpu()).nan_to_num(0, 0, 0).clamp(0, images.levels - 1).floor()
    return (inside * (255 / (images.levels - 1))).round().to(torch.uint8).numpy()


def _told(table: pd.DataFrame, measures: dict[str, Any]) -> list[str]:
    dim, padded = measures["dim"], measures["padded_dim"]
    border = f"; with its black border each image has {padded}" if padded != dim else ""
    lines = [
        table.to_string(index=False, float_format=lambda v: f"{v:.4f}", na_rep=""),
        f"bits/dim    over {dim} pixel values{border}",
        f"samples     {measures['non_finite_samples']} of {measures['n_samples']:,} samples are not finite, "
        f"{measures['runaway_samples']} outside the pixel range",
    ]
    if measures["latent_dim"] < padded:
        lines.append(
            f"manifold    of {measures['latent_dim']} dimensions; reconstructions from it are off by "
            f"{measures['reconstruction_mean']:.2g} of {measures['levels']} grey levels on average"
        )
    return lines
