"""Pictures of single runs, drawn only from stored tables and arrays."""

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.pictures.style import (
    BLUE,
    GREY,
    LINES,
    ORANGE,
    footer,
    footer_lines,
    panels,
    robust_limits,
    show_images,
)

# lines with fewer points have them marked; where runs are compared, longer names are cut
FEW, FEWEST, LABEL_LENGTH = 20, 4, 100
# ratio of variances beyond which their axis is logarithmic
WIDE = 300
STYLES = ("-", "--", ":", "-.")


def training_curves(history: pd.DataFrame, best_step: int | None, label: str) -> Figure:
    """Log-likelihood of training (running mean) and held-out data over the steps."""
    figure, axes = panels(1, 1, 5.2, 3.2)
    axis = axes[0, 0]
    marked = markers(history)
    axis.plot(history.step, history.train_log_prob, color=BLUE, label="training, running mean", **marked)
    axis.plot(
        history.step, history.val_log_prob, color=ORANGE, ls="--", label="validation, whole set", **marked
    )
    _mark_best(axis, best_step)
    later = _settled(history)
    values = np.concatenate([later.train_log_prob.dropna(), later.val_log_prob.dropna()])
    if np.isfinite(values).any():
        axis.set_ylim(*robust_limits(values, margin=0.15))
    axis.set(xlabel="step", ylabel="log-likelihood (nats per sample)")
    legend_above(figure, axis)
    footer(figure, label)
    return figure


def compared_curves(histories: dict[str, pd.DataFrame], dim: int | None, label: str) -> Figure:
    """Held-out log-likelihoods of several runs over the steps, or bits per dimension of images of `dim` pixel values.

    Colour and line style tell runs apart, by the names above the panel.
    """
    figure, axes = panels(1, 1, 6.4, 3.2 + 0.17 * len(histories))
    axis, later = axes[0, 0], []
    for i, (name, history) in enumerate(histories.items()):
        values = history.val_log_prob if dim is None else -history.val_log_prob / (dim * np.log(2))
        text = textwrap.shorten(name, LABEL_LENGTH, placeholder=" ...").replace("$", r"\$")
        marker = "." if len(values) <= FEW else ""
        # dashes show one line through another; shifted where the pairs would begin again
        style = STYLES[(i + i // math.lcm(len(LINES), len(STYLES))) % len(STYLES)]
        axis.plot(history.step, values, color=LINES[i % len(LINES)], ls=style, marker=marker, label=text)
        later.append(values[history.step >= history.step.max() * 0.02])
    shown = np.concatenate(later)
    if np.isfinite(shown).any():
        axis.set_ylim(*robust_limits(shown, margin=0.15))
    what = "log-likelihood (nats per sample)" if dim is None else "bits per dimension"
    axis.set(xlabel="step", ylabel=f"held-out {what}")
    figure.legend(loc="outside upper left", fontsize=7.5)
    footer(figure, label)
    return figure


def _settled(history: pd.DataFrame) -> pd.DataFrame:
    """The records by which an axis is chosen: of many, not those of the first steps, whose values are far off."""
    return history[history.step >= history.step.max() * 0.02] if len(history) > FEWEST else history


def markers(history: pd.DataFrame) -> dict[str, Any]:
    """Markers for a curve of few points; lines alone would hide one that is not connected."""
    return {"marker": "o", "ms": 3.5} if len(history) <= FEW else {}


def legend_above(figure: Figure, axis: Axes) -> None:
    """The legend of an axis above it, off its curves."""
    handles, labels = axis.get_legend_handles_labels()
    columns = max(1, int(figure.get_figwidth() / 1.7))
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), columns), fontsize=7)


def _mark_best(axis: Axes, step: int | None) -> None:
    if step is not None:
        axis.axvline(step, color=GREY, lw=0.8, ls=":", label=f"best checkpoint, step {step:,}")


def bits_curves(history: pd.DataFrame, dim: int, best_step: int | None, label: str) -> Figure:
    """Bits per dimension of an image flow, training (running mean) and held-out images, over the steps."""
    figure, axes = panels(1, 1, 5.2, 3.2)
    axis = axes[0, 0]
    draw_bits(axis, history, dim, "held-out images")
    _mark_best(axis, best_step)
    legend_above(figure, axis)
    footer(figure, label)
    return figure


