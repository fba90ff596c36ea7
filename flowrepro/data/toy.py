"""Sampled data sets: the papers' manifolds and densities, and the usual two-dimensional toys.

Each is a sampler with an explicit generator and, where known, its log-density and entropy in nats. Definitions
of the toys follow FFJORD's lib/toy_data.py, except that points along curves are random, not equally spaced.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

Sampler = Callable[[int, Generator], tuple[Tensor, Tensor | None]]
LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Toy:
    """`sample(n, generator)` gives points (n, dim) in float64 and their true latents (n, L), if any."""

    name: str
    dim: int
    sample: Sampler
    latent_names: tuple[str, ...] = ()
    log_density: Callable[[Tensor], Tensor] | None = None
    entropy: float | None = None


def uniform(n: int, generator: Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    """(n,) in float64."""
    return low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)


def normal(n: int, generator: Generator, columns: int = 2) -> Tensor:
    """(n, columns) in float64."""
    return torch.randn(n, columns, generator=generator, dtype=torch.float64)


def choice(n: int, generator: Generator, options: int) -> Tensor:
    """(n,) of integers below `options`."""
    return torch.randint(options, (n,), generator=generator)


# --- linear_systems -------------------------------------------------------------------------------------------------


def banana(n: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """X = (2 e1, 4/5 e1^2 + 1/2 e2) (linear_systems Sec. 4)."""
    e = normal(n, generator)
    return torch.stack([2 * e[:, 0], 0.8 * e[:, 0] ** 2 + 0.5 * e[:, 1]], 1), e


def banana_log_density(x: Tensor) -> Tensor:
    """Closed form: the map has a constant Jacobian of 1."""
    e1, e2 = x[:, 0] / 2, 2 * (x[:, 1] - x[:, 0] ** 2 / 5)
    return -LOG_2PI - (e1**2 + e2**2) / 2


def scurve(n: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """The S-curve of the authors' code: the angle t is Gaussian with std 0.45 pi, the width uniform on [0, 2]."""
    t = 3 * math.pi * 0.15 * normal(n, generator, 1)[:, 0]
    width = uniform(n, generator, 0, 2)
    return torch.stack([t.sin(), width, t.sign() * (t.cos() - 1)], 1), torch.stack([t, width], 1)


