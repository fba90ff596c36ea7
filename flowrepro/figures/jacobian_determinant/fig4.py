"""jacobian_determinant, Figure 4: the effect of tighter and looser constraints on CIFAR-10.

What one should see: (a) bits/dim over the steps of the proposed flow (baseline), of the same with tanh or the normal CDF
before its splines, or with an L2 transport cost, and of the flow without bounds on scales and slopes; (b) the variances of
all intermediate maps at the end of training, for each; (c) the log-determinants per dimension of the two parts of every
block: matrix and couplings expand, what follows contracts.

The paper says that constraints tighter than those of the baseline lead to slower convergence, worse likelihood and smaller
variances, and that the flow without any converges faster but soon collapses. Ours are two levels of four small blocks
where the paper has 48 blocks, and a part of CIFAR-10: whether the unbounded flow collapses depends on depth, and is
settled only where it does. At the learning rate of the others it may do so within a few steps; whether it converges faster
before is looked at with a tenth of that rate (dotted in a). The weight of the transport cost is not known (here 0.1). The
normal CDF is scaled to slope 1 (Figure 6 shows why), and no activation is inserted at the end of a level, where it would
bound the latents.

Costs 65 minutes on two cores at cpu scale, seven runs of three seeds, two of them short.
"""

import math
from typing import Any

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
    combined,
    difference,
    effective,
    enough,
    largest,
    matches,
    must_fail,
    ratio,
    settled,
)
from flowrepro.figures.drawn import Arrays, Measures
from flowrepro.figures.jacobian_determinant.toys import alternating
from flowrepro.pictures.style import BLUE, GREEN, GREY, ORANGE, PALE, RED, panels

# label and colour of each case
CASES = {
    "variant baseline": ("baseline", BLUE),
    "variant tanh": ("with tanh", ORANGE),
    "variant cdf": ("with normal CDF", GREEN),
    "variant transport": ("with transport cost", RED),
    "variant unconstrained": ("without bounds", GREY),
}
BASELINE, UNCONSTRAINED = "variant baseline", "variant unconstrained"
GENTLE = ("gentle baseline", "gentle unconstrained")
TIGHTER = {
    "tanh": "inserting tanh",
    "cdf": "inserting the normal CDF",
    "transport": "the L2 transport cost",
}
# the beginning of training, as a fraction of the steps
EARLY = 0.1
# blocks of the paper's model
DEEP = 48
# bits/dim, and fraction of a variance, that count as a difference
BITS, FRACTION = 0.01, 0.02


def table(measures: Measures) -> pd.DataFrame:
    """One row per run: held-out bits/dim, variances of intermediate maps, and what blocks do.

    `mean_bits` is over all steps, `early_bits` and `early_variance` are those after a tenth of them; `gain_bits` is what
    the last fifth gained, in bits/dim. `moved` is the mean square by which a block moves what it gets, per dimension.
    """
    return pd.DataFrame([_row(m) for m in measures])


def _row(m: dict[str, Any]) -> dict[str, Any]:
    steps, bits = m["history"]["step"], bits_over_steps(m)
    early = int(np.searchsorted(steps, EARLY * m["config"]["training.steps"]))
    reached = early < len(steps)
    return {
        "case": m["case"],
        "seed": m["seed"],
        "state": m["state"],
        "step": m["step"],
        "last_fifth_gain": m["last_fifth_gain"],
        "gain_bits": m["last_fifth_gain"] / (m["dim"] * math.log(2)),
        "blocks": len(m["expansion"]),
        "bits_per_dim": m["result"].get("val_bits_per_dim", np.nan),
        "mean_bits": np.trapezoid(bits, steps) / steps[-1] if m["state"] == "completed" else np.nan,
        "early_bits": bits[early] if reached else np.nan,
        "mean_variance": variances(m)[-1].mean(),
        "early_variance": variances(m)[early].mean() if reached else np.nan,
        "alternating": alternating(m["expansion"], m["compression"]),
        "moved": m["moved"].mean(),
        "minutes": m["result"].get("minutes", np.nan),
    }


def bits_over_steps(m: dict[str, Any]) -> np.ndarray:
    """Held-out bits/dim at each validation."""
    found: np.ndarray = -m["history"]["val_log_prob"] / (m["dim"] * math.log(2))
    return found


