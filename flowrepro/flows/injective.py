"""Noisy injective layers x = A z + b + noise, noise ~ N(0, Σ) with diagonal Σ (across_dimensions Sec. 4, A.5 to A.7).

From data to latent they are stochastic: z is drawn from the stochastic inverse q(z|x), the likelihood normalised over
z, and dlogp = log ∫ p(x|z) dz, the manifold term, so that log p(x) >= E_q[log p(z) + dlogp] (Eq. 7).

What is inverted is computed in float64: in float32 whole nats are lost where Σ is small, since u^T Λ^-1 u and
μ^T Σ^-1 μ nearly cancel. For the same reason their difference is computed as the square of a residual.
"""

from __future__ import annotations

import copy
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from flowrepro.flows.bases import LOG_2PI, normal_noise
from flowrepro.flows.coupling import soft_clamp
from flowrepro.flows.operators import DiagonalPrecision, Matrix, Precision, Upsampling

# e^±10 is far beyond any variance that is of use
LOG_VAR_LIMIT = 10.0


class Noise(nn.Module):
    """Learned b and log-variances (N,), at first 0."""

    def __init__(self, dim: int, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(dim, dtype=dtype))
        self.log_var = nn.Parameter(torch.zeros(dim, dtype=dtype))

    def forward(self, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """(b, log-variances)."""
        return self.bias, self.log_var


Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def with_unit_noise(flow: Module) -> Module:
    """A copy of a flow or base whose learned Σ is I: the authors' code samples from that."""
    copied = copy.deepcopy(flow)
    for part in copied.modules():
        if isinstance(part, Noise):
            part.log_var.zero_()
    return copied


class ConditionalNoise(nn.Module):
    """b and log-variances (B, N) by a network of what is given."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """(b, log-variances)."""
        bias, raw = self.net(given).chunk(2, -1)
        return bias, soft_clamp(raw, LOG_VAR_LIMIT)


class Fit(NamedTuple):
    """Of p(x|z) e^{-ridge |z|^2 / 2} as a Gaussian in z: its mean (B, M), its precision, its log-integral (B,)."""

    mean: Tensor
    precision: Precision | DiagonalPrecision
    log_integral: Tensor


class Injection(nn.Module):
    """p(x|z) = N(x | A z + b, Σ).

    Args:
        operator: A, a Matrix or Upsampling.
        noise: b and the logarithms of Σ's diagonal, learned or by a network of what is `given`.
    """

    def __init__(self, operator: Matrix | Upsampling, noise: nn.Module) -> None:
        super().__init__()
        self.operator, self.noise = operator, noise
        self.dim, self.latent_dim = operator.dim, operator.latent_dim

    def fit(self, x: Tensor, ridge: float = 0.0, given: Tensor | None = None) -> Fit:
        """What x (B, N) says of z, alone (ridge 0: Eq. 9) or with the prior N(0, I) but for its constant (1: A.9).

        All in float64. The mean is the minimum of the square in z, so that its own error hardly counts.
        """
        bias, log_var = (part.double() for part in self.noise(given))
        inverse_std, shifted = (-0.5 * log_var).exp(), x.double() - bias
        precision = self.operator.precision(inverse_std.square(), ridge)
        mean = precision.solve(self.operator.transposed(inverse_std.square() * shifted))
        residual = inverse_std * (shifted - self.operator(mean))
        square = residual.square().sum(-1) + ridge * mean.square().sum(-1)
        constants = precision.log_det() + log_var.sum(-1) + (self.dim - self.latent_dim) * LOG_2PI
        return Fit(mean, precision, -0.5 * (square + constants))

    def infer(
        self,
        x: Tensor,
        samples: int = 1,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(z, dlogp): K draws of the stochastic inverse (K, B, M), and the manifold term (K, B) in float64."""
        mean, precision, log_integral = self.fit(x, given=given)
        noise = normal_noise((samples, len(x), self.latent_dim), x, generator)
        z = mean + precision.colour(noise.double())
        return z.to(x.dtype), log_integral.expand(samples, -1)

    def generate(
        self,
        z: Tensor,
        deviation: float = 1.0,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """x (B, N) with `deviation` times the noise's std."""
        bias, log_var = self.noise(given)
        noise = normal_noise((len(z), self.dim), z, generator)
        return self.operator(z) + bias + deviation * (0.5 * log_var).exp() * noise

    def mode(self, x: Tensor, ridge: float = 0.0, given: Tensor | None = None) -> Tensor:
        """The mode of q(z|x), Λ^-1 u (Eq. 42), (B, N) -> (B, M); with ridge 1 the posterior mean (I + Λ)^-1 u.

        The first makes A z + b the point of the manifold nearest to x in the metric Σ^-1 (A.3); nan where A has not
        rank M.
        """
        return self.fit(x, ridge, given).mean.to(x.dtype)

    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """A z + b, (B, M) -> (B, N)."""
        return self.operator(z) + self.noise(given)[0]


class StochasticCoupling(nn.Module):
    """x_2 ~ N(A_2 z_2 + b(z_1), Σ(z_1)), then x_1 ~ N(A_1 z_1 + b(x_2), Σ(x_2)) (A.7, Eq. 40).

    Args:
        first: the injection from z_1 to x_1, whose noise is given x_2.
        second: the injection from z_2 to x_2, whose noise is given z_1.
    """

    def __init__(self, first: Injection, second: Injection) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.dim = first.dim + second.dim
        self.latent_dim = first.latent_dim + second.latent_dim

    def infer(
        self, x: Tensor, samples: int = 1, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """(z, dlogp): K draws (K, B, M), z_1 first, and the sum of both manifold terms (K, B)."""
        x_1, x_2 = x.split([self.first.dim, self.second.dim], -1)
        z_1, change_1 = self.first.infer(x_1, samples, generator, given=x_2)
        again = x_2.expand(samples, -1, -1).flatten(0, 1)
        z_2, change_2 = self.second.infer(again, 1, generator, given=z_1.flatten(0, 1))
        return torch.cat([z_1, z_2.view(samples, len(x), -1)], -1), change_1 + change_2.view_as(change_1)

    def generate(self, z: Tensor, deviation: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """x (B, N) with `deviation` times the noise's std."""
        z_1, z_2 = z.split([self.first.latent_dim, self.second.latent_dim], -1)
        x_2 = self.second.generate(z_2, deviation, generator, given=z_1)
        return torch.cat([self.first.generate(z_1, deviation, generator, given=x_2), x_2], -1)

    def mode(self, x: Tensor) -> Tensor:
        """The mode of q(z_1|x), and that of q(z_2|x) given it, (B, N) -> (B, M)."""
        x_1, x_2 = x.split([self.first.dim, self.second.dim], -1)
        z_1 = self.first.mode(x_1, given=x_2)
        return torch.cat([z_1, self.second.mode(x_2, given=z_1)], -1)

    def decode(self, z: Tensor) -> Tensor:
        """x without noise, (B, M) -> (B, N)."""
        z_1, z_2 = z.split([self.first.latent_dim, self.second.latent_dim], -1)
        x_2 = self.second.decode(z_2, given=z_1)
        return torch.cat([self.first.decode(z_1, given=x_2), x_2], -1)
