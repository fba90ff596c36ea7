"""across_dimensions, beyond the paper: the Glow that the NIF of this paper and the QLF of the other build upon.

What one should see: bits/dim falls for as long as one trains, samples look like clothes, or like photographs seen from
far away, and straight lines in latent space lead from one held-out image to another. Before injective or quasi-linear
flows are compared with it, the Glow itself has to be sound: no sample is lost, the way to the latent and back gives each
image to its grey level, and the numbers do not depend on how images are batched.

8 bits, uniform dequantisation, bits/dim over the unpadded pixel values, averaged weights. The Gaussian beside it is the
best linear flow on the same dequantised pixels without their border (closed form). Where only the part of CIFAR-10 is
there, its title says so.

Costs an hour on two cores at cpu scale, one run on each.
"""

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.analysis.bounds import linear_baseline
from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.figures.claims import Claim, at_least, at_most, column, combined, settled
from flowrepro.flows.core import Flow
from flowrepro.measures.image_flow import bits, faults, in_batches, interpolate, pixels, sample
from flowrepro.metrics.likelihood import bits_per_dim
from flowrepro.pictures.runs import draw_bits
from flowrepro.pictures.style import GREEN, show_images

NAMES = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
TEMPERATURES = (0.7, 1.0)
SIDE = 6
BATCH, OTHER_BATCH = 250, 96
SOURCE = "beyond the paper"
# grey levels squared: the best of 0.01 to 100 on the part of CIFAR-10, which has few images for its 3,072 dimensions
GAUSSIAN_ALPHA = 1.0


def measure(flow: Flow, data: ImageData, n: int, n_samples: int) -> dict[str, Any]:
    """Bits/dim of n images of both sets over draws of their noise, samples, interpolations, errors of the inverse."""
    train, val = (images.first(n) for images in data.reported.values())
    scores = {"train": bits(flow, train, data, 1, BATCH), "val": bits(flow, val, data, 3, BATCH)}
    few = val.first(BATCH)
    both = [bits(flow, few, data, 1, size)["bits_per_dim"] for size in (BATCH, OTHER_BATCH)]
    x = few[:]
    error = (in_batches(flow.reconstruct, x, BATCH) - x).abs()
    drawn = {t: sample(flow, n_samples, t, 0, BATCH) for t in TEMPERATURES}
    return {
        "source": data.source,
        "dim": float(data.dim),
        "parameters": float(sum(p.numel() for p in flow.parameters())),
        "train_bits_per_dim": scores["train"]["bits_per_dim"],
        **{k: float(v) for k, v in scores["val"].items() if k.startswith("bits_")},
        "gaussian_bits_per_dim": gaussian_bits(data.train, val),
        "batch_difference": abs(both[0] - both[1]),
        "reconstruction_max": float(error.max()),
        **{f"{k}_{t:g}": float(v) for t in TEMPERATURES for k, v in faults(drawn[t], data.levels).items()},
        "held_out": pixels(val, x[: SIDE**2]),
        **{f"samples_{t:g}": pixels(val, drawn[t][: SIDE**2]) for t in TEMPERATURES},
        "interpolated": pixels(val, interpolate(flow, x[: 2 * SIDE], SIDE, BATCH)),
    }


def gaussian_bits(train: Images, val: Images) -> float:
    """Bits/dim of held-out images under the Gaussian of the training images, both without their borders."""
    fitted, held_out = (images.interior(images[:]).flatten(1) for images in (train, val))
    values = linear_baseline(fitted, held_out, GAUSSIAN_ALPHA)
    return bits_per_dim(float(values.mean()), fitted.shape[1])