def sine(n: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """X = (2 e1, e2 / 2, sin 2 e1) (linear_systems Sec. 6.1)."""
    e = normal(n, generator)
    return torch.stack([2 * e[:, 0], e[:, 1] / 2, (2 * e[:, 0]).sin()], 1), e


# orthonormal, and oblique to all three axes
PLANE = torch.tensor([[2 / 3, 2 / 3, 1 / 3], [-2 / 3, 1 / 3, 2 / 3]], dtype=torch.float64)


def plane3d(n: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """A Gaussian with std 2 and 1 in a plane of R^3 (linear_systems Fig. 6a; plane and std are our choice)."""
    e = normal(n, generator)
    return (e * torch.tensor([2.0, 1.0], dtype=torch.float64)) @ PLANE, e


def curve2d(n: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """X = (2 e, sin 2 e): a curve in R^2 (linear_systems Fig. 6b; the curve is our choice)."""
    e = normal(n, generator, 1)
    return torch.cat([2 * e, (2 * e).sin()], 1), e


# --- single_coupling ------------------------------------------------------------------------------------------------

W_RANGE = 2.0


def w_mean(p: Tensor) -> Tensor:
    """m(p) of the W density (single_coupling Ex. 1)."""
    return 0.5 * (math.pi * p).cos()


def w_std(p: Tensor) -> Tensor:
    """sigma(p) of the W density, a standard deviation (single_coupling Ex. 1)."""
    return (3 - (8 * math.pi * p / 3).cos()) / 8


def w(n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """(p, a) with p uniform on [-2, 2] and a ~ N(m(p), sigma(p)) (single_coupling Ex. 1)."""
    p = uniform(n, generator, -W_RANGE, W_RANGE)
    a = w_mean(p) + w_std(p) * normal(n, generator, 1)[:, 0]
    return torch.stack([p, a], 1), None


def w_log_density(x: Tensor) -> Tensor:
    """Closed form."""
    p, a = x.unbind(1)
    std = w_std(p)
    conditional = -((a - w_mean(p)) ** 2) / (2 * std**2) - std.log() - LOG_2PI / 2
    return inside(p.abs() <= W_RANGE, conditional - math.log(2 * W_RANGE))


def wu(n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """As W, but with uniform conditionals of the same mean and std (single_coupling Ex. 2)."""
    p = uniform(n, generator, -W_RANGE, W_RANGE)
    a = w_mean(p) + w_std(p) * uniform(n, generator, -math.sqrt(3), math.sqrt(3))
    return torch.stack([p, a], 1), None


def wu_log_density(x: Tensor) -> Tensor:
    """Closed form."""
    p, a = x.unbind(1)
    std = w_std(p)
    there = (p.abs() <= W_RANGE) & ((a - w_mean(p)).abs() <= math.sqrt(3) * std)
    return inside(there, -(2 * math.sqrt(3) * std).log() - math.log(2 * W_RANGE))


GMM_DELTA = 0.95
GMM_VARIANCE = 1 - GMM_DELTA**2


def gmm(n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """Two Gaussians at (+-0.95, 0) with std 0.3122, unit variance along the first axis (single_coupling Ex. 4)."""
    x = math.sqrt(GMM_VARIANCE) * normal(n, generator)
    sign = 2.0 * choice(n, generator, 2) - 1
    return x + torch.stack([GMM_DELTA * sign, torch.zeros_like(sign)], 1), None


def gmm_log_density(x: Tensor) -> Tensor:
    """Closed form."""
    centres = torch.tensor([[GMM_DELTA, 0.0], [-GMM_DELTA, 0.0]], dtype=x.dtype, device=x.device)
    return mixture(x, centres, math.sqrt(GMM_VARIANCE))


def square(n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """Uniform on [-1, 1]^2 (single_coupling Ex. 6)."""
    return torch.stack([uniform(n, generator, -1, 1), uniform(n, generator, -1, 1)], 1), None


def square_log_density(x: Tensor) -> Tensor:
    """Closed form."""
    return inside((x.abs() <= 1).all(1), torch.full_like(x[:, 0], -math.log(4)))


# --- two-dimensional toys -------------------------------------------------------------------------------------------

MOONS_NOISE = 0.1


def moons_curve(angle: Tensor, upper: Tensor) -> Tensor:
    """Points on the two half circles before scaling."""
    first = torch.stack([angle.cos(), angle.sin()], -1)
    second = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], -1)
    return torch.where(upper[..., None], first, second)


def moons(n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """Two half moons with noise 0.1, times 2, minus (1, 0.2)."""
    curve = moons_curve(uniform(n, generator, 0, math.pi), choice(n, generator, 2) == 1)
    shift = torch.tensor([1.0, 0.2], dtype=torch.float64)
    return 2 * (curve + MOONS_NOISE * normal(n, generator)) - shift, None


def moons_log_density(x: Tensor) -> Tensor:
    """The curves convolved with the noise, by the midpoint rule over the angle."""
    angle = math.pi * midpoints(400, x)
    upper = torch.arange(2, device=x.device) == 1
    curve = moons_curve(angle[None, :], upper[:, None]).reshape(-1, 2)
    shift = torch.tensor([1.0, 0.2], dtype=x.dtype, device=x.device)
    return mixture(x, 2 * curve - shift, 2 * MOONS_NOISE)


def circle_sampler(radii: list[float], noise: float) -> Sampler:
    """Concentric circles of equal weight with Gaussian noise."""

    def sample(n: int, generator: Generator) -> tuple[Tensor, None]:
        angle = uniform(n, generator, 0, 2 * math.pi)
        radius = torch.tensor(radii, dtype=torch.float64)[choice(n, generator, len(radii))]
        points = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        return points + noise * normal(n, generator), None

    return sample


def circle_log_density(radii: list[float], noise: float) -> Callable[[Tensor], Tensor]:
    """Closed form: a circle of radius R convolved with a Gaussian is a Bessel function of |x| R / s^2."""

    def log_density(x: Tensor) -> Tensor:
        r, big = x.norm(dim=1)[:, None], torch.tensor(radii, dtype=x.dtype, device=x.device)
        bessel = torch.special.i0e(r * big / noise**2).log()
        terms = bessel - (r - big) ** 2 / (2 * noise**2) - LOG_2PI - 2 * math.log(noise)
        return terms.logsumexp(1) - math.log(len(radii))

    return log_density


def eight_centres() -> Tensor:
    """Centres of the eight Gaussians."""
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    return 4 / 1.414 * torch.stack([angle.cos(), angle.sin()], 1)


def eight_gaussians(n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """Eight Gaussians with std 0.5 on a circle of radius 4, all over 1.414."""
    return eight_centres()[choice(n, generator, 8)] + 0.5 / 1.414 * normal(n, generator), None


def eight_gaussians_log_density(x: Tensor) -> Tensor:
    """Closed form."""
    return mixture(x, eight_centres().to(x), 0.5 / 1.414)


def pinwheel(n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """Five arms, radial std 0.3, tangential 0.1, rate 0.25, times 2."""
    feature = normal(n, generator) * torch.tensor([0.3, 0.1], dtype=torch.float64)
    feature[:, 0] += 1
    angle = 2 * math.pi * choice(n, generator, 5) / 5 + 0.25 * feature[:, 0].exp()
    cos, sin = angle.cos(), angle.sin()
    first, second = feature.unbind(1)
    return 2 * torch.stack([first * cos + second * sin, second * cos - first * sin], 1), None


def two_spirals(n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """Two spirals of one and a half turns, smeared by uniform and Gaussian noise."""
    angle = uniform(n, generator).sqrt() * 3 * math.pi
    smear = torch.stack([uniform(n, generator), uniform(n, generator)], 1) / 2
    points = angle[:, None] * torch.stack([-angle.cos(), angle.sin()], 1) + smear
    sign = 2.0 * choice(n, generator, 2)[:, None] - 1
    return sign * points / 3 + 0.1 * normal(n, generator), None


def two_spirals_log_density(x: Tensor) -> Tensor:
    """A square of side 1/6 convolved with the noise at every point of the curve, by the midpoint rule."""
    angle = midpoints(400, x).sqrt() * 3 * math.pi
    corners = angle * torch.stack([-angle.cos(), angle.sin()]) / 3
    # the second spiral is the first one turned by 180 degrees
    both = torch.cat([x, -x])
    masses = [
        ((corner + 1 / 6 - y[:, None]) / 0.1 / math.sqrt(2)).erf()
        - ((corner - y[:, None]) / 0.1 / math.sqrt(2)).erf()
        for corner, y in zip(corners, both.unbind(1), strict=True)
    ]
    # each difference of error functions is twice a mass, and the square has area 1/36
    density = 36 / 4 * (masses[0] * masses[1]).mean(1)
    return ((density[: len(x)] + density[len(x) :]) / 2).log()


def checkerboard(n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """Uniform on the eight black squares, of side 2, of a board on [-4, 4]^2."""
    first = uniform(n, generator, -2, 2)
    second = uniform(n, generator) - 2 * choice(n, generator, 2) + first.floor() % 2
    return 2 * torch.stack([first, second], 1), None


def checkerboard_log_density(x: Tensor) -> Tensor:
    """Closed form."""
    cell = (x / 2).floor()
    there = (x.abs() <= 4).all(1) & ((cell.sum(1) % 2) == 0)
    return inside(there, torch.full_like(x[:, 0], -math.log(32)))


def swissroll_curve(share: Tensor) -> Tensor:
    """The roll's curve, before scaling, at a share of its parameter range."""
    t = 1.5 * math.pi * (1 + 2 * share)
    return t[:, None] * torch.stack([t.cos(), t.sin()], 1)


def swissroll(n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """The plane section of the Swiss roll with noise 1, over 5."""
    return (swissroll_curve(uniform(n, generator)) + normal(n, generator)) / 5, None


def swissroll_log_density(x: Tensor) -> Tensor:
    """The curve convolved with the noise, by the midpoint rule."""
    return mixture(x, swissroll_curve(midpoints(600, x)) / 5, 1 / 5)


# --- helpers of densities -------------------------------------------------------------------------------------------


def inside(there: Tensor, log_density: Tensor) -> Tensor:
    """The log-density where `there`, else minus infinity."""
    return torch.where(there, log_density, -math.inf)


def mixture(x: Tensor, centres: Tensor, std: float) -> Tensor:
    """Log-density (n,) of equally weighted isotropic Gaussians at centres (k, 2)."""
    exponents = -(torch.cdist(x, centres, compute_mode="donot_use_mm_for_euclid_dist") ** 2) / (2 * std**2)
    return exponents.logsumexp(1) - LOG_2PI - 2 * math.log(std) - math.log(len(centres))


def midpoints(n: int, like: Tensor) -> Tensor:
    """(n,) midpoints of equal parts of [0, 1]."""
    return (torch.arange(n, dtype=like.dtype, device=like.device) + 0.5) / n


CIRCLES = ([3.0, 1.5], 0.24)
RINGS = ([3.0, 2.25, 1.5, 0.75], 0.08)

# Entropies are exact (closed form or quadrature); the sets without one have no tractable density.
TOYS: dict[str, Toy] = {
    toy.name: toy
    for toy in (
        Toy("banana", 2, banana, ("e1", "e2"), banana_log_density, 1 + LOG_2PI),
        Toy("scurve", 3, scurve, ("angle", "width")),
        Toy("sine", 3, sine, ("e1", "e2")),
        Toy("plane3d", 3, plane3d, ("e1", "e2")),
        Toy("curve2d", 2, curve2d, ("e",)),
        Toy("square", 2, square, (), square_log_density, math.log(4)),
        Toy("gmm", 2, gmm, (), gmm_log_density, 1.1997688),
        Toy("w", 2, w, (), w_log_density, 1.8123718),
        Toy("wu", 2, wu, (), wu_log_density, 1.6358866),
        Toy("moons", 2, moons, (), moons_log_density),
        Toy("circles", 2, circle_sampler(*CIRCLES), (), circle_log_density(*CIRCLES)),
        Toy("rings", 2, circle_sampler(*RINGS), (), circle_log_density(*RINGS)),
        Toy("8gaussians", 2, eight_gaussians, (), eight_gaussians_log_density),
        Toy("pinwheel", 2, pinwheel),
        Toy("2spirals", 2, two_spirals, (), two_spirals_log_density),
        Toy("checkerboard", 2, checkerboard, (), checkerboard_log_density, math.log(32)),
        Toy("swissroll", 2, swissroll, (), swissroll_log_density),
    )
}
