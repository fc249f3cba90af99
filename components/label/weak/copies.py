"""Copies: functions that tell more about each other than the class of a row does."""

from __future__ import annotations

import numpy as np

from headwater.components.label.weak.model import FLOOR, separate
from headwater.components.label.weak.tally import chunks, one_hot, with_abstentions

# Nats that one function tells about the other beyond the class, for each row that either votes on. Independent functions
# stay below a third of it while the posterior is not yet sure, copies in four cases of five are at four times as much.
_COPIES = 0.03
# Two functions that should meet on so many rows by chance, and meet on none, look at one thing from two sides.
_NEVER_MET = 30
_MOST_ENTRIES = 4_000


def find_copies(votes: np.ndarray, posterior: np.ndarray, weights: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Groups of functions that tell more about each other than their class does.

    The measure is the conditional mutual information of two functions' outcomes given the class, less what chance gives
    (degrees of freedom over twice the rows), for each row that either votes on. Two functions that never vote on the
    same row, as above and below a threshold of one column, would pass for the class itself; they are joined whatever
    the measure says.

    Args:
      votes: int8, [rows, functions].
      posterior: of the classes after a few iterations, float32, [classes, rows].
      weights: rows that each row stands for.
    """
    classes, functions = len(posterior), votes.shape[1]
    width = classes + 1
    if width**2 * classes > _MOST_ENTRIES:
        # With so many classes not even two have a joint distribution.
        return separate(functions)
    rows = weights.sum()
    turned = np.ascontiguousarray(votes.T)
    ones, voted = one_hot(turned, classes), (turned >= 0).astype(np.float32)
    counts, both = np.zeros((functions, functions)), (voted * weights.astype(np.float32)) @ voted.T / rows
    for own in posterior:
        share = (own * weights).astype(np.float32)
        met = np.zeros((functions * classes,) * 2)
        for part in chunks(len(votes), functions * classes):
            met += (ones[:, part] * share[part]) @ ones[:, part].T
        total = share.sum(dtype=np.float64)
        each = np.maximum(0, with_abstentions(met, total, classes))
        alone = np.diag(each)
        expected = np.outer(alone, alone) / max(total, FLOOR)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(each > 0, each * np.log(each / np.maximum(expected, FLOOR)), 0.0)
        counts += terms.reshape(functions, width, functions, width).sum((1, 3))
    alone = np.diag(both)
    either = alone[:, None] + alone[None, :] - both
    apart = (both == 0) & (np.outer(alone, alone) * rows >= _NEVER_MET)
    excess = counts / rows - classes * classes**2 / (2 * rows)
    strength = np.where(either > 0, excess / np.maximum(either, FLOOR), 0.0)
    strength[apart] = np.inf
    first, second = np.triu_indices(functions, 1)
    order = np.argsort(-strength[first, second], kind="stable")
    groups: dict[int, tuple[int, ...]] = {number: (number,) for number in range(functions)}
    for place in order:
        one, other = int(first[place]), int(second[place])
        if strength[one, other] < _COPIES:
            break
        if groups[one] == groups[other]:
            continue
        joined = tuple(sorted({*groups[one], *groups[other]}))
        if width ** len(joined) * classes <= _MOST_ENTRIES:
            for number in joined:
                groups[number] = joined
    return tuple(sorted(set(groups.values())))
