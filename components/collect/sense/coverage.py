"""Whether the training split covers the others: rows and bins where it has nothing, by column and by pair of columns.

Were rows dealt to the splits by chance, some would still stand alone in theirs. How many follows from the counts of
both splits together: a cell of c rows, of which a share r goes to the other split, holds no training row with a chance
of r to the power of c. What is found is held against that (a permutation test on the pooled counts), so that two random
halves of a table cover each other, rare values or not.
"""

from __future__ import annotations

import itertools
from typing import Any, Mapping, Sequence

import numpy as np

from headwater.components.collect.health.findings import finding, rounded
from headwater.components.collect.sense.columns import Column, cells_and_bins

LEAST_EXCESS = 0.01
"""The share of a split's rows that must lie outside beyond what chance explains, for a finding."""

RARE = 0.05
"""The share of rows outside by chance from which a column (an id, a free text) is not compared."""

MOST_PAIR_COLUMNS = 60
"""Columns whose pairs are looked at; in wider tables those whose bins differ most between the splits."""

MOST_WORST = 10
"""Columns and pairs that are listed for a split."""

_SURE = 1e-5
_LEAST_SHOWN = 0.001


def find_holes(
    columns: Sequence[Column], splits: Mapping[str, np.ndarray], train: str
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """What of each other split the training split does not cover.

    A row is outside in a column where no training row has its value or, of numbers, lies between the same two of the
    quantiles of both splits (20 each) and of the ends of the training range. Dates and times are passed over: they move
    on. In a pair of columns a row is outside where both its bins (20 training quantiles, 64 values) have training rows
    and the pair has none.

    Args:
      columns: those that vary.
      splits: row numbers of each split.
      train: the split that trains.

    Returns:
      For each other split: `rows` sampled; `rows_outside` in at least one column, as a share, and `expected` by chance;
      `bins_outside`, the mean over columns of the share of the split's bins that have no training row; the worst
      `columns` (`column`, `rows_outside`, `expected`, `bins_outside`) and `pairs` (`columns`, `rows_outside`,
      `expected`) by what chance leaves unexplained; `not_compared`, names. And the findings `coverage`.
    """
    others = {name: rows for name, rows in splits.items() if name != train and len(rows)}
    if train not in splits or not len(splits[train]) or not others:
        return {}, []
    parts = [splits[train], *others.values()]
    cut = [(column, *cells_and_bins(column, parts)) for column in columns if not column.is_time]
    times = [column.name for column in columns if column.is_time]
    tests = max(1, len(others) * (len(cut) + min(len(cut), MOST_PAIR_COLUMNS) ** 2 // 2))
    result, findings = {}, []
    for name, rows in others.items():
        found, usable = _by_column(cut, splits[train], rows)
        compared = {each["column"] for each in usable}
        pairs = _by_pair(
            [(column.name, *bins) for column, _, bins in cut if column.name in compared], splits[train], rows
        )
        outside = np.zeros(len(rows), bool)
        for each in usable:
            outside |= each["outside"]
        expected = 1 - float(np.prod([1 - each["expected"] for each in usable]))
        worst = sorted(found, key=_worst)[:MOST_WORST]
        pairs = sorted(pairs, key=_worst)[:MOST_WORST]
        more = [_finding(name, train, each) for each in [*worst, *pairs] if _is_hole(each, tests)]
        share = float(outside.mean())
        if not more and share - expected >= 5 * LEAST_EXCESS and len(rows) * (share - expected) ** 2 >= 25 * share:
            message = (
                f"{share:.1%} of the rows of split {name!r} lie outside what {train!r} covers in at least one column; "
                f"chance explains {expected:.1%}"
            )
            more.append(finding("coverage", "warning", None, message, share, expected + 5 * LEAST_EXCESS))
        findings += more
        result[name] = {
            "rows": len(rows),
            "rows_outside": rounded(share, 4),
            "expected": rounded(expected, 4),
            "bins_outside": rounded(float(np.mean([each["bins_outside"] for each in usable])) if usable else 0.0, 4),
            "columns": [_shown(each, "column", "bins_outside") for each in worst if each["rows_outside"] > 0],
            "pairs": [_shown(each, "columns") for each in pairs],
            "not_compared": sorted([*times, *(each["column"] for each in found if each["column"] not in compared)]),
        }
    return result, findings


def unseen(train: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The rows of cells that training leaves empty, and how many they would be by chance.

    Args:
      train: rows of each cell in the training split.
      other: rows of each cell in the other.
    """
    rows = float(other[train == 0].sum())
    pooled = train + other
    share = other.sum() / max(pooled.sum(), 1)
    sizes = np.bincount(pooled)
    places = np.flatnonzero(sizes)
    return rows, float((sizes[places] * places * share ** places.astype(np.float64)).sum())


def chance_of_unseen(train: np.ndarray, other: np.ndarray) -> float:
    """A bound on the chance that so many rows or more stand in cells without training rows, were rows dealt by chance.

    Chernoff's bound: cells being emptied are negatively associated, so that it holds as if they were independent.
    """
    rows = float(other[train == 0].sum())
    pooled = train + other
    sizes, many = np.unique(pooled[pooled > 0], return_counts=True)
    share = other.sum() / max(pooled.sum(), 1)
    if not rows or share >= 1:
        return 1.0
    slope = -np.log(share) * np.geomspace(1e-3, 2, 60)
    emptied = sizes * np.log(share)
    grown = np.logaddexp(np.log1p(-np.exp(emptied)), emptied + slope[:, None] * sizes)
    return float(np.exp(min(0.0, ((many * grown).sum(axis=1) - slope * rows).min())))


def _by_column(cut: Sequence[tuple], train: np.ndarray, rows: np.ndarray) -> tuple[list[dict], list[dict]]:
    found = []
    for column, (cells, size), _ in cut:
        there, here = np.bincount(cells[train], minlength=size), np.bincount(cells[rows], minlength=size)
        outside, expected = unseen(there, here)
        found.append(
            {
                "column": column.name,
                "rows_outside": outside / len(rows),
                "expected": min(1.0, expected / len(rows)),
                "bins_outside": float(((there == 0) & (here > 0)).sum() / (here > 0).sum()),
                "outside": (there == 0)[cells[rows]],
                "counts": (there, here),
            }
        )
    return found, [each for each in found if each["expected"] <= RARE]


def _by_pair(bins: Sequence[tuple], train: np.ndarray, rows: np.ndarray) -> list[dict[str, Any]]:
    if len(bins) > MOST_PAIR_COLUMNS:
        shift = {name: -_difference(codes, size, train, rows) for name, codes, size in bins}
        chosen = set(sorted(shift, key=lambda name: (shift[name], name))[:MOST_PAIR_COLUMNS])
        bins = [each for each in bins if each[0] in chosen]
    parts = [(name, codes[train].astype(np.int64), codes[rows].astype(np.int64), size) for name, codes, size in bins]
    found = []
    for (first, *left, height), (second, *right, width) in itertools.combinations(parts, 2):
        there, here = (
            np.bincount(one * width + other, minlength=height * width).reshape(height, width)
            for one, other in zip(left, right)
        )
        empty = there == 0
        if here[empty].sum() < _LEAST_SHOWN * len(rows):
            continue
        # What a column alone leaves outside is that column's.
        known = ~empty.all(axis=1)[:, None] & ~empty.all(axis=0)[None, :]
        there, here = there[known], here[known]
        outside, expected = unseen(there, here)
        if outside < _LEAST_SHOWN * len(rows) or outside <= expected:
            continue
        found.append(
            {
                "columns": [first, second],
                "rows_outside": outside / len(rows),
                "expected": expected / len(rows),
                "counts": (there, here),
            }
        )
    return found


def _difference(codes: np.ndarray, size: int, train: np.ndarray, rows: np.ndarray) -> float:
    there, here = (np.bincount(codes[part], minlength=size) / len(part) for part in (train, rows))
    return float(np.abs(there - here).sum() / 2)


def _worst(each: Mapping[str, Any]) -> tuple:
    return each["expected"] - each["rows_outside"], each.get("columns") or [each["column"]]


def _is_hole(each: Mapping[str, Any], tests: int) -> bool:
    if each["rows_outside"] - each["expected"] < LEAST_EXCESS:
        return False
    return chance_of_unseen(*each["counts"]) < _SURE / tests


def _shown(each: Mapping[str, Any], name: str, *more: str) -> dict[str, Any]:
    return {name: each[name], **{key: rounded(each[key], 4) for key in ("rows_outside", "expected", *more)}}


def _finding(split: str, train: str, each: Mapping[str, Any]) -> dict[str, Any]:
    if "column" in each:
        where, column = f"in {each['column']!r}", each["column"]
    else:
        where, column = "in {!r} and {!r} together".format(*each["columns"]), None
    message = (
        f"{each['rows_outside']:.1%} of the rows of split {split!r} have values {where} that {train!r} does not cover; "
        f"chance explains {each['expected']:.1%}"
    )
    return finding("coverage", "warning", column, message, each["rows_outside"], each["expected"] + LEAST_EXCESS)
