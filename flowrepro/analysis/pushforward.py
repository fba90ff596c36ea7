"""Densities carried through a flow, on grids of the plane: exact, by the change of variables."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

LogDensity = Callable[[Tensor], Tensor]
CHUNK = 10_000


class InvertibleMap(Protocol):
    """What maps data to latents with dlogp, and back, such as a Layer."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]: ...

    def inverse(self, z: Tensor) -> Tensor: ...


def pushforward(log_density: LogDensity, layer: InvertibleMap) -> LogDensity:
    """The log-density of f(x) for x with the given one: log mu(f^-1(z)) - log |det df/dx| there."""

    @torch.no_grad()
    def pushed(z: Tensor) -> Tensor:
        x = layer.inverse(z)
        return log_density(x) - layer(x)[1]

    return pushed


def square_grid(low: float, high: float, cells: int) -> tuple[Tensor, float]:
    """Midpoints (cells^2, 2) of a square grid, the first coordinate slowest, and the area of a cell."""
    side = low + (high - low) * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    return torch.cartesian_prod(side, side), ((high - low) / cells) ** 2


@torch.no_grad()
def on_grid(log_density: LogDensity, points: Tensor) -> Tensor:
    """The density at grid points (n^2, 2) as an image (n, n): rows are the second coordinate, from below."""
    side = round(len(points) ** 0.5)
    values = torch.cat([log_density(part) for part in points.split(CHUNK)]).exp()
    return torch.nan_to_num(values).reshape(side, side).T
