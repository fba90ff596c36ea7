"""linear_systems, Figure 5 and Sec. 6.2: training on MNIST 2s with and without regularisation, and samples.

What one should see: with alpha = 5e-5 training and validation scores stay together; without, the training score runs
away and single validation images collapse. 173 of the 784 pixels never change in the training set, so that the
likelihood has no upper bound without regularisation: its value says how long one trained, and only orderings mean
something. Every flow is trained in two ways: `tuned` starts from whitening, lets the learning rate decay and averages
the weights (200 epochs, one seed); the others have the settings of the authors' code (Glorot, Adam at a constant 1e-3,
100 epochs). The latter do not get to the paper's training score, and the former might hide a collapse: `whitened` has
the whitening start alone, at a constant learning rate of 3e-4 for 268 epochs. All have an exact log-determinant, and
one random probe for the penalty.
(c) is footnote 2, an unregularised RealNVP, judged by whether its training diverged: two validation images have ink
where no training image has any, and its validation score is not finite from the first step on.
Scores in nats per image, pixels in [0, 1], without dequantisation, as in the paper; the linear baseline is the closed
form with alpha = 5e-5.

Costs two hours on two cores at cpu scale.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowrepro.figures.claims import (
    Claim,
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
    ratio,
    settled,
    smallest,
)
from flowrepro.figures.drawn import Arrays, Measures, taken
from flowrepro.pictures.style import AS_PRINTED, BLUE, GREEN, GREY, ORANGE, show_images

FREE, FREE_TUNED, FREE_LONG = "unregularised", "tuned unregularised", "whitened unregularised"
KEPT, KEPT_TUNED = "regularised", "tuned regularised"
TITLES = {
    FREE_TUNED: "(a) unregularised, α = 0",
    KEPT_TUNED: "(b) regularised, α = 5e-5",
    "realnvp": "(c) RealNVP, unregularised",
}
PAPER = {FREE: (3265.0, -5659.0), KEPT: (2111.0, 2014.0)}


def table(measures: Measures) -> pd.DataFrame:
    """One row per run. `peak` is the best validation score in training, at `peak_step`."""
    rows = []
    for m in measures:
        history = m["history"]
        best = int(np.argmax(np.nan_to_num(history["val_log_prob"], nan=-np.inf)))
        numbers = {k: v for k, v in m.items() if isinstance(v, float)}
        row = {"model": _model(m["case"]), "seed": m["seed"], "state": m["state"], "step": m["step"]}
        row |= {"minutes": m["result"].get("minutes", math.nan)} | numbers
        row |= {"peak": history["val_log_prob"][best], "peak_step": history["step"][best]}
        rows.append(row | {"gap": (row["train_log_prob"] - row["val_log_prob"]) / abs(row["train_log_prob"])})
    return pd.DataFrame(rows)


def _model(case: str) -> str:
    return case.removeprefix("mnist2 ")


def arrays(measures: Measures) -> Arrays:
    """The scores over the steps; of the flows with panels of their own, samples and the worst validation images too."""
    columns = ("step", "train_log_prob", "val_log_prob")
    drawn = [m for m in measures if _model(m["case"]) in TITLES]
    return taken(measures, *(f"history_{name}" for name in columns)) | taken(
        drawn, "samples", "worst_images", "worst_scores"
    )


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """For three flows, one beside the other: scores over the steps, samples, and the worst validation images."""
    figure = Figure(figsize=(11.4, 6.9), layout="constrained")
    curves, samples, worst = figure.subplots(3, 3, height_ratios=[1.15, 0.75, 0.25])
    for i, (model, title) in enumerate(TITLES.items()):
        of = f"mnist2 {model}"
        row = table[table.model == model].iloc[0]
        _draw_curves(curves[i], arrays, of, row)
        if model != "realnvp":
            _draw_thin(curves[i], arrays, table[table.model == _plain(model)], "authors' settings", "o")
        if model == FREE_TUNED:
            _draw_thin(curves[i], arrays, table[table.model == FREE_LONG], "constant learning rate", "s")
        _limit(curves[i], arrays[f"{of}/history_train_log_prob"], row)
        curves[i].set_title(
            title + ("" if row.state == "completed" else f": {row.state} at step {row.step:,}")
        )
        _draw_samples(samples[i], arrays[f"{of}/samples"], row)
        _draw_worst(worst[i], arrays[f"{of}/worst_images"], arrays[f"{of}/worst_scores"])
    return figure


def _plain(model: str) -> str:
    return model.split()[-1]


def _draw_samples(axis: Axes, shown: np.ndarray, row: pd.Series) -> None:
    axis.set_axis_off()
    if not len(shown):
        axis.text(0.5, 0.5, "no sample is finite", ha="center", va="center", color=GREY)
        return
    show_images(axis, shown / 255, 9)
    axis.set_title(f"samples: haze {row.haze:.3f}, that of the images {row.haze_of_data:.3f}")


def _draw_worst(axis: Axes, images: np.ndarray, scores: np.ndarray) -> None:
    """Validation images side by side, each with its score below."""
    axis.set_axis_off()
    if not np.isfinite(scores).any():
        return
    show_images(axis, images / 255, len(images))
    axis.set_title("the lowest log-likelihoods of validation images")
    width = images.shape[2] + 1
    for i, score in enumerate(scores):
        axis.text((i + 0.5) * width, images.shape[1] + 2, f"{score:,.0f}", ha="center", va="top", fontsize=7)


def _draw_curves(axis: Axes, arrays: Arrays, of: str, row: pd.Series) -> None:
    steps = arrays[f"{of}/history_step"]
    curves = {
        "train_log_prob": (BLUE, "-", f"training, {_score(row.train_log_prob, ' at the end')}"),
        "val_log_prob": (ORANGE, "--", f"validation, {_score(row.val_log_prob, f' ± {row.val_se:,.0f}')}"),
    }
    for name, (colour, style, label) in curves.items():
        axis.plot(steps, arrays[f"{of}/history_{name}"], color=colour, ls=style, label=label)
    axis.axhline(row.linear_val, color=GREEN, ls=":", label=f"linear flow, validation, {row.linear_val:,.0f}")


def _draw_thin(axis: Axes, arrays: Arrays, rows: pd.DataFrame, what: str, marker: str) -> None:
    """Thin curves of a run in another way, and markers where its seeds end."""
    of = f"mnist2 {rows.model.iloc[0]}"
    for name, colour, style in (("train_log_prob", BLUE, "-"), ("val_log_prob", ORANGE, "--")):
        axis.plot(
            arrays[f"{of}/history_step"], arrays[f"{of}/history_{name}"], color=colour, ls=style, lw=0.7
        )
        axis.plot(rows.step, rows[name], marker, ms=3.5, mfc="white", mec=colour, zorder=4)
    told = f"thin: {what}, {len(rows)} seed{'s' * (len(rows) > 1)}"
    axis.plot([], [], color=GREY, lw=0.7, marker=marker, ms=3.5, mfc="white", label=told)


def _limit(axis: Axes, scores: np.ndarray, row: pd.Series) -> None:
    """Limits around training scores, the linear flow's and the paper's as far as they are near; the legend."""
    printed = PAPER.get(_plain(row.model), ())
    top = max([*scores[np.isfinite(scores)], *printed, row.linear_val + SCORE])
    # the first steps and single images fall far below
    bottom = row.linear_val - 0.3 * (top - row.linear_val)
    for score, colour in zip(printed, (BLUE, ORANGE), strict=False):
        if score > bottom:
            axis.axhline(score, color=colour, ls=AS_PRINTED, lw=1, label=f"paper: {score:,.0f}")
        else:
            _mark_below(axis, colour, f"paper: {score:,.0f}")
    margin = 0.05 * (top - bottom)
    axis.set(xlabel="step", ylabel="log-likelihood (nats per image)", ylim=(bottom, top + margin))
    axis.legend(fontsize=6.5, loc="lower right", frameon=True, edgecolor="none", framealpha=0.9)


def _mark_below(axis: Axes, colour: str, told: str) -> None:
    """An arrow at the foot of the axes for a value below them."""
    axis.plot(0.02, 0.02, "v", color=colour, ms=6, transform=axis.transAxes)
    plain = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axis.text(0.05, 0.02, told, color=colour, fontsize=6.5, transform=axis.transAxes, bbox=plain, zorder=5)


def _score(value: float, more: str = "") -> str:
    return f"{value:,.0f}{more}" if math.isfinite(value) else "not finite"


# nats per image: a sixth of the lead of the paper's flow over the best linear one
SCORE = 100.0


def _of(model: str, name: str) -> Values:
    return column(name, model=model)


def _free_minus_kept(name: str) -> Values:
    return difference(_of(FREE, name), _of(KEPT, name))


# without regularisation, and trained until they reach the paper's training score
LONGEST = (FREE_TUNED, FREE_LONG)


def _of_longest(how: Callable[..., Values], values: Callable[[str], Values]) -> Values:
    """The `smallest` or the `largest` value of these flows."""
    return how(*(values(model) for model in LONGEST))


def _after_peak(model: str) -> Values:
    """How far a validation score fell from its peak in training to the end."""
    return difference(_of(model, "peak"), _of(model, "val_log_prob"))


def _above_kept(model: str) -> Values:
    """How far a validation score is above that of the regularised flow with our settings."""
    return difference(_of(model, "val_log_prob"), _of(KEPT_TUNED, "val_log_prob"))


def _haziness(model: str) -> Values:
    """The median haze of a sample over that of the regularised flow."""
    return ratio(_of(model, "haze"), _of(KEPT_TUNED, "haze"))


def _unlikeness(model: str) -> Values:
    """How much farther samples are from training images than validation images are, over that of a linear flow's."""
    of_data = _of(model, "nearest_of_data")
    return ratio(
        difference(_of(model, "nearest"), of_data), difference(_of(model, "nearest_of_linear"), of_data)
    )


