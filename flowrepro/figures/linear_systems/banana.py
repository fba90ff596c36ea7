"""The banana and its map to the standard normal, derived by hand in linear_systems Sec. 4."""

import math

import torch
from torch import Tensor

# f(X) = R e, a rotation of the latents by 120 degrees
ROTATION = torch.tensor([[-0.5, -math.sqrt(3) / 2], [math.sqrt(3) / 2, -0.5]], dtype=torch.float64)


def banana_map(x: Tensor) -> Tensor:
    """f(X) of linear_systems Sec. 4 on the uncentred banana, (n, 2) -> (n, 2)."""
    x1, x2 = x.unbind(-1)
    root = math.sqrt(3)
    first = -x1 / 4 - root * x2 + root / 5 * x1**2
    second = root / 4 * x1 - x2 + x1**2 / 5
    return torch.stack([first, second], -1)
