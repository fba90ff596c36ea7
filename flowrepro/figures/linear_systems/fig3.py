"""linear_systems, Figure 3: un-whitened components of two manifolds, by regularised and unregularised flows and RealNVP.

What one should see: the regularised flow unrolls both manifolds: its first component is the angle of the S (or e1 of
the sine), its second the width (or e2), so that each colour gradient runs along one axis. The paper says that neither
the unregularised flow nor RealNVP does so. The last column is an exact flow, written down by hand: on the S-curve its
second component folds back at the rims, because the component of a uniform factor z = Phi^-1(u) is 2 phi(z) z, which
is largest at |z| = 1. Rank correlation with the width can therefore be 0.89 at best for an exact flow; a trained one,
whose density falls off at the rims, may have more.

RealNVP has the permutations, the random start and the constant learning rate of the authors' code, for 200 epochs; that
its couplings are affine from the data to the latents, and that its batch norm keeps statistics of all data, is ours. Half
of the steps, which are the 100 epochs of that code, and a RealNVP with other settings (`tuned`: no coupling passes the same
dimension again, batch norm starts at zero, the learning rate decays) must give the same verdicts. Whether components
are coherent is asked where samples are consistent, as in the paper. Without regularisation the likelihood has no bound,
and training never settles: there half of the steps must confirm a refutation.

Colours: the first factor in the upper row of each manifold, the second in the lower. Axes show the range of the exact
flow's components, and half of it on either side. Signs of components are carried between neighbours.

Costs an hour and a half on two cores at cpu scale: 80,000 steps for both kinds of dense flow, 10,000 for RealNVP, 3 seeds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.claims import (
    BY_RULE,
    Claim,
    Control,
    Given,
    Threshold,
    Values,
    at_least,
    at_most,
    column,
    combined,
    confirmed,
    difference,
    effective,
    enough,
    largest,
    must_fail,
    must_pass,
    near,
    ratio,
    settled,
    smallest,
    within,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.figures.linear_systems.coherence import COHERENT, FACTORS, control_numbers, weaker
from flowrepro.pictures.style import DOTS, LATENT_MAP, label_space, robust_limits

DRAWN = 1_200
MODELS = {
    "regularised": "regularised, α = 5e-5",
    "unregularised": "unregularised, α = 0",
    "realnvp": "RealNVP",
}
CONSISTENT, CONVERGED, FAR = at_most(2), at_most(0.2), at_least(100)
# variants of a run: as it is drawn, with half of the steps, with other settings
FULL, HALF, TUNED = "full", "half", "tuned"
DATASETS = {"scurve": ("S-curve", "angle", "width"), "sine": ("sine", "$\\epsilon_1$", "$\\epsilon_2$")}


def table(measures: Measures) -> pd.DataFrame:
    """One row per run: data set, model, variant, seed, every number, and those of the controls."""
    rows = []
    for m in measures:
        dataset, model, variant = _words(m["case"])
        numbers = {k: v for k, v in m.items() if isinstance(v, float | int) and k not in ("seed", "step")}
        row = {"dataset": dataset, "model": model, "variant": variant, "seed": m["seed"]}
        rows.append(row | {"state": m["state"], "step": m["step"]} | numbers | control_numbers(m))
    return pd.DataFrame(rows)


def _words(case: str) -> tuple[str, str, str]:
    """Data set, model and variant of a run."""
    dataset, model, variant, *_ = [*case.split(), FULL]
    return dataset, model, variant


def arrays(measures: Measures) -> Arrays:
    """The points that are drawn, with both factors and both components."""
    drawn = [m for m in measures if _words(m["case"])[2] == FULL]
    return taken(drawn, "x", "latents", "components", "exact", rows=DRAWN)


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Four rows (two manifolds, each coloured by both factors) and five columns (data, three models, exact flow)."""
    figure = Figure(figsize=(12.5, 10), layout="constrained")
    grid = figure.add_gridspec(4, 5)
    for i, (dataset, (title, *factors)) in enumerate(DATASETS.items()):
        for j, factor in enumerate(factors):
            row = 2 * i + j
            source = figure.add_subplot(grid[row, 0], projection="3d")
            _draw_source(source, arrays, dataset, j, f"{title}, coloured by {factor}")
            for place, model in enumerate(MODELS, 1):
                axis = figure.add_subplot(grid[row, place])
                name = f"{dataset} {model}"
                exact, latents = arrays[f"{name}/exact"], arrays[f"{name}/latents"][:, j]
                _draw_projection(axis, arrays[f"{name}/components"], latents, exact)
                axis.set_title(f"{MODELS[model]}\n{_told(table, dataset, model, j)}")
            axis = figure.add_subplot(grid[row, 4])
            dots = _draw_projection(axis, exact, latents, exact)
            axis.set_title("exact flow, by hand")
            figure.colorbar(dots, ax=axis, label=f"true {factor}")
    return figure


