"""Finite readings of Eq. 6 of jacobian_determinant for images, in bits/dim: what its QLF* of Table 1 might be.

Literally Eq. 6 has no value, since S = x x^T is singular. Each reading takes another S, in units of grey levels, with
which it has one. Images x are grey levels (n, H, W, C) minus half their range, as the paper prepares them. Where S is a
mean over the dequantisation noise, I/12 is added, its variance; the results are then bits/dim of the dequantised images.
"""

import math

import torch
from torch import Tensor

from flowrepro.analysis.bounds import linear_baseline
from flowrepro.analysis.quasi_linear import optimum
from flowrepro.device import one_thread

NOISE = 1 / 12


def shifted(grey: Tensor, levels: int) -> Tensor:
    """Grey levels (n, H, W, C) in float64, with the mean 1/2 of their noise added and half their range taken away."""
    return grey.double() + 0.5 - levels / 2


def bits(log_likelihood: Tensor, dim: int) -> Tensor:
    """Nats of a point in `dim` dimensions as bits/dim."""
    return -log_likelihood / (dim * math.log(2))


def noise_averaged(x: Tensor) -> Tensor:
    """S = x x^T + I/12 for each image: (n,). Of its D eigenvalues D - 1 are 1/12, whatever the image."""
    flat = x.flatten(1)
    dim = flat.shape[1]
    log_det = (flat.square().sum(1) + NOISE).log() + (dim - 1) * math.log(NOISE)
    return _bits_of(log_det, dim)


def pseudo_determinant(x: Tensor) -> Tensor:
    """The zero eigenvalues of S = x x^T left out, for each image: (n,)."""
    flat = x.flatten(1)
    return _bits_of(flat.square().sum(1).log(), flat.shape[1])


@one_thread()
def minibatches(x: Tensor, size: int) -> Tensor:
    """S = mean of x x^T over batches of `size` images, for each whole batch: (n // size,)."""
    flat = x.flatten(1)
    dim = flat.shape[1]
    batches = flat[: len(flat) // size * size].reshape(-1, size, dim)
    # det(I/12 + X^T X / size) from the matrix that has the smaller side
    inner = torch.eye(size, dtype=x.dtype) + batches @ batches.mT / (size * NOISE)
    return _bits_of(torch.linalg.slogdet(inner).logabsdet + dim * math.log(NOISE), dim)


def covariance(x: Tensor) -> Tensor:
    """S' = the covariance of the set, Eq. 21: the best linear flow on the very images that it is fitted to; (1,)."""
    flat = x.flatten(1)
    return _bits_of_moments(second_moments((flat - flat.mean(0))[None]))


def covariance_held_out(train: Tensor, x: Tensor) -> Tensor:
    """What that linear flow reaches on other images: (n,)."""
    flat = x.flatten(1)
    return bits(linear_baseline(train.flatten(1), flat, NOISE), flat.shape[1])


def patches(x: Tensor, side: int, stride: int) -> Tensor:
    """S = mean over the patches of side x side x C pixel values in an image, per patch dimension: (n,)."""
    cut = x.unfold(1, side, stride).unfold(2, side, stride)  # (n, rows, columns, C, side, side)
    return _bits_of_moments(second_moments(cut.flatten(3).flatten(1, 2)))


def rows(x: Tensor) -> Tensor:
    """S = mean over the rows of all channels of an image, W x W: (n,)."""
    return _bits_of_moments(second_moments(x.movedim(3, 1).flatten(1, 2)))


def rows_by_channel(x: Tensor) -> Tensor:
    """S = mean over the rows of one channel, W x W; the mean over channels: (n,)."""
    return _bits_of_moments(second_moments(x.movedim(3, 1))).mean(1)


def channels(x: Tensor) -> Tensor:
    """S = mean over the pixels of an image, C x C: (n,)."""
    return _bits_of_moments(second_moments(x.flatten(1, 2)))


def rounding_errors(x: Tensor) -> Tensor:
    """S = x x^T as it is, with what float32 makes of its zero eigenvalues, by magnitude: (n,). Depends on the machine."""
    flat = x.flatten(1).float()
    values = [torch.linalg.eigvalsh(torch.outer(one, one)).double().abs() for one in flat]
    smallest = torch.finfo(torch.float32).tiny
    return torch.stack([_bits_of(v.clamp(min=smallest).log().sum(), len(v)) for v in values])


def second_moments(vectors: Tensor) -> Tensor:
    """The mean of v v^T over vectors (..., m, D), with the variance of their noise: (..., D, D)."""
    dim = vectors.shape[-1]
    return vectors.mT @ vectors / vectors.shape[-2] + NOISE * torch.eye(dim, dtype=vectors.dtype)


def _bits_of_moments(moments: Tensor) -> Tensor:
    return bits(optimum(moments), moments.shape[-1])


def _bits_of(log_det: Tensor, dim: int) -> Tensor:
    """Eq. 6 in bits/dim from sum log lambda_i."""
    return (0.5 * log_det / dim + 0.5 * math.log(2 * math.pi * math.e)) / math.log(2)