def variances(m: dict[str, Any]) -> np.ndarray:
    """(T, L) variances of the outputs of all layers of blocks at each validation."""
    inner = [not name.endswith(("Rescale", "leaves")) for name in m["trace_layers"]]
    found: np.ndarray = m["trace_variance"][: len(m["history"]["step"]), inner]
    return found


def arrays(measures: Measures) -> Arrays:
    """For each case bits/dim over the steps, the last variances of all maps, and log-determinants of the blocks."""
    found: Arrays = {}
    for m in measures:
        found |= {
            f"{m['case']}/step": m["history"]["step"],
            f"{m['case']}/bits": bits_over_steps(m),
            f"{m['case']}/variances": variances(m)[-1],
            f"{m['case']}/log_dets": np.stack([m["expansion"], m["compression"]], 1).ravel(),
        }
    return found


def draw(table: pd.DataFrame, arrays: Arrays) -> Figure:
    """Curves, boxes of variances, log-determinants."""
    figure, axes = panels(1, 3, 4.1, 3.6)
    _draw_curves(axes[0, 0], table, arrays)
    _draw_variances(axes[0, 1], arrays)
    _draw_log_dets(axes[0, 2], arrays)
    return figure


def _draw_curves(axis: Axes, table: pd.DataFrame, arrays: Arrays) -> None:
    shown = []
    for case, (label, colour) in CASES.items():
        step, bits = arrays[f"{case}/step"], arrays[f"{case}/bits"]
        ends = table[table.case == case]
        state = "" if (ends.state == "completed").all() else f", {(ends.state == 'diverged').sum()} diverged"
        axis.plot(step, bits, color=colour, label=label + state)
        axis.plot(ends.step, ends.bits_per_dim, "o", ms=3, color=colour)
        shown += bits[np.isfinite(bits) & (step > 0)].tolist()
    for case, colour in zip(GENTLE, (BLUE, GREY), strict=True):
        axis.plot(arrays[f"{case}/step"], arrays[f"{case}/bits"], color=colour, ls=":", lw=1.2)
    axis.set(xlabel="step", ylabel="held-out bits/dim", title="(a) negative log-likelihood")
    # the start is far above
    low, high = min(shown), float(np.quantile(shown, 0.95))
    axis.set_ylim(low - 0.1 * (high - low), high + 0.15 * (high - low))
    axis.legend(fontsize=7)


def _draw_variances(axis: Axes, arrays: Arrays) -> None:
    for place, (case, (_, colour)) in enumerate(CASES.items()):
        values = arrays[f"{case}/variances"]
        line = {"color": colour}
        boxes = axis.boxplot(
            values[np.isfinite(values)], positions=[place], widths=0.55, whis=(0, 100), medianprops=line,
            boxprops=line, whiskerprops=line, capprops=line,
        )  # fmt: skip
        assert boxes
        axis.plot(place, values.mean(), "D", ms=4, color=colour)
    axis.set(yscale="log", title="(b) variances of intermediate maps (diamond: mean)")
    names = [label.replace("with ", "with\n").replace("without ", "without\n") for label, _ in CASES.values()]
    axis.set_xticks(range(len(CASES)), names, fontsize=7)


