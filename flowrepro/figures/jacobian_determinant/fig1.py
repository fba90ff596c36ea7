"""jacobian_determinant, Figure 1: a flow gives data a latent representation that is uniform on a square.

What one should see: above the data, below the same points in the same colours where the flow and the normal distribution
function put them, which fill the square evenly. The thin lines above are the straight lines of the square: they bend, and
neither cross nor tear. The paper's own Figure 1 is a sketch; which data it shows is not known.

A uniform distribution of each coordinate does not make both together uniform: the claim on the square is ours.

Costs 15 minutes on two cores at cpu scale; its runs are those of Figures 3 and 7.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.claims import Claim, at_most, column, must_fail, per_seed
from flowrepro.figures.drawn import Arrays, Measures
from flowrepro.figures.jacobian_determinant.toys import converged, title
from flowrepro.pictures.style import panels

CASES = ["8gaussians", "2spirals", "checkerboard", "moons"]
REACH = 4.4
DOTS: dict[str, Any] = {"s": 1.5, "alpha": 0.8, "linewidths": 0, "cmap": "viridis", "rasterized": True}


def table(measures: Measures) -> pd.DataFrame:
    """One row per run: distances from uniform distribution functions, of the larger coordinate and of both together.

    `start_ks` and `start_joint` are those of the standardised data, before the first block; `round_trip` is in the units
    of the data.
    """
    return pd.DataFrame(
        [
            {
                "case": m["case"],
                "seed": m["seed"],
                "state": m["state"],
                "last_fifth_gain": m["last_fifth_gain"],
                "ks": m["ks"].max(),
                "joint": m["joint"],
                "start_ks": m["start_ks"].max(),
                "start_joint": m["start_joint"],
                "round_trip": m["round_trip"],
            }
            for m in measures
        ]
    )


def arrays(measures: Measures) -> Arrays:
    """The points and the lines, at most 0.001 away from where they are."""
    found: Arrays = {}
    for m in measures:
        found |= {
            f"{m['case']}/data": (1000 * m["data"]).round().astype(np.int16),
            f"{m['case']}/uniform": (60_000 * m["uniform"]).round().astype(np.uint16),
            f"{m['case']}/lines": (1000 * m["lines"]).round().clip(-30_000, 30_000).astype(np.int16),
        }
    return found


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Data with the lines of the square above, latents below."""
    figure, axes = panels(2, len(CASES), 2.5, 2.55)
    for (above, below), case in zip(axes.T, CASES, strict=True):
        x, u = arrays[f"{case}/data"] / 1000, arrays[f"{case}/uniform"] / 60_000
        # by direction, beginning between two of eight
        colour = (np.arctan2(x[:, 1], x[:, 0]) + 7 * np.pi / 8) % (2 * np.pi)
        for line in (arrays[f"{case}/lines"] / 1000).reshape(-1, *arrays[f"{case}/lines"].shape[2:]):
            above.plot(*line.T, color="#999999", lw=0.4, zorder=0)
        above.scatter(*x.T, c=colour, **DOTS)
        below.scatter(*u.T, c=colour, **DOTS)
        above.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), title=title(case))
        below.set(xlim=(0, 1), ylim=(0, 1), title=_told(table, case))
        for axis in (above, below):
            _plain(axis)
    axes[0, 0].set_ylabel("data")
    axes[1, 0].set_ylabel("latents")
    return figure


def _told(table: pd.DataFrame, case: str) -> str:
    rows = table[table.case == case]
    row = rows[rows.seed == rows.seed.min()].iloc[0]
    return f"KS {row.ks:.3f}, together {row.joint:.3f}"


def _plain(axis: Axes) -> None:
    axis.set(aspect="equal", xticks=[], yticks=[])
    axis.grid(False)
    axis.spines[:].set(visible=True, lw=0.6, color="#999999")


UNIFORM = at_most(0.03)
CLAIMS = [
    Claim(
        "uniform",
        "Fig. 1, Sec. 2.1.1",
        "The latent is uniformly distributed.",
        "Kolmogorov-Smirnov distance of a coordinate from a uniform one, largest over coordinates and sets",
        per_seed("max", column("ks")),
        UNIFORM,
        "0",
        to_refute=(converged(CASES),),
        controls=(
            must_fail("standardised data before the first block", per_seed("max", column("start_ks"))),
        ),
    ),
    Claim(
        "uniform_square",
        "beyond the paper",
        "Both coordinates together are uniform on the square.",
        "largest distance of the joint distribution function from that of the square, largest over sets",
        per_seed("max", column("joint")),
        UNIFORM,
        kind="beyond",
        to_refute=(converged(CASES),),
        controls=(
            must_fail("standardised data before the first block", per_seed("max", column("start_joint"))),
        ),
    ),
    Claim(
        "diffeomorphic",
        "Fig. 1",
        "The way to the square and back returns every point.",
        "largest error over held-out points and sets",
        per_seed("max", column("round_trip")),
        at_most(1e-4),
        "0",
        "units of the data",
        kind="check",
        scales=("smoke", "cpu", "paper"),
    ),
]
