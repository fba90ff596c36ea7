"""Distances between samples of two distributions."""

import torch
from torch import Tensor


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of samples x (n, D) and y (m, D), in the units of the data.

    Zero if and only if the distributions are equal (Szekely & Rizzo 2013). The estimate counts |x_i - x_i| too: it is
    never negative, is E|X - X'| (1 / n + 1 / m) for equal distributions, and compares only samples of the same sizes.
    """
    return float(2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, y).mean())
