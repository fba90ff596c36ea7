"""The common style of all pictures: colours safe for colour-blind readers, and a footer stating what was run."""

import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from flowrepro.writing import replacing

# Okabe & Ito
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"
PALE = "#9CC9E3"
LINES = (BLUE, ORANGE, GREEN, RED, GREY, PALE)
LATENT_MAP = "viridis"
GREY_MAP = "gray_r"
# lines at numbers that a paper prints
AS_PRINTED: Any = (0, (2, 2))
DOTS: Any = {"s": 4, "alpha": 0.7, "linewidths": 0, "rasterized": True}

RC: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    # fixes the ids inside an svg, which are random otherwise
    "svg.hashsalt": "flowrepro",
}
DPI = 130
# figures are made without pyplot: no window system, and no global state but this
matplotlib.rcParams.update(RC)


def panels(rows: int, columns: int, width: float = 3.0, height: float = 2.8) -> tuple[Figure, np.ndarray]:
    """A figure with (rows, columns) axes in the common style; sizes are of one panel, in inches."""
    figure = Figure(figsize=(columns * width, rows * height + 0.3), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def label_space(axis: Any) -> None:
    """Name the axes of a 3D panel x_1, x_2, x_3, close enough to stay out of the next panel."""
    axis.set_xlabel("$x_1$", labelpad=-8)
    axis.set_ylabel("$x_2$", labelpad=-8)
    axis.set_zlabel("$x_3$", labelpad=-10)
    axis.tick_params(labelsize=6, pad=-3)
    axis.locator_params(nbins=4)
    axis.set_box_aspect(None, zoom=0.9)


def footer(figure: Figure, text: str) -> None:
    """The line at the bottom stating what was run, and at which scale."""
    lines = "\n".join(footer_lines(text, figure.get_figwidth()))
    figure.supxlabel(lines, fontsize=6.5, color="#555555")


def footer_lines(text: str, width: float) -> list[str]:
    """The lines of a footer under a figure `width` inches wide."""
    import textwrap

    return textwrap.wrap(text, max(40, int(width * 19)))


def save(figure: Figure, path: Path, all_colours: bool = False) -> None:
    """Write a picture in one step, as svg, pdf or png by its name; the same figure gives the same bytes.

    A png has 256 colours, which cuts its size to a third, unless `all_colours` keeps those of images.
    """
    form, drawn = path.suffix.removeprefix("."), io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
    figure.savefig(drawn, format=form, dpi=DPI, metadata=undated)
    with replacing(path) as file:
        if form == "png":
            picture = Image.open(drawn).convert("RGB")
            (picture if all_colours else few_colours(picture)).save(file, format=form, optimize=True)
        else:
            file.write(drawn.getvalue())


def few_colours(picture: Image.Image) -> Image.Image:
    """The picture in 256 colours; those of lines and background are kept, or large areas would crowd them out."""
    own = [tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in ("#ffffff", "#000000", *LINES)]
    found = picture.quantize(256 - len(own), Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in own for value in colour] + found)
    pixels = np.asarray(picture)
    # Pillow picks a nearby colour, not the nearest
    indices = np.array(picture.quantize(palette=palette, dither=Image.Dither.NONE))
    for index, colour in enumerate(own):
        indices[(pixels == colour).all(-1)] = index
    kept = Image.fromarray(indices, "P")
    kept.putpalette(palette.getpalette() or [])
    return kept


def robust_limits(values: np.ndarray, margin: float = 0.1) -> tuple[float, float]:
    """Axis limits from the 1st to the 99th percentile with a margin: heavy tails do not squeeze the rest."""
    low, high = np.percentile(values[np.isfinite(values)], [1, 99])
    extra = margin * max(high - low, 1e-9)
    return float(low - extra), float(high + extra)


def show_images(axis: Axes, images: np.ndarray, columns: int) -> None:
    """A grid of images with pixels in [0, 1]: (n, H, W) or (n, H, W, 1) as ink on paper, (n, H, W, 3) in their colours."""
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    n, height, width, *colours = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, *colours), 1.0 if colours else 0.0)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        sheet[top : top + height, left : left + width] = image
    axis.imshow(np.clip(sheet, 0, 1), cmap=GREY_MAP, vmin=0, vmax=1, interpolation="nearest")
    axis.set_axis_off()


def show_labelled(axis: Axes, images: np.ndarray, across: list[str], down: list[str]) -> None:
    """Images (rows, columns, H, W, C) of bytes as a grid; labels above the columns and beside the rows.

    Fewer labels than rows stand beside equal groups of rows.
    """
    rows, columns, height, width = images.shape[:4]
    show_images(axis, images.reshape(-1, *images.shape[2:]) / 255, columns)
    axis.set_axis_on()
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, labelsize=8, top=True, labeltop=True, bottom=False, labelbottom=False)
    axis.set_xticks(np.arange(len(across)) * (width + 1) + width / 2, across)
    group = rows / max(1, len(down)) * (height + 1)
    axis.set_yticks((np.arange(len(down)) + 0.5) * group, down)
