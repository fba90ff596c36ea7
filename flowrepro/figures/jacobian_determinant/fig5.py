"""jacobian_determinant, Fig. 5: which level of a multi-scale flow knows what of an image.

What one should see: per image, in the upper row the latents of the first k levels are kept and the others drawn anew, in
the lower row it is the other way round. With the first level kept, three quarters of all dimensions, little of the image
is left; with the first level drawn, most of it. Below, the distance that each level alone causes when its latents are
drawn anew, per dimension: it grows with the level. Of images at an eighth of their size the few dimensions of the last
level change more than the many of the first.

A control: as many random pixels drawn anew as a level has dimensions. Per dimension, all pixels are alike.

The paper does not give the temperature of what is drawn; ours is 0.7. Below paper scale: four levels on faces64, 64x64
pixels, in the place of eight levels on CelebA-HQ 1024x1024. One run, shared with Fig. 8 and Table 1.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.claims import (
    EVERY_SCALE,
    Claim,
    Values,
    at_least,
    at_most,
    column,
    must_fail,
    per_seed,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.figures.jacobian_determinant.trained import about, is_settled, own_images
from flowrepro.pictures.style import BLUE, GREEN, GREY, ORANGE, show_labelled

CASE = "qlf faces"
DISTANCES = ("alone", "pixels", "kept_first", "redrawn_first")


def table(measures: Measures) -> pd.DataFrame:
    """One row per run and level: squared distances from the images, sums over pixels in [0, 1], means over images.

    `alone` is with the latents of this level drawn, `pixels` with as many random pixels, `kept_first` with those of this
    level and all before it kept and the others drawn, `redrawn_first` the reverse; `_coarse` of images at an eighth of
    their size, `_per_dim` over the `dims` of the level.
    """
    return pd.concat([_rows(m) for m in measures], ignore_index=True)


def _rows(m: dict[str, Any]) -> pd.DataFrame:
    dims = m["level_dims"]
    found = pd.DataFrame(about(m, dims.sum()), index=range(len(dims)))
    distances = {name: m[f"{name}_distance"] for name in DISTANCES}
    coarse = {f"{name}_coarse": m[f"{name}_coarse"] for name in DISTANCES}
    per_dim = {f"{name}_per_dim": distances[name] / dims for name in ("alone", "pixels")}
    return found.assign(
        source=m["source"],
        level=np.arange(len(dims)) + 1,
        dims=dims,
        temperature=m["resampled_at"],
        **distances,
        **coarse,
        **per_dim,
        kept_error=m["kept_error"],
    )


def arrays(measures: Measures) -> Arrays:
    """The images that are shown, before and after."""
    return taken(measures, "originals", "kept_first", "redrawn_first")


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Two rows per image over the number of levels; the distance of each level, per dimension and of coarse images."""
    rows = table[table.seed == table.seed.min()]
    originals = arrays[f"{CASE}/originals"]
    figure = Figure(figsize=(9.4, 1.9 * len(originals) + 2.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1.9 * len(originals), 2.5])
    _draw_images(figure.add_subplot(grid[0, :]), originals, rows, arrays)
    _draw_per_dim(figure.add_subplot(grid[1, 0]), rows)
    _draw_coarse(figure.add_subplot(grid[1, 1]), rows)
    return figure


def _draw_images(axis: Axes, originals: np.ndarray, rows: pd.DataFrame, arrays: Arrays) -> None:
    pairs = zip(originals, arrays[f"{CASE}/kept_first"], arrays[f"{CASE}/redrawn_first"], strict=True)
    blank = np.full_like(originals[0], 255)
    shown = [[[true, *kept], [blank, *drawn]] for true, kept, drawn in pairs]
    show_labelled(
        axis,
        np.concatenate(np.array(shown)),
        ["image", *(f"k = {k}" for k in rows.level)],
        ["first k kept", "first k drawn"] * len(originals),
    )
    axis.set_title(f"{rows.images.iloc[0]}: latents of levels 1 to k kept, or drawn anew", fontsize=9)


