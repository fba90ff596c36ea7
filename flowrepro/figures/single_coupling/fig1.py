"""single_coupling, Figure 1: what one affine coupling achieves depends on the rotation before it.

What one should see: top, a mixture of two Gaussians turned by several angles; centre, the KL divergence from the standard
normal that remains: the lower bound (blue) and what trained couplings attain (orange), which lies on it; bottom, what the
trained couplings make of the densities above, all on one colour scale with N(0, I). Columns are sorted by what remains: the
left one is closest to normal, the right one is left unchanged. Couplings are trained at 13 angles (dots); between them their
excess over the bound is interpolated. The best angle is read off a parabola through the lowest losses, without the angle
that the bound predicts. The paper does not name its distribution; the mixture of Example 4, whose bound is known in
closed form, is our choice, and so are 1,000 steps of 1,024 fresh samples. Densities and divergences are exact.

Costs 5 minutes on two cores at cpu scale.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from flowrepro.figures.claims import (
    Claim,
    Values,
    at_least,
    at_most,
    column,
    difference,
    must_fail,
    near,
    per_seed,
    settled,
    within,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.figures.single_coupling.one_layer import distance
from flowrepro.pictures.style import BLUE, GREY, ORANGE

SHOWN = ("46.4", "30", "0", "75", "90")
# for the two Gaussians of Example 4: nats, and E |x|^2
ENTROPY, SECOND_MOMENT = 1.1997688, 1 + (1 - 0.95**2)


def kl_before() -> float:
    """KL of the mixture from the standard normal, in nats; no rotation changes it."""
    return -ENTROPY + 0.5 * (2 * math.log(2 * math.pi) + SECOND_MOMENT)


def table(measures: Measures) -> pd.DataFrame:
    """One row per angle and seed."""
    names = ("angle", "bound", "kl", "excess", "kl_sampled", "mass", "last_fifth_gain")
    rows = [{"seed": m["seed"], "state": m["state"], **{k: m[k] for k in names}} for m in measures]
    return pd.DataFrame(rows).sort_values(["seed", "angle"], ignore_index=True)


def arrays(measures: Measures) -> Arrays:
    """The densities at the angles that are shown, and the bound over all angles."""
    shown = [m for m in measures if m["case"].split("=")[-1] in SHOWN]
    return taken(shown, "turned", "pushed", "edges") | taken(shown[:1], "angles", "bounds")


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Densities above and below, N(0, I) beside them, the divergence over the angle between them."""
    figure = Figure(figsize=(9.2, 6.4), layout="constrained")
    shown = [a for a in SHOWN if f"gmm model.angle={a}/pushed" in arrays]
    found = {a: {k: arrays[f"gmm model.angle={a}/{k}"] for k in ("turned", "pushed", "edges")} for a in shown}
    scale = PowerNorm(0.5, 0, max(float(one["turned"].max()) for one in found.values()))
    grid = figure.add_gridspec(3, len(shown) + 1, height_ratios=[1, 1.25, 1])
    angles, bounds = (next(v for k, v in arrays.items() if k.endswith(f"/{n}")) for n in ("angles", "bounds"))
    _draw_curve(figure.add_subplot(grid[1, :]), table, angles, bounds)
    for place, (angle, one) in enumerate(found.items()):
        for row, name, title in ((0, "turned", f"{angle}°"), (2, "pushed", _told(table, float(angle)))):
            axis = figure.add_subplot(grid[row, place])
            image = _draw_density(axis, one[name], one["edges"], scale)
            axis.set_title(title)
            if place == 0:
                axis.set_ylabel("input\nactive" if row == 0 else "output\nactive")
            else:
                axis.tick_params(labelleft=False)
    beside = figure.add_subplot(grid[2, -1], title="N(0, I)")
    _draw_density(beside, _normal(one["edges"]), one["edges"], scale)
    beside.tick_params(labelleft=False)
    empty = figure.add_subplot(grid[0, -1])
    empty.set_axis_off()
    figure.colorbar(image, cax=empty.inset_axes((0.3, 0, 0.12, 1)), label="density")
    return figure


