"""Couplings without a network: the best affine coupling of given samples, from their conditional moments.

Lemma 1 of single_coupling: z_p = x_p and z_a = (x_a - m(x_p)) / sigma(x_p). `init_from(x)` estimates m and sigma; there
is nothing to train. Chained with optimal rotations this is the paper's Algorithm 2 without gradient descent.
"""

from typing import cast

import torch
from torch import Tensor

from flowrepro.analysis.moments import bin_moments, bin_sums, equal_counts, fit_quadratic, monomials
from flowrepro.flows.core import Layer

INTERPOLATION_BINS = 64
# fewer samples say nothing about a variance
SAMPLES_A_BIN = 8
MIN_STD = 1e-3


class MomentCoupling(Layer):
    """Subclasses give `moments`; the first `passive` dimensions pass unchanged. dlogp = -sum log sigma."""

    def __init__(self, passive: int) -> None:
        super().__init__()
        self.passive = passive

    @property
    def data_dependent(self) -> bool:
        return True

    def moments(self, x_passive: Tensor) -> tuple[Tensor, Tensor]:
        """(m, log sigma) of the active dimensions, each (B, A), given the passive ones (B, P)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        passive, active = x[:, : self.passive], x[:, self.passive :]
        mean, log_std = self.moments(passive)
        return torch.cat([passive, (active - mean) * (-log_std).exp()], 1), -log_std.sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        passive, active = z[:, : self.passive], z[:, self.passive :]
        mean, log_std = self.moments(passive)
        return torch.cat([passive, active * log_std.exp() + mean], 1)


class BinnedCoupling(MomentCoupling):
    """One passive dimension: moments of equal-count bins, linear between bin centres and constant beyond them."""

    centres: Tensor
    mean: Tensor
    log_std: Tensor

    def __init__(self, dim: int, dtype: torch.dtype | None = None, bins: int = INTERPOLATION_BINS) -> None:
        super().__init__(1)
        self.bins = bins
        self.register_buffer("centres", torch.linspace(-1, 1, bins, dtype=dtype))
        self.register_buffer("mean", torch.zeros(bins, dim - 1, dtype=dtype))
        self.register_buffer("log_std", torch.zeros(bins, dim - 1, dtype=dtype))

    def moments(self, x_passive: Tensor) -> tuple[Tensor, Tensor]:
        p = x_passive[:, 0].clamp(self.centres[0], self.centres[-1])
        right = torch.bucketize(p.detach(), self.centres).clamp(1, self.bins - 1)
        left = right - 1
        # tied samples can make the first two centres equal
        width = (self.centres[right] - self.centres[left]).clamp(min=torch.finfo(p.dtype).tiny)
        share = ((p - self.centres[left]) / width)[:, None]
        mean = torch.lerp(self.mean[left], self.mean[right], share)
        return mean, torch.lerp(self.log_std[left], self.log_std[right], share)

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        p = x[None, :, 0].double()
        bins = max(1, min(self.bins, len(x) // SAMPLES_A_BIN))
        centre = x.double().mean(0)
        found = bin_moments(bin_sums(p, (x.double() - centre).mT[:, None], bins, equal_counts))
        # with few samples the last bin stands in for the rest: constant beyond its centre, as always
        used = torch.arange(self.bins).clamp(max=bins - 1)
        self.centres.copy_(found.mean[0, used, 0] + centre[0])
        self.mean.copy_(found.mean[0, used, 1:] + centre[1:])
        self.log_std.copy_(found.variance[0, used, 1:].sqrt().clamp(min=MIN_STD).log())


class QuadraticCoupling(MomentCoupling):
    """Any number of passive dimensions: mean and log variance quadratic in them, by regression."""

    mean_weight: Tensor
    log_std_weight: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, dim: int, passive: int, dtype: torch.dtype | None = None) -> None:
        super().__init__(passive)
        features = monomials(torch.zeros(1, passive)).shape[1]
        for name in ("mean_weight", "log_std_weight"):
            self.register_buffer(name, torch.zeros(features, dim - passive, dtype=dtype))
        for name in ("low", "high"):
            self.register_buffer(name, torch.zeros(dim - passive, dtype=dtype))

    def moments(self, x_passive: Tensor) -> tuple[Tensor, Tensor]:
        q = monomials(x_passive)
        return q @ self.mean_weight, (q @ self.log_std_weight).clamp(self.low, self.high)

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        fit = fit_quadratic(x[:, : self.passive].double(), x[:, self.passive :].double())
        self.mean_weight.copy_(fit.mean_weight)
        self.log_std_weight.copy_(fit.log_variance_weight / 2)
        self.low.copy_(fit.low / 2)
        self.high.copy_(fit.high / 2)


def moment_coupling(dim: int, passive: int, dtype: torch.dtype | None = None) -> MomentCoupling:
    """By bins if one dimension is passive, else by regression."""
    return BinnedCoupling(dim, dtype) if passive == 1 else QuadraticCoupling(dim, passive, dtype)


@torch.no_grad()
def best_coupling_of(x: Tensor, passive: int) -> Tensor:
    """What the best affine coupling makes of samples x (N, D): the active dimensions normalised given the passive."""
    coupling = moment_coupling(x.shape[1], passive, x.dtype)
    coupling.init_from(x)
    return cast(Tensor, coupling(x)[0])