def _printed_gap(table: pd.DataFrame) -> pd.Series:
    """The paper's gap without regularisation, for each seed of the tuned flow."""
    train, val = PAPER[FREE]
    return _of(KEPT_TUNED, "gap")(table) * 0 + (train - val) / train


SETTLED = settled(_of(KEPT, "last_fifth_gain"), SCORE, "the regularised flow")
OVERFITTED = (
    enough(
        _of_longest(smallest, lambda model: _of(model, "train_log_prob")),
        at_least(PAPER[FREE][0]),
        "the training scores without regularisation reach the paper's (nats)",
    ),
    enough(
        _of_longest(largest, _after_peak),
        at_least(SCORE),
        "validation without regularisation has fallen from its peak (nats)",
    ),
)


def _reaches(key: str, split: str, score: float) -> Claim:
    return Claim(
        f"regularised_{key}",
        "Sec. 6.2",
        f"The regularised flow reaches the paper's {key} score (our settings, 200 epochs).",
        f"mean log-likelihood of the {key} images",
        _of(KEPT_TUNED, f"{split}_log_prob"),
        at_least(score),
        f"{score:,.0f}",
        "nats",
        to_refute=(settled(_of(KEPT_TUNED, "last_fifth_gain"), SCORE, "the regularised flow"),),
    )


