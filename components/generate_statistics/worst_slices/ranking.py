"""The slices of the data where errors cost most: a second pass over a split, with bins taken from its statistics.

A slice is one bin of a column (`country = US`, `18 ≤ age < 25`) or a conjunction of two. Its rows' mean cost is held
against that of the other rows by Welch's t-test (Biometrika 34, 1947) and by one that takes its spread from all rows,
both one-sided; what is said of many slices at once is held down by Benjamini and Hochberg's rule (J. R. Stat. Soc. B
57, 1995). The idea is that of SliceFinder (Chung et al., ICDE 2019): few conditions, many rows, a large and significant
effect.

The order of work: `worst_options.check` the options against the schema, take `worst_bins.bins` from the finished
statistics of all rows of a split, `worst_state.measure` its parts with them, `worst_state.merge`, then `rank`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.significance import benjamini_hochberg
from headwater.components.generate_statistics.worst_slices.bins import Bins, Column
from headwater.components.generate_statistics.worst_slices.costs import State, decode
from headwater.components.generate_statistics.worst_slices.options import Options

CLEARLY = 0.25
"""Share of a slice's excess cost that settles what is reported of a conjunction and the slices that it is made of."""
_ROUNDING = 1e-12


def rank(state: bytes, bins: Bins, options: Options) -> list[dict[str, Any]]:
    """The slices that cost most more than other rows do.

    A slice's excess cost is its rows times the difference of its mean cost and that of the other rows. Listed are
    slices of at least `min_rows` rows with a positive excess and an adjusted p-value of at most `max_p`, the greatest
    excess first, and

    - a conjunction only when it is clearly worse than each of the two slices that it is made of: its p-value is the
      greatest of three comparisons, against all other rows and against the rest of either slice (an intersection-union
      test: Berger, Technometrics 24, 1982), and its mean lies above either's by at least `CLEARLY` times that slice's
      own difference;
    - a slice of one column only when no listed conjunction explains it: without the conjunction's rows it is still
      significantly worse, and keeps at least `CLEARLY` of its excess.

    Returns:
      For each slice: `slice`, in words; `rows`; `share` of the rows that have a cost; `mean_cost`; `rest_cost`, the
      mean of all other rows; `excess_cost`; `effect`, the difference of the two means in standard deviations of all
      rows' costs; `p_value`, adjusted over all slices that have enough rows.

    Raises:
      HeadwaterError: the state was measured with other bins or costs.
    """
    decoded = decode(state)
    if decoded.bins != bins.fingerprint(options):
        raise HeadwaterError("the state of slices was measured with other bins or costs; measure it again")
    total = _Sums(decoded.rows[:1].astype(float), decoded.cost[:1], decoded.squares[:1])
    spread = math.sqrt(total.variance[0]) if total.rows[0] > 1 else 0.0
    if not spread:
        return []
    single, double = _candidates(decoded, bins, options.min_rows)
    p_single = _worse(single.sums, total - single.sums)
    others = (total - double.sums, *(parent - double.sums for parent in double.parents))
    p_double = np.max([_worse(double.sums, other) for other in others], axis=0)
    p_values = benjamini_hochberg(np.concatenate([p_single, p_double]))
    p_single, p_double = np.split(p_values, [len(p_single)])
    listed_double = (p_double <= options.max_p) & _clear(double, total)
    listed_single = p_single <= options.max_p
    listed_single &= ~_explained(single, double.where(listed_double), total, options.max_p)
    slices = [
        _described(bins, group, place, total, spread, float(p[place]))
        for group, listed, p in ((single, listed_single, p_single), (double, listed_double, p_double))
        for place in np.flatnonzero(listed).tolist()
    ]
    slices = [each for each in slices if each["excess_cost"] > 0]
    return sorted(slices, key=lambda each: (-each["excess_cost"], each["slice"]))[: options.top]


@dataclasses.dataclass(frozen=True)
class _Sums:
    """Rows, costs and squared costs of several groups of rows."""

    rows: np.ndarray
    cost: np.ndarray
    squares: np.ndarray

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(self.rows + other.rows, self.cost + other.cost, self.squares + other.squares)

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(self.rows - other.rows, self.cost - other.cost, self.squares - other.squares)

    def __getitem__(self, key: Any) -> _Sums:
        return _Sums(self.rows[key], self.cost[key], self.squares[key])

    @property
    def mean(self) -> np.ndarray:
        return self.cost / np.maximum(self.rows, 1)

    @property
    def variance(self) -> np.ndarray:
        """Unbiased; what is no more than rounding is 0."""
        square = self.squares / np.maximum(self.rows, 1)
        biased = square - self.mean**2
        return np.where(biased > _ROUNDING * square, biased, 0) * self.rows / np.maximum(self.rows - 1, 1)