def table(measures: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a run: bits/dim of both sets, errors over images and draws of the noise, faults of samples and inverse."""
    rows = []
    for m in measures:
        row = {"dataset": m["case"], "seed": m["seed"], "state": m["state"], "step": m["step"]}
        row |= {"minutes": m["result"].get("minutes", np.nan), "source": m["source"]}
        row |= {k: v for k, v in m.items() if isinstance(v, float)}
        rows.append(row | {"ahead": m["gaussian_bits_per_dim"] - m["bits_per_dim"]})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, arrays: dict[str, np.ndarray]) -> Figure:
    """A row for each set: bits/dim over the steps, held-out images, samples at two temperatures, interpolations."""
    figure = Figure(figsize=(11.6, 5.3), layout="constrained")
    grid = figure.add_gridspec(len(NAMES), 5, width_ratios=[1.5, 1, 1, 1, 1])
    for i, case in enumerate(NAMES):
        row = table[table.dataset == case].iloc[0]
        _draw_curves(figure.add_subplot(grid[i, 0]), arrays, case, row)
        sheets = {"held-out images": "held_out", "straight lines in latent space": "interpolated"}
        for t in TEMPERATURES:
            sheets[f"samples, temperature {t:g}"] = f"samples_{t:g}"
        for j, (title, name) in enumerate(sheets.items(), 1):
            axis, shown = figure.add_subplot(grid[i, j]), arrays[f"{case}/{name}"]
            show_images(axis, shown / 255, SIDE)
            axis.set_title(title, fontsize=8)
    return figure


def _draw_curves(axis: Axes, arrays: dict[str, np.ndarray], case: str, row: pd.Series) -> None:
    columns = ("step", "train_log_prob", "val_log_prob")
    history = pd.DataFrame({name: arrays[f"{case}/history_{name}"] for name in columns})
    draw_bits(axis, history, row["dim"], f"held-out, {row.bits_per_dim:.3f} ± {row.bits_se:.3f} at the end")
    gaussian = row.gaussian_bits_per_dim
    above = " (above)" if gaussian > axis.get_ylim()[1] else ""
    axis.axhline(gaussian, color=GREEN, ls=":", label=f"linear flow, {gaussian:.3f}{above}")
    axis.set_title(textwrap.fill(f"{NAMES[case]}: {row.source}", 52), fontsize=7)
    axis.legend(fontsize=7, loc="upper right", frameon=True, edgecolor="none", framealpha=0.9)


# bits/dim that count as a difference between two flows
MARGIN = 0.05


def _claims(case: str) -> list[Claim]:
    name = NAMES[case]
    gain, dim = column("last_fifth_gain", dataset=case), column("dim", dataset=case)
    is_settled = settled(combined(lambda nats, d: nats / (d * math.log(2)), gain, dim), MARGIN)
    return [
        Claim(
            f"finite_{case}",
            SOURCE,
            f"{name}: all samples are finite.",
            "samples of 1,000 that are not",
            column("non_finite_samples_1", dataset=case),
            at_most(0),
            kind="check",
        ),
        Claim(
            f"stays_{case}",
            SOURCE,
            f"{name}: no sample leaves the pixel range by more than its width.",
            "samples of 1,000 that do",
            column("runaway_samples_1", dataset=case),
            at_most(0),
            kind="beyond",
            given=(is_settled,),
        ),
        Claim(
            f"exact_{case}",
            SOURCE,
            f"{name}: the way to the latent and back gives every pixel of 250 images to its grey level.",
            "largest error",
            column("reconstruction_max", dataset=case),
            at_most(0.5),
            unit="grey levels",
            kind="check",
        ),
        Claim(
            f"batches_{case}",
            SOURCE,
            f"{name}: bits/dim do not depend on how images are batched.",
            "difference between batches of 250 and of 96",
            column("batch_difference", dataset=case),
            at_most(1e-5),
            unit="bits/dim",
            kind="check",
        ),
        Claim(
            f"nonlinear_{case}",
            SOURCE,
            f"{name}: the flow learns more than the covariance of the pixels.",
            "bits/dim of the Gaussian of the same images minus those of the flow, held-out",
            column("ahead", dataset=case),
            at_least(MARGIN),
            unit="bits/dim",
            kind="beyond",
            to_refute=(is_settled,),
        ),
    ]


CLAIMS = [
    Claim(
        "fashion_mnist_bits",
        SOURCE,
        "Fashion-MNIST: the flow needs less than half of the eight bits of a pixel.",
        "held-out bits/dim over the 784 unpadded pixels",
        column("bits_per_dim", dataset="fashion_mnist"),
        at_most(3.7),
        unit="bits/dim",
        kind="beyond",
    ),
    *_claims("fashion_mnist"),
    *_claims("cifar10"),
]