def _draw_per_dim(axis: Axes, rows: pd.DataFrame) -> None:
    axis.plot(rows.level, rows.alone_per_dim, "o-", color=BLUE, ms=4, label="latents of one level drawn")
    axis.plot(rows.level, rows.pixels_per_dim, "s:", color=GREY, ms=4, label="as many pixels drawn")
    axis.set(yscale="log", xlabel="level", xticks=rows.level, ylabel="squared distance per dimension")
    axis.legend(fontsize=7)


def _draw_coarse(axis: Axes, rows: pd.DataFrame) -> None:
    axis.plot(rows.level, rows.alone_coarse, "o-", color=BLUE, ms=4, label="latents of one level drawn")
    axis.plot(rows.level, rows.pixels_coarse, "s:", color=GREY, ms=4, label="as many pixels drawn")
    # with all levels kept nothing changes
    axis.plot(
        rows.level[:-1], rows.kept_first_coarse[:-1], "^--", color=ORANGE, ms=4, label="levels 1 to k kept"
    )
    axis.plot(rows.level, rows.redrawn_first_coarse, "v--", color=GREEN, ms=4, label="levels 1 to k drawn")
    axis.set(yscale="log", xlabel="level, or k", xticks=rows.level)
    axis.set_ylabel("squared distance, images\nat an eighth of their size")
    axis.legend(fontsize=7)


def last_over_first(name: str) -> Values:
    """A column of the last level over that of the first."""

    def ratio(table: pd.DataFrame) -> pd.Series:
        by_level = table.sort_values("level").groupby("seed")[name]
        return by_level.last() / by_level.first()

    return ratio


def smallest_step(name: str) -> Values:
    """A column of a level over that of the level before, the smallest."""

    def ratio(table: pd.DataFrame) -> pd.Series:
        by_seed = table.sort_values("level").groupby("seed")[name]
        return by_seed.agg(lambda v: (v.to_numpy()[1:] / v.to_numpy()[:-1]).min())

    return ratio


TO_REFUTE = (is_settled(column("gain_bits"), "the flow"), own_images(column("stands_in")))

CLAIMS = [
    Claim(
        "informative",
        "Sec. 6.3, Fig. 5",
        "The latent variables in a higher level are more informative for the reconstruction, dimension by dimension.",
        "squared distance per dimension that drawing the last level causes, over that of the first",
        last_over_first("alone_per_dim"),
        at_least(2),
        "> 1",
        to_refute=TO_REFUTE,
        controls=(must_fail("as many random pixels", last_over_first("pixels_per_dim")),),
    ),
    Claim(
        "every_level",
        "Sec. 6.3, Fig. 5",
        "That is so from each level to the next.",
        "squared distance per dimension of a level over that of the level before, the smallest",
        smallest_step("alone_per_dim"),
        at_least(1.2),
        "> 1",
        to_refute=TO_REFUTE,
        controls=(must_fail("as many random pixels", smallest_step("pixels_per_dim")),),
    ),
    Claim(
        "few_against_many",
        "Sec. 6.3, Fig. 5",
        "The few latent variables of the last level matter more for an image as a whole than the many of the first.",
        "squared distance of images at an eighth of their size that drawing the last level causes, over that of the first",
        last_over_first("alone_coarse"),
        at_least(1),
        "> 1",
        to_refute=TO_REFUTE,
        controls=(must_fail("as many random pixels", last_over_first("pixels_coarse")),),
    ),
    Claim(
        "few_against_many_pixels",
        "beyond the paper",
        "That is so of single pixels too.",
        "squared distance that drawing the last level causes, over that of the first",
        last_over_first("alone"),
        at_least(1),
        kind="beyond",
        to_refute=TO_REFUTE,
        controls=(must_fail("as many random pixels", last_over_first("pixels")),),
    ),
    Claim(
        "exact",
        "Sec. 6.3",
        "With all latents kept the image itself comes back.",
        "largest difference of a pixel",
        per_seed("max", column("kept_error")),
        at_most(0.5),
        unit="grey levels",
        kind="check",
        scales=EVERY_SCALE,
    ),
]
