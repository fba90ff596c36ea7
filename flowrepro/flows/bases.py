"""Densities on the latent."""

import math

import torch
from torch import Tensor, nn


class Base(nn.Module):
    """A density on R^D: `log_prob` in nats and `sample`.

    A density around a manifold of fewer dimensions M says with `embed` and `project` where on it a latent belongs; to
    all others, as by default, the manifold is R^D itself.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """log p(z) in nats, (B, D) -> (B,), or a bound from below that takes its noise from the generator."""
        raise NotImplementedError

    def embed(self, z: Tensor) -> Tensor:
        """Where on the manifold z belongs, by coordinates, (B, D) -> (B, M)."""
        return z

    def project(self, z: Tensor) -> Tensor:
        """Where on the manifold z belongs, as a latent again, (B, D) -> (B, D)."""
        return z

    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        deviation: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """n latents (n, D), drawn with `temperature` times the std; 0 gives the mode."""
        raise NotImplementedError


class StandardNormal(Base):
    """N(0, I). `deviation` has no meaning for a square flow and is ignored."""

    origin: Tensor

    def __init__(self, dim: int, dtype: torch.dtype | None = None) -> None:
        super().__init__(dim)
        # only says where and in which dtype to sample; it is no state of the model
        self.register_buffer("origin", torch.zeros(dim, dtype=dtype), persistent=False)

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return -0.5 * z.square().sum(-1) - 0.5 * self.dim * math.log(2 * math.pi)

    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        deviation: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        # drawn where the generator lives: a CPU generator gives the same samples for a flow on any device
        device = self.origin.device if generator is None else generator.device
        noise = torch.randn(n, self.dim, dtype=self.origin.dtype, device=device, generator=generator)
        return temperature * noise.to(self.origin.device)
