"""linear_systems, Figure 6: what Tikhonov regularisation does in two small problems.

(a) A linear flow on a Gaussian in a plane of R^3, alpha 0 and 1e-4. (b) A flow of six softplus layers on a curve in R^2,
alpha 0 and 1e-5; the paper does not give its curve, ours is X = (2 e, sin 2 e). Arrows: local components, two local
standard deviations long in (a), a third of one in (b); the one across the data is too short to be seen, and is given on a
scale of its own below.

What one should see: the paper says that without regularisation the components come out wrong. With an exact
log-determinant their directions come out right with and without it; what differs is the scale across the data: it
keeps falling at alpha = 0, so that the likelihood (right, of the training points: the held-out mean is decided by the few
that lie outside their range) keeps rising, and stops at sqrt(alpha) with regularisation.

A softplus layer maps R onto (0, inf), so that the flow of (b) covers only a wedge of its latent space: its density
integrates to the base's mass there, and latents outside cannot be inverted. Samples that fall there are nan, and
counted in the table.

The curve's flow is trained by Adam and then by L-BFGS on all points: Adam alone is still far from the optimum after
40,000 steps, with a largest singular value of 107. From a cold start L-BFGS takes another path with than without
regularisation, so that only flows from the same start of Adam are compared. Weights are orthogonal at the start: from
Glorot's, two of three regularised flows get stuck, 3 and 5 nats below the optimum.

Costs 35 minutes on two cores at cpu scale, 3 seeds.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from flowrepro.figures.claims import (
    Claim,
    Given,
    Values,
    at_least,
    at_most,
    column,
    combined,
    difference,
    effective,
    enough,
    largest,
    must_fail,
    near,
    ratio,
    settled,
    within,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import AS_PRINTED, BLUE, DOTS, GREEN, GREY, ORANGE, PALE, RED, label_space

ALPHA = {"plane": 1e-4, "curve": 1e-5}
NAMES = {"plane": "linear flow", "curve": "softplus flow"}
DRAWN = 800
SHOWN = 14  # points of the curve at which components are drawn


def table(measures: Measures) -> pd.DataFrame:
    """One row per run; `optimum` is the mean log-likelihood (nats) that the regularised flow tends to."""
    rows = []
    for m in measures:
        problem, model = m["case"].split()
        numbers = {k: v for k, v in m.items() if isinstance(v, float)}
        row = {"problem": problem, "model": model, "seed": m["seed"], "state": m["state"], "step": m["step"]}
        rows.append(row | numbers)
    return pd.DataFrame(rows)


def arrays(measures: Measures) -> Arrays:
    """The points that are drawn with their components, and the training likelihood over the steps."""
    points = taken(measures, "x", "latents", "directions", "std", rows=DRAWN)
    return points | taken(measures, "centre", "history_step", "history_train_log_prob")


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """One row per problem: data, components without and with regularisation, training likelihood over the steps."""
    figure = Figure(figsize=(13.5, 6.6), layout="constrained")
    grid = figure.add_gridspec(2, 4, width_ratios=[1, 1, 1, 0.95])
    for place, model in enumerate(("", "unregularised", "regularised")):
        _draw_plane(figure.add_subplot(grid[0, place], projection="3d"), table, arrays, model)
        _draw_curve(figure.add_subplot(grid[1, place]), table, arrays, model)
    for row, problem in enumerate(ALPHA):
        _draw_history(figure.add_subplot(grid[row, 3]), arrays, problem)
    return figure


def _title(table: pd.DataFrame, problem: str, model: str) -> str:
    if not model:
        return {"plane": "(a) a Gaussian in a plane", "curve": "(b) a curve"}[problem]
    row = table[(table.problem == problem) & (table.model == model)].sort_values("seed").iloc[0]
    with_or_not = (
        "without regularisation" if model == "unregularised" else f"regularised, α = {ALPHA[problem]:g}"
    )
    return f"{with_or_not}: off by {row.angle:.2g}°\nstd across the data {1 / row.s_max:.2g}"


def _draw_plane(axis: Any, table: pd.DataFrame, arrays: Arrays, model: str) -> None:
    name = f"plane {model or 'regularised'}"
    x = arrays[f"{name}/x"] - arrays[f"{name}/centre"]
    axis.scatter(*x.T, color=PALE, **DOTS)
    if model:
        steps = arrays[f"{name}/directions"][0] * arrays[f"{name}/std"][0]
        for component, colour in enumerate((RED, ORANGE, GREEN)):
            axis.quiver(0, 0, 0, *(2 * steps[:, component]), color=colour, lw=2.5, arrow_length_ratio=0.15)
        _draw_across(axis, table, "plane", model)
    axis.set_title(_title(table, "plane", model))
    label_space(axis)


def _draw_curve(axis: Any, table: pd.DataFrame, arrays: Arrays, model: str) -> None:
    name = f"curve {model or 'regularised'}"
    x = arrays[f"{name}/x"] - arrays[f"{name}/centre"]
    axis.scatter(*x.T, color=PALE, **DOTS)
    if model:
        latents = arrays[f"{name}/latents"][:, 0]
        low, high = np.percentile(latents, [2, 98])
        places = np.linspace(low, high, SHOWN)
        shown = np.abs(latents[:, None] - places).argmin(0)
        for component, colour in enumerate((RED, GREEN)):
            steps = (
                arrays[f"{name}/directions"][shown, :, component]
                * arrays[f"{name}/std"][shown, component, None]
            )
            lengths = np.linalg.norm(steps, axis=1, keepdims=True)
            # drawn at a third of their length, and at most one unit long
            steps = steps / 3 * np.minimum(1, 3 / lengths)
            axis.quiver(
                x[shown, 0], x[shown, 1], steps[:, 0], steps[:, 1],
                angles="xy", scale_units="xy", scale=1, color=colour, width=0.008,
            )  # fmt: skip
        _draw_across(axis, table, "curve", model)
    axis.set(title=_title(table, "curve", model), xlabel="$x_1$", ylabel="$x_2$", ylim=(-5, 2.5))
    axis.set_aspect("equal")


def _draw_across(axis: Any, table: pd.DataFrame, problem: str, model: str) -> None:
    """The standard deviation across the data, all seeds, on a scale of its own; the line is what the paper says."""
    # below the labels of a box in space
    scale = axis.inset_axes((0.14, -0.2 if problem == "plane" else 0.14, 0.72, 0.07))
    rows = table[(table.problem == problem) & (table.model == model)]
    scale.plot(1 / rows.s_max, np.zeros(len(rows)), "o", color=GREEN, ms=5)
    scale.axvline(np.sqrt(ALPHA[problem]), color=GREY, ls=AS_PRINTED)
    scale.set(xscale="log", xlim=(1e-4, 1e-1), yticks=[])
    scale.tick_params(labelsize=7)
    scale.set_title("std across the data; dotted: √α", fontsize=7)


def _draw_history(axis: Any, arrays: Arrays, problem: str) -> None:
    for model, colour, style in (("unregularised", BLUE, "-"), ("regularised", ORANGE, "--")):
        steps, values = (arrays[f"{problem} {model}/history_{k}"] for k in ("step", "train_log_prob"))
        alpha = 0 if model == "unregularised" else ALPHA[problem]
        # the first values are far below
        axis.plot(steps[1:] / 1000, values[1:], color=colour, ls=style, label=f"α = {alpha:g}")
    axis.set(
        xlabel="thousand steps", ylabel="training log-likelihood (nats)", title="likelihood over training"
    )
    axis.axhline(0, color=GREY, lw=0.6)
    axis.legend()


# nats: a flow whose standard deviation across the data is wrong by a factor e is so far from the optimum, one whose
# direction is wrong by a few degrees a hundred times as far
DIRECTION = 1.0


def _of(problem: str, model: str, name: str) -> Values:
    return column(name, problem=problem, model=model)


def _growth(problem: str) -> Values:
    """Ratio of the largest singular value without regularisation to that with it."""
    return ratio(_of(problem, "unregularised", "s_max"), _of(problem, "regularised", "s_max"))


def _wrongness(problem: str, model: str) -> Values:
    """The largest angle between a learned and a true direction; of the curve the only one."""
    names = ("angle", "axis_angle") if problem == "plane" else ("angle",)
    return largest(*(_of(problem, model, name) for name in names))


def _arrived(problem: str, model: str) -> Given:
    return near(
        difference(_of(problem, model, "optimum"), _of(problem, model, "train_log_prob")),
        DIRECTION,
        f"the {model} {NAMES[problem]}s are near the regularised optimum (nats)",
    )


def _learned(problem: str, model: str, margin: float = DIRECTION) -> tuple[Given, ...]:
    """Settled against the margin of a claim (nats), and near the optimum of the regularised flow or beyond it.

    On the training points, which L-BFGS takes all at once: few held-out points beyond their range decide the held-out mean.
    """
    gain, who = (
        _of(problem, model, "train_last_fifth_gain"),
        f"the {model} {NAMES[problem]}s, on training points",
    )
    return settled(gain, margin, who), _arrived(problem, model)


def _wrong(problem: str, limit: float) -> Claim:
    return Claim(
        f"{problem}_unregularised_wrong",
        "App. A, Fig. 6",
        f"Without regularisation the {NAMES[problem]} fails to converge to the correct components.",
        "angle between learned and true directions, the largest for the plane and the median along the curve",
        _wrongness(problem, "unregularised"),
        at_least(limit),
        "fails",
        "degrees",
        given=(
            # its likelihood has no upper bound: it never settles
            _arrived(problem, "unregularised"),
            *_learned(problem, "regularised"),
            effective(
                _growth(problem),
                at_least(1.5),
                "ratio of the largest singular value without regularisation to that with it",
            ),
        ),
        controls=(must_fail("the regularised flow", _wrongness(problem, "regularised")),),
        why="`angle` is as small without regularisation as with it; only `s_max` keeps growing",
    )


def _right(problem: str, name: str, measured: str, limit: float) -> Claim:
    return Claim(
        f"{problem}_regularised_{name}",
        "App. A, Fig. 6",
        f"With regularisation the {NAMES[problem]} converges to the correct components.",
        measured,
        _of(problem, "regularised", name),
        at_most(limit),
        "0",
        "degrees",
        given=_learned(problem, "regularised"),
    )


def _s_max(problem: str, value: float, tolerance: float) -> Claim:
    # a change of the singular value by a small share changes the log-likelihood by as many nats
    return Claim(
        f"{problem}_s_max",
        "Sec. 5",
        f"The largest singular value of the regularised {NAMES[problem]} is α^(−1/2).",
        "median over the data",
        _of(problem, "regularised", "s_max"),
        within(value, tolerance),
        f"{value:g}",
        given=_learned(problem, "regularised", margin=tolerance / value),
    )


def _diverges(problem: str) -> Claim:
    return Claim(
        f"{problem}_diverges",
        "Sec. 5",
        f"Without regularisation the optimizer of the {NAMES[problem]} pushes a singular value to infinity.",
        "largest singular value over that of the regularised flow",
        _growth(problem),
        at_least(1.5),
        "to infinity",
        given=_learned(problem, "regularised"),
        to_refute=_learned(problem, "unregularised"),
    )


def _pca_error(component: int) -> Values:
    """By which share the standard deviation of a component differs from that of PCA, to which alpha is added."""

    def share(std: pd.Series, pca: pd.Series) -> pd.Series:
        return (std / np.sqrt(pca**2 + ALPHA["plane"]) - 1).abs()

    return combined(
        share,
        _of("plane", "regularised", f"std_{component}"),
        _of("plane", "regularised", f"pca_std_{component}"),
    )


PCA = Claim(
    "plane_pca",
    "Sec. 3.1",
    "The singular values of a trained linear flow are the inverse standard deviations of PCA.",
    "share by which they differ, the larger of the two in the plane",
    largest(_pca_error(1), _pca_error(2)),
    at_most(0.03),
    "0",
    given=_learned("plane", "regularised"),
    controls=(
        must_fail(
            "PCA's in the other order",
            combined(
                lambda std, pca: (std / pca - 1).abs(),
                _of("plane", "regularised", "std_1"),
                _of("plane", "regularised", "pca_std_2"),
            ),
        ),
    ),
)
AUTOENCODER = Claim(
    "autoencoder_directions",
    "Sec. 7",
    "A linear autoencoder learns the subspace of the top principal directions, but not the directions themselves.",
    "angle between its first code and the nearer principal axis, median over ten starts",
    _of("plane", "regularised", "autoencoder_axis_angle"),
    at_least(5),
    "not learned",
    "degrees",
    given=(
        enough(
            _of("plane", "regularised", "autoencoder_angle"),
            at_most(0.1),
            "degrees between the autoencoders' plane and the true one",
        ),
    ),
    controls=(must_fail("the linear flow", _of("plane", "regularised", "axis_angle")),),
)
CLAIMS = [
    PCA,
    AUTOENCODER,
    _wrong("plane", 5),
    _wrong("curve", 10),
    _right("plane", "angle", "angle between the learned and the true plane", 1),
    _right("plane", "axis_angle", "angle between the learned and the true first axis in the plane", 5),
    _right("curve", "angle", "median angle between the first component and the tangent of the curve", 10),
    _s_max("plane", 100, 5),
    _s_max("curve", 316, 158),
    _diverges("plane"),
    _diverges("curve"),
]