CLAIMS = [
    _reaches("validation", "val", PAPER[KEPT][1]),
    _reaches("training", "train", PAPER[KEPT][0]),
    Claim(
        "regularised_generalises",
        "Sec. 6.2",
        "The regularised flow exhibits strong generalization performance (our settings, 200 epochs).",
        "gap between training and validation score, relative to the training score",
        _of(KEPT_TUNED, "gap"),
        at_most(0.1),
        "0.046",
        given=(
            enough(
                _of(KEPT_TUNED, "train_log_prob"),
                at_least(PAPER[KEPT][0]),
                "the training score reaches the paper's (nats)",
            ),
        ),
        controls=(must_fail("the paper's scores without regularisation", _printed_gap),),
    ),
    Claim(
        "beyond_linear",
        "Sec. 6.2",
        "The regularised flow is better on validation images than the best linear flow.",
        "difference of the mean log-likelihoods after 100 epochs",
        difference(_of(KEPT, "val_log_prob"), _of(KEPT, "linear_val")),
        at_least(50),
        unit="nats",
        kind="beyond",
        to_refute=(SETTLED,),
    ),
    Claim(
        "unregularised_training_higher",
        "Sec. 6.2",
        "Without regularisation the training score is higher than with it.",
        "difference of the mean log-likelihoods of the training images after 100 epochs",
        _free_minus_kept("train_log_prob"),
        at_least(0),
        "1,154",
        "nats",
        to_refute=(SETTLED,),
    ),
    Claim(
        "unregularised_overfits",
        "Sec. 6.2",
        "Without regularisation the model overfits severely: validation falls far below the regularised flow's.",
        "difference of the mean log-likelihoods of the validation images; of our settings and a constant learning rate from "
        "a whitening start the one that overfits more",
        _of_longest(smallest, _above_kept),
        at_most(-1000),
        "-7,673",
        "nats",
        to_refute=OVERFITTED,
    ),
    Claim(
        "unregularised_falls",
        "Fig. 5a",
        "Without regularisation the validation score passes a peak and declines.",
        "fall of the validation score from its peak to the end, the larger of the two",
        _of_longest(largest, _after_peak),
        at_least(SCORE),
        "thousands",
        "nats",
        to_refute=(
            settled(
                _of_longest(largest, lambda model: _of(model, "last_fifth_gain")),
                SCORE,
                "the unregularised flows",
            ),
            OVERFITTED[0],
        ),
    ),
    Claim(
        "unregularised_loses_images",
        "Sec. 6.2",
        "Without regularisation single validation images collapse.",
        "log-likelihood of the worst validation image after 100 epochs",
        _of(FREE, "val_worst"),
        at_most(-5000),
        unit="nats",
        kind="beyond",
        to_refute=(settled(_of(FREE, "last_fifth_gain"), SCORE, "the unregularised flow"),),
        controls=(must_fail("the regularised flow", _of(KEPT, "val_worst")),),
    ),
    Claim(
        "samples_cleaner",
        "Sec. 6.2",
        "The regularised model's samples have less noise than those of the overfitted unregularised model.",
        "median haze of a sample (mean of 4 x (1 - x) over its pixels), unregularised over regularised; the smaller of the "
        "two",
        _of_longest(smallest, _haziness),
        at_least(1),
        "> 1",
        given=OVERFITTED,
        controls=(
            must_pass(
                "images with added noise over the images themselves",
                ratio(_of(KEPT_TUNED, "haze_of_noisy_data"), _of(KEPT_TUNED, "haze_of_data")),
            ),
        ),
    ),
    Claim(
        "unregularised_samples",
        "Sec. 6.2",
        "Samples of the unregularised model share many consistencies with ground truth.",
        "distance to the nearest training image beyond that of validation images, over that of the linear flow's samples; "
        "the larger of the two",
        _of_longest(largest, _unlikeness),
        at_most(0.5),
        "many",
        to_refute=OVERFITTED,
        controls=(
            must_fail("samples of the linear flow", lambda table: 1 + 0 * _of(FREE_TUNED, "nearest")(table)),
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
        controls=(must_fail("the regularised flow", matches("state", "diverged", model=KEPT)),),
    ),
]
