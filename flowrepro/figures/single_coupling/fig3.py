"""single_coupling, Figure 3: conditional KL divergence along p, before and after one coupling, and its lower bound.

What one should see: before training (grey) it depends on p; after it (orange) it is flat and lies on the bound (blue):
zero for W, whose conditionals are normal (Corollary 1), 0.1765 nats for WU, the negentropy of a uniform law. Lines are
exact, by quadrature of the trained scale and shift; dots are estimates from samples alone.

The runs are those of Figure 2.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from flowrepro.analysis.coupling import LOG_2PI, conditional_kl, w_conditionals
from flowrepro.data import Data
from flowrepro.data.toy import TOYS, W_RANGE
from flowrepro.figures.claims import Claim, at_least, at_most, column, difference, must_fail, within
from flowrepro.figures.single_coupling.one_layer import ATTAINED, W_DENSITIES, is_settled, scale_and_shift
from flowrepro.flows.core import Flow
from flowrepro.pictures.style import BLUE, GREY, ORANGE, panels

BINS = 40
SAMPLE_SEED = 2


def measure(flow: Flow, data: Data, n: int) -> dict[str, Any]:
    """Conditional divergences at quadrature nodes of p, and from n fresh samples in bins of p, in nats."""
    flow, exact = flow.double(), w_conditionals()
    s, t = scale_and_shift(flow, exact.p)
    entropy = W_DENSITIES[data.name].entropy(exact.p)
    before = conditional_kl(exact.mean, exact.variance, entropy)
    after = conditional_kl(exact.mean * s.exp() + t, exact.variance * (2 * s).exp(), entropy + s)
    # the best coupling leaves mean 0 and variance 1
    zero = torch.zeros_like(entropy)
    bound = conditional_kl(zero, zero + 1, entropy - exact.variance.log() / 2)
    centres, sampled_before, sampled_after = sampled(flow, data.name, n)
    arrays = {
        "p": exact.p,
        "before": before,
        "after": after,
        "bound": bound,
        "centres": centres,
        "sampled_before": sampled_before,
        "sampled_after": sampled_after,
    }
    means = {
        name: exact.expectation(values)
        for name, values in (("before", before), ("after", after), ("bound", bound))
    }
    return {
        **{name: values.float().numpy() for name, values in arrays.items()},
        **{f"mean_{name}": value for name, value in means.items()},
        "excess": means["after"] - means["bound"],
        "lowest_gap": float((after - bound).min()),
        "mean_sampled_before": float(sampled_before.mean()),
        "mean_sampled_after": float(sampled_after.mean()),
    }


@torch.no_grad()
def sampled(flow: Flow, name: str, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bin centres of p, and the mean of log mu(a|p) - log N(a) before and after the flow in each bin (BINS,)."""
    toy = TOYS[name]
    assert toy.log_density is not None
    x = toy.sample(n, torch.Generator().manual_seed(SAMPLE_SEED))[0]
    z, dlogp = flow.chain(x)
    conditional = toy.log_density(x) + math.log(2 * W_RANGE)
    before = conditional + 0.5 * x[:, 1].square() + LOG_2PI / 2
    after = conditional - dlogp + 0.5 * z[:, 1].square() + LOG_2PI / 2
    width = 2 * W_RANGE / BINS
    index = ((x[:, 0] + W_RANGE) / width).long().clamp(max=BINS - 1)
    count = torch.bincount(index, minlength=BINS)
    return (
        (torch.arange(BINS) + 0.5) * width - W_RANGE,
        torch.bincount(index, before, BINS) / count,
        torch.bincount(index, after, BINS) / count,
    )


def table(measures: list[dict[str, Any]]) -> pd.DataFrame:
    """One row for each density and seed, the numbers alone."""
    return pd.DataFrame(
        [
            {"case": m["case"], "seed": m["seed"], "state": m["state"]}
            | {k: v for k, v in m.items() if isinstance(v, float)}
            for m in measures
        ]
    )


def draw(table: pd.DataFrame, arrays: dict[str, np.ndarray]) -> Figure:
    """W left, WU right."""
    figure, axes = panels(1, 2, 4.4, 3.0)
    for axis, (case, density) in zip(axes[0], W_DENSITIES.items(), strict=True):
        found = {name.split("/")[1]: values for name, values in arrays.items() if name.startswith(f"{case}/")}
        _draw(axis, found)
        axis.set(title=f"{density.title} density", xlabel="passive $p$", ylim=(-0.06, 1.5))
    axes[0, 0].set_ylabel("conditional KL divergence (nats)")
    axes[0, 0].legend(fontsize=7, ncols=2, loc="upper center")
    return figure


def _draw(axis: Axes, found: dict[str, np.ndarray]) -> None:
    axis.plot(found["p"], found["before"], color=GREY, label="before training")
    axis.plot(found["p"], found["after"], color=ORANGE, label="after training")
    axis.plot(found["p"], found["bound"], color=BLUE, ls="--", label="lower bound")
    axis.plot(
        found["centres"], found["sampled_before"], "o", color=GREY, ms=2.5, label="before, from samples"
    )
    axis.plot(
        found["centres"], found["sampled_after"], "o", color=ORANGE, ms=2.5, label="after, from samples"
    )


# closed forms, in nats
BEFORE = {"w": 0.6321036, "wu": 0.8085889}
UNIFORM = 0.1764852
CLAIMS = [
    Claim(
        "after_w",
        "Ex. 3, Fig. 3 left",
        "After training the conditional divergence of the W density is zero.",
        "mean over p, by quadrature",
        column("mean_after", case="w"),
        at_most(ATTAINED),
        "0",
        "nats",
        to_refute=(is_settled("w"),),
        controls=(must_fail("before training", column("mean_before", case="w")),),
    ),
    Claim(
        "after_wu",
        "Ex. 3, Fig. 3 right",
        "The remaining loss for the WU density is the negentropy of a uniform distribution with unit variance.",
        "mean over p of the conditional divergence, by quadrature",
        column("mean_after", case="wu"),
        within(UNIFORM, ATTAINED),
        f"{UNIFORM:.4f}",
        "nats",
        to_refute=(is_settled("wu"),),
        controls=(
            must_fail("before training", column("mean_before", case="wu")),
            must_fail("W, whose conditionals are normal", column("mean_after", case="w")),
        ),
    ),
    *(
        Claim(
            f"samples_before_{case}",
            "Fig. 3",
            f"Samples in bins of p give the conditional divergence of {density.title} before training.",
            "mean over bins",
            column("mean_sampled_before", case=case),
            within(BEFORE[case], 0.02),
            f"{BEFORE[case]:.4f}",
            "nats",
            kind="check",
            closed_form=True,
        )
        for case, density in W_DENSITIES.items()
    ),
    *(
        Claim(
            f"never_below_{case}",
            "Theorem 1",
            f"The trained coupling of {density.title} is not below the bound.",
            "mean over p from samples, minus the bound",
            difference(column("mean_sampled_after", case=case), column("mean_bound", case=case)),
            at_least(-0.005),
            "≥ 0",
            "nats",
            kind="check",
        )
        for case, density in W_DENSITIES.items()
    ),
    *(
        Claim(
            f"samples_agree_{case}",
            "Sec. 3.3",
            f"Sample estimates of the remaining divergence of {density.title} agree with quadrature.",
            "mean over bins minus quadrature",
            difference(column("mean_sampled_after", case=case), column("mean_after", case=case)),
            within(0, 0.02),
            "0",
            "nats",
            kind="check",
        )
        for case, density in W_DENSITIES.items()
    ),
]
