"""across_dimensions, Fig. 8: faces reconstructed from the manifolds of NIF-64, 128, 256 and 512, the originals below.

What one should see: held-out faces come back smoother than they were, with pose and hair, and the more alike the more
dimensions the manifold has. The embedding is the pseudo-inverse (Eq. 42); the authors' code takes the posterior mean,
whose error is in the table. A normalizing flow gives every image back, and its row is left out as in the paper.

Five runs, shared with the other figures of faces. Errors are of pixels in [0, 1], against the middle of each grey level.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions.pictured import about, is_settled
from flowrepro.figures.claims import (
    EVERY_SCALE,
    Claim,
    Values,
    at_least,
    at_most,
    column,
    difference,
    enough,
    largest,
    must_pass,
    ratio,
    smallest,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import BLUE, GREY, ORANGE, show_labelled

SIZES = (64, 128, 256, 512)
SHOWN = 10
NUMBERS = (
    "reconstruction_mse train_reconstruction_mse posterior_mean_mse reconstruction_lost round_trip_max "
    "latent_residual nearest_error"
).split()


def table(measures: Measures) -> pd.DataFrame:
    """One row per run: mean squared errors, the error of the layers alone, and how near the nearest point is."""
    return pd.DataFrame(
        [
            about(m, math.prod(m["originals"].shape[1:])) | {name: m[name] for name in NUMBERS}
            for m in measures
        ]
    )


def arrays(measures: Measures) -> Arrays:
    """The reconstructions of each NIF, and the originals."""
    nifs = [m for m in measures if m["case"].startswith("nif-")]
    shown = taken(nifs, "reconstructed", rows=SHOWN)
    return shown | {"originals": nifs[0]["originals"][:SHOWN]}


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Rows of reconstructions with the originals last; beside them the errors over the latent size."""
    figure = Figure(figsize=(10.6, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3.2, 1])
    rows = [arrays[f"nif-{m} faces/reconstructed"] for m in SIZES] + [arrays["originals"]]
    show_labelled(left, np.stack(rows), [], [*(f"NIF-{m}" for m in SIZES), "original"])
    left.set_title(
        f"{table.images.iloc[0]}, held-out images: nearest points of the manifold, s = 0", fontsize=9
    )
    nifs = table[table.latent_dim > 0].sort_values("latent_dim")
    for name, label, colour, marker in (
        ("reconstruction_mse", "held-out", ORANGE, "o"),
        ("posterior_mean_mse", "held-out, posterior mean", GREY, "x"),
        ("train_reconstruction_mse", "training images", BLUE, "s"),
    ):
        right.plot(nifs.latent_dim, nifs[name], color=colour, marker=marker, ms=4, label=label)
    right.set_xscale("log", base=2)
    right.set_xticks(SIZES, [str(m) for m in SIZES])
    right.set(xlabel="latent size", ylabel="mean squared error, pixels in [0, 1]", ylim=(0, None))
    right.legend(fontsize=7)
    return figure


def _of(name: str, size: int) -> Values:
    return column(name, model=f"NIF-{size}")


ERRORS = [_of("reconstruction_mse", m) for m in SIZES]
NO_LOSS = enough(column("reconstruction_lost"), at_most(0), "share of reconstructions that are not finite")

CLAIMS = [
    Claim(
        "nf_exact",
        "B.3",
        "Standard normalizing flows give perfect reconstructions.",
        "largest error of a pixel of NF, there and back",
        column("round_trip_max", model="NF"),
        at_most(1e-3),
        paper_value="perfect",
        unit="of the range of grey levels",
    ),
    Claim(
        "size_matters",
        "Fig. 8",
        "A manifold of 512 dimensions reconstructs faces better than one of 64.",
        "mean squared error of NIF-64 over that of NIF-512",
        ratio(ERRORS[0], ERRORS[-1]),
        at_least(1.1),
        kind="beyond",
        given=(NO_LOSS,),
        to_refute=(is_settled(),),
        controls=(
            must_pass(
                "NIF-64 against NF, which has all dimensions",
                ratio(ERRORS[0], column("reconstruction_mse", model="NF")),
            ),
        ),
    ),
    Claim(
        "every_size_helps",
        "Fig. 8",
        "Every doubling of the latent size brings reconstructions closer to the original.",
        "smallest fall of the mean squared error from one size to the next",
        smallest(*(difference(a, b) for a, b in zip(ERRORS, ERRORS[1:], strict=False))),
        at_least(0),
        kind="beyond",
        given=(NO_LOSS,),
        to_refute=(is_settled(),),
    ),
    Claim(
        "layers_exact",
        "Fig. 8",
        "What a NIF loses it loses on the manifold: its layers are inverted exactly.",
        "largest error of a pixel of a NIF, there and back past the manifold",
        largest(*(_of("round_trip_max", m) for m in SIZES)),
        at_most(1e-3),
        unit="of the range of grey levels",
        kind="check",
    ),
    Claim(
        "nearest",
        "A.3, Eq. 42",
        "The pseudo-inverse gives the point of the manifold that is nearest in the metric Σ⁻¹.",
        "largest distance from the point that least squares in float64 give, over the latent's from b",
        largest(*(_of("nearest_error", m) for m in SIZES)),
        at_most(1e-4),
        kind="check",
        scales=EVERY_SCALE,
    ),
]
