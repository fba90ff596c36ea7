"""The intrinsic dimension of data, from how the local standard deviations of a flow move with added noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

# of the logarithm of a std over that of the noise: 1 off the manifold, 0 on it
SLOPE = 0.5
DECADES = 1.0
# of the logarithm of the noise's std
LEAST_CHANGE = 0.5
# rows of which the Jacobian is decomposed
ROWS, ELEMENTS = 256, 2**16


def local_stds(flow: Any, x: Tensor) -> np.ndarray:
    """Geometric means over the first rows of x (N, D) of a flow's local standard deviations, descending, (D,)."""
    rows = min(ROWS, max(16, ELEMENTS // x.shape[1] ** 2))
    return np.exp(flow.components(x[:rows]).std.log().mean(0).numpy())


def noise_curve(variances: Sequence[float], stds: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Variances (M,) of the noise, local stds (M, D), and the slopes (D,) of log std over log noise in the last decade.

    Off the manifold a local standard deviation is that of the noise, on it that of the data (Horvat & Pfister 2022).
    Slopes are nan where the noise hardly changes.
    """
    levels, found = np.array(variances), np.array(stds)
    last = levels <= levels.min(initial=np.inf) * 10**DECADES
    x = 0.5 * np.log(levels[last])
    if not len(x) or np.ptp(x) < LEAST_CHANGE:
        return {"variance": levels, "std": found, "slope": np.full(found.shape[1:], np.nan)}
    x = x - x.mean()
    return {"variance": levels, "std": found, "slope": x @ np.log(found[last]) / (x @ x)}


def intrinsic_dimension(slope: np.ndarray) -> int | None:
    """How many local standard deviations do not follow the noise; None where that is not known."""
    return int((slope < SLOPE).sum()) if slope.ndim and np.isfinite(slope).all() else None
