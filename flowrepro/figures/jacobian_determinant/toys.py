"""jacobian_determinant: what Figures 3 and 7 share, toy densities on their way through the blocks of a flow."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from flowrepro.figures.claims import (
    Claim,
    Given,
    Values,
    at_least,
    at_most,
    column,
    combined,
    largest,
    must_fail,
    near,
    per_seed,
    settled,
    smallest,
)
from flowrepro.figures.drawn import Arrays, Measures

TITLES = {
    "8gaussians": "8 Gaussians",
    "2spirals": "2 spirals",
    "swissroll": "Swiss roll",
}
# nats above the entropy at which a density counts as learned
LEARNED = 0.1
DOTS: dict[str, Any] = {"s": 1.2, "alpha": 0.8, "linewidths": 0, "cmap": "viridis", "rasterized": True}
# fewer shades make a smaller file
SHADES = colormaps["Blues"].resampled(24)


def title(case: str) -> str:
    """A toy set in words."""
    return TITLES.get(case, case)


def table(measures: Measures) -> pd.DataFrame:
    """One row per run: nats above the entropy, and what blocks do, per dimension in nats.

    `nll` is the negative log-likelihood of held-out points, `entropy` the same of the true density. Of the blocks: the
    share that stretches first and then compresses, the smallest and largest log-determinants of either part, and the
    mean over blocks of the standard deviations of both over points.
    """
    return pd.DataFrame([_row(m) for m in measures])


def _row(m: dict[str, Any]) -> dict[str, Any]:
    return {
        "case": m["case"],
        "seed": m["seed"],
        "state": m["state"],
        "last_fifth_gain": m["last_fifth_gain"],
        "steps": m["step"],
        "blocks": len(m["expansion"]),
        "nll": m["kl"] - m["truth"],
        "entropy": -m["truth"],
        "kl": m["kl"],
        "mass": m["mass"],
        "alternating": alternating(m["expansion"], m["compression"]),
        "expansion_min": m["expansion"].min(),
        "compression_max": m["compression"].max(),
        "expansion_mean": m["expansion"].mean(),
        "compression_mean": m["compression"].mean(),
        "spread": (m["expansion_spread"].mean() + m["compression_spread"].mean()) / 2,
        "largest_domain": m["domains"].max(),
    }


def alternating(expansion: np.ndarray, compression: np.ndarray) -> float:
    """The share of blocks that stretch in their first part and compress in their second."""
    return float(np.mean((expansion > 0) & (compression < 0)))


def arrays(measures: Measures) -> Arrays:
    """Points and densities as bytes: a point is 255 times its place across the domain, a density the square root."""
    found: Arrays = {}
    for m in measures:
        half = m["domains"] * m["edges"][-1]
        places = 255 * (1 + m["points"] / half[:, None, None]) / 2
        found |= {
            f"{m['case']}/points": places.round().clip(0, 255).astype(np.uint8),
            f"{m['case']}/domains": m["domains"],
            f"{m['case']}/log_dets": np.stack([m["expansion"], m["compression"]], 1).ravel(),
            **{
                f"{m['case']}/{name}": shades(m[name], m["true_density"].max())
                for name in ("density", "true_density")
            },
        }
    return found


def shades(density: np.ndarray, top: float) -> np.ndarray:
    """The square root of a density, which shows faint parts; 255 is that of the true peak."""
    found: np.ndarray = (255 * np.sqrt(density / top).clip(0, 1)).round().astype(np.uint8)
    return found


def draw(table: pd.DataFrame, arrays: Arrays, cases: list[str]) -> Figure:
    """A row per set: samples, what each part of each block makes of them, the flow's density and the true one."""
    columns = len(arrays[f"{cases[0]}/points"]) + 2
    tight = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.02, wspace=0.02, hspace=0.02)
    figure = Figure(figsize=(0.88 * columns + 0.3, 1.02 * len(cases) + 0.75), layout=tight)
    grid = figure.subplots(len(cases), columns, squeeze=False)
    for axes, case in zip(grid, cases, strict=True):
        _draw_row(axes, arrays, case, _told(table, case))
    for axis, name in zip(grid[0], _headings(columns), strict=True):
        axis.annotate(name, (0.5, 1.2), xycoords="axes fraction", ha="center", fontsize=6.5)
    return figure


