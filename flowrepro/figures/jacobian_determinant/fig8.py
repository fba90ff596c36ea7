"""jacobian_determinant, Fig. 8: real faces (left) and samples of the flow at temperature 0.9 (right), 5 bits.

What one should see: samples that are all finite and, at paper scale, look like faces. What can be counted stands beside the
same numbers of real faces: pixels beyond black or white, how much images differ from each other, and how much neighbouring
pixels do. None of it says whether a face looks right.

That the flow trains at all on 1024x1024 pixels is the paper's point, and can only be claimed there. Below paper scale: four
levels on faces64, 64x64 pixels, in the place of eight levels on CelebA-HQ. One run, shared with Fig. 5 and Table 1.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.claims import (
    EVERY_SCALE,
    Claim,
    at_least,
    at_most,
    column,
    difference,
    matches,
    ratio,
)
from flowrepro.figures.drawn import Arrays, Measures
from flowrepro.figures.jacobian_determinant.trained import about, is_settled, own_images
from flowrepro.pictures.style import show_images

CASE = "qlf faces"
SHOWN, HOT = "t0.9_s0", "t1_s0"
NUMBERS = ("non_finite", "clipped", "diversity", "total_variation")
REAL = ("diversity", "total_variation")
COLUMNS, SIDE = 5, 64


def table(measures: Measures) -> pd.DataFrame:
    """One row per run: what was counted on its samples at temperature 0.9, at 1 (`_hot`), and on real images (`real_`)."""
    return pd.DataFrame([_row(m) for m in measures])


def _row(m: dict[str, Any]) -> dict[str, Any]:
    return {
        **about(m, math.prod(m["real"].shape[1:])),
        "source": m["real_source"],
        **{name: m[f"{name}_{SHOWN}"] for name in NUMBERS},
        **{f"{name}_hot": m[f"{name}_{HOT}"] for name in NUMBERS},
        **{f"real_{name}": m[f"real_{name}"] for name in REAL},
    }


def arrays(measures: Measures) -> Arrays:
    """Real images and samples, with at most 64 pixels a side."""
    return {
        f"{m['case']}/{name}": smaller(m[source][: COLUMNS**2])
        for m in measures
        for name, source in (("real", "real"), ("samples", f"sheet_{SHOWN}"))
    }


def smaller(images: np.ndarray) -> np.ndarray:
    """Images (n, H, W, C) of bytes, averaged over squares until they have at most 64 pixels a side."""
    n, height, width, channels = images.shape
    factor = max(1, width // SIDE)
    squares = images.reshape(n, height // factor, factor, width // factor, factor, channels)
    return squares.mean((2, 4)).round().astype(np.uint8)


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Two sheets, real on the left, samples on the right."""
    figure = Figure(figsize=(8.6, 4.7), layout="constrained")
    row = table.iloc[0]
    titles = {"real": f"real: {row.images}", "samples": "samples of QLF, temperature 0.9"}
    for axis, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        show_images(axis, arrays[f"{CASE}/{name}"] / 255, COLUMNS)
        axis.set_title(title)
    return figure


TO_REFUTE = (is_settled(column("gain_bits"), "the flow"), own_images(column("stands_in")))

CLAIMS = [
    Claim(
        "trains",
        "Sec. 6.1",
        "The flow can be trained on CelebA-HQ 1024x1024, where others fail for numerical reasons or lack of memory.",
        "1 if all steps were taken",
        matches("state", "completed"),
        at_least(1),
        "1",
        scales=("paper",),
    ),
    Claim(
        "finite",
        "Fig. 8",
        "All samples are finite.",
        "share that is not",
        column("non_finite"),
        at_most(0),
        kind="check",
        scales=EVERY_SCALE,
    ),
    Claim(
        "in_range",
        "beyond the paper",
        "Samples keep to the range of pixels.",
        "share of the pixels of samples at temperature 0.9 beyond black or white",
        column("clipped"),
        at_most(0.01),
        kind="beyond",
        to_refute=TO_REFUTE,
    ),
    Claim(
        "colder",
        "beyond the paper",
        "At temperature 0.9 fewer pixels are beyond black or white than at 1.",
        "their share at 0.9 minus that at 1",
        difference(column("clipped"), column("clipped_hot")),
        at_most(0),
        kind="beyond",
        to_refute=TO_REFUTE,
    ),
    Claim(
        "as_smooth",
        "beyond the paper",
        "Samples are as smooth as photographs.",
        "total variation of samples at temperature 0.9 over that of real images",
        ratio(column("total_variation"), column("real_total_variation")),
        at_most(1.25),
        "1",
        kind="beyond",
        to_refute=TO_REFUTE,
    ),
]
