"""Columns that say the same as another: equal, almost equal, one a recoding of the other, or rising with it.

Candidates are found on few rows, for all columns at once; each is then held against all rows of the sample.
"""

from __future__ import annotations

import hashlib
from typing import Any, Iterator, Sequence

import numpy as np

from headwater.components.collect.health.findings import finding, rounded
from headwater.components.collect.sense.columns import Column, strided
from headwater.components.collect.sense.information import entropies

NEAR_CORRELATION = 0.999
"""The correlation, Pearson's or Spearman's, from which two numbers say the same."""

NEAR_INFORMATION = 0.99
"""The share of each column's entropy that the other tells, from which one is a recoding of the other."""

NEAR_DIFFERENCE = 0.01
"""The share of rows up to which two columns may differ and are almost equal."""

_NEAR_KAPPA = 0.9
_LEAST_RANK_CORRELATION = 0.9
_SURE = -np.log(1e-9)
_LEAST_ROWS = 30
_LOOK_ROWS, _FEW_ROWS = 4_096, 128


def find_duplicates(columns: Sequence[Column]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Columns that say the same as one before them.

    * `equal`: all values, missing included.
    * `nearly_equal`: all but at most 1 % of the rows, and Cohen's kappa (1960) at least 0.9, so that two columns of
      almost nothing but zeros are not alike.
    * `correlated`: a correlation of at least 0.999, Spearman's, or Pearson's with Spearman's above 0.9 (a few far
      values alone give any Pearson's); at least half of the rows that have one have both.
    * `recoded`: each tells at least 99 % of the other's entropy, for columns whose values repeat.

    Nothing is said where two independent columns of such values would agree in all rows with a chance above 1e-9.
    Of several that say the same, each is named once, with the first of them.

    Args:
      columns: those that vary.

    Returns:
      Pairs, as `columns` (two names), `kind` and `value`; and a finding for each: `duplicate` or `near_duplicate`.
    """
    roots = list(range(len(columns)))
    pairs = []
    for find in (_equal, _nearly_equal, _correlated, _recoded):
        for first, second, value in find(columns, roots):
            first, second = sorted((_root(roots, first), _root(roots, second)))
            if first != second:
                roots[second] = first
                pairs.append((first, second, find.__name__[1:], value))
    pairs.sort(key=lambda pair: (pair[2] != "equal", pair[0], pair[1]))
    return (
        [
            {"columns": [columns[first].name, columns[second].name], "kind": kind, "value": rounded(value)}
            for first, second, kind, value in pairs
        ],
        [_finding(columns[first].name, columns[second].name, kind, value) for first, second, kind, value in pairs],
    )


def correlations(values: np.ndarray) -> np.ndarray:
    """Pearson's correlation of every two columns, over the rows that have both.

    Args:
      values: float64 [rows, columns], NaN where missing.

    Returns:
      float64 [columns, columns]; 0 where there are fewer than 30 such rows, or fewer than half of those that have one
      of the two, or where a column does not vary over them.
    """
    known = np.isfinite(values)
    present = known.astype(np.float64)
    # In units of the largest first: squares of huge numbers overflow.
    filled = np.where(known, values, 0.0)
    filled = filled / np.maximum(np.abs(filled).max(axis=0, initial=0.0), 1e-300)
    total = np.maximum(present.sum(axis=0), 1)
    filled = np.where(known, filled - filled.sum(axis=0) / total, 0.0)
    filled = filled / np.maximum(np.sqrt(np.square(filled).sum(axis=0) / total), 1e-300)
    both = present.T @ present
    counts = np.maximum(both, 1)
    sums = filled.T @ present
    squares = np.square(filled).T @ present - np.square(sums) / counts
    products = filled.T @ filled - sums * sums.T / counts
    spread = np.sqrt(np.maximum(squares * squares.T, 0))
    either = np.diag(both)[:, None] + np.diag(both)[None, :] - both
    usable = (both >= _LEAST_ROWS) & (both >= either / 2) & (spread > 1e-9 * counts)
    return np.where(usable, products / np.where(usable, spread, 1), 0.0)


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each number, equal ones sharing the mean of theirs; NaN where it is missing."""
    known = np.isfinite(values)
    _, inverse, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    found = np.full(len(values), np.nan)
    found[known] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return found


def _root(roots: list[int], place: int) -> int:
    while roots[place] != place:
        place = roots[place]
    return place


def _apart(roots: list[int], first: int, second: int) -> bool:
    return _root(roots, first) != _root(roots, second)


def _sure(first: Column, second: Column) -> bool:
    """Whether chance can hardly make such columns agree in all rows."""
    chance = max(first.chance, second.chance)
    return -len(first.hashes) * np.log(max(chance, 1e-300)) >= _SURE


def _equal(columns: Sequence[Column], roots: list[int]) -> Iterator[tuple[int, int, float]]:
    seen: dict[bytes, int] = {}
    for place, column in enumerate(columns):
        first = seen.setdefault(hashlib.blake2b(column.hashes.tobytes(), digest_size=16).digest(), place)
        if first != place and _sure(columns[first], column):
            yield first, place, 1.0


def _nearly_equal(columns: Sequence[Column], roots: list[int]) -> Iterator[tuple[int, int, float]]:
    if not columns or len(columns[0].hashes) < _LEAST_ROWS:
        return
    for first, column in enumerate(columns):
        if _root(roots, first) != first:
            continue
        some = column.hashes[strided(len(column.hashes), _LOOK_ROWS // 4)]
        known, counts = np.unique(some, return_counts=True)
        # Rows with the most frequent value tell little: two columns of many zeros agree in most of them.
        rows = np.flatnonzero(column.hashes != known[np.argmax(counts)])
        rows = rows[strided(len(rows), _FEW_ROWS)]
        later = [place for place in range(first + 1, len(columns)) if _apart(roots, first, place)]
        for second in later:
            other = columns[second]
            if (column.hashes[rows] == other.hashes[rows]).mean() < 0.5:
                continue
            same = float((column.hashes == other.hashes).mean())
            if same < 1 - NEAR_DIFFERENCE or not _sure(column, other):
                continue
            if (same - _agreement(column, other)) >= _NEAR_KAPPA * (1 - _agreement(column, other)):
                yield first, second, same


def _agreement(first: Column, second: Column) -> float:
    """The share of rows in which two columns would agree by chance."""
    (left, left_counts), (right, right_counts) = first.counts, second.counts
    _, here, there = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    return float((left_counts[here] / left_counts.sum() * (right_counts[there] / right_counts.sum())).sum())


def _correlated(columns: Sequence[Column], roots: list[int]) -> Iterator[tuple[int, int, float]]:
    numbers = [
        place for place, column in enumerate(columns) if column.values is not None and _root(roots, place) == place
    ]
    if len(numbers) < 2 or len(columns[0].hashes) < _LEAST_ROWS:
        return
    rows = strided(len(columns[0].hashes), _LOOK_ROWS)
    some = np.stack([columns[place].values[rows] for place in numbers], axis=1)
    by_rank = correlations(np.stack([ranks(column) for column in some.T], axis=1))
    candidates = np.maximum(np.abs(correlations(some)), np.abs(by_rank)) >= NEAR_CORRELATION - 0.004
    candidates &= np.abs(by_rank) >= _LEAST_RANK_CORRELATION - 0.05
    ranked: dict[int, np.ndarray] = {}
    for left, right in np.argwhere(np.triu(candidates, 1)).tolist():
        first, second = numbers[left], numbers[right]
        if not _apart(roots, first, second) or not _sure(columns[first], columns[second]):
            continue
        for place in (first, second):
            if place not in ranked:
                ranked[place] = ranks(columns[place].values)
        rank = correlations(np.stack([ranked[first], ranked[second]], axis=1))[0, 1]
        plain = correlations(np.stack([columns[first].values, columns[second].values], axis=1))[0, 1]
        if abs(rank) >= NEAR_CORRELATION:
            yield first, second, rank
        elif abs(plain) >= NEAR_CORRELATION and abs(rank) >= _LEAST_RANK_CORRELATION:
            yield first, second, plain


def _recoded(columns: Sequence[Column], roots: list[int]) -> Iterator[tuple[int, int, float]]:
    rows = len(columns[0].hashes) if columns else 0
    # Values that hardly repeat go with any others that hardly repeat, and tell nothing.
    usable = [
        place
        for place, column in enumerate(columns)
        if column.codes is not None and 2 * column.distinct <= rows and _root(roots, place) == place
    ]
    if len(usable) < 2 or rows < _LEAST_ROWS:
        return
    entropy = {place: _entropy(columns[place]) for place in usable}
    some = strided(rows, _LOOK_ROWS // 2)
    looks = {place: columns[place].codes[some] for place in usable}
    ordered = sorted(usable, key=lambda place: (entropy[place], place))
    for position, first in enumerate(ordered):
        order = np.argsort(looks[first], kind="stable")
        again = np.diff(looks[first][order]) == 0
        for second in ordered[position + 1 :]:
            if entropy[first] < NEAR_INFORMATION * entropy[second] - 1e-12:
                break
            # Where the one repeats, the other must.
            if not _apart(roots, first, second) or np.diff(looks[second][order])[again].astype(bool).mean() > 0.1:
                continue
            left, right = columns[first], columns[second]
            if not _sure(left, right):
                continue
            own, other, joint = entropies(left.codes, right.codes, left.distinct + 1, right.distinct + 1)
            told = min((own + other - joint) / own, (own + other - joint) / other)
            if told >= NEAR_INFORMATION:
                yield first, second, told


def _entropy(column: Column) -> float:
    _, counts = column.counts
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _finding(first: str, second: str, kind: str, value: float) -> dict[str, Any]:
    if kind == "equal":
        message = f"{second!r} holds the same values as {first!r} in every sampled row"
        return finding("duplicate", "warning", second, message, value)
    if kind == "nearly_equal":
        message = f"{second!r} holds the same values as {first!r} but for {1 - value:.2%} of the rows"
        return finding("near_duplicate", "warning", second, message, value, 1 - NEAR_DIFFERENCE)
    if kind == "correlated":
        message = f"{second!r} says almost what {first!r} says: their correlation is {value:.4f}"
        return finding("near_duplicate", "warning", second, message, value, NEAR_CORRELATION)
    message = f"{second!r} is a recoding of {first!r}: each tells {value:.1%} of the other"
    return finding("near_duplicate", "warning", second, message, value, NEAR_INFORMATION)
