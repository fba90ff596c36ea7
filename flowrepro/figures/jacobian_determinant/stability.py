"""jacobian_determinant, Secs. 2.2 and 6.1: at which learning rates Glow and QLF survive, as depth and width grow.

What one should see: the paper has no such figure, but it is what its theory is for. Glow should be lost at learning rates at
which QLF trains, more often when it is deeper, and by its 1x1 convolutions, whose log-determinants nothing bounds. A run is
lost if its loss or gradient is no longer finite, or if after all steps it is worse than before the first. The layer
named is the one whose log-determinant has changed most since the start, of those that are still finite: what is not is
what the layers before it have made of its input. Parts that leave between levels have densities, no determinants.

Both models have equally many parameters and couplings at each size: `deep` has three times the steps of flow, `wide` wider
networks with three times the parameters. Adamax at constant learning rates, no warm-up, clipping or averaging, which is
less than Glow is usually given: what is compared is the flows, not their recipes. Short runs; a flow that survives them may
be lost later. 72 runs of 150 steps on the part of CIFAR-10, an hour and a quarter on one core at cpu scale.
"""

from typing import Any

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
    per_seed,
    within,
)
from flowrepro.figures.drawn import Arrays, Measures
from flowrepro.figures.jacobian_determinant.trained import about, bits_of
from flowrepro.pictures.style import BLUE, LINES, ORANGE, panels
from flowrepro.runs.traces import first_not_finite

MODELS, SIZES = {"glow": "Glow", "qlf": "QLF"}, ("base", "deep", "wide")
COLOURS = {"Glow": BLUE, "QLF": ORANGE}
CONVOLUTION = "InvertibleConv"
IN_WORDS = {CONVOLUTION: "convolutions", "GlowCoupling": "couplings"}
# one of twelve settings
ONE_SETTING = 0.05
PAPER_RATE = 0.01
# steps, those at paper scale
LONG = 2000


def table(measures: Measures) -> pd.DataFrame:
    """One row per run: whether it is `lost`, at which `step`, and the layer whose log-determinant has changed most.

    `change` is in nats, `kind` and `level` are those of that layer. `first_not_finite` is the first layer of a diverged
    run with a log-determinant or variance that is not finite. `convolutions` is the sum of the log-determinants of all
    convolutions over the dimension, at the last validation.
    """
    return pd.DataFrame([_row(m) for m in measures])


def _row(m: dict[str, Any]) -> dict[str, Any]:
    model, size = m["case"].split()[:2]
    bits = bits_of(m, m["dim"])
    name, change = most_changed(m)
    return {
        **about(m, m["dim"]),
        "source": m["source"],
        "model": MODELS[model],
        "size": size,
        "lr": m["config"]["training.lr"],
        "parameters": m["parameters"],
        "bits_at_start": bits[0],
        "bits_per_dim": bits[-1],
        # nan is not below the start either
        "lost": float(m["state"] == "diverged" or not bits[-1] < bits[0]),
        "layer": name,
        "kind": name.split(".")[-1],
        "level": name.partition("level")[2].partition(".")[0],
        "change": change,
        "first_not_finite": first_not_finite(m["broken_layers"]) or "" if m["broken_layers"] else "",
        "convolutions": _convolutions(m)[-1],
    }


def most_changed(m: dict[str, Any]) -> tuple[str, float]:
    """The layer of a run whose finite log-determinant has changed most since the start, and by how many nats."""
    broken = [layer["mean_dlogp"] for layer in m["broken_layers"]]
    change = np.abs(np.array(broken or m["trace_log_det"][-1]) - m["trace_log_det"][0])
    is_map = np.array([not name.endswith("leaves") for name in m["trace_layers"]])
    most = int(np.where(np.isfinite(change) & is_map, change, -1).argmax())
    return str(m["trace_layers"][most]), float(change[most])


