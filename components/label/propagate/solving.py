"""The solution of a graph: what each node takes over from its neighbours and gives on, until nothing changes.

F = (I − a S)⁻¹ Y (Zhou et al., 2003), by conjugate gradients on all classes at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

TOLERANCE = 3e-4
_MOST_STEPS = 1_000
_LEAST = 1e-30
_LOT = 8_192


def solve(
    joins: Any, spread: float, seeds: np.ndarray, classes: np.ndarray, tolerance: float = TOLERANCE
) -> tuple[np.ndarray, int]:
    """Solves the graph.

    Args:
      joins: symmetric, of the eigenvalues [-1, 1].
      spread: how much a node takes over, in (0, 1).
      seeds: the nodes that have a class.
      classes: float32, [seeds, classes]: how much each is of each class.
      tolerance: how small what is left must be, as a share of the seeds.

    Returns:
      float32, [nodes, classes]; and in how many steps.
    """
    right = np.zeros((joins.shape[0], classes.shape[1]), np.float32)
    right[seeds] = classes
    mass, steps = _conjugate_gradients(joins, spread, right, tolerance)
    return np.maximum(mass, 0, out=mass), steps


def held_out(
    joins: Any,
    spreads: Sequence[float],
    seeds: np.ndarray,
    classes: np.ndarray,
    folds: np.ndarray,
    count: int,
    tolerance: float = TOLERANCE,
) -> tuple[np.ndarray, int]:
    """What each seed would get from the seeds of the other folds, for several spreads at the price of one.

    Args:
      joins: as `solve` takes it.
      spreads: in (0, 1).
      seeds: the nodes that have a class.
      classes: float32, [seeds, classes].
      folds: of each seed; those from `count` on are never held out.
      count: how many folds there may be.
      tolerance: for all spreads but the widest, which is solved as far as ten times that.

    Returns:
      float32, [spreads, seeds, classes], 0 for seeds that are not held out; and how many steps it took.
    """
    found, steps = np.zeros((len(spreads), *classes.shape), np.float32), 0
    for fold in np.unique(folds[folds < count]):
        held = folds == fold
        found[:, held], more = _left_out(joins, spreads, seeds, classes, held, tolerance)
        steps += more
    return found, steps


def _left_out(
    joins: Any, spreads: Sequence[float], seeds: np.ndarray, classes: np.ndarray, held: np.ndarray, tolerance: float
) -> tuple[np.ndarray, int]:
    """What the other seeds give at those held out.

    The spreads' systems differ by a multiple of the identity, so that one sequence of steps solves all (Jegerlehner, 1996), and
    of each only the rows that are asked for are computed.
    """
    at, width, widest = seeds[held], classes.shape[1], max(spreads)
    left = np.zeros((joins.shape[0], width), np.float32)
    left[seeds[~held]] = classes[~held]
    along = left.copy()
    shifts = np.array([1 / each - 1 / widest for each in spreads])[:, None]
    least = np.where(shifts > 0, tolerance, 10 * tolerance)
    found = np.zeros((len(spreads), len(at), width))
    ways = np.repeat(left[None, at].astype(np.float64), len(spreads), 0)
    before, now = np.ones((len(spreads), width)), np.ones((len(spreads), width))
    squares = first = _products(left, left)
    length_before, ratio = np.ones(width), np.zeros(width)
    steps = 0
    while steps < _MOST_STEPS and (now * np.sqrt(squares) > least * np.sqrt(first)).any():
        steps += 1
        turned = joins @ along
        turned *= np.float32(-1)
        for way, gone in _lots(along, turned):
            gone += way * np.float32(1 / widest)
        length = squares / np.maximum(_products(along, turned), _LEAST)
        divisor = length * ratio * (before - now) + before * length_before * (1 + shifts * length)
        after = np.where(now > _LEAST, now * before * length_before / np.maximum(divisor, _LEAST), now)
        going = now > _LEAST
        part = np.where(going, after / np.where(going, now, 1), 0)
        found += (part * length)[:, None] * ways
        by = _repeated(length)
        for gone, rest in _lots(turned, left):
            gone *= by[: len(gone)]
            rest -= gone
        last, squares = squares, _products(left, left)
        length_before, ratio = length, squares / np.maximum(last, _LEAST)
        ways = after[:, None] * left[at] + (ratio * part**2)[:, None] * ways
        before, now = now, after
        by = _repeated(ratio)
        for rest, way in _lots(left, along):
            way *= by[: len(way)]
            way += rest
    shares = np.array(spreads)[:, None, None]
    return np.maximum(found / shares, 0).astype(np.float32), steps


def _conjugate_gradients(joins: Any, spread: float, right: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
    """(I − spread × joins)⁻¹ × right for each column, and in how many steps."""
    solved, left, along = np.zeros_like(right), right.copy(), right.copy()
    squares = _products(left, left)
    target = squares * tolerance**2
    for step in range(_MOST_STEPS):
        if (squares <= target).all():
            return solved, step
        turned = joins @ along
        turned *= np.float32(-spread)
        for way, gone in _lots(along, turned):
            gone += way
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