@dataclasses.dataclass(frozen=True)
class _Group:
    """Slices of one depth that have enough rows.

    Attributes:
      sums: of each slice.
      parts: (slices, depth, 2): the columns that a slice is made of, by their places, and their codes.
      parents: of a conjunction, the sums of the two slices that it is made of.
    """

    sums: _Sums
    parts: np.ndarray
    parents: tuple[_Sums, ...] = ()

    def where(self, kept: np.ndarray) -> _Group:
        return _Group(self.sums[kept], self.parts[kept], tuple(parent[kept] for parent in self.parents))


def _candidates(state: State, bins: Bins, min_rows: int) -> tuple[_Group, _Group]:
    sums = _Sums(state.rows.astype(float), state.cost, state.squares)
    singles, doubles, start = [_none(1)], [_none(2)], 1
    for place, column in enumerate(bins.columns):
        cells = sums[start : start + column.size]
        parts = np.stack([np.full(column.size, place), np.arange(column.size)], axis=-1)
        singles.append(_Group(cells, parts[:, None, :]).where(cells.rows >= min_rows))
        start += column.size
    for a, b in bins.pairs:
        first, second = bins.columns[a], bins.columns[b]
        shape = first.paired_size, second.paired_size
        size = shape[0] * shape[1]
        cells = sums[start : start + size]
        i, j = (part.ravel() for part in np.indices(shape))
        table = [each.reshape(shape) for each in (cells.rows, cells.cost, cells.squares)]
        parents = _Sums(*(each.sum(axis=1) for each in table))[i], _Sums(*(each.sum(axis=0) for each in table))[j]
        parts = np.stack(
            [
                np.stack([np.full(size, a), first.unpaired(i)], axis=-1),
                np.stack([np.full(size, b), second.unpaired(j)], axis=-1),
            ],
            axis=1,
        )
        # Other values than the most frequent are others within pairs than by themselves, and no slice there.
        kept = cells.rows >= min_rows
        for column, codes in ((first, i), (second, j)):
            if column.kind != "ranges":
                kept &= codes != column.paired_rest
        doubles.append(_Group(cells, parts, parents).where(kept))
        start += size
    return _joined(singles), _joined(doubles)


def _none(depth: int) -> _Group:
    nothing = _Sums(np.empty(0), np.empty(0), np.empty(0))
    return _Group(nothing, np.empty((0, depth, 2), np.int64), (nothing, nothing)[: 2 * (depth - 1)])


def _joined(groups: Sequence[_Group]) -> _Group:
    def sums(parts: Sequence[_Sums]) -> _Sums:
        return _Sums(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "cost", "squares")))

    return _Group(
        sums([group.sums for group in groups]),
        np.concatenate([group.parts for group in groups]),
        tuple(sums(parents) for parents in zip(*(group.parents for group in groups))),
    )


def _worse(slices: _Sums, others: _Sums) -> np.ndarray:
    """One-sided p-values that the slices' mean cost is no higher than the others', the greater of two tests'.

    Welch's test takes the spread of each side from its own rows, and so finds 100 rows surprising that all cost 1 where
    99 % of the others do. The other test takes it from all rows, as if they had been dealt to the two sides by chance
    (the moments of a permutation test: Pitman, Biometrika 29, 1937); it finds a few rare costs surprising. Where rows
    differ by chance alone the two seldom agree.
    """
    # Few runs look for worst slices, and scipy takes a while to import.
    from scipy.special import stdtr

    both = slices + others
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(both.variance * (1 / slices.rows + 1 / np.maximum(others.rows, 1)))
        dealt = np.where(error > 0, stdtr(both.rows - 2, -(slices.mean - others.mean) / error), 1.0)
    return np.maximum(_welch(slices, others), np.where(both.rows > 2, dealt, 1.0))


def _welch(slices: _Sums, others: _Sums) -> np.ndarray:
    from scipy.special import stdtr

    a, b = slices.variance / slices.rows, others.variance / np.maximum(others.rows, 1)
    difference = slices.mean - others.mean
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / np.sqrt(a + b)
        freedom = (a + b) ** 2 / (a**2 / (slices.rows - 1) + b**2 / np.maximum(others.rows - 1, 1))
        p = stdtr(freedom, -t)
    # Where neither side varies, the means alone decide, unless they differ by rounding.
    size = np.sqrt(slices.squares / slices.rows) + np.sqrt(others.squares / np.maximum(others.rows, 1))
    p = np.where(a + b > 0, p, np.where(difference > 1e-9 * size, 0.0, 1.0))
    return np.where(others.rows >= 2, p, 1.0)


