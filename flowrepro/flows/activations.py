"""Elementwise bijections."""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from flowrepro.flows.core import Layer

# torch's default threshold of 20 replaces softplus(h) by h where they still differ by 2e-9
SOFTPLUS_THRESHOLD = 40.0
# beyond it asinh(h) is log(2 |h|) to the last digit of float64, and its square is far from overflow in float32
LARGE = 2.0**30


class Elementwise(Layer):
    """z_i = a(h_i): subclasses give `value`, `log_derivative` and `inverse`, each from any shape to the same."""

    def value(self, h: Tensor) -> Tensor:
        """a(h)."""
        raise NotImplementedError

    def log_derivative(self, h: Tensor) -> Tensor:
        """log a'(h), where a' > 0."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.value(x), self.log_derivative(x).flatten(1).sum(1)

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        log_derivative = self.log_derivative(x)
        return self.value(x), log_derivative.flatten(1).sum(1), log_derivative.exp().unsqueeze(-1) * t


class Asinh(Elementwise):
    """z = asinh(h), R onto R, with derivative (1 + h^2)^(-1/2) (linear_systems Sec. 6.1).

    The inverse sinh(z) overflows to +-inf beyond |z| = 89 in float32 and 710 in float64.
    """

    def value(self, h: Tensor) -> Tensor:
        # torch's derivatives of asinh square h, which overflows in float32 from 2e19 on. Large h are divided by k,
        # asinh(h) = asinh(h / k) + sign(h) log k, and k counts as a constant: the slope of log does not depend on
        # the unit. For all other h k is 1, and no digit changes
        fixed = h.detach()
        k = (fixed / LARGE).abs().clamp(1, max(1.0, torch.finfo(h.dtype).max / LARGE))
        return torch.asinh(h / k) + torch.copysign(k.log(), fixed)

    def log_derivative(self, h: Tensor) -> Tensor:
        # log1p(h^2) / 2 without squaring: h^2 overflows in float32 from 2e19 on
        return -torch.hypot(h, torch.ones_like(h)).log()

    def inverse(self, z: Tensor) -> Tensor:
        return torch.sinh(z)


class Softplus(Elementwise):
    """z = log(1 + e^h), R onto (0, inf), with derivative 1 / (1 + e^-h) (linear_systems Fig. 6b).

    It is not onto R: a flow with this layer covers only a part of its latent space, its density integrates to
    the base's mass of that part, and the inverse of z <= 0 is nan. Below h = -745 (float64; -103 in float32)
    z underflows to 0 and cannot be inverted either.
    """

    def value(self, h: Tensor) -> Tensor:
        return softplus(h, threshold=SOFTPLUS_THRESHOLD)

    def log_derivative(self, h: Tensor) -> Tensor:
        return -softplus(-h, threshold=SOFTPLUS_THRESHOLD)

    def inverse(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, z + torch.log(-torch.expm1(-z)), torch.nan)


class Tanh(Elementwise):
    """z = tanh(h), R onto (-1, 1); the inverse saturates at +-1 (jacobian_determinant Sec. 6.2)."""

    def value(self, h: Tensor) -> Tensor:
        return torch.tanh(h)

    def log_derivative(self, h: Tensor) -> Tensor:
        # log(1 - tanh^2) without cancellation
        return 2 * (math.log(2) - h - softplus(-2 * h, threshold=SOFTPLUS_THRESHOLD))

    def inverse(self, z: Tensor) -> Tensor:
        limit = 1 - torch.finfo(z.dtype).eps
        return torch.atanh(z.clamp(-limit, limit))


class NormalCDF(Elementwise):
    """z = Phi(h), R onto (0, 1), with slope 0.399 at 0 (jacobian_determinant Sec. 6.2); the inverse saturates."""

    def value(self, h: Tensor) -> Tensor:
        return torch.special.ndtr(h)

    def log_derivative(self, h: Tensor) -> Tensor:
        return -0.5 * (h * h + math.log(2 * math.pi))

    def inverse(self, z: Tensor) -> Tensor:
        info = torch.finfo(z.dtype)
        return torch.special.ndtri(z.clamp(info.tiny, 1 - info.eps))


class ScaledNormalCDF(NormalCDF):
    """z = sqrt(2 pi) (Phi(h) - 1/2), R onto (-1.253, 1.253): through the origin with slope 1, as tanh."""

    def value(self, h: Tensor) -> Tensor:
        return math.sqrt(math.pi / 2) * torch.erf(h * math.sqrt(0.5))

    def log_derivative(self, h: Tensor) -> Tensor:
        return -0.5 * h * h

    def inverse(self, z: Tensor) -> Tensor:
        limit = 1 - torch.finfo(z.dtype).eps
        return math.sqrt(2) * torch.erfinv((z * math.sqrt(2 / math.pi)).clamp(-limit, limit))
