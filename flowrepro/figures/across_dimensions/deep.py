"""across_dimensions, Fig. 12 to 14: what the three sheets of the deep NIF share, one temperature each.

Variation is measured as the RMS distance of the pixels of two samples, averaged over pairs: it says nothing of whether
they are faces, and noise raises it too. The total variation stands beside it in the table.
"""

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions.compared import of_celeba
from flowrepro.figures.across_dimensions.pictured import counted, is_settled, sheet_rows
from flowrepro.figures.claims import Claim, at_least, at_most, difference, ratio
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import show_labelled

DEEP, COLUMNS = "deep NIF", 10
CASE = "nif_deep faces"
TEMPERATURES = (1, 2, 4)


def table(measures: Measures) -> pd.DataFrame:
    """One row for each temperature of the deep NIF and of NIF-128, on their manifolds."""
    rows = sheet_rows(measures)
    return rows[rows.temperature.isin(TEMPERATURES) & (rows.deviation == 0)]


def arrays_at(t: int) -> Callable[[Measures], Arrays]:
    """`arrays` of the figure of temperature t."""
    return lambda measures: taken([m for m in measures if m["case"] == CASE], f"sheet_t{t}_s0")


def draw_at(t: int) -> Callable[[pd.DataFrame, Arrays], Figure]:
    """`draw` of the figure of temperature t."""

    def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
        shown = arrays[f"{CASE}/sheet_t{t}_s0"]
        rows = len(shown) // COLUMNS
        figure = Figure(figsize=(6.2, 1.0 + 0.585 * rows), layout="constrained")
        grid = shown[: rows * COLUMNS].reshape(rows, COLUMNS, *shown.shape[1:])
        show_labelled(figure.subplots(), grid, [], [])
        figure.suptitle(
            f"{table.images.iloc[0]}: samples from the manifold (s = 0) of the deep NIF,\n"
            f"the std of its latent scaled by t = {t}",
            fontsize=9,
        )
        return figure

    return draw


def claims_at(t: int) -> list[Claim]:
    """The claims of the figure of temperature t."""
    source, deep = f"Fig. {12 + TEMPERATURES.index(t)}, B.5", counted("diversity", DEEP, t)
    found = [
        Claim(
            "more_variation",
            source,
            "A deep NIF gives images of more variation, especially at higher temperatures.",
            f"mean distance of two samples at t = {t}, deep NIF over NIF-128",
            ratio(deep, counted("diversity", "NIF-128", t)),
            at_least(1),
            to_refute=(is_settled(), of_celeba()),
        ),
        Claim(
            "finite",
            source,
            f"Samples at t = {t} are finite.",
            "share of samples that are not",
            counted("non_finite", DEEP, t),
            at_most(0.01),
            kind="check",
        ),
    ]
    return found if t == 1 else [*found, _grows(t, source)]


def _grows(t: int, source: str) -> Claim:
    before = TEMPERATURES[TEMPERATURES.index(t) - 1]
    return Claim(
        "grows",
        source,
        "Variation increases with the temperature.",
        f"mean distance of two samples at t = {t} minus that at t = {before}",
        difference(counted("diversity", DEEP, t), counted("diversity", DEEP, before)),
        at_least(0),
        unit="of the range of grey levels",
        to_refute=(is_settled(), of_celeba()),
    )