def draw_bits(axis: Axes, history: pd.DataFrame, dim: int, held_out: str) -> None:
    """The curves of an image flow's history in bits per dimension; `held_out` is the label of the held-out images."""
    train, val = (-history[c].astype(float) / (dim * np.log(2)) for c in ("train_log_prob", "val_log_prob"))
    axis.plot(history.step, train, color=BLUE, label="training, running mean", **markers(history))
    axis.plot(history.step, val, color=ORANGE, ls="--", label=held_out, **markers(history))
    shown = _settled(history).index
    later = np.concatenate([values[shown].dropna() for values in (train, val)])
    if np.isfinite(later).any():
        # of few points each is shown
        low, high = np.percentile(later[np.isfinite(later)], [0, 90 if len(history) > FEWEST else 100])
        axis.set_ylim(low - 0.1 * (high - low), high + 0.4 * (high - low))
    axis.set(xlabel="step", ylabel="bits per dimension")


def sheets(images: dict[str, np.ndarray], label: str, columns: int = 8) -> Figure:
    """Sheets of images (n, H, W, C) of bytes side by side, each under its title."""
    rows = max(-(-len(shown) // columns) for shown in images.values())
    below = 0.12 * len(footer_lines(label, 2.7 * len(images)))
    figure, axes = panels(1, len(images), 2.7, 0.6 + below + 2.4 * rows / columns)
    for axis, (title, shown) in zip(axes[0], images.items(), strict=True):
        show_images(axis, shown / 255, columns)
        axis.set_title(textwrap.fill(title, 36))
    figure.get_layout_engine().set(wspace=0.04)  # type: ignore[union-attr,call-arg]
    footer(figure, label)
    return figure


def steps_trace(layers: pd.DataFrame, label: str) -> Figure:
    """What the layers of a deep flow do on a fixed batch, in order of depth, one line per kind of layer."""
    figure, axes = panels(1, 2, 4.2, 3.0)
    kinds = layers["layer"].str.rpartition(".")[2]
    common = [k for k in dict.fromkeys(kinds) if (kinds == k).sum() > 1 and k not in ("Squeeze", "leaves")]
    for axis, column, name in zip(
        axes[0], ("mean_dlogp", "variance"), ("mean dlogp (nats)", "variance of the output"), strict=True
    ):
        for kind, colour, marker in zip(common, LINES, "osD^vP", strict=False):
            these = layers[kinds == kind]
            axis.plot(these.index, these[column], color=colour, marker=marker, ms=3, lw=0.8, label=kind)
        for end in layers.index[kinds == "leaves"]:
            axis.axvline(end, color=GREY, lw=0.8, ls=":")
        axis.set(xlabel="layer, from data to latent (dotted: ends of levels)", ylabel=name)
    if wide(layers["variance"], 10):
        axes[0, 1].set_yscale("log")
    legend_above(figure, axes[0, 0])
    footer(figure, label)
    return figure


def layers_trace(layers: pd.DataFrame, label: str) -> Figure:
    """What every layer does on a fixed batch: mean dlogp and variance of its output."""
    figure, axes = panels(1, 2, 3.6, 0.9 + 0.17 * len(layers))
    positions = np.arange(len(layers))
    for axis, column, name in zip(
        axes[0], ("mean_dlogp", "variance"), ("mean dlogp (nats)", "variance of the output"), strict=True
    ):
        axis.barh(positions, layers[column], color=np.where(layers[column] >= 0, BLUE, ORANGE))
        axis.set(yticks=positions, yticklabels=layers["layer"], xlabel=name)
        axis.tick_params(axis="y", labelsize=7)
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
    if wide(layers["variance"]):
        axes[0, 1].set_xscale("log")
    footer(figure, label)
    return figure


def wide(values: pd.Series, ratio: float = WIDE) -> bool:
    """Whether the largest positive value is more than `ratio` times the smallest."""
    shown = values[np.isfinite(values) & (values > 0)]
    return len(shown) > 0 and shown.max() > ratio * shown.min()


def samples_grid(samples: np.ndarray, reference: np.ndarray, label: str, side: int = 8) -> Figure:
    """Samples (n, H, W) next to held-out images."""
    figure, axes = panels(1, 2, 3.2, 3.3)
    for axis, images, title in zip(axes[0], (reference, samples), ("held-out data", "samples"), strict=True):
        show_images(axis, images[: side * side], side)
        axis.set_title(title)
    footer(figure, label)
    return figure