def _headings(columns: int) -> list[str]:
    blocks = (columns - 3) // 2
    maps = [f"block {k + 1},\n{part}" for k in range(blocks) for part in ("stretched", "compressed")]
    return ["samples", *maps, "density,\nflow", "density,\ntrue"]


def _told(table: pd.DataFrame, case: str) -> str:
    rows = table[table.case == case]
    return f"{rows[rows.seed == rows.seed.min()].kl.iloc[0]:.3f} nats"


def _draw_row(axes: np.ndarray, arrays: Arrays, case: str, told: str) -> None:
    points, domains = (arrays[f"{case}/{name}"] for name in ("points", "domains"))
    # a point keeps the colour of its place in the data
    colour = points[0, :, 0].astype(float) + points[0, :, 1]
    for k, (axis, here, domain) in enumerate(zip(axes, points, domains, strict=False)):
        axis.scatter(*here.T, c=colour, **DOTS)
        axis.set(xlim=(0, 255), ylim=(0, 255))
        if k:
            change = arrays[f"{case}/log_dets"][k - 1]
            axis.set_title(f"{domain:.2g}×  {change:+.2f}", fontsize=6, pad=1.5)
    for axis, name in zip(axes[-2:], ("density", "true_density"), strict=True):
        axis.imshow(arrays[f"{case}/{name}"], origin="lower", cmap=SHADES, vmin=0, vmax=255)
    axes[-2].set_title(f"+{told}", fontsize=6, pad=1.5)
    axes[0].set_ylabel(title(case), fontsize=7.5)
    for axis in axes:
        _bare(axis)


def _bare(axis: Axes) -> None:
    axis.set(xticks=[], yticks=[], aspect="equal")
    for spine in axis.spines.values():
        spine.set(visible=True, lw=0.5, color="#999999")


# --- claims ---------------------------------------------------------------------------------------------------------


def converged(cases: list[str], margin: float = LEARNED / 10) -> Given:
    """The last fifth of training gained little beside the threshold: rings that gained 0.013 nats were not there yet."""
    return settled(largest(*(combined(abs, column("last_fifth_gain", case=case)) for case in cases)), margin)


def near_entropy(cases: list[str]) -> Given:
    """The flows of these sets have learned their densities, in nats."""
    return near(
        largest(*(column("kl", case=case) for case in cases)), 0.3, "flows are near the entropy (nats)"
    )


def _least(name: str, cases: list[str]) -> Values:
    return smallest(*(column(name, case=case) for case in cases))


def claims(figure: str, cases: list[str]) -> list[Claim]:
    """What both figures claim of their sets."""
    return [
        *(
            Claim(
                f"density_{case}",
                figure,
                f"The flow estimates the density: {title(case)}.",
                "negative log-likelihood of held-out points minus the entropy",
                column("kl", case=case),
                at_most(LEARNED),
                "0",
                "nats",
                to_refute=(converged([case]),),
            )
            for case in cases
        ),
        Claim(
            "alternates",
            f"{figure}, Sec. 3.2",
            "Intermediate mappings stretch (expansive) and compress (contractive) in turn.",
            "share of blocks whose first part has a positive mean log-determinant and whose second a negative one, "
            "smallest over sets",
            _least("alternating", cases),
            at_least(0.9),
            "1",
            given=(near_entropy(cases),),
        ),
        Claim(
            "non_uniform",
            figure,
            "Stretching and compression are non-uniform.",
            "standard deviation over points of the log-determinants per dimension, mean over parts of blocks, "
            "smallest over sets",
            _least("spread", cases),
            at_least(0.05),
            "> 0",
            "nats",
            given=(near_entropy(cases),),
            controls=(
                must_fail("the flows as they start, straight lines", lambda table: 0 * column("kl")(table)),
            ),
        ),
        Claim(
            "integrates",
            "Eq. 1",
            "The densities integrate to one.",
            "largest deviation of the mass on the grid from one",
            per_seed("max", combined(lambda mass: abs(mass - 1), column("mass"))),
            at_most(0.02),
            "0",
            kind="check",
        ),
    ]
