"""Invertible convolutions: a matrix over channels at every pixel, or over the k x k pixels of a patch."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pixel_shuffle, pixel_unshuffle

from flowrepro.flows.core import Chain, Layer
from flowrepro.flows.linear import orthogonal
from flowrepro.flows.norm import ActNorm

EPS = 1e-5


class PlainMatrix(nn.Module):
    """Any (D, D) matrix W; log |det W| by slogdet in float64."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(start)

    def forward(self) -> tuple[Tensor, Tensor]:
        """(W, log |det W|)."""
        return self.matrix, log_abs_det(self.matrix)


class LUMatrix(nn.Module):
    """W = P L (U + diag(sign e^s)) with fixed P and sign: log |det W| = sum s (Glow Sec. 3.2).

    One (D, D) parameter holds L below its diagonal, U above it, and s on it.
    """

    order: Tensor
    sign: Tensor

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        p, lower, upper = torch.linalg.lu(start)
        # row i of P L is row order[i] of L
        self.register_buffer("order", p.argmax(1))
        self.register_buffer("sign", upper.diagonal().sign())
        self.factors = nn.Parameter(lower.tril(-1) + upper.triu(1) + torch.diag(upper.diagonal().abs().log()))

    def forward(self) -> tuple[Tensor, Tensor]:
        """(W, log |det W|)."""
        log_diagonal = self.factors.diagonal()
        upper = torch.diagonal_scatter(self.factors.triu(), self.sign * log_diagonal.exp())
        # L U with the ones on the diagonal of L apart
        product = torch.addmm(upper, self.factors.tril(-1), upper)
        return product[self.order], log_diagonal.sum()


class NormalisedMatrix(nn.Module):
    """W with columns of length at most 1, so that |det W| <= 1 by Hadamard (the code of across_dimensions)."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(start)

    def forward(self) -> tuple[Tensor, Tensor]:
        """(W, log |det W|)."""
        weight = self.matrix * (self.matrix.square().sum(0) + EPS).rsqrt()
        return weight, log_abs_det(weight)


MATRICES: dict[str, type[nn.Module]] = {"plain": PlainMatrix, "lu": LUMatrix, "normalised": NormalisedMatrix}


class InvertibleConv(Layer):
    """z = W p for the k x k patch p at every k-th pixel, (B, C, H, W) -> (B, C k^2, H/k, W/k); k = 1 takes (B, C) too.

    dlogp = (H W / k^2) log |det W|; the patch has one channel after the other (jacobian_determinant Sec. 3.1).

    Args:
        channels: C.
        size: k; 1 is Glow's 1x1 convolution.
        matrix: a name of `MATRICES`.
        start: the first W (C k^2, C k^2); a random orthogonal one by default.
        generator: source of its randomness.
    """

    def __init__(
        self,
        channels: int,
        size: int = 1,
        matrix: str = "plain",
        start: Tensor | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        start = orthogonal(channels * size**2, generator) if start is None else start
        self.weight = MATRICES[matrix](start.to(dtype or torch.get_default_dtype()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight, logdet = self.weight()
        z = over_channels(patches(x, self.size), weight)
        return z, (logdet * z.shape[2:].numel()).expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return from_patches(over_channels(z, inverse_of(self.weight()[0])), self.size)

    def prepared(self) -> PreparedConv:
        weight, _ = self.weight()
        return PreparedConv(self, weight, weight.new_zeros(len(weight)), self.size)


class NormedConv(Chain):
    """ActNorm and a 1x1 convolution, applied as one product at every pixel."""

    def __init__(self, norm: ActNorm, conv: InvertibleConv) -> None:
        super().__init__(norm, conv)

    def affine(self) -> tuple[Tensor, Tensor, Tensor]:
        """(W, b, log |det W|) of the two together, z = W x + b."""
        norm, conv = cast(tuple[ActNorm, InvertibleConv], tuple(self))
        weight, logdet = conv.weight()
        log_scale = norm.factor * norm.gain
        weight = weight * log_scale.exp()
        return weight, weight @ norm.shift, logdet + log_scale.sum()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias, logdet = self.affine()
        return over_channels(x, weight, bias), (logdet * x.shape[2:].numel()).expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        weight, bias, _ = self.affine()
        return over_channels(z - bias[:, None, None], inverse_of(weight))

    def prepared(self) -> PreparedConv:  # type: ignore[override]
        weight, bias, _ = self.affine()
        return PreparedConv(self, weight, bias)


class PreparedConv(Layer):
    """A convolution z = W p + b as it is now, with W^-1 and W^-1 b computed once."""

    inverse_weight: Tensor
    inverse_bias: Tensor

    def __init__(self, layer: Layer, weight: Tensor, bias: Tensor, size: int = 1) -> None:
        super().__init__()
        self.layer, self.size = layer, size
        inverse = inverse_of(weight.detach())
        self.register_buffer("inverse_weight", inverse, persistent=False)
        self.register_buffer("inverse_bias", -inverse @ bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, dlogp = self.layer(x)
        return z, dlogp

    def inverse(self, z: Tensor) -> Tensor:
        return from_patches(over_channels(z, self.inverse_weight, self.inverse_bias), self.size)


def patches(x: Tensor, size: int) -> Tensor:
    """(B, C, H, W) -> (B, C size^2, H / size, W / size)."""
    if not len(x) and size > 1:  # torch would leave the shape of an empty batch as it is
        return x.reshape(0, x.shape[1] * size**2, x.shape[2] // size, x.shape[3] // size)
    return pixel_unshuffle(x, size) if size > 1 else x  # torch copies at size 1 too


def from_patches(z: Tensor, size: int) -> Tensor:
    """The way back."""
    if not len(z) and size > 1:
        return z.reshape(0, z.shape[1] // size**2, z.shape[2] * size, z.shape[3] * size)
    return pixel_shuffle(z, size) if size > 1 else z


def over_channels(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """W x + b at every pixel of x (B, C, H, W): a matrix product, with so few channels twice as fast as conv2d."""
    return linear(x.movedim(1, -1), weight, bias).movedim(-1, 1)


def inverse_of(weight: Tensor) -> Tensor:
    """W^-1, computed in float64: from 100 channels on float32 loses two digits."""
    return torch.linalg.inv(weight.double()).to(weight)


def log_abs_det(weight: Tensor) -> Tensor:
    """log |det W| in float64, given back in the dtype of W."""
    return torch.linalg.slogdet(weight.double())[1].to(weight)