def _convolutions(m: dict[str, Any]) -> np.ndarray:
    """The sum of the log-determinants of all convolutions over the dimension of an image, at every validation (T,)."""
    own = [name.endswith(CONVOLUTION) for name in m["trace_layers"]]
    return m["trace_log_det"][:, own].sum(1) / m["dim"]


def arrays(measures: Measures) -> Arrays:
    """The log-determinants of all convolutions over the steps."""
    return {
        f"{m['case']}/{name}": value
        for m in measures
        for name, value in (("steps", m["history"]["step"]), ("convolutions", _convolutions(m)))
    }


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """By size: bits/dim of both models over the learning rate, lost runs above; the convolutions over the steps."""
    figure, axes = panels(2, len(SIZES), 3.5, 3.1)
    for (above, below), size in zip(axes.T, SIZES, strict=True):
        rows = table[table["size"] == size]
        _draw_bits(above, rows)
        _draw_convolutions(below, rows, arrays)
    axes[0, 0].set_ylabel("held-out bits/dim at the end")
    axes[1, 0].set_ylabel("log-determinants of all convolutions,\nper dimension (nats)")
    above, below = (axis.get_legend_handles_labels() for axis in axes[:, 0])
    handles, labels = (one + other for one, other in zip(above, below, strict=True))
    figure.legend(handles, labels, loc="outside upper center", ncols=6, fontsize=8)
    return figure


def _draw_bits(axis: Axes, rows: pd.DataFrame) -> None:
    rates = sorted(rows.lr.unique())
    for shift, height, model in ((-0.15, 0.95, "Glow"), (0.15, 0.88, "QLF")):
        own = rows[rows.model == model]
        place = np.array([rates.index(lr) for lr in own.lr]) + shift + 0.05 * (own.seed - own.seed.mean())
        lost = (own.lost == 1).to_numpy()
        style: Any = {"color": COLOURS[model], "ls": ""}
        axis.plot(place[~lost], own.bits_per_dim[~lost], marker="o", ms=4, label=model, **style)
        axis.axhline(own.bits_at_start.mean(), color=COLOURS[model], lw=0.7, ls=":")
        axis.plot(
            place[lost], np.full(lost.sum(), height), marker="X", ms=6, label=f"{model}, lost",
            transform=axis.get_xaxis_transform(), **style,
        )  # fmt: skip
    low, high = axis.get_ylim()
    axis.set(xticks=range(len(rates)), xlim=(-0.5, len(rates) - 0.5), ylim=(low, high + 0.25 * (high - low)))
    axis.set_xticklabels([f"{lr:g}" for lr in rates])
    axis.set_xlabel("learning rate (dotted: before training)")
    axis.set_title(
        "\n".join([rows["size"].iloc[0], *(_told(rows, model) for model in COLOURS)]), fontsize=7.5
    )


def _told(rows: pd.DataFrame, model: str) -> str:
    """A model's parameters at a size, how many of its runs are lost, and the kind of layer that changed most in most."""
    own = rows[rows.model == model]
    lost = own[own.lost == 1]
    kind = lost.kind.mode()[0] if len(lost) else ""
    by = f" by {IN_WORDS.get(kind, kind)}" if kind else ""
    return f"{model}, {own.parameters.iloc[0]:,.0f} parameters: {len(lost)} of {len(own)} lost{by}"


def _draw_convolutions(axis: Axes, rows: pd.DataFrame, arrays: Arrays) -> None:
    first, rates = rows[rows.seed == rows.seed.min()], sorted(rows.lr.unique())
    for row in first.itertuples():
        style: Any = {
            "color": LINES[rates.index(row.lr)],
            "ls": "-" if row.model == "Glow" else "--",
            "lw": 1.2,
        }
        steps, values = (arrays[f"{row.case}/{name}"] for name in ("steps", "convolutions"))
        axis.plot(steps, values, label=f"{row.model}, {row.lr:g}", **style)
        if row.lost:
            axis.plot(steps[-1], values[-1], "X", color=style["color"], ms=6)
    axis.set_xlabel("step")


