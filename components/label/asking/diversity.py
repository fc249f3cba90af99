"""What makes a batch differ within itself: clusters, what is typical of them, and rows that lie far from those that are taken."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

SURPLUS = 20
"""From so many times the rows that are wanted a batch is spread."""

LEAST = 0.25
"""Rows worth less than this share of the most that one is worth are taken only where there are too few others."""

_NEIGHBOURS = 5
_MOST_COMPARED = 4_096


def spread(
    vectors: np.ndarray, worth: np.ndarray, wanted: int, seed: int, beside: np.ndarray | None = None
) -> np.ndarray:
    """Rows of great worth that differ: of the best, one from each of as many clusters, weighted by worth (Zhdanov, 2019).

    Args:
      vectors: float32, [rows, dimensions].
      worth: of each row, not negative.
      wanted: how many.
      seed: of the clusters.
      beside: vectors of rows that are in the batch already; no row is taken from a cluster that has one.

    Returns:
      The places of the rows, the greatest worth first.
    """
    given = vectors[:0] if beside is None else beside
    count = wanted + len(given)
    best = np.argsort(-worth, kind="stable")[: SURPLUS * count]
    # A cluster of rows that are hardly in doubt needs no answer, however far it lies.
    best = best[: max(wanted, int((worth[best] >= LEAST * worth[best].max(initial=0)).sum()))]
    if len(best) <= wanted:
        return best
    near, weights = vectors[best], np.maximum(worth[best], 1e-9)
    every = np.append(weights, np.full(len(given), weights.mean()))
    clusters, distances = _k_means(np.concatenate([near, given]), count, seed, every)
    own, others = clusters[: len(best)], clusters[len(best) :]
    order = np.lexsort((np.arange(len(best)), distances[: len(best)], own))
    first = order[np.flatnonzero(np.diff(own[order], prepend=-1))]
    first = first[~np.isin(own[first], others)]
    heaviest = np.argsort(-np.bincount(own, weights)[own[first]], kind="stable")[:wanted]
    # Rows that are all alike make fewer clusters.
    places = farthest(near, np.sort(first[heaviest]), wanted)
    return best[places[np.argsort(-worth[best[places]], kind="stable")]]


def farthest(vectors: np.ndarray, taken: np.ndarray, wanted: int) -> np.ndarray:
    """Adds rows to those that are taken until there are `wanted`, each time the one farthest from all."""
    left = np.setdiff1d(np.arange(len(vectors)), taken)
    if len(taken) >= wanted or not len(left):
        return taken[:wanted]
    picked = list(taken)
    nearest = np.full(len(left), np.inf)
    for place in picked:
        nearest = np.minimum(nearest, _squares(vectors[left], vectors[place]))
    while len(picked) < wanted and len(picked) < len(vectors):
        chosen = int(nearest.argmax())
        picked.append(int(left[chosen]))
        nearest = np.minimum(nearest, _squares(vectors[left], vectors[left[chosen]]))
        nearest[chosen] = -1
    return np.array(picked, np.int64)


def clusters_of(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The cluster of each row, by k-means."""
    return _k_means(vectors, count, seed, None)[0]


def centres_of(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The centres of at most `count` clusters, float32."""
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(vectors, axis=0)))
    with threadpool_limits(1):
        return KMeans(count, n_init=3, random_state=seed).fit(vectors).cluster_centers_.astype(np.float32)


def nearest_of(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The centre that is nearest to each row."""
    # In double precision, so that a batch's size does not decide between two that are about as near.
    wide, far = vectors.astype(np.float64), centres.astype(np.float64)
    return ((far**2).sum(1) - 2 * wide @ far.T).argmin(1)


def typicality(vectors: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """How near each row's nearest neighbours in its cluster are: the inverse of their mean distance.

    Those of other clusters do not count: a row between two clusters is typical of neither.
    """
    from sklearn.neighbors import NearestNeighbors

    typical = np.ones(len(vectors))
    order = np.argsort(clusters, kind="stable")
    with threadpool_limits(1):
        for places in np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1):
            count = min(_NEIGHBOURS, len(places) - 1)
            if count > 0:
                distances, _ = NearestNeighbors(n_neighbors=count).fit(vectors[places]).kneighbors()
                typical[places] = 1 / (distances.mean(1) + 1e-9)
    return np.round(typical, 9)


def _k_means(vectors: np.ndarray, count: int, seed: int, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each row, and its squared distance to the cluster's centre."""
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(vectors, axis=0)))
    starts = 3 if len(vectors) * count <= _MOST_COMPARED**2 // 4 else 1
    with threadpool_limits(1):
        fitted = KMeans(count, n_init=starts, random_state=seed, max_iter=100).fit(vectors, sample_weight=weights)
    return fitted.labels_, _squares(vectors, fitted.cluster_centers_[fitted.labels_])


def _squares(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    return ((vectors - others) ** 2).sum(1)
