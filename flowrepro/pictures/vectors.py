"""Pictures of a flow of vectors: its samples beside the data, and its components; drawn only from stored arrays."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flowrepro.pictures.style import BLUE, DOTS, GREEN, LATENT_MAP, ORANGE, footer, panels, robust_limits

# up to so many dimensions every pair is drawn; of more, each dimension once, and the first ones at most
ALL_PAIRS, MOST = 4, 12


def pairs(dim: int) -> list[tuple[int, int]]:
    """Which two of `dim` dimensions each panel shows.

    >>> pairs(3), pairs(5)
    ([(0, 1), (0, 2), (1, 2)], [(0, 1), (2, 3), (3, 4)])
    """
    if dim <= ALL_PAIRS:
        return [(i, j) for i in range(dim) for j in range(i + 1, dim)]
    return [(min(i, dim - 2), min(i, dim - 2) + 1) for i in range(0, min(dim, MOST), 2)]


def samples_beside(
    reference: np.ndarray, samples: np.ndarray, label: str, columns: Sequence[str] = ()
) -> Figure:
    """Held-out points (n, D) above samples, or left of them, on the same axes, which `columns` may name."""
    dim = reference.shape[1]
    names = [_plain(name) for name in columns] or [f"$x_{{{i + 1}}}$" for i in range(dim)]
    shown = pairs(dim) or [(0, 0)]
    figure, axes = panels(2, len(shown), 2.6, 2.4) if len(shown) > 1 else panels(1, 2, 3.2, 3.0)
    axes = axes.reshape(2, -1)
    for points, row, colour, title in (
        (reference, axes[0], BLUE, "held-out data"),
        (samples, axes[1], ORANGE, "samples"),
    ):
        for axis, (i, j) in zip(row, shown, strict=True):
            limits = robust_limits(reference[:, i], 0.35)
            if dim == 1:
                axis.hist(points[:, 0], bins=60, range=limits, color=colour)
                axis.set(xlabel=names[0], xlim=limits)
            else:
                axis.scatter(points[:, i], points[:, j], color=colour, **DOTS)
                axis.set(
                    xlabel=names[i], ylabel=names[j], xlim=limits, ylim=robust_limits(reference[:, j], 0.35)
                )
            whole_ticks(axis)
        row[0].set_title(title, loc="left")
    footer(figure, label + _left_out(dim, "dimensions"))
    return figure


def whole_ticks(axis: Axes) -> None:
    """Few ticks, each with its whole number: a power of ten at the end of an axis would lie upon its label."""
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(MaxNLocator(3))
        one.set_tick_params(labelsize=8)
        one.set_major_formatter("{x:g}")


def _plain(name: str) -> str:
    """A name from a file: a dollar would begin a formula, and a long one breaks."""
    return textwrap.fill(name[:60].replace("$", r"\$"), 30)


def _left_out(dim: int, of: str) -> str:
    return f" · the first {MOST} of {dim} {of}" if dim > MOST else ""


def shares(std: np.ndarray, dim: int) -> list[str]:
    """Names of components, with shares of the local variance from median standard deviations (n, k) of data (n, dim)."""
    found = np.median(std, axis=0) ** 2
    if len(found) < dim:  # of images only the leading ones are known
        return [f"component {i + 1}" for i in range(len(found))]
    return [f"component {i + 1} ({_percent(v / found.sum())} of variance)" for i, v in enumerate(found)]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def components_by_factor(
    values: np.ndarray,
    latents: np.ndarray,
    factors: list[str],
    correlations: np.ndarray,
    names: list[str],
    label: str,
) -> Figure:
    """Top: the two leading components (n, k) coloured by each true latent; below: the best component against it."""
    figure, axes = panels(2, len(factors), 3.4, 2.9)
    for column, factor in enumerate(factors):
        best = int(np.abs(correlations[:, column]).argmax())
        top, below = axes[0, column], axes[1, column]
        second = values[:, 1] if values.shape[1] > 1 else np.zeros(len(values))
        dots = _scatter(top, values[:, 0], second, c=latents[:, column], cmap=LATENT_MAP)
        top.set(xlabel=names[0], ylabel=names[1] if len(names) > 1 else "", title=f"coloured by {factor}")
        figure.colorbar(dots, ax=top, label=f"true {factor}")
        below.scatter(latents[:, column], values[:, best], color=GREEN, **DOTS)
        below.set(xlabel=f"true {factor}", ylabel=names[best], ylim=robust_limits(values[:, best]))
        below.set_title(f"rank correlation {correlations[best, column]:+.3f}")
    footer(figure, label + NOTE)
    return figure


def component_pairs(values: np.ndarray, names: list[str], label: str) -> Figure:
    """All components (n, k) of data whose true factors are not known, or the leading ones, in pairs."""
    shown = pairs(values.shape[1])
    figure, axes = panels(1, len(shown), 2.8, 2.6)
    for axis, (i, j) in zip(axes[0], shown, strict=True):
        _scatter(axis, values[:, i], values[:, j], color=GREEN)
        axis.set(xlabel=names[i], ylabel=names[j])
        axis.xaxis.label.set_fontsize(8)
        axis.yaxis.label.set_fontsize(8)
        whole_ticks(axis)
    footer(figure, label + NOTE + _left_out(values.shape[1], "components"))
    return figure


NOTE = " · axes from the 1st to the 99th percentile · signs by neighbours"


def _scatter(axis: Axes, x: np.ndarray, y: np.ndarray, **style):  # type: ignore[no-untyped-def]
    axis.set(xlim=robust_limits(x), ylim=robust_limits(y))
    return axis.scatter(x, y, **style, **DOTS)