def share_lost(model: str, **where: Any) -> Values:
    """The share of a model's settings in which a run is lost, by seed."""
    return per_seed("mean", column("lost", model=model, **where))


def _by_convolution(table: pd.DataFrame) -> pd.Series:
    """Of Glow's lost runs the share that a convolution is named for, by seed; nan where none is lost."""
    rows = table[table.model == "Glow"]
    lost = rows[rows.lost == 1]
    named = (lost.kind == CONVOLUTION).groupby(lost.seed).mean().astype(float)
    return named.reindex(sorted(rows.seed.unique()))


def _survivors_steps(table: pd.DataFrame) -> pd.Series:
    """The steps of Glow's runs that are not lost, the fewest by seed; infinity where all are lost."""
    rows = table[(table.model == "Glow") & (table.lost == 0)]
    steps = rows.groupby("seed")["step"].min().astype(float)
    return steps.reindex(sorted(table.seed.unique()), fill_value=np.inf)


def _expansion(table: pd.DataFrame) -> pd.Series:
    """The sum of log-determinants of QLF's convolutions minus that of Glow's where both survive, the largest by seed."""
    kept = table[table.lost == 0].set_index(["seed", "size", "lr", "model"]).convolutions.unstack()
    return (kept.QLF - kept.Glow).dropna().groupby(level="seed").max()


def _same_size(table: pd.DataFrame) -> pd.Series:
    """The parameters of QLF over those of Glow, of each size."""
    by_size = table.groupby(["seed", "size", "model"]).parameters.first().unstack()
    return (by_size.QLF / by_size.Glow).reset_index("size", drop=True)


def _larger(size: str, words: str, kind: str) -> Claim:
    more = difference(share_lost("Glow", size=size), share_lost("Glow", size="base"))
    return Claim(
        f"{size}_glow",
        "Sec. 2.2",
        f"Glow becomes less stable with {words}.",
        f"share of learning rates at which Glow is lost, {size} minus base",
        more,
        at_least(ONE_SETTING),
        "> 0",
        kind=kind,
        to_refute=(
            enough(share_lost("Glow", size=size), at_least(ONE_SETTING), f"Glow is lost at all, {size}"),
        ),
    )


CLAIMS = [
    Claim(
        "more_stable",
        "Secs. 1, 6.1, 7",
        "The proposed flow has an improved stability of training.",
        "share of sizes and learning rates at which Glow is lost, minus that of QLF",
        difference(share_lost("Glow"), share_lost("QLF")),
        at_least(ONE_SETTING),
        "> 0",
        given=(
            enough(_same_size, within(1, 0.1), "parameters of QLF over those of Glow"),
            enough(share_lost("Glow"), at_least(ONE_SETTING), "Glow is lost somewhere"),
        ),
    ),
    _larger("deep", "depth", "paper"),
    _larger("wide", "the width of its networks", "beyond"),
    Claim(
        "by_convolution",
        "Sec. 2.2, Fig. 2",
        "It is the 1x1 convolution that makes Glow unstable: nothing bounds its determinant.",
        "share of Glow's lost runs in which the log-determinant that has changed most is that of a convolution",
        _by_convolution,
        at_least(0.5),
        "1",
        to_refute=(
            enough(
                _survivors_steps,
                at_least(LONG),
                "steps without loss of those that survive: convolutions, which grow slowly, may take longer",
            ),
        ),
        why="the log-determinant that has changed most is that of another `kind` of `layer`",
    ),
    Claim(
        "at_the_papers_rate",
        "App. C",
        "QLF trains at the learning rate of 0.01.",
        "share of sizes at which QLF is lost at 0.01",
        share_lost("QLF", lr=PAPER_RATE),
        at_most(0),
        "0",
    ),
    Claim(
        "expands_less",
        "beyond the paper",
        "The convolutions of QLF expand less than those of Glow at every learning rate that both survive.",
        "log-determinants of all convolutions per dimension, QLF minus Glow, the largest",
        _expansion,
        at_most(0),
        unit="nats",
        kind="beyond",
    ),
]
