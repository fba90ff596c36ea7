"""linear_systems, Figure 5 and Sec. 6.2: training on MNIST 2s with and without regularisation, and samples.

What one should see: with alpha = 5e-5 training and validation scores stay together; without, the training score runs
away and validation falls apart on single images. 173 of the 784 pixels never change in the training set, so that the
likelihood has no upper bound without regularisation: its value says how long one trained, and only orderings mean
something. (c) is footnote 2, an unregularised RealNVP, judged by whether its training diverged: two validation images
have ink where no training image has any, and its validation score is not finite from the first step on. (d) is the
unregularised flow with the settings of the authors' code: Glorot, Adam 1e-3, 50 epochs, their float32 log-determinant.
Scores in nats per image, pixels in [0, 1], without dequantisation, as in the paper; the linear baseline is the closed
form with alpha = 5e-5.

Costs two hours on two cores at cpu scale, one seed; the regularised run alone is an hour on one core.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.claims import (
    Claim,
    Given,
    Values,
    at_least,
    at_most,
    column,
    difference,
    enough,
    largest,
    matches,
    must_fail,
    must_pass,
    near,
    ratio,
    settled,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import AS_PRINTED, BLUE, GREEN, GREY, ORANGE, show_images

TITLES = {
    "unregularised": "(a) unregularised, α = 0",
    "regularised": "(b) regularised, α = 5e-5",
    "realnvp": "(c) RealNVP, unregularised",
    "authors": "(d) unregularised, authors' settings",
}
# the table names each model by the second word of its run's name
RUNS = {case: f"mnist2 {case}{' unregularised' * (case == 'authors')}" for case in TITLES}
PAPER = {"unregularised": (3265.0, -5659.0), "regularised": (2111.0, 2014.0)}


def table(measures: Measures) -> pd.DataFrame:
    """One row per run. `peak` is the best validation score in training, at `peak_step`."""
    rows = []
    for m in measures:
        history = m["history"]
        best = int(np.argmax(np.nan_to_num(history["val_log_prob"], nan=-np.inf)))
        numbers = {k: v for k, v in m.items() if isinstance(v, float)}
        row = {"model": m["case"].split()[1], "seed": m["seed"], "state": m["state"], "step": m["step"]}
        row |= {"minutes": m["result"].get("minutes", math.nan)} | numbers
        row |= {"peak": history["val_log_prob"][best], "peak_step": history["step"][best]}
        rows.append(row | {"gap": (row["train_log_prob"] - row["val_log_prob"]) / abs(row["train_log_prob"])})
    return pd.DataFrame(rows)


def arrays(measures: Measures) -> Arrays:
    """The samples that are shown, and the scores over the steps."""
    columns = ("step", "train_log_prob", "val_log_prob", "val_worst")
    return taken(measures, "samples", *(f"history_{name}" for name in columns))


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Training and validation curves of four flows, with samples of each to their right."""
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    grid = figure.add_gridspec(2, 4, width_ratios=[1.15, 1, 1.15, 1])
    for i, (case, title) in enumerate(TITLES.items()):
        row = table[table.model == case].iloc[0]
        curves = figure.add_subplot(grid[i // 2, 2 * (i % 2)])
        _draw_curves(curves, arrays, RUNS[case], row)
        curves.set_title(title + ("" if row.state == "completed" else f": {row.state} at step {row.step}"))
        samples = figure.add_subplot(grid[i // 2, 2 * (i % 2) + 1])
        shown = arrays[f"{RUNS[case]}/samples"]
        if len(shown):
            show_images(samples, shown / 255, 6)
        else:
            samples.text(0.5, 0.5, "no sample is finite", ha="center", va="center", color=GREY)
        samples.set_axis_off()
        samples.set_title(f"samples, {row.non_finite_samples:.0f} not finite")
    return figure


def _draw_curves(axis: Axes, arrays: Arrays, run: str, row: pd.Series) -> None:
    steps = arrays[f"{run}/history_step"]
    curves = {
        "train_log_prob": (BLUE, "-", f"training, {_score(row.train_log_prob, ' at the end')}"),
        "val_log_prob": (ORANGE, "--", f"validation, {_score(row.val_log_prob, f' ± {row.val_se:,.0f}')}"),
        "val_worst": (GREY, "-", f"worst validation image, {_score(row.val_worst)}"),
    }
    for name, (colour, style, label) in curves.items():
        width = 0.8 if name == "val_worst" else 1.5
        axis.plot(steps, arrays[f"{run}/history_{name}"], color=colour, ls=style, lw=width, label=label)
    axis.axhline(row.linear_val, color=GREEN, ls=":", label=f"linear flow, validation, {row.linear_val:,.0f}")
    for score, colour in zip(PAPER.get(row.model, ()), (BLUE, ORANGE), strict=False):
        axis.axhline(score, color=colour, ls=AS_PRINTED, lw=1, label=f"paper: {score:,.0f}")
    scores = np.concatenate([arrays[f"{run}/history_{k}"][1:] for k in ("train_log_prob", "val_log_prob")])
    # the first steps and single images fall far below, and a flow that broke has -inf
    finite = scores[np.isfinite(scores)]
    low, high = np.percentile(finite, 4), finite.max()
    margin = 0.06 * (high - min(low, row.linear_val))
    axis.set(xlabel="step", ylabel="log-likelihood (nats per image)")
    bottom, top = min(low, row.linear_val) - margin, high + margin
    axis.set_ylim(bottom, top)
    for place, score in enumerate(s for s in PAPER.get(row.model, ()) if not bottom <= s <= top):
        _point_off(axis, score, score > top, 0.06 * place)
    axis.legend(fontsize=6.5, loc="lower right", frameon=True, edgecolor="none", framealpha=0.9)


def _point_off(axis: Axes, score: float, above: bool, inwards: float) -> None:
    """Mark near the edge of the axis, at a share of its height from it, that a score of the paper lies beyond it."""
    told = f"{'▲' if above else '▼'} paper: {score:,.0f}"
    place, vertical = (0.02, 0.985 - inwards if above else 0.015), "top" if above else "bottom"
    axis.annotate(told, place, xycoords="axes fraction", va=vertical, fontsize=6.5, color="black")


def _score(value: float, more: str = "") -> str:
    return f"{value:,.0f}{more}" if math.isfinite(value) else "not finite"


# nats per image: a sixth of the lead of the paper's flow over the best linear one
SCORE = 100.0


def _of(model: str, name: str) -> Values:
    return column(name, model=model)


def _free_minus_kept(name: str) -> Values:
    return difference(_of("unregularised", name), _of("regularised", name))


def _after_peak(model: str) -> Values:
    """How far a validation score fell from its peak in training to the end."""
    return difference(_of(model, "peak"), _of(model, "val_log_prob"))


def _trained_out(model: str) -> Given:
    return enough(
        _of(model, "train_log_prob"),
        at_least(PAPER["unregularised"][0]),
        "the training score reaches the paper's (nats)",
    )


def _not_averaged(model: str) -> Given:
    """Averaged weights and a decaying learning rate may hide a collapse."""
    hidden = difference(_of(model, "val_log_prob"), _of(model, "unaveraged_val_log_prob"))
    return near(
        hidden, SCORE, "the validation score with averaged weights is near that with the last ones (nats)"
    )


SETTLED = settled(_of("regularised", "last_fifth_gain"), SCORE, "the regularised flow")
TURNED = enough(
    _after_peak("unregularised"),
    at_least(SCORE),
    "validation without regularisation has fallen from its peak (nats)",
)


def _reaches(key: str, split: str, score: float) -> Claim:
    return Claim(
        f"regularised_{key}",
        "Sec. 6.2",
        f"The regularised flow reaches the paper's {key} score.",
        f"mean log-likelihood of the {key} images",
        _of("regularised", f"{split}_log_prob"),
        at_least(score),
        f"{score:,.0f}",
        "nats",
        given=(SETTLED,),
    )


CLAIMS = [
    _reaches("validation", "val", PAPER["regularised"][1]),
    _reaches("training", "train", PAPER["regularised"][0]),
    Claim(
        "regularised_generalises",
        "Sec. 6.2",
        "The regularised flow exhibits strong generalization performance.",
        "gap between training and validation score, relative to the training score",
        _of("regularised", "gap"),
        at_most(0.1),
        "0.046",
        given=(SETTLED,),
    ),
    Claim(
        "beyond_linear",
        "Sec. 6.2",
        "The regularised flow is better on validation images than the best linear flow.",
        "difference of the mean log-likelihoods",
        difference(_of("regularised", "val_log_prob"), _of("regularised", "linear_val")),
        at_least(50),
        unit="nats",
        kind="beyond",
        given=(SETTLED,),
    ),
    Claim(
        "unregularised_training_higher",
        "Sec. 6.2",
        "Without regularisation the training score is higher than with it.",
        "difference of the mean log-likelihoods of the training images",
        _free_minus_kept("train_log_prob"),
        at_least(0),
        "1,154",
        "nats",
        given=(SETTLED,),
    ),
    Claim(
        "unregularised_overfits",
        "Sec. 6.2",
        "Without regularisation the model overfits severely: validation falls far below the regularised flow's.",
        "difference of the mean log-likelihoods of the validation images",
        _free_minus_kept("val_log_prob"),
        at_most(-1000),
        "-7,673",
        "nats",
        given=(SETTLED,),
        to_refute=(_trained_out("unregularised"), TURNED, _not_averaged("unregularised")),
    ),
    Claim(
        "unregularised_falls",
        "Fig. 5a",
        "Without regularisation the validation score passes a peak and declines.",
        "fall of the validation score from its peak to the end of training",
        _after_peak("unregularised"),
        at_least(SCORE),
        "thousands",
        "nats",
        to_refute=(
            settled(_of("unregularised", "last_fifth_gain"), SCORE, "the unregularised flow"),
            _trained_out("unregularised"),
            _not_averaged("unregularised"),
        ),
    ),
    Claim(
        "unregularised_loses_images",
        "Sec. 6.2",
        "Without regularisation single validation images collapse.",
        "log-likelihood of the worst validation image",
        _of("unregularised", "val_worst"),
        at_most(-5000),
        unit="nats",
        kind="beyond",
        controls=(must_fail("the regularised flow", _of("regularised", "val_worst")),),
    ),
    Claim(
        "samples_cleaner",
        "Sec. 6.2",
        "The regularised model's samples have less noise than those of the overfitted unregularised model.",
        "energy at high frequencies in the samples, unregularised over regularised",
        ratio(_of("unregularised", "noise"), _of("regularised", "noise")),
        at_least(1),
        "> 1",
        given=(
            TURNED,
            enough(
                largest(*(_of(m, "non_finite_samples") for m in ("unregularised", "regularised"))),
                at_most(0),
                "non-finite samples, which are left out",
            ),
        ),
        controls=(
            must_pass(
                "images with added noise over the images themselves",
                ratio(_of("regularised", "noise_of_noisy_data"), _of("regularised", "noise_of_data")),
            ),
        ),
    ),
    Claim(
        "realnvp_does_not_converge",
        "footnote 2",
        "An unregularised RealNVP does not converge on MNIST.",
        "whether training diverged (1) or not (0)",
        matches("state", "diverged", model="realnvp"),
        at_least(1),
        "does not converge",
        controls=(must_fail("the regularised flow", matches("state", "diverged", model="regularised")),),
    ),
    Claim(
        "authors_log_det",
        "Sec. 6.2",
        "Without regularisation the model overfits severely: validation falls below zero "
        "(settings of the authors' code).",
        "mean log-likelihood of the validation images",
        _of("authors", "val_log_prob"),
        at_most(0),
        "-5,659",
        "nats",
        to_refute=(_trained_out("authors"),),
    ),
]
