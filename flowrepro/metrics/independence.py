"""How far one variable is from independent of another, and the density of variables that are."""

import numpy as np


def dependence(p: np.ndarray, a: np.ndarray, bins: int = 16) -> float:
    """The largest Kolmogorov-Smirnov distance between a in one of the equal-count bins of p and a overall, both (n,).

    0 if a is independent of p, up to the noise of a bin: of n / bins samples, about 1.9 sqrt(bins / n) for 16 bins.
    """
    from scipy.stats import ks_2samp

    parts = np.array_split(a[np.argsort(p, kind="stable")], bins)
    return max(float(ks_2samp(part, a, method="asymp").statistic) for part in parts)


def product_log_density(fitted: np.ndarray, x: np.ndarray, bins: int = 200) -> np.ndarray:
    """Log-density in nats at x (n, D) of independent coordinates that are each distributed as in fitted (m, D): (n,).

    Each by a histogram of equal widths, with half a sample more in every bin; points beyond the ends count with the last.
    """
    total = np.zeros(len(x))
    for known, values in zip(fitted.T, x.T, strict=True):
        counts, edges = np.histogram(known, bins)
        density = (counts + 0.5) / (counts + 0.5).sum() / np.diff(edges)
        total += np.log(density[np.searchsorted(edges[1:-1], values)])
    return total
