"""Distances between samples of two distributions."""

import torch
from torch import Tensor


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of samples x (n, D) and y (m, D), in the units of the data.

    Zero if and only if the distributions are equal (Szekely & Rizzo 2013); the estimate leaves out |x_i - x_i| and is
    unbiased, so it may be negative.
    """
    return float(2 * torch.cdist(x, y).mean() - _within(x) - _within(y))


def _within(x: Tensor) -> Tensor:
    return torch.cdist(x, x).sum() / (len(x) * (len(x) - 1))
