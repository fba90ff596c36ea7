"""The divergence of a given p from the normal, before and after one coupling on W or WU, and its bound."""

import math
from typing import Any

import torch
from torch import Tensor

from flowrepro.analysis.coupling import LOG_2PI, conditional_kl, w_conditionals, w_entropy, wu_entropy
from flowrepro.data import Data
from flowrepro.data.toy import TOYS, W_RANGE
from flowrepro.device import device_of
from flowrepro.flows.core import Flow
from flowrepro.measures.one_coupling import scale_and_shift

ENTROPIES = {"w": w_entropy, "wu": wu_entropy}
BINS = 40
SAMPLE_SEED = 2


def measure(flow: Flow, data: Data, n: int) -> dict[str, Any]:
    """Conditional divergences at quadrature nodes of p, and from n fresh samples in bins of p, in nats."""
    flow, exact = flow.double(), w_conditionals()
    s, t = scale_and_shift(flow, exact.p)
    entropy = ENTROPIES[data.name](exact.p)
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
        **{name: values.float() for name, values in arrays.items()},
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
    z, dlogp = (v.cpu() for v in flow.chain(x.to(device_of(flow))))
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
