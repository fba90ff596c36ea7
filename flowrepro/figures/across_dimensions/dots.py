"""across_dimensions: distances drawn as dots, one line per model, or as curves over s."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from flowrepro.figures.across_dimensions.distances import MODELS, PAPER_FID, TITLES
from flowrepro.pictures.style import AS_PRINTED, BLUE, GREEN, GREY, LINES, ORANGE


@dataclass(frozen=True)
class Mark:
    """How one column of a summary is drawn."""

    column: str
    label: str
    style: dict[str, Any]


AT_ONE = {"marker": "o", "mfc": "white", "color": ORANGE, "ms": 5}
MARKS = (
    Mark("untuned", "t = s = 1", AT_ONE),
    Mark("manifold", "s = 0, on the manifold", {"marker": "s", "mfc": "none", "color": GREEN, "ms": 8}),
    Mark("tuned", "t or s chosen on training images", {"marker": "D", "color": BLUE, "ms": 4.5}),
)


def titled(rows: pd.DataFrame) -> str:
    """The set of these rows and what it consists of."""
    first = rows.iloc[0]
    name = TITLES[first.dataset].split()[0]
    return f"{'faces64' if 'stand-in' in first.source else name}: {first.source}"


def panels_of(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(kind, network, label) of the panels: Fréchet distances first, then kernel distances."""
    found = table[["kind", "network", "label"]].drop_duplicates()
    return list(found.sort_values("kind", kind="stable").itertuples(index=False, name=None))


def draw_models(axis: Axes, rows: pd.DataFrame, name: str = "", marks: tuple[Mark, ...] = MARKS) -> None:
    """One line per model: the mean over seeds of each mark, its interval or every seed beside it; the floor dotted.

    `name` follows the names of the columns, such as `_total_variation`.
    """
    for place, model in enumerate(MODELS):
        for mark in marks:
            _draw_mark(axis, rows[rows.model == model], mark, name, place)
    axis.set_yticks(range(len(MODELS)), MODELS)
    axis.set_ylim(len(MODELS) - 0.5, -0.5)
    axis.margins(x=0.12)


def _draw_mark(axis: Axes, rows: pd.DataFrame, mark: Mark, name: str, place: int) -> None:
    values = rows[mark.column + name].dropna()
    if values.empty:
        return
    style = mark.style | {"ls": "", "lw": 1}
    if len(values) > 1:
        axis.plot(values, np.full(len(values), place), **style | {"ms": 2.5, "alpha": 0.6})
    elif not name:
        low, high = (rows[f"{mark.column}_{end}"].iloc[0] for end in ("low", "high"))
        axis.hlines(place, low, high, color=mark.style["color"], lw=1)
    axis.plot([values.mean()], [place], **style)


def write_values(axis: Axes, rows: pd.DataFrame) -> None:
    """The chosen distance of each model, with its t or s, at the right of a panel."""
    for place, model in enumerate(MODELS):
        found = rows[rows.model == model]
        if found.empty or found.tuned.isna().all():
            continue
        first = found.iloc[0]
        at = f"s={first.deviation:g}" if model.startswith("NIF") else f"t={first.temperature:g}"
        write(axis, place, f"{short(found.tuned.mean())} ({at})")


def short(value: float) -> str:
    """Three digits, or all before the point.

    >>> short(1712.3), short(0.04567)
    ('1712', '0.0457')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(axis: Axes, place: int, text: str) -> None:
    """A text at the right of a panel's line."""
    axis.text(1.02, place, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7)


def draw_curves(axis: Axes, rows: pd.DataFrame, label: str) -> None:
    """Held-out distances over s (training ones dashed), those of the NF and of real images as horizontal lines."""
    samples = rows[rows.of == "samples"]
    for colour, model in zip(LINES, [m for m in MODELS[2:] if (samples.model == m).any()], strict=False):
        of_model = samples[samples.model == model]
        _draw_curve(axis, of_model, colour, model)
    nf = samples[(samples.model == "NF") & (samples.split == "test")]
    # at a tuned t of 1 both lines are one
    for style, at in (("-", nf[nf.temperature == 1]), ("--", nf[nf.tuned & (nf.temperature != 1)])):
        for row in at.itertuples():
            axis.axhline(row.value, color="black", lw=1, ls=style, label=f"NF, t = {row.temperature:g}")
    _draw_printed(axis, samples)
    axis.plot([], [], color=GREY, lw=0.8, ls="--", label="a part of the training set")
    axis.plot([], [], ls="", marker="*", ms=7, color=GREY, label="s chosen on that part")
    _draw_floor(axis, rows[rows.split == "test"].floor.iloc[0])
    axis.set(xlabel="s", ylabel=label)
    # in every panel, since the chosen t and the floor are its own
    axis.legend(fontsize=6, frameon=True, edgecolor="none", framealpha=0.8)


def _draw_printed(axis: Axes, samples: pd.DataFrame) -> None:
    """The paper's FID of the NF, and of the NIFs at a tuned s: only where the network and the images are the paper's."""
    first = samples.iloc[0]
    if first.network != "inception" or "stand-in" in first.source:
        return
    for colour, model in zip(("black", *LINES), ("NF", *MODELS[2:]), strict=False):
        if (samples.model == model).any():
            at = PAPER_FID[first.dataset][model]
            axis.axhline(at, color=colour, lw=1, ls=AS_PRINTED, label=f"paper: {model}, {at:g}")


def _draw_floor(axis: Axes, floor: float) -> None:
    """Where it lies far below the curves it is told, not drawn."""
    low, high = axis.get_ylim()
    below = floor < low - (high - low) / 2
    axis.axhline(
        floor,
        color=GREY,
        lw=1,
        ls=":",
        label=f"other real images, {short(floor)}" + (" (below)" if below else ""),
    )
    if below:
        axis.set_ylim(low, high)


def _draw_curve(axis: Axes, rows: pd.DataFrame, colour: str, model: str) -> None:
    train, test = (
        rows[(rows.split == s) & (rows.temperature == 1)].sort_values("deviation") for s in ("train", "test")
    )
    axis.plot(train.deviation, train.value, color=colour, lw=0.8, ls="--")
    axis.plot(test.deviation, test.value, color=colour, marker="o", ms=3, label=model)
    axis.vlines(test.deviation, test.low, test.high, color=colour, lw=1)
    chosen = test[test.tuned]
    axis.plot(chosen.deviation, chosen.value, ls="", marker="*", ms=11, color=colour, mec="white", mew=0.5)