def _draw_density(axis: Axes, density: np.ndarray, edges: np.ndarray, scale: PowerNorm) -> AxesImage:
    extent = (edges[0], edges[-1], edges[0], edges[-1])
    axis.grid(False)
    axis.set(xlabel="passive", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    return axis.imshow(
        density, origin="lower", extent=extent, cmap="Blues", norm=scale, interpolation="bilinear"
    )


def _normal(edges: np.ndarray) -> np.ndarray:
    """The standard normal density in the middle of each cell."""
    centre = (edges[:-1] + edges[1:]) / 2
    density: np.ndarray = np.exp(-(centre[:, None] ** 2 + centre**2) / 2) / (2 * math.pi)
    return density


def _draw_curve(axis: Axes, table: pd.DataFrame, angles: np.ndarray, bounds: np.ndarray) -> None:
    excess = table.groupby("angle").excess.mean()
    trained = bounds + np.interp(angles, excess.index, excess, period=180)
    axis.axhline(kl_before(), color=GREY, lw=0.8, ls="--", label="before the coupling")
    axis.plot(angles, bounds, color=BLUE, lw=5, alpha=0.35, label="lower bound, closed form")
    axis.plot(angles, trained, color=ORANGE, lw=1.3, label="trained couplings, mean, interpolated")
    axis.plot(table.angle % 180, table.kl, "o", color=ORANGE, ms=3, label="at the trained angles, each seed")
    axis.set(
        xlabel="rotation angle θ (degrees)",
        ylabel="remaining KL\ndivergence (nats)",
        xlim=(-3, 183),
        ylim=(0, 1.3),
        xticks=range(0, 181, 15),
    )
    axis.legend(loc="lower center", ncols=2, fontsize=8)


def _told(table: pd.DataFrame, angle: float) -> str:
    first = table[table.seed == table.seed.min()]
    return f"{first.kl[(first.angle - angle).abs().idxmin()]:.3f} nats left"


def _at(angle: float, name: str) -> Values:
    """A column at one angle, per seed."""
    return lambda table: column(name)(table[(table.angle - angle).abs() < 0.1])


def _lowest(rows: pd.DataFrame) -> float:
    """The angle of the minimum of the parabola through the lowest trained loss and its neighbours, of one seed.

    The angles that the bound predicts are left out. Where no parabola opens upwards it is the lowest angle itself.
    """
    rows = rows[rows.angle.map(distance) >= BESIDE].sort_values("angle")
    first = int(np.clip(rows.kl.argmin() - 1, 0, len(rows) - 3))
    angle, kl = rows.angle.to_numpy()[first : first + 3], rows.kl.to_numpy()[first : first + 3]
    square, slope, _ = np.polyfit(angle, kl, 2)
    return float(-slope / (2 * square)) if square > 0 else float(rows.angle[rows.kl.idxmin()])


def _off_lowest(table: pd.DataFrame) -> pd.Series:
    """Degrees of that minimum from the nearer of the two best angles predicted by the bound, per seed."""
    return pd.Series({seed: distance(_lowest(rows)) for seed, rows in table.groupby("seed")})


def _off_highest(table: pd.DataFrame) -> pd.Series:
    """The same for the angle with the highest trained loss."""
    return column("angle")(table.loc[table.groupby("seed").kl.idxmax()]).map(distance)


# degrees around the predicted angle in which no trained coupling counts
BESIDE = 0.5
# The excess over the bound is exact, and no further training can gain more than that. Moments of two Gaussians are smooth
# in p: a coupling 0.03 nats above the bound, out of the 0.88 it can gain, has not learned them.
CLOSE = 0.03
# nats of the bound between the best angle and the next one tried
NEXT_ANGLE = 0.013
EXCESS = per_seed("max", column("excess"))
CLAIMS = [
    Claim(
        "bound_attained",
        "Fig. 1 centre, Theorem 1",
        "The lower bound on the error is attained empirically.",
        "largest gap between trained couplings and the bound over all angles, by quadrature",
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
        "No trained coupling falls below the bound.",
        "smallest gap to the bound over all angles on fresh samples, allowing three standard errors",
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
        "distance from 46.4° or 133.6° of the minimum of a parabola through the lowest trained losses, these two left out",
        _off_lowest,
        at_most(5),
        "0",
        "degrees",
        given=(near(EXCESS, NEXT_ANGLE, "couplings are near the bound at every angle"),),
        controls=(must_fail("the angle with the highest loss", _off_highest),),
    ),
    Claim(
        "depends_on_rotation",
        "Fig. 1",
        "The success of a coupling depends on the rotation of its input.",
        "remaining divergence at 90° minus that at 46.4°; 0.8794 for the bound",
        difference(_at(90, "kl"), _at(46.4, "kl")),
        within(0.8794, CLOSE),
        unit="nats",
        given=(near(EXCESS, CLOSE, "couplings are near the bound at every angle"),),
    ),
    Claim(
        "unchanged_at_90",
        "Ex. 4",
        "At 90° the distribution is left unchanged.",
        "remaining divergence at 90° minus that before the coupling",
        lambda table: _at(90, "kl")(table) - kl_before(),
        within(0, 0.02),
        "0",
        "nats",
        to_refute=(settled(_at(90, "last_fifth_gain"), 0.02),),
        controls=(must_fail("the best rotation", lambda t: _at(46.4, "kl")(t) - kl_before()),),
    ),
]
