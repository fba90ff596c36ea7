"""across_dimensions, beyond the paper: the Glow that the NIF of this paper and the QLF of the other build upon.

What one should see: bits/dim keeps falling during training, samples look like clothes, or like photographs seen from
afar, and straight lines in latent space lead from one held-out image to another. Before injective or quasi-linear flows
are compared with it, the Glow itself has to be sound: all samples are finite, mapping to the latent and back recovers
the grey levels of each image, and the numbers do not depend on how images are batched.

8 bits, uniform dequantisation, bits/dim over the unpadded pixel values, averaged weights. The Gaussian for comparison is
the best linear flow on the same dequantised pixels without their border (closed form). If only the part of CIFAR-10 is
available, its title says so.

Costs an hour on two cores at cpu scale, one run on each.
"""

import math
import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.claims import (
    Claim,
    at_least,
    at_most,
    column,
    combined,
    settled,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.runs import draw_bits
from flowrepro.pictures.style import GREEN, show_images

NAMES = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
TEMPERATURES = (0.7, 1.0)
SIDE = 6
HISTORY = ("step", "train_log_prob", "val_log_prob")
SOURCE = "beyond the paper"


def table(measures: Measures) -> pd.DataFrame:
    """One row per run: bits/dim of both sets, errors over images and draws of the noise, faults of samples and inverse."""
    rows = []
    for m in measures:
        row = {"dataset": m["case"].split()[1], "seed": m["seed"], "state": m["state"], "step": m["step"]}
        row |= {"minutes": m["result"].get("minutes", np.nan), "source": m["source"]}
        row |= {k: v for k, v in m.items() if isinstance(v, float)}
        rows.append(row | {"ahead": m["gaussian_bits_per_dim"] - m["bits_per_dim"]})
    return pd.DataFrame(rows)


def arrays(measures: Measures) -> Arrays:
    """The images that are shown, and the likelihoods over the steps."""
    sheets = ("held_out", "interpolated", *(f"samples_{t:g}" for t in TEMPERATURES))
    return taken(measures, *sheets, *(f"history_{name}" for name in HISTORY))


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """One row per set: bits/dim over the steps, held-out images, samples at two temperatures, interpolations."""
    figure = Figure(figsize=(11.6, 5.3), layout="constrained")
    grid = figure.add_gridspec(len(NAMES), 5, width_ratios=[1.5, 1, 1, 1, 1])
    for i, case in enumerate(NAMES):
        row = table[table.dataset == case].iloc[0]
        _draw_curves(figure.add_subplot(grid[i, 0]), arrays, case, row)
        sheets = {"held-out images": "held_out", "straight lines in latent space": "interpolated"}
        for t in TEMPERATURES:
            sheets[f"samples, temperature {t:g}"] = f"samples_{t:g}"
        for j, (title, name) in enumerate(sheets.items(), 1):
            axis, shown = figure.add_subplot(grid[i, j]), arrays[f"glow {case}/{name}"]
            show_images(axis, shown / 255, SIDE)
            axis.set_title(title, fontsize=8)
    return figure


def _draw_curves(axis: Axes, arrays: Arrays, case: str, row: pd.Series) -> None:
    history = pd.DataFrame({name: arrays[f"glow {case}/history_{name}"] for name in HISTORY})
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
            "number of 1,000 samples that are not finite",
            column("non_finite_samples_1", dataset=case),
            at_most(0),
            kind="check",
        ),
        Claim(
            f"stays_{case}",
            SOURCE,
            f"{name}: no sample leaves the pixel range by more than its width.",
            "number of 1,000 samples that do",
            column("runaway_samples_1", dataset=case),
            at_most(0),
            kind="beyond",
            given=(is_settled,),
        ),
        Claim(
            f"exact_{case}",
            SOURCE,
            f"{name}: mapping to the latent and back recovers the grey level of every pixel of 250 images.",
            "largest reconstruction error",
            column("reconstruction_max", dataset=case),
            at_most(0.5),
            unit="grey levels",
            kind="check",
        ),
        Claim(
            f"batches_{case}",
            SOURCE,
            f"{name}: bits/dim do not depend on how images are batched.",
            "difference between batches of 250 and 96",
            column("batch_difference", dataset=case),
            at_most(1e-5),
            unit="bits/dim",
            kind="check",
        ),
        Claim(
            f"nonlinear_{case}",
            SOURCE,
            f"{name}: the flow learns more than the covariance of the pixels.",
            "held-out bits/dim of a Gaussian fitted to the same images minus those of the flow",
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
        "Fashion-MNIST: the flow needs less than half of the eight bits per pixel.",
        "held-out bits/dim over the 784 unpadded pixels",
        column("bits_per_dim", dataset="fashion_mnist"),
        at_most(3.7),
        unit="bits/dim",
        kind="beyond",
    ),
    *_claims("fashion_mnist"),
    *_claims("cifar10"),
]
