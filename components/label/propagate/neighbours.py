"""The nearest of many points, by faiss: each with each while they are some tens of thousands, by cells beyond.

Points are looked up a fixed number at a time, each lot by one thread, so that the answer is the same on any number of cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from headwater.components.common import machine

FLAT_POINTS = 30_000
"""So many points at most are compared each with each."""

_LOT = 4_096
_CELLS_BY_ROOT = 2.0
_CELLS_LOOKED_AT = 8
_TRAINED_BY = 64


def build(points: np.ndarray, flat: int = FLAT_POINTS) -> tuple[Any, np.ndarray, np.ndarray]:
    """An index of points, in an order in which near ones stand together, as memory likes it.

    Args:
      points: float32, [points, dimensions].
      flat: the most points that are compared each with each.

    Returns:
      The index, the points in its order, and which each of them was; int64.
    """
    import faiss

    faiss.omp_set_num_threads(1)
    count, dimensions = points.shape
    plain = faiss.IndexFlatL2(dimensions)
    if count <= flat:
        plain.add(points)
        return plain, points, np.arange(count)
    index = faiss.IndexIVFFlat(plain, dimensions, int(_CELLS_BY_ROOT * np.sqrt(count)))
    index.cp.seed, index.cp.niter = 1, 8
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, _TRAINED_BY
    index.train(points)
    index.nprobe = _CELLS_LOOKED_AT
    cells = np.concatenate(list(_in_lots(lambda lot: plain.search(lot, 1)[1][:, 0], points)))
    order = np.argsort(cells, kind="stable")
    points, cells = points[order], cells[order]
    index.add_core(count, faiss.swig_ptr(points), None, faiss.swig_ptr(cells))
    return index, points, order


def together(index: Any, points: np.ndarray) -> np.ndarray:
    """An order of points in which those of one cell of an index stand together, as memory likes it, int64."""
    import faiss

    if not isinstance(index, faiss.IndexIVF):
        return np.arange(len(points))
    faiss.omp_set_num_threads(1)
    return np.argsort(index.quantizer.search(points, 1)[1][:, 0], kind="stable")


def nearest(index: Any, points: np.ndarray, count: int, threads: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The nearest indexed points of each point.

    Args:
      index: from `build`.
      points: float32, [points, dimensions].
      count: how many, at most as many as are indexed.
      threads: how many look; 0 for as many as the cores that this process may use.

    Returns:
      Squared distances, float32, and numbers, int64, [points, count], the nearest first; -1 where fewer were found.
    """
    lots = list(_in_lots(lambda lot: index.search(lot, count), points, threads))
    if not lots:
        return np.zeros((0, count), np.float32), np.zeros((0, count), np.int64)
    return np.concatenate([each[0] for each in lots]), np.concatenate([each[1] for each in lots])


def _in_lots(work: Callable[[np.ndarray], Any], points: np.ndarray, threads: int = 0) -> Iterator[Any]:
    import faiss

    def alone(start: int) -> Any:
        # Of each thread its own.
        faiss.omp_set_num_threads(1)
        return work(points[start : start + _LOT])

    starts = range(0, len(points), _LOT)
    with ThreadPoolExecutor(threads or machine.cores()) as pool:
        yield from pool.map(alone, starts)
