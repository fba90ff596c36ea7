"""Pictures of sweeps, drawn only from stored tables."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.pictures.style import BLUE, GREY, LATENT_MAP, ORANGE, footer, panels

# swept values that are labelled one by one
TICKS = 8


def sweep_curve(
    table: pd.DataFrame, key: str, bits: bool, label: str, distances: pd.DataFrame | None = None
) -> Figure:
    """Log-likelihoods, or bits per dimension, over the first swept key: a line if it is numeric, else points by name.

    Beside it, for each feature network, the Fréchet `distances` of samples from held-out images over s.
    """
    found = [] if distances is None else [d for _, d in distances.groupby("network", sort=False)]
    figure, axes = panels(1, 1 + len(found), 4.8, 3.2)
    _likelihoods(axes[0, 0], table, key, bits)
    for axis, these in zip(axes[0, 1:], found, strict=True):
        _distances(axis, these)
    dots = " · dots: best on training images, bars: 95 % intervals" if found else ""
    footer(figure, f"{label} · bars: standard errors{dots}")
    return figure


def _likelihoods(axis: Axes, table: pd.DataFrame, key: str, bits: bool) -> None:
    x: Any = pd.to_numeric(table[key], errors="coerce")
    numeric = bool(x.notna().all()) and x.nunique() > 1
    if numeric:
        table = table.assign(**{key: x}).sort_values(key)
        x = table[key]
        _numeric_axis(axis, x)
        if x.nunique() <= TICKS:
            axis.set_xticks(x, [f"{value:g}" for value in x])
            axis.minorticks_off()
    else:
        x = table[key].astype(str)
    for split, name, colour, marker in (("train", "training", BLUE, "o"), ("val", "validation", ORANGE, "s")):
        values, error = table[f"{split}_log_prob"], table[f"{split}_se"]
        if bits:
            in_bits = table[f"{split}_bits_per_dim"]
            values, error = in_bits, error * (in_bits / values).abs()
        line = "-" if numeric else ""
        axis.errorbar(
            x, values, yerr=error, color=colour, marker=marker, ms=5, capsize=2, ls=line, label=name
        )
    axis.set(xlabel=key, ylabel="bits per dimension" if bits else "log-likelihood (nats per sample)")
    axis.legend()


def _distances(axis: Axes, these: pd.DataFrame) -> None:
    """One network's distances: over s, one line per job; of a flow without a manifold the level of its best t."""
    held_out = these[(these.split == "test") & (these.kind == "frechet")]
    jobs = list(dict.fromkeys(held_out.overrides))
    colours = colormaps[LATENT_MAP](np.linspace(0, 0.85, len(jobs)))
    for job, colour in zip(jobs, colours, strict=True):
        values = held_out[held_out.overrides == job].sort_values("at")
        best = values[values.tuned]
        if (values["over"] == "s").all():
            axis.plot(values["at"], values.value, color=colour, marker=".", label=job)
            error = np.array([best.value - best.low, best.high - best.value])
            axis.errorbar(best["at"], best.value, yerr=error, color=colour, marker="o", ms=6, capsize=2)
        elif len(best):
            at = f"{job}, t = {best['at'].iloc[0]:g}"
            axis.axhline(best.value.iloc[0], color=colour, ls="--", label=at)
    axis.axhline(held_out.floor.mean(), color=GREY, lw=0.8, ls=":", label="other real images")
    axis.set(xlabel="s, distance from the manifold", ylabel=held_out.label.iloc[0], ylim=(0, None))
    axis.legend(fontsize=7)


def _numeric_axis(axis: Any, x: pd.Series) -> None:
    """Logarithmic over decades; linear near zero if zero is among the values."""
    positive = x[x > 0]
    if len(positive) and x.min() >= 0 and positive.max() / positive.min() >= 5:
        if x.min() > 0:
            axis.set_xscale("log")
        else:
            axis.set_xscale("symlog", linthresh=float(positive.min()))
