"""The solution of a graph: what each node takes over from its neighbours and gives on, until nothing changes.

F = (I − a S)⁻¹ Y (Zhou et al., 2003), by conjugate gradients on all classes at once. It is linear in the seeds: held-out seeds
are left out by subtracting what they alone give, and the parts' sum is the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

TOLERANCE = 3e-4
_MOST_STEPS = 1_000
_LEAST = 1e-30
_LOT = 8_192


class Solution(NamedTuple):
    """What the seeds give.

    Attributes:
      mass: float32, [nodes, classes], of all seeds.
      held: float32, [seeds, classes], at each seed what the seeds of the other folds give.
      steps: of conjugate gradients, in all.
    """

    mass: np.ndarray
    held: np.ndarray
    steps: int


def solve(
    joins: Any, spread: float, seeds: np.ndarray, classes: np.ndarray, folds: np.ndarray, tolerance: float = TOLERANCE
) -> Solution:
    """Solves the graph for the seeds of each fold.

    Args:
      joins: symmetric, of the eigenvalues [-1, 1].
      spread: how much a node takes over, in (0, 1).
      seeds: the nodes that have a class.
      classes: float32, [seeds, classes]: how much each is of each class.
      folds: of each seed the number, from 0; of folds as many as are to be held out.
      tolerance: how small what is left must be, as a share of the seeds.
    """
    nodes, width = joins.shape[0], classes.shape[1]
    mass = np.zeros((nodes, width), np.float32)
    held = np.zeros((len(seeds), width), np.float32)
    steps = 0
    for fold in range(int(folds.max(initial=0)) + 1):
        own = folds == fold
        right = np.zeros((nodes, width), np.float32)
        right[seeds[own]] = classes[own]
        part, more = conjugate_gradients(joins, spread, right, tolerance)
        steps += more
        mass += part
        held[own] -= part[seeds[own]]
    held += mass[seeds]
    return Solution(np.maximum(mass, 0, out=mass), np.maximum(held, 0, out=held), steps)


def conjugate_gradients(joins: Any, spread: float, right: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
    """(I − spread × joins)⁻¹ × right for each column, and in how many steps."""
    import scipy.sparse

    nodes, width = right.shape
    matrix = (scipy.sparse.identity(nodes, np.float32, "csr") - joins * np.float32(spread)).tocsr()
    solved, left, along = np.zeros_like(right), right.copy(), right.copy()
    squares = _products(left, left)
    target = squares * tolerance**2
    for step in range(_MOST_STEPS):
        if (squares <= target).all():
            return solved, step
        turned = matrix @ along
        length = _repeated(squares / np.maximum(_products(along, turned), _LEAST))
        # Lot by lot, each while the processor has it at hand.
        for far, gone, rest, way in _lots(solved, turned, left, along):
            far += way * length[: len(way)]
            gone *= length[: len(way)]
            rest -= gone
        before, squares = squares, _products(left, left)
        ratio = _repeated(squares / np.maximum(before, _LEAST))
        for rest, way in _lots(left, along):
            way *= ratio[: len(way)]
            way += rest
    return solved, _MOST_STEPS


def _lots(*arrays: np.ndarray) -> Iterator[list[np.ndarray]]:
    """The same rows of each array, some thousands at a time and in one row of numbers."""
    flat = [each.reshape(-1) for each in arrays]
    size = _LOT * arrays[0].shape[1]
    for start in range(0, len(flat[0]), size):
        yield [each[start : start + size] for each in flat]


def _repeated(by_class: np.ndarray) -> np.ndarray:
    return np.tile(by_class.astype(np.float32), _LOT)


def _products(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Sums by column of products, in float64, since millions of floats are added."""
    width = one.shape[1]
    lots = [np.einsum("ij,ij->j", a.reshape(-1, width), b.reshape(-1, width)) for a, b in _lots(one, other)]
    return np.sum(lots, 0, dtype=np.float64) if lots else np.zeros(width)
