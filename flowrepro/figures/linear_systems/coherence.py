"""Whether a projection of a manifold is coherent, for figure 3 and the ablations; with controls for that test."""

from typing import Any

import numpy as np

from flowrepro.figures.claims import Values, column, smallest
from flowrepro.metrics.correlation import rank_correlations
from flowrepro.metrics.separability import knn_r2

# a component that explains half of the variance of its factor, in ranks
COHERENT = 0.7
# in nats, out of the 4.5 (S-curve) and 4.8 (sine) between the best linear flow, which finds no factor, and the optimum
FACTORS = 2.0


def control_numbers(measured: dict[str, Any]) -> dict[str, float]:
    """The numbers of two control projections: the exact flow's, if it was measured, and a shuffled one."""
    latents, components = measured["latents"], measured["components"]
    order = np.random.default_rng(0).permutation(len(components))
    projections = {"shuffled": components[order]}
    if "exact" in measured:
        projections["exact"] = measured["exact"]
    found: dict[str, float] = {}
    for name, projection in projections.items():
        found |= _numbers(f"{name}_correlation", np.abs(np.diag(rank_correlations(projection, latents))))
        found |= _numbers(f"{name}_r2", knn_r2(projection, latents))
    return found


def _numbers(name: str, values: np.ndarray) -> dict[str, float]:
    return {f"{name}_{k}": float(value) for k, value in enumerate(values, 1)}


def weaker(prefix: str = "", **where: Any) -> Values:
    """The smaller rank correlation of the two components with their factors; for a control, given its prefix."""
    return smallest(*(column(f"{prefix}correlation_{k}", **where) for k in (1, 2)))
