"""How far one variable is from independent of another."""

import numpy as np


def dependence(p: np.ndarray, a: np.ndarray, bins: int = 16) -> float:
    """The largest Kolmogorov-Smirnov distance between a in one of the equal-count bins of p and a overall, both (n,).

    0 if a is independent of p, up to the noise of a bin: of n / bins samples, about 1.9 sqrt(bins / n) for 16 bins.
    """
    from scipy.stats import ks_2samp

    parts = np.array_split(a[np.argsort(p, kind="stable")], bins)
    return max(float(ks_2samp(part, a, method="asymp").statistic) for part in parts)
