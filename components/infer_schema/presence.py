"""In which share of rows an inferred schema asks for a value, of a feature that is missing from some.

TFDV makes such a feature optional altogether, so that it may be missing from all rows of the next day. Here it has a
`min_fraction` that later data of the same distribution, of `LEAST_ROWS` rows or any more, falls below with a probability of
`MOST_FALSE` at most. Given `missing` of `rows`, a later `m` rows that are missing in `c` or more are such data by chance
with the hypergeometric probability that of `missing + c` rows in `rows + m` as many lie among the later ones: the test of
Fisher (1935), which holds whatever the share is, turned into a prediction. The share that must be borne is the greatest
c/m, over all m, that this probability exceeds `MOST_FALSE` for.

A feature that is in every row is required, as in TFDV: its first missing value is news.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import special
from tensorflow_metadata.proto.v0 import statistics_pb2

MOST_FALSE = 0.02
"""The greatest probability that later data of the same distribution has too few values."""

LEAST_ROWS = 5
"""Later data is taken to have so many rows."""

LEAST_FRACTION = 0.05
"""A feature that would have to be in a smaller share of rows is optional."""

_MOST_ROWS = 1 << 40


def missing_of(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, tuple[int, int]]:
    """How many rows have no value, and of how many rows, by feature."""
    rows = int(statistics.datasets[0].num_examples)
    return {
        each.path.step[0]: (rows - int(getattr(each, each.WhichOneof("stats")).common_stats.num_non_missing), rows)
        for each in statistics.datasets[0].features
        if len(each.path.step) == 1
    }


@functools.lru_cache(4096)
def least_fraction(missing: int, rows: int) -> float | None:
    """The least share of rows that later data must have a value in; None where it would be below `LEAST_FRACTION`.

    Args:
      missing: how many rows have no value; at least one, or the share is not known.
      rows: of how many.
    """
    if not 0 < missing < rows:
        return None
    borne, count = 0.0, 0
    while True:
        count += 1
        size = _smallest(missing, rows, count)
        if size is None or count / size < 0.9 * borne:
            # More rows are closer to the share, so what they may be missing goes down from here.
            break
        borne = max(borne, count / size)
        if borne > 1 - LEAST_FRACTION:
            return None
    # To two digits, and never less than what must be borne.
    unit = 10.0 ** (math.floor(math.log10(borne)) - 1)
    return round(1 - math.ceil(borne / unit - 1e-9) * unit, 12)


def _smallest(missing: int, rows: int, count: int) -> int | None:
    """The least number of later rows of which `count` may be missing by chance; None where no number is large enough."""
    low, high = max(LEAST_ROWS, count), max(LEAST_ROWS, count)
    while _chance(missing, rows, count, high) <= MOST_FALSE:
        low, high = high + 1, high * 2
        if high > _MOST_ROWS:
            return None
    while low < high:
        middle = (low + high) // 2
        if _chance(missing, rows, count, middle) > MOST_FALSE:
            high = middle
        else:
            low = middle + 1
    return high


def _chance(missing: int, rows: int, count: int, later: int) -> float:
    """P(`count` or more of `missing + count` missing rows are among the `later` of all)."""
    total = missing + count
    own = np.arange(count, min(later, total) + 1)
    logs = _choose(later, own) + _choose(rows, total - own) - _choose(rows + later, total)
    return float(np.exp(logs).sum())


def _choose(whole: int, part: np.ndarray | int) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        log_choices = (
            special.gammaln(whole + 1)
            - special.gammaln(np.add(part, 1))
            - special.gammaln(np.subtract(whole, part) + 1)
        )
    # More than there are cannot be chosen.
    return np.where(np.asarray(part) > whole, -np.inf, log_choices)
