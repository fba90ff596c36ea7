"""Signs that agree between neighbours, for directions known up to a sign."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from sklearn.neighbors import NearestNeighbors, kneighbors_graph

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


def agreeing_signs(directions: Array, points: Array, neighbours: int = 10) -> Array:
    """Signs (N, k) that make the directions (N, D, k) of neighbouring points (N, D) agree, most of them +1.

    For each of the k components the sign is carried along a minimum spanning tree of the nearest-neighbour
    graph, whose edges weigh the disagreement 1 - |v_i . v_j| (as Hoppe et al. 1992 orient surfaces). Parts of
    the graph that hang apart are joined where they are closest.
    """
    rows, columns = _edges(points, min(neighbours, len(points) - 1))
    return np.stack([_carried(directions[..., j], rows, columns) for j in range(directions.shape[2])], axis=1)


def _edges(points: Array, neighbours: int) -> tuple[Indices, Indices]:
    """The edges (rows, columns) of the k-nearest-neighbour graph, made connected."""
    if neighbours < 1:
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    graph = kneighbors_graph(points, neighbours).tocoo()
    rows, columns = graph.row, graph.col
    while (parts := connected_components(_graph(rows, columns, len(points)), directed=False))[0] > 1:
        bridges = [_bridge(points, parts[1] == part) for part in range(1, parts[0])]
        rows = np.append(rows, [a for a, _ in bridges])
        columns = np.append(columns, [b for _, b in bridges])
    return rows, columns


def _bridge(points: Array, inside: NDArray[np.bool_]) -> tuple[int, int]:
    """The closest pair of a point inside and a point outside."""
    outer, inner = np.flatnonzero(~inside), np.flatnonzero(inside)
    distance, nearest = NearestNeighbors(n_neighbors=1).fit(points[outer]).kneighbors(points[inner])
    best = int(distance[:, 0].argmin())
    return int(inner[best]), int(outer[nearest[best, 0]])


def _carried(directions: Array, rows: Indices, columns: Indices) -> Array:
    """The sign (N,) of each direction (N, D) that agrees with its neighbour's along the spanning tree."""
    agreement = (directions[rows] * directions[columns]).sum(1)
    # adding 1 to all weights leaves the tree as it is and keeps edges of weight zero in the sparse matrix
    tree = minimum_spanning_tree(_graph(rows, columns, len(directions), 2 - np.abs(agreement)))
    order, parents = breadth_first_order(tree, 0, directed=False)
    signs = np.ones(len(directions))
    for child in order[1:]:
        parent = parents[child]
        signs[child] = signs[parent] if directions[child] @ directions[parent] >= 0 else -signs[parent]
    return signs if signs.sum() >= 0 else -signs


def _graph(rows: Indices, columns: Indices, n: int, weights: Array | None = None) -> csr_array:
    """The undirected graph as an upper triangle, so that an edge found from both ends is not added up."""
    low, high = np.minimum(rows, columns), np.maximum(rows, columns)
    _, first = np.unique(low * n + high, return_index=True)
    # scipy before 1.15 knows graphs with 32-bit indices only
    low, high = low.astype(np.int32), high.astype(np.int32)
    values = np.ones(len(first)) if weights is None else weights[first]
    return coo_array((values, (low[first], high[first])), shape=(n, n)).tocsr()
