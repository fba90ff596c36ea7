"""Correlations between components and true latents: of ranks, and of distances."""

import numpy as np


def rank_correlations(components: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """Spearman's rho of every component (n, k) with every latent (n, l): (k, l)."""
    left, right = _standard_ranks(components), _standard_ranks(latents)
    return left.T @ right / len(left)


def distance_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """The distance correlation of samples x (n, k) and y (n, l), 0 to 1: 0 if independent (Szekely et al. 2007).

    1 if they are the same up to scale, rotation and shift.
    """
    a, b = _centred_distances(x), _centred_distances(y)
    norm = np.sqrt((a * a).mean() * (b * b).mean())
    return float(np.sqrt(max(0.0, (a * b).mean()) / norm)) if norm > 0 else 0.0


def _centred_distances(x: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    d = cdist(x, x)
    return np.asarray(d - d.mean(0) - d.mean(1, keepdims=True) + d.mean())


def _standard_ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=0)
    std = ranks.std(0)
    return (ranks - ranks.mean(0)) / np.where(std > 0, std, 1)