def _draw_source(axis: Any, arrays: Arrays, dataset: str, factor: int, title: str) -> None:
    x, latents = arrays[f"{dataset} regularised/x"], arrays[f"{dataset} regularised/latents"]
    axis.scatter(x[:, 0], x[:, 1], x[:, 2], c=latents[:, factor], cmap=LATENT_MAP, **DOTS)
    axis.set_title(title)
    label_space(axis)
    axis.view_init(elev=22, azim=-60)


def _draw_projection(axis: Axes, components: np.ndarray, factor: np.ndarray, exact: np.ndarray) -> Any:
    """Components within the exact flow's range, and half of it on either side; the share of points outside in words."""
    low, high = np.percentile(factor, [1, 99])
    limits = np.array([robust_limits(values, 0.5) for values in exact.T])
    x, y = components.T
    dots = axis.scatter(x, y, c=factor, cmap=LATENT_MAP, vmin=low, vmax=high, **DOTS)
    axis.set(xlabel="component 1", ylabel="component 2", xlim=limits[0], ylim=limits[1])
    outside = 1 - ((components >= limits[:, 0]) & (components <= limits[:, 1])).all(1).mean()
    if outside > 0:
        told = {"boxstyle": "round,pad=0.2", "fc": "white", "ec": "none", "alpha": 0.8}
        place = (0.98, 0.03)
        axis.annotate(
            f"{outside:.0%} outside", place, xycoords="axes fraction", ha="right", fontsize=7, bbox=told
        )
    return dots


def _told(table: pd.DataFrame, dataset: str, model: str, factor: int) -> str:
    """Rank correlation of the component with its factor in the seed that is drawn."""
    shown = (table.dataset == dataset) & (table.model == model) & (table.variant == FULL)
    drawn = table[shown].sort_values("seed").iloc[0]
    return f"rank correlation {drawn[f'correlation_{factor + 1}']:.3f}, R² {drawn[f'r2_{factor + 1}']:.2f}"


def _of(dataset: str, model: str, name: str, variant: str = FULL) -> Values:
    return column(name, dataset=dataset, model=model, variant=variant)


def _against_regularised(dataset: str, model: str, name: str, variant: str = FULL) -> Values:
    return ratio(_of(dataset, model, name, variant), _of(dataset, "regularised", name))


def _learned(dataset: str, *models: str, variant: str = FULL) -> tuple[Given, ...]:
    """Flows are near, or beyond, the optimum of the regularised one."""
    distances = {
        m: difference(*(_of(dataset, m, name, variant) for name in ("optimum", "val_log_prob")))
        for m in models
    }
    where = f"on the {DATASETS[dataset][0]} are near the regularised optimum (validation nats)"
    told = {"realnvp": "RealNVP"}
    return tuple(
        near(distance, FACTORS, f"{told.get(m, m)} flows {where}") for m, distance in distances.items()
    )


def _settled(dataset: str) -> Given:
    who = f"the regularised flow on the {DATASETS[dataset][0]}"
    return settled(_of(dataset, "regularised", "last_fifth_gain"), FACTORS, who)


# the values of a kind of flow, given its variant
Variants = Callable[[str], Values]


def _confirmed(values: Variants, threshold: Threshold, *variants: str) -> tuple[Given, ...]:
    how = {HALF: "half of the steps give", TUNED: "RealNVP with other settings gives"}
    return tuple(confirmed(values(FULL), values(v), threshold, how[v]) for v in variants)


def _realnvp_trained(*datasets: str) -> tuple[Given, ...]:
    return tuple(
        settled(_training_change(d, "realnvp"), FACTORS, f"RealNVP on the {DATASETS[d][0]} (training)")
        for d in datasets
    )


def _realnvp_samples(*datasets: str) -> tuple[Given, ...]:
    what = "RealNVP's samples are consistent, with other settings on the"
    return tuple(
        enough(_energy(d, "energy", TUNED), CONSISTENT, f"{what} {DATASETS[d][0]}") for d in datasets
    )


