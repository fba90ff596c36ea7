"""Densities on the latent."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

LOG_2PI = math.log(2 * math.pi)


class Base(nn.Module):
    """A density on R^D: `log_prob` in nats and `sample`.

    A density around a manifold of fewer dimensions M says with `embed` and `project` where on it a latent belongs; to
    all others, as by default, the manifold is R^D itself.

    Args:
        dim: D.
        latent_dim: M.
    """

    def __init__(self, dim: int, latent_dim: int | None = None) -> None:
        super().__init__()
        self.dim, self.latent_dim = dim, dim if latent_dim is None else latent_dim

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """log p(z) in nats, (B, D) -> (B,), or a bound from below that takes its noise from the generator."""
        raise NotImplementedError

    def embed(self, z: Tensor, by: str = "pseudo_inverse") -> Tensor:
        """Where on the manifold z belongs, by coordinates, (B, D) -> (B, M).

        Where there are two answers, `by` chooses the `pseudo_inverse` or the `posterior_mean`.
        """
        return z

    def project(self, z: Tensor, by: str = "pseudo_inverse") -> Tensor:
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

    @property
    def data_dependent(self) -> bool:
        """Whether `init_from` does anything."""
        return False

    def init_from(self, z: Tensor) -> None:
        """Set parameters from the latents of training data (N, D), where the base wants that."""

    def prepared(self) -> "Base":
        """The same density as it is now, without gradients in its parameters, for many evaluations."""
        return self


class StandardNormal(Base):
    """N(0, I). `deviation` has no meaning for a square flow and is ignored."""

    origin: Tensor

    def __init__(self, dim: int, dtype: torch.dtype | None = None) -> None:
        super().__init__(dim)
        # only says where and in which dtype to sample; it is no state of the model
        self.register_buffer("origin", torch.zeros(dim, dtype=dtype), persistent=False)

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return -0.5 * z.square().sum(-1) - 0.5 * self.dim * LOG_2PI

    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        deviation: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return temperature * normal_noise((n, self.dim), self.origin, generator)


class DiagonalNormal(Base):
    """N(b, diag e^v) with learned b and v: the Gaussian NIF without its manifold. `deviation` is ignored."""

    def __init__(self, dim: int, dtype: torch.dtype | None = None) -> None:
        super().__init__(dim)
        self.bias = nn.Parameter(torch.zeros(dim, dtype=dtype))
        self.log_var = nn.Parameter(torch.zeros(dim, dtype=dtype))

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        whitened = (z - self.bias) * (-0.5 * self.log_var).exp()
        return -0.5 * (whitened.square().sum(-1) + self.log_var.sum() + self.dim * LOG_2PI)

    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        deviation: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        noise = normal_noise((n, self.dim), self.bias, generator)
        return self.bias + temperature * (0.5 * self.log_var).exp() * noise


def normal_noise(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of a tensor's dtype, on its device."""
    # drawn where the generator lives: a CPU generator gives the same samples for a flow on any device
    device = like.device if generator is None else generator.device
    return torch.randn(*shape, dtype=like.dtype, device=device, generator=generator).to(like.device)


def std_factor(value: float, scales: str = "std") -> float:
    """What a temperature or deviation multiplies standard deviations by.

    `std`: itself, as in the authors' code of across_dimensions; `variance`: its root, as the paper's text has it.
    """
    return {"std": value, "variance": math.sqrt(value)}[scales]
