"""Cluster-based: the most typical row of each cluster that has no label yet, the largest cluster first (after TypiClust,
Hacohen et al., 2022). It needs no label at all, so that every loop begins with it."""

from __future__ import annotations

import numpy as np

from headwater.components.common import hashing
from headwater.components.label.asking.diversity import clusters_of, farthest, typicality
from headwater.components.label.asking.strategies import Pool, Rows, Space, Told

TITLE = "typical of rows of which none is labelled"
LEARNS = "nothing"

MOST_CLUSTERS = 500


def worth(rows: Rows, space: Space) -> np.ndarray:
    """As of random rows: clusters are those of an even sample of the pool."""
    return hashing.shares(rows.hashes)


def choose(pool: Pool, told: Told) -> np.ndarray:
    """One row of each of as many clusters as there are labels and rows to ask about, those with fewest labels first."""
    vectors = pool.rows.vectors
    wanted = min(told.wanted, len(vectors))
    every = np.concatenate([vectors, told.labelled.astype(np.float32)])
    known = np.arange(len(vectors), len(every))
    clusters = clusters_of(every, min(len(known) + wanted, MOST_CLUSTERS), told.seed)
    count = int(clusters.max()) + 1
    labels, sizes = np.bincount(clusters[known], minlength=count), np.bincount(clusters, minlength=count)
    own, typical = clusters[: len(vectors)], typicality(every, clusters)[: len(vectors)]
    # Within a cluster the most typical first; over clusters turn by turn.
    order = np.lexsort((-typical, own))
    turn = np.empty(len(order), np.int64)
    starts = np.flatnonzero(np.diff(own[order], prepend=-1))
    turn[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    first = np.flatnonzero(turn == 0)
    picked = first[np.lexsort((-sizes[own[first]], labels[own[first]]))][:wanted]
    return farthest(vectors, picked, wanted)