def _draw_log_dets(axis: Axes, arrays: Arrays) -> None:
    values = arrays[f"{BASELINE}/log_dets"]
    places = np.arange(len(values))
    for part, (label, colour) in enumerate((("matrix and couplings", BLUE), ("activation", PALE))):
        axis.bar(places[part::2], values[part::2], color=colour, width=0.8, label=f"baseline, {label}")
    for case, (label, colour) in CASES.items():
        if case != BASELINE:
            axis.plot(places, arrays[f"{case}/log_dets"], "_", ms=7, mew=1.5, color=colour, label=label)
    axis.axhline(0, color="black", lw=0.6)
    axis.set_xticks(places[::2] + 0.5, [str(k + 1) for k in range(len(values) // 2)], fontsize=7)
    axis.set(xlabel="block", ylabel="log |det J| / D (nats)", title="(c) log-determinant of each map")
    # room for the legend
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.3 * (high - low))
    axis.legend(fontsize=6.5, ncols=2, loc="upper center")


# --- claims ---------------------------------------------------------------------------------------------------------

SOURCE = "Sec. 6.2, Fig. 4"


def _over_baseline(name: str, case: str) -> Values:
    """By how much a column of a case exceeds that of the baseline."""
    return difference(column(name, case=case), column(name, case=BASELINE))


def _share(name: str, case: str) -> Values:
    """A column of a case over that of the baseline."""
    return ratio(column(name, case=case), column(name, case=BASELINE))


def _settled(case: str) -> Given:
    return settled(largest(*(combined(abs, column("gain_bits", case=c)) for c in (case, BASELINE))), BITS)


def _acted(name: str) -> tuple[Given, ...]:
    """That the transport cost has shortened the ways of the blocks."""
    if name != "transport":
        return ()
    shorter = _share("moved", f"variant {name}")
    return (
        effective(shorter, at_most(0.9), "distances of blocks under the cost over those of the baseline"),
    )


def _tighter(name: str, words: str) -> list[Claim]:
    case = f"variant {name}"
    common: dict[str, Any] = {"given": _acted(name), "to_refute": (_settled(case),)}
    return [
        Claim(
            f"slower_{name}",
            f"{SOURCE} (a)",
            f"Tighter constraints lead to slower convergence: {words}.",
            "held-out bits/dim, mean over all steps, minus that of the baseline",
            _over_baseline("mean_bits", case),
            at_least(BITS),
            "> 0",
            "bits/dim",
            **common,
        ),
        Claim(
            f"worse_{name}",
            f"{SOURCE} (a)",
            f"Tighter constraints lead to a worse likelihood: {words}.",
            "held-out bits/dim after as many steps, minus those of the baseline",
            _over_baseline("bits_per_dim", case),
            at_least(BITS),
            "> 0",
            "bits/dim",
            **common,
        ),
        Claim(
            f"variance_{name}",
            f"{SOURCE} (b)",
            f"Tighter constraints lead to a smaller variance of intermediate maps: {words}.",
            "mean variance over all maps, over that of the baseline",
            _share("mean_variance", case),
            at_most(1 - FRACTION),
            "< 1",
            **common,
        ),
    ]


def _order(table: pd.DataFrame) -> pd.Series:
    """For each seed the rank correlation of bits/dim and mean variance over the baseline and its tighter variants."""
    rows = table[table.case.isin([BASELINE, *(f"variant {name}" for name in TIGHTER)])]
    return pd.Series(
        {
            seed: group.bits_per_dim.corr(group.mean_variance, method="spearman")
            for seed, group in rows.groupby("seed")
        }
    )


DEEP_ENOUGH = enough(
    column("blocks", case=UNCONSTRAINED), at_least(DEEP), "the flow has as many blocks as the paper's"
)
CLAIMS = [
    *(claim for name, words in TIGHTER.items() for claim in _tighter(name, words)),
    Claim(
        "order",
        f"{SOURCE} (b)",
        "A model of worse likelihood also has a smaller mean variance over all intermediate maps.",
        "rank correlation of bits/dim and mean variance over the four flows with bounds",
        _order,
        at_most(-0.75),
        "-1",
        to_refute=(_settled("variant tanh"), _settled("variant cdf"), _settled("variant transport")),
    ),
    Claim(
        "alternates",
        f"{SOURCE} (c)",
        "An expansive layer is followed by a contractive layer.",
        "share of blocks whose first part has a positive mean log-determinant and whose second a negative one",
        column("alternating", case=BASELINE),
        at_least(0.9),
        "1",
    ),
    Claim(
        "faster",
        SOURCE,
        "Without any bounds the flow converges faster at the beginning of training.",
        "held-out bits/dim after a tenth of the steps, minus those of the baseline, both with a small learning rate",
        difference(*(column("early_bits", case=case) for case in GENTLE[::-1])),
        at_most(-BITS),
        "< 0",
        "bits/dim",
        controls=(must_fail("the baseline itself", _over_baseline("early_bits", BASELINE)),),
    ),
    Claim(
        "higher_variance",
        SOURCE,
        "Without any bounds the flow has a higher variance at the beginning of training.",
        "mean variance over all maps after a tenth of the steps, over that of the baseline, both with a small learning rate",
        ratio(*(column("early_variance", case=case) for case in GENTLE[::-1])),
        at_least(1 + FRACTION),
        "> 1",
        controls=(must_fail("the baseline itself", _share("early_variance", BASELINE)),),
    ),
    Claim(
        "collapses",
        SOURCE,
        "Without any bounds the flow soon collapses.",
        "1 where training diverged",
        matches("state", "diverged", case=UNCONSTRAINED),
        at_least(1),
        "1",
        to_refute=(DEEP_ENOUGH,),
    ),
]
