"""Linear layers: dense, rotation, permutation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from flowrepro.analysis.oas import haar
from flowrepro.errors import UsageError
from flowrepro.flows.core import Layer


class Dense(Layer):
    """z = W (x - b) with W any D x D matrix; dlogp = log |det W|.

    linear_systems App. B; the weight is that of the data-to-latent direction.

    Args:
        dim: D.
        init: a name of `INITS`. `whitening` starts as gain times the identity; `init_from(x)` makes it the
            symmetric whitening of its data.
        generator: source of all randomness.
        gain: factor of the initial weight.
        shrinkage: added to the eigenvalues of the data covariance by `whitening`.
        log_det: a name of `LOG_DETS`; `slogdet` is exact.

    Raises:
        UsageError: unknown init or log_det.
    """

    def __init__(
        self,
        dim: int,
        init: str = "glorot",
        generator: torch.Generator | None = None,
        gain: float = 1.0,
        shrinkage: float = 5e-5,
        log_det: str = "slogdet",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if init not in INITS:
            raise UsageError(f"model.init={init} is unknown; known: {', '.join(INITS)}")
        if log_det not in LOG_DETS:
            raise UsageError(f"model.log_det={log_det} is unknown; known: {', '.join(LOG_DETS)}")
        self.log_det = log_det
        self.init, self.gain, self.shrinkage = init, gain, shrinkage
        dtype = dtype or torch.get_default_dtype()
        self.weight = nn.Parameter((gain * INITS[init](dim, generator)).to(dtype))
        self.bias = nn.Parameter(torch.zeros(dim, dtype=dtype))

    @property
    def data_dependent(self) -> bool:
        return self.init == "whitening"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.bias) @ self.weight.mT, LOG_DETS[self.log_det](self.weight).expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return torch.linalg.solve(self.weight, z.mT).mT + self.bias

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, dlogp = self(x)
        # (B, K, D) @ (D, D) folds into one matrix product, W @ (B, D, K) would be B of them
        return z, dlogp, (t.mT @ self.weight.mT).mT

    def prepared(self) -> Prepared:
        return Prepared(self)

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        if self.data_dependent:
            self.bias.copy_(x.double().mean(0))
            self.weight.copy_(self.gain * zca(x, self.shrinkage))


class Prepared(Layer):
    """A dense layer as it is now, with W^-1 computed once in float64: its inverse is a product, not a solve."""

    inverse_weight: Tensor

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        self.dense = dense
        inverse = torch.linalg.inv(dense.weight.detach().double()).to(dense.weight)
        self.register_buffer("inverse_weight", inverse, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, dlogp = self.dense(x)
        return z, dlogp

    def inverse(self, z: Tensor) -> Tensor:
        return z @ self.inverse_weight.mT + self.dense.bias


class Rotation(Layer):
    """z = R x with a fixed orthogonal R (D, D); dlogp = 0."""

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    @classmethod
    def random(
        cls, dim: int, generator: torch.Generator | None = None, dtype: torch.dtype | None = None
    ) -> Rotation:
        """Uniform over the orthogonal group."""
        return cls(orthogonal(dim, generator).to(dtype or torch.get_default_dtype()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x @ self.matrix.mT, x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return z @ self.matrix

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return *self(x), (t.mT @ self.matrix.mT).mT


class Permutation(Layer):
    """z_i = x_order[i] with a fixed order (D,) of indices; dlogp = 0."""

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    @classmethod
    def random(cls, dim: int, generator: torch.Generator | None = None) -> Permutation:
        """Uniform over the permutations of D indices."""
        return cls(torch.randperm(dim, generator=generator))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, self.order], x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return z[:, self.order.argsort()]

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return *self(x), t[:, self.order]


def exact_log_det(weight: Tensor) -> Tensor:
    """log |det W| of a square matrix, without jitter."""
    return torch.linalg.slogdet(weight)[1]


AUTHORS_JITTER = 1e-5


def authors_log_det(weight: Tensor) -> Tensor:
    """1/2 log det(W^T W + 1e-5 I) by Cholesky, as the authors' code of linear_systems has it; nan where that fails.

    It is too large by 1/2 sum log(1 + 1e-5 / s_i^2), and fails in float32 where s_max^2 / s_min^2 passes 1e7.
    """
    jitter = AUTHORS_JITTER * torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
    factor, failed = torch.linalg.cholesky_ex(weight.mT @ weight + jitter)
    return torch.where(failed == 0, factor.diagonal().log().sum(), torch.nan)


LOG_DETS = {"slogdet": exact_log_det, "cholesky": authors_log_det}


def glorot(dim: int, generator: torch.Generator | None = None) -> Tensor:
    """(D, D) float64, uniform on +-sqrt(3 / D), as the authors of linear_systems initialise."""
    return (2 * torch.rand(dim, dim, generator=generator, dtype=torch.float64) - 1) * math.sqrt(3 / dim)


def orthogonal(dim: int, generator: torch.Generator | None = None) -> Tensor:
    """(D, D) float64, uniform over the orthogonal group."""
    return haar(1, dim, generator)[0]


def identity(dim: int, generator: torch.Generator | None = None) -> Tensor:
    """(D, D) float64; the place of a whitening matrix before the data are seen."""
    return torch.eye(dim, dtype=torch.float64)


INITS = {"glorot": glorot, "orthogonal": orthogonal, "whitening": identity}


def zca(x: Tensor, shrinkage: float) -> Tensor:
    """The symmetric whitening (S + shrinkage I)^(-1/2) of points (N, D) with covariance S, (D, D) in float64.

    linear_systems Sec. 5: with alpha = shrinkage it is an optimum of the Tikhonov-regularised linear flow.
    """
    x = x.double()
    centred = x - x.mean(0)
    eigenvalues, vectors = torch.linalg.eigh(centred.mT @ centred / len(x))
    return vectors * (eigenvalues.clamp(min=0) + shrinkage).rsqrt() @ vectors.mT
