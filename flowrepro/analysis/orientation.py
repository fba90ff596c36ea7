"""Signs for directions that no choice makes agree everywhere: the choice that agrees most, and the next best."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import kneighbors_graph

Array = NDArray[np.float64]


class Orientation(NamedTuple):
    """Signs (N,), and their agreement: the sum of s_i s_j v_i . v_j over neighbours, as a share of that of |v_i . v_j|."""

    signs: Array
    agreement: float


def orientations(directions: Array, points: Array, neighbours: int = 10) -> tuple[Orientation, Orientation]:
    """Two choices of signs for unit directions (N, D) at points (N, D): the one that agrees most, and the next best.

    Directions are compared between each point and its nearest neighbours. A choice begins with the signs of an eigenvector
    of their cosines, the first or the second, normalised by the sums of rows (angular synchronisation, Singer 2011); then
    single signs are turned as long as that helps. Most signs of the first choice are +1.
    """
    graph = kneighbors_graph(points, min(neighbours, len(points) - 1)).toarray()
    cosines = np.maximum(graph, graph.T) * (directions @ directions.T)
    scale = np.sqrt(np.abs(cosines).sum(1)).clip(1e-12)
    vectors = np.linalg.eigh(cosines / scale / scale[:, None])[1]
    first, second = (_improved(np.where(vectors[:, -k] >= 0, 1.0, -1.0), cosines) for k in (1, 2))
    return (first, second) if first.agreement >= second.agreement else (second, first)


def _improved(signs: Array, cosines: Array) -> Orientation:
    """The signs after turning those that disagree with their neighbours, the worst first."""
    while (fit := signs * (cosines @ signs)).min() < -1e-9:
        signs[fit.argmin()] *= -1
    return Orientation(signs if signs.sum() >= 0 else -signs, float(fit.sum() / np.abs(cosines).sum()))
