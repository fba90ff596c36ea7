"""Rank correlations between components and true latents."""

import numpy as np


def rank_correlations(components: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """Spearman's rho of every component (n, k) with every latent (n, l): (k, l)."""
    left, right = _standard_ranks(components), _standard_ranks(latents)
    return left.T @ right / len(left)


def _standard_ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=0)
    std = ranks.std(0)
    return (ranks - ranks.mean(0)) / np.where(std > 0, std, 1)
