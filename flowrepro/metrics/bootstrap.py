"""Bootstrap intervals of the distances of two samples (Efron & Tibshirani 1993, chapter 13)."""

import math
from collections.abc import Iterator
from statistics import NormalDist

import torch
from torch import Tensor

from flowrepro.metrics.frechet import frechet_distance
from flowrepro.metrics.kernel_distance import weighted_kernel_distances
from flowrepro.randomness import generator

LEVEL = 0.95


def frechet_spread(x: Tensor, y: Tensor, replicates: int, seed: int = 0) -> float:
    """Standard deviation of the Fréchet distance of features x (n, d) and y (m, d) under resampling of both.

    It tells how the distance of so many samples varies, not how far its bias takes it; it is too wide, by up to a
    factor of two, where the distance is near its floor or the samples are fewer than the features.
    """
    pairs = zip(_draws(len(x), replicates, seed, "x"), _draws(len(y), replicates, seed, "y"), strict=True)
    return _std(torch.tensor([frechet_distance(x[i], y[j]) for i, j in pairs]))


def kernel_spread(x: Tensor, y: Tensor, replicates: int, seed: int = 0) -> float:
    """Standard deviation of the kernel distance under resampling of both; a sample drawn twice is no pair."""
    counts = [
        torch.stack([torch.bincount(i, minlength=len(z)) for i in _draws(len(z), replicates, seed, side)])
        for z, side in ((x, "x"), (y, "y"))
    ]
    return _std(weighted_kernel_distances(x, y, *counts))


def interval(value: float, spread: float, level: float = LEVEL) -> tuple[float, float]:
    """The normal interval around a value: value -+ 1.96 spread for 95 %."""
    half = NormalDist().inv_cdf((1 + level) / 2) * spread
    return value - half, value + half


def _std(values: Tensor) -> float:
    return float(values.std()) if len(values) > 1 else math.nan


def _draws(n: int, replicates: int, seed: int, side: str) -> Iterator[Tensor]:
    """Indices (n,) drawn with replacement, for every replicate."""
    source = generator(seed, "bootstrap", side)
    for _ in range(replicates):
        yield torch.randint(n, (n,), generator=source)