def _found(dataset: str, factor: int, name: str, low: float) -> Claim:
    return Claim(
        f"regularised_{dataset}_{factor}",
        "Sec. 6.1, Fig. 3",
        f"The regularised flow learns a strong estimate of the latent structure of the {DATASETS[dataset][0]}: "
        f"component {factor} follows the {name}.",
        "rank correlation",
        _of(dataset, "regularised", f"correlation_{factor}"),
        at_least(low),
        "1",
        given=_learned(dataset, "regularised"),
        to_refute=(_settled(dataset),),
        controls=_controls(dataset, f"correlation_{factor}"),
    )


def _normal(dataset: str) -> Claim:
    return Claim(
        f"normal_{dataset}",
        "Sec. 3.2",
        "The singular value decomposition of the trained flow's Jacobian specifies the local directions of the "
        f"{DATASETS[dataset][0]}.",
        "median angle between the direction of the largest singular value and the surface's normal",
        _of(dataset, "regularised", "normal_angle"),
        at_most(5),
        "0",
        "degrees",
        given=_learned(dataset, "regularised"),
        to_refute=(_settled(dataset),),
        controls=(
            must_fail("the normals in another order", _of(dataset, "regularised", "shuffled_normal_angle")),
        ),
    )


def _controls(dataset: str, name: str) -> tuple[Control, Control]:
    return (
        must_pass("the exact flow's projection", _of(dataset, "regularised", f"exact_{name}")),
        must_fail("a shuffled projection", _of(dataset, "regularised", f"shuffled_{name}")),
    )


def _not_found(dataset: str, model: str, says: str) -> Claim:
    def values(variant: str, prefix: str = "") -> Values:
        return weaker(prefix, dataset=dataset, model=model, variant=variant)

    threshold = at_most(COHERENT)
    by_rule = confirmed(values(FULL), values(FULL, "rule_"), threshold, BY_RULE)
    if model == "unregularised":
        given = (*_learned(dataset, model), _acted(dataset))
        # a rank correlation forgives points that lie far out
        far_out = _against_regularised(dataset, model, "outliers")
        within_range = (
            "the table agrees: points beyond the exact flow's range, over those of the regularised flow"
        )
        to_refute = (*_confirmed(values, threshold, HALF), by_rule, enough(far_out, at_most(2), within_range))
    else:
        given = (
            *_realnvp_trained(dataset),
            *_realnvp_samples(dataset),
            *_confirmed(values, threshold, HALF, TUNED),
        )
        to_refute = (by_rule,)
    return Claim(
        f"{model}_incoherent_{dataset}",
        "Sec. 6.1, Fig. 3",
        f"{says} the {DATASETS[dataset][0]}.",
        "smaller rank correlation of the two components with their factors",
        values(FULL),
        threshold,
        "incoherent",
        given=given,
        to_refute=to_refute,
        controls=(
            must_fail("the exact flow's projection", values(FULL, "exact_")),
            must_pass("a shuffled projection", values(FULL, "shuffled_")),
        ),
    )


def _acted(dataset: str) -> Given:
    return effective(
        _against_regularised(dataset, "unregularised", "s_max_p99"),
        at_least(2),
        "ratio of the largest singular value without the regularizer to that with it",
    )


def _training_change(dataset: str, model: str, variant: str = FULL) -> Values:
    return combined(abs, _of(dataset, model, "train_last_fifth_gain", variant))


def _change(variant: str) -> Values:
    return largest(*(_training_change(d, "realnvp", variant) for d in DATASETS))


def _energy(dataset: str, name: str, variant: str = FULL) -> Values:
    """An energy distance over that between two draws of the data."""
    return ratio(*(_of(dataset, "realnvp", n, variant) for n in (name, "energy_of_data")))


def _samples(variant: str) -> Values:
    return largest(*(_energy(d, "energy", variant) for d in DATASETS))


def _magnitude(variant: str) -> Values:
    return smallest(*(_against_regularised(d, "realnvp", "spread_max", variant) for d in DATASETS))


def _outliers(variant: str) -> Values:
    return _against_regularised("sine", "unregularised", "outliers", variant)


def _scale(variant: str) -> Values:
    return _against_regularised("sine", "unregularised", "s_max_p99", variant)


TWICE = at_least(2)


UNREGULARISED = (
    "Without regularisation the network fails to produce a coherent estimate of the latent structure of"
)
REALNVP = "RealNVP's component projections lack coherent structure on"
FAR_OUT = "Without regularisation more points of the sine fall outside the exact flow's range than with it."

