"""The graph of near rows: equal points are one node, nodes are joined to their nearest, near ones more than far ones.

What is near differs from place to place, so that distances are taken in units of both ends' own (Zelnik-Manor and Perona,
2004).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from headwater.components.common import hashing
from headwater.components.label.propagate import neighbours

SCALE_BY = 7
"""A node's unit of distance is that to its neighbour of this rank, or to its last."""

_LEAST = 1e-12
_ROWS = 65_536


class Distinct(NamedTuple):
    """Points without repetition.

    Attributes:
      first: where each occurs first.
      of: for each point, its place in `first`.
    """

    first: np.ndarray
    of: np.ndarray


class Graph(NamedTuple):
    """Nodes and what joins them.

    Attributes:
      joins: symmetric, scipy's CSR, float32: D^-1/2 W D^-1/2 of weights W and their sums D.
      scales: each node's unit of distance.
      components: the number of each node's component.
      index: what finds the nearest nodes of a point.
      order: which of the points that were given each node is.
    """

    joins: Any
    scales: np.ndarray
    components: np.ndarray
    index: Any
    order: np.ndarray


def distinct(points: np.ndarray) -> Distinct:
    """Finds equal points, by their bytes."""
    bits = np.ascontiguousarray(points).view(np.uint32)
    chance = np.random.default_rng(0)
    factors = chance.integers(1, 1 << 63, bits.shape[1], dtype=np.uint64) | np.uint64(1)
    hashes = np.zeros(len(points), np.uint64)
    for place, factor in enumerate(factors):
        hashes = hashing.mix(hashes + bits[:, place].astype(np.uint64) * factor)
    _, first, of = np.unique(hashes, return_index=True, return_inverse=True)
    # In the points' order.
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Distinct(first[order], rank[of.reshape(-1)])


def build(points: np.ndarray, count: int, flat: int = neighbours.FLAT_POINTS) -> Graph:
    """Joins nodes.

    Args:
      points: float32, [nodes, dimensions], no two equal.
      count: to how many of its nearest each is joined.
      flat: as `neighbours.build` takes it.
    """
    import scipy.sparse
    from scipy.sparse import csgraph

    nodes = len(points)
    index, points, order = neighbours.build(points, flat)
    count = min(count, nodes - 1)
    if not count:
        joins = scipy.sparse.csr_matrix((nodes, nodes), dtype=np.float32)
        return Graph(joins, np.ones(nodes, np.float32), np.arange(nodes), index, order)
    # One of them is the node itself, or another so near that floats do not tell them apart.
    _, found = neighbours.nearest(index, points, count + 1)
    near = _others(found, count)
    squares = _squares(points, near)
    rank = np.argsort(squares, 1, kind="stable")
    near, squares = np.take_along_axis(near, rank, 1), np.take_along_axis(squares, rank, 1)
    scales = scale(squares)
    there = np.isfinite(squares)
    weights = np.exp(-np.where(there, squares, 0) / (scales[:, None] * scales[near]))
    # A node keeps its joins, however far; a product of floats below this would be none.
    weights = np.maximum(weights, _LEAST).astype(np.float32)[there]
    starts = np.concatenate([[0], np.cumsum(there.sum(1))])
    directed = scipy.sparse.csr_matrix((weights, near[there].astype(np.int32), starts), (nodes, nodes))
    joined = directed.maximum(directed.T).tocsr()
    components = csgraph.connected_components(joined, directed=False)[1]
    sums = np.asarray(joined.sum(1, dtype=np.float64)).ravel()
    inverse = 1 / np.sqrt(np.where(sums > 0, sums, 1))
    rows = np.repeat(np.arange(nodes), np.diff(joined.indptr))
    joined.data = (joined.data * inverse[rows] * inverse[joined.indices]).astype(np.float32)
    return Graph(joined, scales.astype(np.float32), components, index, order)


def scale(squares: np.ndarray) -> np.ndarray:
    """The unit of distance at points, from the squared distances of their neighbours, the nearest first; inf for none."""
    finite = np.isfinite(squares)
    places = np.clip(np.minimum(finite.sum(1), SCALE_BY) - 1, 0, None)
    chosen = squares[np.arange(len(squares)), places]
    return np.sqrt(np.maximum(np.where(np.isfinite(chosen), chosen, 1), _LEAST).astype(np.float64))


def _others(found: np.ndarray, count: int) -> np.ndarray:
    """The first of those found that are not the node itself; itself where there is none."""
    own = np.arange(len(found))[:, None]
    found = np.where(found < 0, own, found)
    order = np.argsort(found == own, 1, kind="stable")
    return np.take_along_axis(found, order, 1)[:, :count]


def _squares(points: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Squared distances, float64, exact for near points as well; inf to oneself."""
    squares = np.empty(near.shape)
    for start in range(0, len(points), _ROWS):
        stop = start + _ROWS
        for place in range(near.shape[1]):
            apart = points[start:stop] - points[near[start:stop, place]]
            squares[start:stop, place] = np.einsum("ij,ij->i", apart, apart, dtype=np.float64)
    squares[near == np.arange(len(points))[:, None]] = np.inf
    return squares
