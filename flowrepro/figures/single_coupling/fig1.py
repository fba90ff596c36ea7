"""single_coupling, Figure 1: what one affine coupling achieves depends on the rotation before it.

What one should see: top, a mixture of two Gaussians turned by several angles; centre, the KL divergence from the standard
normal that remains: the lower bound (blue) and what trained couplings attain (orange), which lies on it; bottom, what the
trained couplings make of the densities above. Columns are sorted by what remains: the left one is closest to normal, the
right one is left unchanged. The paper does not name its distribution; the mixture of Example 4, whose bound is known in
closed form, is our choice, and so are 1,000 steps of 1,024 fresh samples. Densities and divergences are exact.

Costs 5 minutes on two cores at cpu scale.
"""

import functools
import math
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.analysis.coupling import gmm_conditionals, kl_to_normal
from flowrepro.analysis.pushforward import on_grid, pushforward, square_grid
from flowrepro.data import Data
from flowrepro.data.toy import GMM_VARIANCE, TOYS
from flowrepro.figures.claims import (
    Claim,
    Values,
    at_least,
    at_most,
    column,
    difference,
    enough,
    must_fail,
    near,
    per_seed,
    settled,
    within,
)
from flowrepro.figures.single_coupling.fig4 import distance
from flowrepro.figures.single_coupling.one_layer import rotation_of, scale_and_shift
from flowrepro.flows.core import Flow, Layer
from flowrepro.flows.preprocess import Center
from flowrepro.pictures.style import BLUE, GREY, ORANGE

REACH = 3.0
SHOWN = ("0", "30", "46.4", "75", "90")
ANGLES = np.arange(0, 181, 2.0)
SAMPLE_SEED = 3


def kl_before() -> float:
    """KL of the mixture from the standard normal, in nats; no rotation changes it."""
    assert TOYS["gmm"].entropy is not None
    return kl_to_normal(TOYS["gmm"].entropy, 1 + GMM_VARIANCE, 2)


@functools.cache
def bounds() -> np.ndarray:
    """What remains at best at each of ANGLES, in nats."""
    return np.array([kl_before() - gmm_conditionals(angle).improvement() for angle in ANGLES])


def measure(flow: Flow, data: Data, cells: int, n: int) -> dict[str, Any]:
    """What remains after the trained coupling by quadrature, its bound, and both densities on a grid."""
    flow, log_density = flow.double(), TOYS["gmm"].log_density
    assert log_density is not None
    q = rotation_of(flow)
    angle = math.degrees(math.atan2(float(q[0, 1]), float(q[0, 0])))
    exact = gmm_conditionals(angle)
    # centring by the mean of the training points moves the passive dimension a little
    moved = float((q @ next(layer.mean for layer in flow.chain if isinstance(layer, Center)))[0])
    excess = exact.excess(*scale_and_shift(flow, exact.p)) + moved**2 / 2
    x = TOYS["gmm"].sample(n, torch.Generator().manual_seed(SAMPLE_SEED))[0]
    points, area = square_grid(-REACH, REACH, cells)
    pushed = on_grid(pushforward(log_density, flow.chain), points)
    turned = on_grid(pushforward(log_density, cast(Layer, flow.chain[:2])), points)
    bound = kl_before() - exact.improvement()
    return {
        "angle": angle,
        "bound": bound,
        "kl": bound + excess,
        "excess": excess,
        "kl_sampled": float((log_density(x) - flow.log_prob(x)).mean()),
        "mass": float(pushed.sum()) * area,
        "turned": turned.float().numpy(),
        "pushed": pushed.float().numpy(),
        "bounds": bounds(),
    }


def table(measures: list[dict[str, Any]]) -> pd.DataFrame:
    """One row for each angle and seed."""
    names = ("angle", "bound", "kl", "excess", "kl_sampled", "mass")
    rows = [{"seed": m["seed"], "state": m["state"], **{k: m[k] for k in names}} for m in measures]
    return pd.DataFrame(rows).sort_values(["seed", "angle"], ignore_index=True)


def draw(table: pd.DataFrame, arrays: dict[str, np.ndarray]) -> Figure:
    """Densities above and below, the divergence over the angle between them."""
    figure = Figure(figsize=(11, 7.6), layout="constrained")
    shown = [a for a in SHOWN if f"gmm model.angle={a}/pushed" in arrays]
    grid = figure.add_gridspec(3, len(shown), height_ratios=[1, 1.15, 1])
    curve = figure.add_subplot(grid[1, :])
    _draw_curve(curve, table, next(v for k, v in arrays.items() if k.endswith("/bounds")))
    for place, angle in enumerate(shown):
        for row, name, title in (
            (0, "turned", f"input at {angle}°"),
            (2, "pushed", _told(table, float(angle))),
        ):
            axis = figure.add_subplot(grid[row, place])
            image = arrays[f"gmm model.angle={angle}/{name}"]
            axis.imshow(image, origin="lower", extent=(-REACH, REACH, -REACH, REACH), cmap="Blues", vmin=0)
            axis.grid(False)
            axis.set(title=title, xlabel="passive", ylabel="active" if place == 0 else "")
    return figure


