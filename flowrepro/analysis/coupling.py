"""What one affine coupling can achieve, without training: closed forms of single_coupling Sec. 3.

Everything rests on the conditional mean m(p) and variance v(p) of the active dimensions given the passive ones: the
best coupling has e^s = v^(-1/2) and t = -m e^s (Lemma 1), and improves the loss by Delta (Theorem 1, Eq. 20).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flowrepro.data.toy import GMM_DELTA, GMM_VARIANCE, W_RANGE, w_mean, w_std

LOG_2PI = math.log(2 * math.pi)


def improvement(mean: Tensor, variance: Tensor) -> Tensor:
    """(m^2 + v - 1 - log v) / 2 in nats, the integrand of Delta (Eq. 20); zero where m = 0 and v = 1."""
    return 0.5 * (mean.square() + variance - 1 - variance.log())


def conditional_kl(mean: Tensor, variance: Tensor, entropy: Tensor) -> Tensor:
    """KL(mu(a|p) || N(0, 1)) in nats, from mean, variance and entropy of a given p."""
    return 0.5 * (mean.square() + variance + LOG_2PI) - entropy


def kl_to_normal(entropy: float, second_moment: float, dim: int) -> float:
    """KL(mu || N(0, I)) in nats, from the entropy of mu and E |x|^2."""
    return -entropy + 0.5 * (dim * LOG_2PI + second_moment)


@dataclass(frozen=True)
class Conditionals:
    """Moments of one active dimension given one passive dimension, on the nodes of a quadrature over the passive one.

    All are (n,) in float64: nodes `p`, their probabilities `weight`, and `mean` and `variance` of a given p.
    """

    p: Tensor
    weight: Tensor
    mean: Tensor
    variance: Tensor

    def expectation(self, values: Tensor) -> float:
        """E_p of values (n,) at the nodes."""
        return float(self.weight @ values)

    def improvement(self) -> float:
        """Delta in nats (Eq. 20)."""
        return self.expectation(improvement(self.mean, self.variance))

    def excess(self, s: Tensor, t: Tensor) -> float:
        """How far a coupling a -> a e^s + t, given at the nodes, stays behind the best one, in nats."""
        mean, log_variance = self.mean * s.exp() + t, 2 * s + self.variance.log()
        return self.expectation(0.5 * (mean.square() + log_variance.exp() - 1 - log_variance))


def w_conditionals() -> Conditionals:
    """Of W, and of WU, which has the same moments (Ex. 1 and 2)."""
    p, weight = gauss_legendre([-W_RANGE, W_RANGE])
    return Conditionals(p, weight / (2 * W_RANGE), w_mean(p), w_std(p).square())


def w_entropy(p: Tensor) -> Tensor:
    """Entropy of a given p under W, which is normal, in nats."""
    return w_std(p).log() + 0.5 * (LOG_2PI + 1)


def wu_entropy(p: Tensor) -> Tensor:
    """Entropy of a given p under WU, which is uniform, in nats."""
    return (2 * math.sqrt(3) * w_std(p)).log()


def gmm_conditionals(degrees: float) -> Conditionals:
    """Of the two Gaussians turned by an angle (Ex. 4); at 0 the passive axis joins the centres.

    m(p) = -delta sin tanh(u) and v(p) = sigma^2 + delta^2 sin^2 / cosh^2(u) with u = delta cos p / sigma^2.
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    std = math.sqrt(GMM_VARIANCE)
    reach = GMM_DELTA + 9 * std
    p = torch.linspace(-reach, reach, 4001, dtype=torch.float64)
    exponents = -((p[:, None] - GMM_DELTA * cos * torch.tensor([1.0, -1.0])) ** 2) / (2 * GMM_VARIANCE)
    # the trapezium rule converges geometrically for a density that decays like this one
    weight = exponents.exp().sum(1)
    u = GMM_DELTA * cos * p / GMM_VARIANCE
    variance = GMM_VARIANCE + (GMM_DELTA * sin) ** 2 / u.cosh().square()
    return Conditionals(p, weight / weight.sum(), -GMM_DELTA * sin * u.tanh(), variance)


def gmm_active(degrees: float) -> tuple[float, float]:
    """Negentropy of the active dimension of the two Gaussians turned by an angle, and its divergence from N(0, 1), in nats.

    By itself it is an equal mixture of N(-delta sin, sigma^2) and N(delta sin, sigma^2).
    """
    centre = GMM_DELTA * math.sin(math.radians(degrees))
    a, weight = gauss_legendre([-abs(centre) - 4, 0, abs(centre) + 4])
    peaks = [-((a - side * centre) ** 2) / (2 * GMM_VARIANCE) for side in (-1, 1)]
    log_density = torch.logaddexp(*peaks) - math.log(2) - 0.5 * (LOG_2PI + math.log(GMM_VARIANCE))
    entropy, variance = -float(weight @ (log_density.exp() * log_density)), GMM_VARIANCE + centre**2
    normal = 0.5 * (LOG_2PI + 1 + math.log(variance))
    return normal - entropy, kl_to_normal(entropy, variance, 1)


def square_conditionals(degrees: float) -> Conditionals:
    """Of the uniform square [-1, 1]^2 turned by an angle (Ex. 6): a given p is uniform on a chord.

    For angles beyond a quarter turn up to the signs of p and a, which Delta does not see.
    """
    cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    p, weight = gauss_legendre([-cos - sin, -abs(cos - sin), abs(cos - sin), cos + sin])
    # |p cos - a sin| <= 1 and |p sin + a cos| <= 1; the first is no bound on a where sin = 0
    low = torch.maximum((p * cos - 1) / max(sin, 1e-300), (-1 - p * sin) / max(cos, 1e-300))
    high = torch.minimum((p * cos + 1) / max(sin, 1e-300), (1 - p * sin) / max(cos, 1e-300))
    length = high - low
    return Conditionals(p, weight * length / 4, (low + high) / 2, length.square() / 12)


def gauss_legendre(ends: list[float], n: int = 200) -> tuple[Tensor, Tensor]:
    """Nodes and weights of n-point quadratures on the pieces between neighbouring ends; empty pieces are left out."""
    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(n))
    pieces = [(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True) if b - a > 1e-12]
    return (
        torch.cat([(a + b) / 2 + (b - a) / 2 * nodes for a, b in pieces]),
        torch.cat([(b - a) / 2 * weights for a, b in pieces]),
    )
