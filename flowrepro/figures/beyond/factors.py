"""Data with what they were made from: manifolds of known factors and dimension, and scikit-learn's tables with classes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from flowrepro.data.toy import TOYS

# with a sixth for testing
EIGHT_ROWS = 7_200


class Made(NamedTuple):
    """Points (n, D), their factors (n, f) or classes (n,), and the dimension of the manifold, 0 if it is not known."""

    x: np.ndarray
    factors: np.ndarray
    dimension: int = 0


def toy(name: str) -> Callable[[int, int], Made]:
    """One of flowrepro's manifolds of two factors."""

    def make(n: int, seed: int) -> Made:
        x, latents = TOYS[name].sample(n, torch.Generator().manual_seed(seed))
        assert latents is not None
        return Made(x.numpy(), latents.numpy(), 2)

    return make


def swissroll(n: int, seed: int) -> Made:
    """scikit-learn's Swiss roll in three dimensions; the factors are angle and width."""
    from sklearn.datasets import make_swiss_roll

    x, angle = make_swiss_roll(n, random_state=seed)
    return Made(x, np.stack([angle, x[:, 1]], 1), 2)


def sphere(n: int, seed: int) -> Made:
    """A 2-sphere, turned at random in 10 dimensions."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    turned = np.linalg.qr(rng.normal(size=(10, 3)))[0]
    return Made(points @ turned.T, points, 2)


def gaussian(n: int, seed: int) -> Made:
    """A 5-dimensional Gaussian in 20 dimensions."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, 5))
    return Made(factors @ rng.normal(size=(5, 20)), factors, 5)


def eight(n: int, seed: int) -> Made:
    """Eight columns, of which four bend with the others, always so many that 6,000 rows train: for timing."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(EIGHT_ROWS, 4))
    return Made(np.hstack([factors, factors**2 + 0.1 * rng.normal(size=(EIGHT_ROWS, 4))]), factors)


def bundled(name: str) -> Callable[[int, int], Made]:
    """A table that comes with scikit-learn, shuffled; the classes are its own."""

    def make(n: int, seed: int) -> Made:
        from sklearn import datasets

        x, classes = getattr(datasets, f"load_{name}")(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(x))[:n]
        return Made(x[order].astype(float), classes[order])

    return make


SETS: dict[str, Callable[[int, int], Made]] = {
    "scurve": toy("scurve"),
    "sine": toy("sine"),
    "swissroll": swissroll,
    "digits": bundled("digits"),
    "wine": bundled("wine"),
    "cancer": bundled("breast_cancer"),
    "plane": toy("plane3d"),
    "sphere": sphere,
    "gaussian": gaussian,
    "eight": eight,
}