def _draw_curve(axis: Axes, table: pd.DataFrame, bounds: np.ndarray) -> None:
    axis.axhline(kl_before(), color=GREY, lw=0.8, ls="--", label="before the coupling")
    axis.plot(ANGLES, bounds, color=BLUE, label="lower bound, closed form")
    axis.plot(
        table.angle % 180, table.kl, "o", color=ORANGE, ms=4, alpha=0.7, label="trained couplings, all seeds"
    )
    for angle in SHOWN:
        axis.axvline(float(angle), color=GREY, lw=0.5, ls=":")
    axis.set(
        xlabel="rotation angle θ (degrees)",
        ylabel="remaining KL divergence (nats)",
        xlim=(-3, 183),
        ylim=(0, 1.3),
    )
    axis.legend(loc="lower left", ncols=3, fontsize=8)


def _told(table: pd.DataFrame, angle: float) -> str:
    first = table[table.seed == table.seed.min()]
    return f"output, KL {first.kl[(first.angle - angle).abs().idxmin()]:.3f} nats"


def _at(angle: float, name: str) -> Values:
    """A column at one angle, for each seed."""
    return lambda table: column(name)(table[(table.angle - angle).abs() < 0.1])


def _off(table: pd.DataFrame) -> pd.Series:
    """Degrees of each angle from the nearer of the two that the bound predicts."""
    return column("angle")(table).map(distance)


def _off_at(which: str) -> Values:
    """The same of the angle with the lowest (`idxmin`) or the highest (`idxmax`) trained loss of each seed."""
    return lambda table: _off(table.loc[getattr(table.groupby("seed").kl, which)()])


# The excess over the bound is exact, and no further training can gain more than that. Moments of two Gaussians are smooth
# in p: a coupling 0.03 nats above the bound, of 0.88 that it can gain, has not learnt them.
CLOSE = 0.03
# nats of the bound between the best angle and the next one tried
NEXT_ANGLE = 0.013
EXCESS = per_seed("max", column("excess"))
CLAIMS = [
    Claim(
        "bound_attained",
        "Fig. 1 centre, Theorem 1",
        "The lower bound on the error is attained empirically.",
        "largest distance of trained couplings from the bound over all angles, by quadrature",
        EXCESS,
        at_most(CLOSE),
        "0",
        "nats",
        to_refute=(settled(per_seed("max", column("last_fifth_gain")), CLOSE),),
        controls=(
            must_fail("no coupling at all", per_seed("max", lambda t: kl_before() - column("bound")(t))),
        ),
    ),
    Claim(
        "bound_holds",
        "Theorem 1",
        "No trained coupling is below the bound.",
        "smallest distance above the bound over all angles, on fresh samples, within three of their standard errors",
        per_seed("min", difference(column("kl_sampled"), column("bound"))),
        at_least(-0.013),
        "≥ 0",
        "nats",
        kind="check",
    ),
    Claim(
        "best_rotation",
        "Fig. 1, Sec. 3.4",
        "The error is lowest at the rotation that the bound predicts.",
        "distance of the angle with the lowest trained loss from 46.4° or 133.6°",
        _off_at("idxmin"),
        at_most(5),
        "0",
        "degrees",
        given=(
            near(EXCESS, NEXT_ANGLE, "couplings are near the bound at every angle"),
            enough(
                per_seed("min", _off), at_least(0.5), "the predicted angle itself is not one of those tried"
            ),
        ),
        controls=(must_fail("the angle with the highest loss", _off_at("idxmax")),),
    ),
    Claim(
        "depends_on_rotation",
        "Fig. 1",
        "The success of a coupling depends on the rotation of its input.",
        "divergence that remains at 90° minus that at 46.4°; the bound has 0.8794",
        difference(_at(90, "kl"), _at(46.4, "kl")),
        within(0.8794, CLOSE),
        unit="nats",
        given=(near(EXCESS, CLOSE, "couplings are near the bound at every angle"),),
    ),
    Claim(
        "unchanged_at_90",
        "Ex. 4",
        "At 90° the distribution is left unchanged.",
        "divergence that remains at 90° minus that before",
        lambda table: _at(90, "kl")(table) - kl_before(),
        within(0, 0.02),
        "0",
        "nats",
        to_refute=(settled(_at(90, "last_fifth_gain"), 0.02),),
        controls=(must_fail("the best rotation", lambda t: _at(46.4, "kl")(t) - kl_before()),),
    ),
]