def _clear(double: _Group, total: _Sums) -> np.ndarray:
    """Whether conjunctions lie above each of their parents by `CLEARLY` times the parent's own difference."""
    clear = np.ones(len(double.sums.rows), bool)
    for parent in double.parents:
        own = parent.mean - (total - parent).mean
        clear &= double.sums.mean - parent.mean >= CLEARLY * np.maximum(own, 0)
    return clear


def _explained(single: _Group, listed: _Group, total: _Sums, max_p: float) -> np.ndarray:
    """Whether a slice of one column is worse only by a listed conjunction."""
    explained = np.zeros(len(single.sums.rows), bool)
    place_of = {tuple(part): place for place, part in enumerate(single.parts[:, 0].tolist())}
    for side, parents in enumerate(listed.parents):
        others = total - parents
        left = parents - listed.sums
        enough = left.rows >= 2
        excess = parents.rows * (parents.mean - others.mean)
        kept = left.rows * (left.mean - others.mean)
        stays = enough & (kept >= CLEARLY * excess)
        stays[enough] &= _worse(left[enough], others[enough]) <= max_p
        for part in listed.parts[~stays, side].tolist():
            explained[place_of[tuple(part)]] = True
    return explained


def _described(bins: Bins, group: _Group, place: int, total: _Sums, spread: float, p_value: float) -> dict[str, Any]:
    own = group.sums[place : place + 1]
    # By name: a slice has the same words in every split.
    parts = sorted(
        ((bins.columns[column], code) for column, code in group.parts[place].tolist()), key=lambda part: part[0].name
    )
    rows, mean, rest = int(own.rows[0]), float(own.mean[0]), float((total - own).mean[0])
    return {
        "slice": " and ".join(_said(column, code) for column, code in parts),
        "rows": rows,
        "share": rows / float(total.rows[0]),
        "mean_cost": mean + bins.reference,
        "rest_cost": rest + bins.reference,
        "excess_cost": rows * (mean - rest),
        "effect": (mean - rest) / spread,
        "p_value": p_value,
    }


# Slices in words.


def _said(column: Column, code: int) -> str:
    if code == column.size - 1:
        return f"{column.name} = (missing)"
    if code == column.rest:
        return f"{column.name} = {'(NaN)' if column.kind == 'ranges' else '(other)'}"
    if column.kind == "text":
        return f"{column.name} = {_text(column.values[code])}"
    if column.kind == "integers":
        return f"{column.name} = {_number(column, column.values[code])}"
    low = column.edges[code - 1] if code else None
    high = column.edges[code] if code < len(column.edges) else None
    if low is not None and high == _next(column, low):
        return f"{column.name} = {_number(column, low)}"
    if low is None:
        # A column with one number for all has no edges.
        return f"{column.name} = (any number)" if high is None else f"{column.name} < {_number(column, high)}"
    sign = "≤"
    if not column.whole and code > 1 and low == _next(column, column.edges[code - 2]):
        low, sign = column.edges[code - 2], "<"
    if high is None:
        return f"{column.name} {'≥' if sign == '≤' else '>'} {_number(column, low)}"
    return f"{_number(column, low)} {sign} {column.name} < {_number(column, high)}"


def _next(column: Column, number: float) -> float:
    return number + 1 if column.whole else math.nextafter(number, math.inf)


def _text(value: bytes) -> str:
    """A value that is a plain word as it is, others in quotation marks."""
    text = value.decode(errors="backslashreplace")
    return text if re.fullmatch(r"[\w.:/+@#%-]+", text) else json.dumps(text, ensure_ascii=not text.isprintable())


def _number(column: Column, number: float) -> str:
    """A number as its column's values were before their conversion."""
    if "bool → INT" in column.rule:
        return "true" if number == 1 else "false" if number == 0 else str(int(number))
    if "since 1970-01-01" in column.rule:
        unit = "D" if "days since" in column.rule else "us"
        moment = str(np.datetime64(max(min(int(number), 2**63 - 1), 1 - 2**63), unit))
        moment = moment.removesuffix(".000000").removesuffix("T00:00:00")
        return moment + ("Z" if "UTC" in column.rule and "T" in moment else "")
    if "since midnight" in column.rule:
        return str(np.datetime64(int(number), "us")).partition("T")[2].removesuffix(".000000")
    if "INT, microseconds" in column.rule:
        return f"{number / 1e6:.12g} s"
    if column.whole:
        return str(int(number))
    # As few digits as tell it from its neighbours; of a column of single precision, those of single precision.
    single = np.float32(number) if abs(number) < 1e38 else None
    return (str(single) if single == number else repr(number)).removesuffix(".0")