CLAIMS = [
    _found("sine", 1, "first factor", 0.99),
    _found("sine", 2, "second factor", 0.99),
    _found("scurve", 1, "angle, which is Gaussian", 0.95),
    _found("scurve", 2, "width, which is uniform", 0.85),
    Claim(
        "regularised_uniform",
        "Sec. 6.1",
        "The regularised flow uncovers the non-Gaussian latent structure of the S-curve with Gaussian targets.",
        "k-NN R² of the width from the two leading components",
        _of("scurve", "regularised", "r2_2"),
        at_least(0.8),
        "1",
        given=_learned("scurve", "regularised"),
        to_refute=(_settled("scurve"),),
        controls=_controls("scurve", "r2_2"),
    ),
    *(_normal(dataset) for dataset in DATASETS),
    Claim(
        "intrinsic_dimension",
        "Sec. 2, Sec. 6.1",
        "The flow learns the intrinsic dimensionality of the data directly from observations.",
        "components with a median standard deviation above 10 √α, on the manifold with more of them",
        largest(*(_of(d, "regularised", "wide") for d in DATASETS)),
        within(2, 0),
        "2",
        given=(
            *(g for d in DATASETS for g in _learned(d, "regularised")),
            enough(
                smallest(*(_of(d, "regularised", "wide") for d in DATASETS)),
                at_least(2),
                "as many on the other manifold",
            ),
        ),
        to_refute=tuple(_settled(d) for d in DATASETS),
    ),
    *(_not_found(dataset, "unregularised", UNREGULARISED) for dataset in DATASETS),
    Claim(
        "unregularised_outliers",
        "Fig. 3",
        FAR_OUT,
        "fraction of points beyond the exact flow's 99th percentile of |component 1|, over the regularised flow's",
        _outliers(FULL),
        TWICE,
        kind="beyond",
        given=_learned("sine", "regularised", "unregularised"),
        to_refute=_confirmed(_outliers, TWICE, HALF),
    ),
    Claim(
        "unregularised_scale",
        "Sec. 5",
        "Without regularisation the optimizer pushes a singular value to infinity.",
        "99th percentile of the largest singular value on the sine, over that of the regularised flow",
        _scale(FULL),
        TWICE,
        "to infinity",
        given=_learned("sine", "regularised"),
        to_refute=(*_learned("sine", "unregularised"), *_confirmed(_scale, TWICE, HALF)),
    ),
    Claim(
        "realnvp_converges",
        "Sec. 6.1",
        "RealNVP's training loss converges without regularisation.",
        "change of the training log-likelihood over the last fifth of the steps, on the worse of the two manifolds",
        _change(FULL),
        CONVERGED,
        "converges",
        "nats",
        to_refute=_confirmed(_change, CONVERGED, HALF, TUNED),
        controls=(
            must_fail("the unregularised flow on the sine", _training_change("sine", "unregularised")),
        ),
    ),
    Claim(
        "realnvp_samples",
        "Sec. 6.1",
        "RealNVP's samples are consistent with the ground truth.",
        "energy distance to the data over that between two draws of the data, on the worse of the two manifolds",
        _samples(FULL),
        CONSISTENT,
        "consistent",
        given=(
            *_realnvp_trained(*DATASETS),
            enough(
                largest(*(_of(d, "realnvp", "lost_samples") for d in DATASETS)),
                at_most(0),
                "non-finite samples of RealNVP, which are left out",
            ),
        ),
        to_refute=(
            *_confirmed(_samples, CONSISTENT, HALF, TUNED),
            *(g for d in DATASETS for g in _learned(d, "realnvp", variant=TUNED)),
        ),
        controls=(
            must_fail(
                "samples of the best Gaussian",
                smallest(*(_energy(d, "energy_of_gaussian") for d in DATASETS)),
            ),
        ),
    ),
    *(_not_found(dataset, "realnvp", REALNVP) for dataset in DATASETS),
    Claim(
        "realnvp_magnitude",
        "Sec. 6.1",
        "RealNVP's component projections are many orders of magnitude larger than those of the standard network.",
        "largest |component 1| over that of the regularised flow, on the manifold with the smaller ratio",
        _magnitude(FULL),
        FAR,
        "≫ 1",
        given=(
            *(g for d in DATASETS for g in _learned(d, "regularised")),
            *_realnvp_trained(*DATASETS),
            *_confirmed(_magnitude, FAR, HALF, TUNED),
        ),
    ),
]
