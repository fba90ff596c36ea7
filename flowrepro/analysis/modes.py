"""How many local maxima the derivative of a monotone map of the line has (sigma of jacobian_determinant Sec. 3.3)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

# x to f(x) and log f'(x), each of the shape of x
MonotoneMap = Callable[[Tensor], tuple[Tensor, Tensor]]
# in nats: far above rounding, far below what can be seen
PROMINENCE = 1e-6


def local_maxima(values: np.ndarray, prominence: float = PROMINENCE) -> int:
    """The number of local maxima of values (n,) on a fine grid of a line.

    A maximum must stand out by `prominence` on both sides. A plateau counts once, and not at all at an end of the grid.
    """
    from scipy.signal import find_peaks

    peaks = find_peaks(values, prominence=prominence)[0]
    # of equal height, both stand out even if only a rounding error lies between them
    dips = np.minimum.reduceat(values, peaks)[:-1]
    apart = np.minimum(values[peaks[:-1]], values[peaks[1:]]) - dips >= prominence
    return min(len(peaks), 1) + int(apart.sum())


def log_slope(maps: Sequence[MonotoneMap], x: Tensor) -> Tensor:
    """log of the derivative of a chain of monotone maps, of the shape of x: the sum over maps at what reaches them.

    With a uniform base it is the log-density of the flow (jacobian_determinant Eq. 3).
    """
    total = torch.zeros_like(x)
    for f in maps:
        x, part = f(x)
        total = total + part
    return total


def counts(log_slopes: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Local maxima of the derivatives of f and of g = f^-1, from log f' (n, M) of M maps on a grid: (M,), (M,).

    log g' at z = f(x) is -log f' at x, and f only moves the points: the maxima of g' are the minima of f'.
    """
    columns = log_slopes.detach().numpy().T
    return np.array([local_maxima(c) for c in columns]), np.array([local_maxima(-c) for c in columns])
