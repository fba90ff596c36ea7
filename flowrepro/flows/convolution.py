"""Invertible convolutions: a matrix over channels at every pixel, or over the k x k pixels of a patch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle

from flowrepro.flows.core import Chain, Layer
from flowrepro.flows.linear import orthogonal

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
        lower = self.factors.tril(-1) + torch.diag(torch.ones_like(self.sign))
        upper = self.factors.triu(1) + torch.diag(self.sign * log_diagonal.exp())
        return (lower @ upper)[self.order], log_diagonal.sum()


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
    """z = W p for the k x k patch p at every k-th pixel, (B, C, H, W) -> (B, C k^2, H/k, W/k).

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

    def affine(self) -> tuple[Tensor, Tensor, Tensor]:
        """(W, b, log |det W|) of z = W p + b over a patch."""
        weight, logdet = self.weight()
        return weight, weight.new_zeros(len(weight)), logdet

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight, logdet = self.weight()
        z = conv2d(x, weight.view(len(weight), -1, self.size, self.size), stride=self.size)
        return z, (logdet * z[0, 0].numel()).expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return pixel_shuffle(over_channels(z, inverse_of(self.weight()[0])), self.size)


class ChannelAffine(Chain):
    """ActNorms and 1x1 convolutions one after the other, applied as one convolution."""

    def affine(self) -> tuple[Tensor, Tensor, Tensor]:
        """(W, b, log |det W|) of the whole, z = W x + b."""
        layers: list[Any] = list(self)
        weight, bias, logdet = layers[0].affine()
        for layer in layers[1:]:
            after, shift, dlogp = layer.affine()
            weight, bias, logdet = after @ weight, after @ bias + shift, logdet + dlogp
        return weight, bias, logdet

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias, logdet = self.affine()
        return over_channels(x, weight, bias), (logdet * x[0, 0].numel()).expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        weight, bias, _ = self.affine()
        return over_channels(z - bias[:, None, None], inverse_of(weight))


def over_channels(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """W x + b at every pixel of x (B, C, H, W)."""
    return conv2d(x, weight[:, :, None, None], bias)


def inverse_of(weight: Tensor) -> Tensor:
    """W^-1, computed in float64: from 100 channels on float32 loses two digits."""
    return torch.linalg.inv(weight.double()).to(weight)


def log_abs_det(weight: Tensor) -> Tensor:
    """log |det W| in float64, given back in the dtype of W."""
    return torch.linalg.slogdet(weight.double())[1].to(weight)
