"""Densities with a learned manifold behind them: Gaussian NIFs in closed form, any other by a bound."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from flowrepro.errors import UsageError
from flowrepro.flows.bases import LOG_2PI, Base, normal_noise
from flowrepro.flows.core import Flow
from flowrepro.flows.injective import Injection, Noise, StochasticCoupling
from flowrepro.flows.low_rank import PreparedScore, low_rank_score
from flowrepro.flows.operators import Matrix, Upsampling
from flowrepro.flows.reshape import Shape

EMBEDDINGS = {"pseudo_inverse": 0.0, "posterior_mean": 1.0}


class LinearNIF(Base):
    """N(b, A A^T + Σ): a Gaussian NIF over z ~ N(0, I) (across_dimensions A.8)."""

    def __init__(self, injection: Injection) -> None:
        super().__init__(injection.dim, injection.latent_dim)
        self.injection = injection

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        # the prior's constant takes that of the integral away; Eq. 41 forgets it and is (M/2) log 2 pi too large
        constant = 0.5 * self.latent_dim * LOG_2PI
        return (self.injection.fit(z, ridge=1.0).log_integral - constant).to(z.dtype)

    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        deviation: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """n latents (n, N): z with `temperature` times its std, then noise with `deviation` times its std."""
        noise = normal_noise((n, self.latent_dim), next(self.parameters()), generator)
        return self.injection.generate(temperature * noise, deviation, generator)

    def embed(self, z: Tensor, by: str = "pseudo_inverse") -> Tensor:
        """(B, N) -> (B, M) by the pseudo-inverse Λ^-1 u (Eq. 42), or by the posterior mean as in the authors' code."""
        return self.injection.mode(z, EMBEDDINGS[by])

    def project(self, z: Tensor, by: str = "pseudo_inverse") -> Tensor:
        """b + A embed(z), (B, N) -> (B, N)."""
        return self.injection.decode(self.embed(z, by))


class UpsamplingNIF(LinearNIF):
    """A Gaussian NIF over nearest-neighbour upsampling of latents (C, H, W), in O(M) (A.6)."""

    def __init__(self, latent_shape: Shape, dtype: torch.dtype | None = None) -> None:
        dim = 4 * math.prod(latent_shape)
        super().__init__(Injection(Upsampling(latent_shape), Noise(dim, dtype)))


class GaussianNIF(LinearNIF):
    """A Gaussian NIF with any A (N, M). At first b = 0, Σ = I, and A is `gain` / sqrt(N) times normal numbers."""

    def __init__(
        self,
        dim: int,
        latent_dim: int,
        generator: torch.Generator | None = None,
        gain: float = 1.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(Injection(Matrix(dim, latent_dim, generator, gain, dtype), Noise(dim, dtype)))

    def whitened(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Σ^-1/2 (z - b) (B, N) and Σ^-1/2 A (N, M)."""
        bias, log_var = self.injection.noise(None)
        inverse_std = (-0.5 * log_var).exp()
        return inverse_std * (z - bias), inverse_std[:, None] * cast(Matrix, self.injection.operator).weight

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        log_det = self.injection.noise(None)[1].double().sum()
        return (-0.5 * (low_rank_score(*self.whitened(z)) + log_det + self.dim * LOG_2PI)).to(z.dtype)

    def prepared(self) -> PreparedNIF:
        return PreparedNIF(self)


class PreparedNIF(Base):
    """A Gaussian NIF as it is now, with its inverse matrix computed once; the rest is that of the NIF itself."""

    shift: Tensor
    inverse_std: Tensor

    def __init__(self, nif: GaussianNIF) -> None:
        super().__init__(nif.dim, nif.latent_dim)
        self.nif = nif
        bias, log_var = (part.detach() for part in nif.injection.noise(None))
        shift, v = nif.whitened(torch.zeros_like(bias))
        self.register_buffer("inverse_std", (-0.5 * log_var).exp(), persistent=False)
        self.register_buffer("shift", shift.detach(), persistent=False)
        self.score = PreparedScore(v, bias.dtype)
        self.constant = float(log_var.double().sum()) + nif.dim * LOG_2PI

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        whitened = torch.addcmul(self.shift, self.inverse_std, z)
        return -0.5 * (self.score(whitened) + self.constant)

    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        deviation: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return self.nif.sample(n, temperature, deviation, generator)

    def embed(self, z: Tensor, by: str = "pseudo_inverse") -> Tensor:
        return self.nif.embed(z, by)

    def project(self, z: Tensor, by: str = "pseudo_inverse") -> Tensor:
        return self.nif.project(z, by)


class ImportanceWeighted(Base):
    """p(x) = ∫ p(x|z) p(z) dz for any density p(z), by the importance-weighted bound under the stochastic inverse.

    log p(x) >= E log 1/K sum_k p(z_k) e^dlogp_k for K draws z_k of q(z|x); K = 1 is Eq. 7, and for large K the bound is
    tight.

    Args:
        injection: the stochastic layer between x and z.
        prior: the density of z, a base or a flow.
        samples: K of `log_prob`; 32 in the authors' code.
    """

    def __init__(
        self, injection: Injection | StochasticCoupling, prior: Base | Flow, samples: int = 32
    ) -> None:
        super().__init__(injection.dim, injection.latent_dim)
        self.injection, self.prior, self.samples = injection, prior, samples

    def log_weights(self, z: Tensor, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """log p(z_k) + dlogp_k, (K, B) in float64."""
        inner, dlogp = self.injection.infer(z, samples, generator)
        return self.prior.log_prob(inner.flatten(0, 1)).view(samples, len(z)) + dlogp

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The bound, with noise from the generator."""
        weights = self.log_weights(z, self.samples, generator)
        return (weights.logsumexp(0) - math.log(self.samples)).to(z.dtype)

    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        deviation: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """n latents (n, N); `temperature` scales the std of the prior's own latents."""
        inner = self.prior.sample(n, temperature, deviation, generator)
        return self.injection.generate(inner, deviation, generator)

    def embed(self, z: Tensor, by: str = "pseudo_inverse") -> Tensor:
        """The mode of q(z|x), (B, N) -> (B, M). Raises UsageError for the posterior mean, which no formula gives."""
        if by != "pseudo_inverse":
            raise UsageError(
                f"evaluation.embedding={by} has no closed form where the manifold has its own flow"
            )
        return self.injection.mode(z)

    def project(self, z: Tensor, by: str = "pseudo_inverse") -> Tensor:
        """The embedding decoded without noise, (B, N) -> (B, N)."""
        return self.injection.decode(self.embed(z, by))

    @property
    def data_dependent(self) -> bool:
        return isinstance(self.prior, Flow) and self.prior.chain.data_dependent

    @torch.no_grad()
    def init_from(self, z: Tensor) -> None:
        """Let a prior with layers that want data see the embeddings."""
        self.prior.init_from(self.embed(z))
