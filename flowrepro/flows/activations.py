"""Elementwise bijections."""

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
