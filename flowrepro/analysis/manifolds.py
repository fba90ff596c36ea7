"""The S-curve and the sine manifold in R^3, and exact flows on them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

ANGLE_STD = 0.45 * math.pi


@dataclass(frozen=True)
class Manifold:
    """A surface in R^3 with the entropy (nats) of its data per surface area, and an exact map to N(0, I).

    `flatten(x)` gives the two latents as standard normals and the signed distance from the surface, (n, 3).
    """

    name: str
    surface_entropy: float
    flatten: Callable[[Tensor], Tensor]

    def exact_flow(self, alpha: float) -> Callable[[Tensor], Tensor]:
        """f with the surface's distance over sqrt(alpha) as third latent."""
        return lambda x: (
            self.flatten(x) / torch.tensor([1, 1, math.sqrt(alpha)], dtype=x.dtype, device=x.device)
        )


def flatten_sine(x: Tensor) -> Tensor:
    """X = (2 e1, e2 / 2, sin 2 e1) back to e1, e2; the height above the sine stands for the distance."""
    return torch.stack([x[:, 0] / 2, 2 * x[:, 1], x[:, 2] - x[:, 0].sin()], 1)


def flatten_scurve(x: Tensor) -> Tensor:
    """The two circles of the S back to angle and width: the angle over its std, the width made Gaussian."""
    lower = x[:, 2] < 0
    sign = torch.where(lower, 1.0, -1.0).to(x)
    across, along = sign * x[:, 0], 1 + sign * x[:, 2]
    angle = sign * torch.atan2(across, along).remainder(2 * math.pi)
    share = (x[:, 1] / 2).clamp(1e-9, 1 - 1e-9)
    return torch.stack([angle / ANGLE_STD, torch.special.ndtri(share), torch.hypot(across, along) - 1], 1)


def normal_entropy(std: float) -> float:
    """Of a normal variable, in nats."""
    return 0.5 * math.log(2 * math.pi * math.e * std**2)


# E log sqrt(1 + cos^2 2 e): the sine's arc length by quadrature
SINE_STRETCH = 0.188284

MANIFOLDS = {
    "sine": Manifold("sine", normal_entropy(2) + normal_entropy(0.5) + SINE_STRETCH, flatten_sine),
    "scurve": Manifold("scurve", normal_entropy(ANGLE_STD) + math.log(2), flatten_scurve),
}
