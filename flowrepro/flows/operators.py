"""The linear maps A of injective layers, with the precision ridge I + A^T Σ^-1 A that each gives its latent."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from flowrepro.flows.low_rank import capacitance
from flowrepro.flows.reshape import Shape


class Precision(NamedTuple):
    """A positive definite matrix (M, M), or one for each sample (B, M, M), by its lower Cholesky factor."""

    factor: Tensor

    def solve(self, u: Tensor) -> Tensor:
        """The inverse times u (B, M)."""
        if self.factor.ndim == 2:
            return torch.cholesky_solve(u.mT, self.factor).mT
        return torch.cholesky_solve(u[..., None], self.factor)[..., 0]

    def colour(self, noise: Tensor) -> Tensor:
        """Standard normal numbers (K, B, M) to numbers whose covariance is the inverse."""
        if self.factor.ndim == 2:
            flat = torch.linalg.solve_triangular(self.factor, noise.flatten(0, 1), upper=False, left=False)
            return flat.view_as(noise)
        rows = noise.transpose(0, 1)
        return torch.linalg.solve_triangular(self.factor, rows, upper=False, left=False).transpose(0, 1)

    def log_det(self) -> Tensor:
        return 2 * self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class DiagonalPrecision(NamedTuple):
    """The same for a diagonal matrix, by its diagonal (M,) or (B, M)."""

    diagonal: Tensor

    def solve(self, u: Tensor) -> Tensor:
        return u / self.diagonal

    def colour(self, noise: Tensor) -> Tensor:
        return noise * self.diagonal.rsqrt()

    def log_det(self) -> Tensor:
        return self.diagonal.log().sum(-1)


class Matrix(nn.Module):
    """Any A (N, M), at first drawn from N(0, gain^2 / N): columns of length about one. At zero no gradient moves it."""

    def __init__(
        self,
        dim: int,
        latent_dim: int,
        generator: torch.Generator | None = None,
        gain: float = 1.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.dim, self.latent_dim = dim, latent_dim
        entries = torch.randn(dim, latent_dim, generator=generator, dtype=torch.float64)
        self.weight = nn.Parameter((gain / math.sqrt(dim) * entries).to(dtype or torch.get_default_dtype()))

    def forward(self, z: Tensor) -> Tensor:
        """A z, (..., M) -> (..., N)."""
        return z @ self.weight.to(z.dtype).mT

    def transposed(self, x: Tensor) -> Tensor:
        """A^T x, (..., N) -> (..., M)."""
        return x @ self.weight.to(x.dtype)

    def precision(self, weights: Tensor, ridge: float) -> Precision:
        """ridge I + A^T diag(weights) A, for weights (N,) or (B, N)."""
        whitened = weights.sqrt()[..., None] * self.weight.to(weights.dtype)
        return Precision(capacitance(whitened, ridge))


class Upsampling(nn.Module):
    """Nearest-neighbour upsampling of (C, H, W) to (C, 2H, 2W) as a map of vectors: Λ is diagonal (A.6)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, self.latent_dim = shape, math.prod(shape)
        self.dim = 4 * self.latent_dim

    def forward(self, z: Tensor) -> Tensor:
        """Every entry four times, (..., M) -> (..., N)."""
        images = z.unflatten(-1, self.shape)
        return images.repeat_interleave(2, -1).repeat_interleave(2, -2).flatten(-3)

    def transposed(self, x: Tensor) -> Tensor:
        """The sum of the four, (..., N) -> (..., M)."""
        channels, height, width = self.shape
        return x.unflatten(-1, (channels, height, 2, width, 2)).sum((-3, -1)).flatten(-3)

    def precision(self, weights: Tensor, ridge: float) -> DiagonalPrecision:
        """The diagonal of ridge I + A^T diag(weights) A."""
        return DiagonalPrecision(ridge + self.transposed(weights))
