"""across_dimensions, Fig. 5: samples of NIF-128 at one latent state, at rising distance s from the manifold.

What one should see: at s = 0 a face, smooth but whole; the farther from the manifold, the more distorted, like samples of
a normalizing flow. Each row has one latent state and one draw of the noise, which s alone scales: its standard deviation,
as in the authors' code; the text scales the variance. In the latent space the distance from the manifold is
proportional to s by construction, in pixels it is what the layers make of it.

One run, shared with the other figures of faces.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions.compared import of_celeba
from flowrepro.figures.across_dimensions.pictured import about, is_settled
from flowrepro.figures.claims import (
    EVERY_SCALE,
    Claim,
    at_least,
    at_most,
    column,
    difference,
    must_fail,
    per_seed,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import BLUE, GREEN, ORANGE, show_labelled

CASE = "nif-128 faces"


def table(measures: Measures) -> pd.DataFrame:
    """One row per deviation: mean distances from the image at s = 0, total variation, departure from proportionality."""
    return pd.concat([_rows(m) for m in measures], ignore_index=True)


def _rows(m: dict) -> pd.DataFrame:
    s, away, pixel = (m[name] for name in ("deviations", "path_latent_distance", "path_pixel_distance"))
    unit = np.interp(1, s, away)
    frame = pd.DataFrame(about(m, math.prod(m["paths"].shape[2:])), index=range(len(s)))
    return frame.assign(
        deviation=s,
        moved=s > 0,
        latent_distance=away,
        departure=np.abs(away - s * unit) / unit,
        pixel_distance=pixel,
        pixel_step=np.diff(pixel, prepend=0),
        total_variation=m["path_total_variation"],
        off_manifold_max=m["off_manifold_max"],
    )


def arrays(measures: Measures) -> Arrays:
    """The paths that are shown."""
    return taken(measures, "paths")


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """The images over s; below, both distances and the total variation."""
    figure, rows = Figure(figsize=(9, 5.6), layout="constrained"), table[table.seed == table.seed.min()]
    grid = figure.add_gridspec(2, 3, height_ratios=[3.4, 2])
    above, axes = figure.add_subplot(grid[0, :]), [figure.add_subplot(grid[1, i]) for i in range(3)]
    show_labelled(above, arrays[f"{CASE}/paths"], [f"s = {s:g}" for s in rows.deviation], [])
    above.set_title(
        f"{rows.images.iloc[0]}: NIF-128, three latent states; s scales the noise's standard deviation",
        fontsize=9,
    )
    panels = {
        "latent_distance": ("distance of the latents from s = 0", BLUE),
        "pixel_distance": ("RMS distance of the pixels from s = 0", ORANGE),
        "total_variation": ("total variation of the images", GREEN),
    }
    for axis, (name, (label, colour)) in zip(axes, panels.items(), strict=True):
        axis.plot(rows.deviation, rows[name], color=colour, marker="o", ms=3)
        axis.set_title(label, fontsize=8)
        axis.set(xlabel="deviation s", ylim=(0, None))
    return figure


STEPS = column("pixel_step", moved=True)

CLAIMS = [
    Claim(
        "distorts",
        "Fig. 5, B.1",
        "As the image lies farther from the manifold, it exhibits more distortion.",
        "smallest rise of the mean pixel distance from the image at s = 0, from one s to the next",
        per_seed("min", STEPS),
        at_least(0),
        unit="of the range of grey levels",
        to_refute=(is_settled(), of_celeba()),
        controls=(must_fail("the same path backwards", lambda t: -per_seed("max", STEPS)(t)),),
    ),
    Claim(
        "noisier",
        "Fig. 5",
        "Away from the manifold images are noisier.",
        "total variation at s = 1 minus that at s = 0",
        difference(column("total_variation", deviation=1), column("total_variation", deviation=0)),
        at_least(0),
        unit="of the range of grey levels",
        kind="beyond",
        to_refute=(is_settled(), of_celeba()),
    ),
    Claim(
        "proportional",
        "Sec. 5.2",
        "The distance of the latents from the manifold's point is proportional to s.",
        "largest departure, over the distance at s = 1",
        per_seed("max", column("departure")),
        at_most(1e-4),
        kind="check",
        scales=EVERY_SCALE,
    ),
    Claim(
        "on_manifold",
        "Sec. 5.2",
        "Samples at s = 0 lie on the learned manifold.",
        "largest coordinate of their latents minus the nearest points of the manifold",
        per_seed("max", column("off_manifold_max")),
        at_most(1e-4),
        kind="check",
        scales=EVERY_SCALE,
    ),
]
