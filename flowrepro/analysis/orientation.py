"""Signs for directions that cannot all be made to agree: the choice that agrees most, and another."""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import kneighbors_graph

Array = NDArray[np.float64]


def cosines_of_neighbours(directions: Array, points: Array, neighbours: int = 10) -> Array:
    """The cosines (N, N) of unit directions (N, D) at points (N, D) that are near neighbours; zero for other pairs."""
    graph = kneighbors_graph(points, min(neighbours, len(points) - 1)).toarray()
    cosines: Array = np.maximum(graph, graph.T) * (directions @ directions.T)
    return cosines


def agreement(signs: Array, cosines: Array) -> float:
    """The sum of s_i s_j c_ij over pairs, as a share of the sum of |c_ij|: 1 if all neighbours agree."""
    return float(signs @ cosines @ signs / np.abs(cosines).sum().clip(1e-12))


def orientations(cosines: Array) -> tuple[Array, Array]:
    """Two choices of signs (N,) for directions with these cosines (N, N), the one that agrees more first.

    A choice begins with the signs of an eigenvector of the cosines, the first or the second, normalised by the sums of
    their rows (angular synchronisation, Singer 2011); then signs are flipped one at a time, the worst first, while that
    raises the agreement. Such a search ends in a local optimum, and both may end in the same. Parts of the neighbour graph
    that hang apart have no common signs. Most signs of either choice are +1.
    """
    scale = np.sqrt(np.abs(cosines).sum(1)).clip(1e-12)
    vectors = np.linalg.eigh(cosines / scale / scale[:, None])[1]
    found = [_improved(np.where(vectors[:, -k] >= 0, 1.0, -1.0), cosines) for k in (1, 2)]
    first, second = sorted(found, key=lambda signs: -agreement(signs, cosines))
    return first, second


def _improved(signs: Array, cosines: Array) -> Array:
    """The signs after flipping those that disagree with their neighbours."""
    while (fit := signs * (cosines @ signs)).min() < -1e-9:
        signs[fit.argmin()] *= -1
    return signs if signs.sum() >= 0 else -signs
