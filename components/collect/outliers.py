"""Outliers in a sample of rows: far values in one column, and rows that stand alone across all numeric columns."""

from __future__ import annotations

import math
from typing import Any, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.collect.health.findings import finding, rounded

LIMIT = 3.5
"""The robust z beyond which a value is an outlier (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993)."""

SKEWED = 0.2
"""The skewness from which positive numbers are looked at on a logarithmic scale, if that makes them less skewed."""

MOST_APART = 0.1
"""The share of a column's values up to which those that stand apart are outliers, and not a second mode."""

ISOLATED = 0.7
"""The isolation score beyond which a row stands alone; 0.5 is the score of a row like any other."""

MOST_ROWS = 10
"""The most isolated rows that are listed."""

_SURE = 1e-6
_LEAST_ROWS = 30
_TREES, _TREE_ROWS = 100, 256
_MOST_NAMED = 3
_MOST_Z = 1e6


def find_outliers(
    sample: pa.Table, *, columns: Sequence[str] | None = None, rows: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Outliers by column and across columns.

    By column: the robust z is (value - median) / (1.4826 × median absolute deviation), or / (1.2533 × mean absolute
    deviation) where the former is 0; beyond 3.5 a value counts as an outlier. Numbers that are never negative are taken
    on a logarithmic scale (zeros then never count) when (q95 + q05 - 2 × median) / (q95 - q05) of the positive ones is
    above 0.2, and nearer to 0 for their logarithms.

    A finding is made of what even Cauchy's tail, of index 1, does not explain with a chance of one in a million: values
    that a gap parts from the others (by Rényi's representation of spacings, 1953; a gap as wide as the usual step
    between values is none), or, where the median absolute deviation is above 0, more values far beyond the limit than
    such a tail has; not when these are more than 10 % of the values.

    Across columns: scikit-learn's IsolationForest (Liu, Ting and Zhou, 2008; 100 trees of 256 rows) on the robust z,
    missing values put at the median; a row stands alone above a score of 0.7.

    Args:
      sample: rows drawn uniformly from a dataset.
      columns: names of those to look at; default all numeric ones whose names do not begin with `_`.
      rows: of the dataset, that counts are scaled to; default those of the sample.
      seed: of the forest.

    Returns:
      `findings`; `columns`, for each with a spread: `column`, `scale` (`linear` or `log`), `count` and `share` of values
      beyond the limit, `rows` estimated, `most_extreme` z; `isolation`, None with fewer than two such columns: `count`,
      `share`, `rows` estimated, `limit`, and `worst`, the most isolated rows: `row` (position in the sample), `score`
      and `columns` with the largest robust z there (`column`, `z`).
    """
    if columns is None:
        columns = [field.name for field in sample.schema if _is_number(field.type) and not field.name.startswith("_")]
    scale = max(1.0, (rows or sample.num_rows) / max(sample.num_rows, 1))
    found, findings, spread = [], [], {}
    for name in columns:
        values = _values(sample[name])
        scored = _robust_z(values)
        if scored is None:
            continue
        z, on_log, is_exact = scored
        spread[name] = z
        count = int(np.count_nonzero(np.abs(z) > LIMIT))
        known = int(np.count_nonzero(~np.isnan(values)))
        found.append(
            {
                "column": name,
                "scale": "log" if on_log else "linear",
                "count": count,
                "share": rounded(count / known, 4),
                "rows": round(count * scale),
                "most_extreme": rounded(float(np.nanmax(np.abs(z))), 4),
            }
        )
        apart, least = _apart(np.abs(z[~np.isnan(z)]), is_exact)
        if 0 < apart <= MOST_APART * known:
            message = (
                f"{name!r} has {apart:,} of {known:,} sampled values apart from all others, {least:,.3g} or more "
                f"deviations from the median{' of its logarithm' if on_log else ''}"
            )
            findings.append(finding("outliers", "warning", name, message, apart / known, 0.0))
    isolation, more = _isolate(spread, sample.num_rows, scale, seed)
    return {"findings": findings + more, "columns": found, "isolation": isolation}


def _is_number(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _values(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = pc.cast(column, pa.float64(), safe=False)
    chunks = [chunk.to_numpy(zero_copy_only=False).astype(np.float64) for chunk in column.chunks if not pa.types.is_null(chunk.type)]
    return np.concatenate(chunks) if chunks else np.zeros(0)


def _robust_z(values: np.ndarray) -> tuple[np.ndarray, bool, bool] | None:
    """Robust z of each value, NaN where missing, whether on a log scale, and whether by the median deviation."""
    finite = values[np.isfinite(values)]
    if len(finite) < _LEAST_ROWS:
        return None
    # In units of the largest, so that no difference overflows.
    unit = max(float(np.abs(finite).max()), 1e-300)
    on_log = _on_log_scale(finite / unit)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(values > 0, np.log(values), np.nan) if on_log else values / unit
    known = scaled[np.isfinite(scaled)]
    middle = np.median(known)
    away = np.abs(known - middle)
    deviation = 1.4826 * float(np.median(away))
    is_exact = deviation > 0
    deviation = deviation or 1.2533 * float(away.mean())
    if not deviation > 0:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        z = np.clip((scaled - middle) / deviation, -_MOST_Z, _MOST_Z)
    if on_log:
        z[values == 0] = 0.0
    return z, on_log, is_exact


def _on_log_scale(values: np.ndarray) -> bool:
    if values.min() < 0:
        return False
    positive = values[values > 0]
    if len(positive) < _LEAST_ROWS:
        return False
    plain = _skewness(positive)
    return plain > SKEWED and abs(_skewness(np.log(positive))) < plain


def _skewness(values: np.ndarray) -> float:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return float((high + low - 2 * middle) / (high - low)) if high > low else 0.0


def _apart(z: np.ndarray, is_exact: bool) -> tuple[int, float]:
    """How many values lie farther out than a tail of index 1 explains, and the nearest of them."""
    ordered = np.sort(z)
    first = int(np.searchsorted(ordered, LIMIT, "right"))
    tail = ordered[first:]
    if not len(tail):
        return 0, 0.0
    # The gap before the tail counts too, unless the scale is that of a column that is mostly one value.
    inner = np.concatenate([ordered[first - 1 : first], tail]) if is_exact and first else tail
    steps = np.diff(inner)
    # Values on a grid have gaps of its step.
    step = float(np.median(steps[steps > 0])) if (steps > 0).sum() > 2 * len(steps) / 3 else _grid(ordered)
    beyond = np.arange(len(steps), 0, -1)
    wide = np.log(np.maximum(inner[1:] - step, inner[:-1]) / np.maximum(inner[:-1], 1.0)) * beyond
    gaps = np.flatnonzero(wide > math.log(len(tail) / _SURE))
    if len(gaps):
        place = int(gaps[0])
        return int(beyond[place]), float(inner[place + 1])
    if is_exact:
        for factor in (2, 4, 8):
            far = int(np.searchsorted(tail, factor * LIMIT, "right"))
            if _is_more(len(tail) - far, len(tail), 1 / factor):
                return len(tail) - far, float(tail[far])
    return 0, 0.0


def _grid(ordered: np.ndarray) -> float:
    steps = np.diff(ordered)
    steps = steps[steps > 1e-12]
    return float(np.median(steps)) if len(steps) else 0.0


def _is_more(count: int, rows: int, share: float) -> bool:
    """Whether chance hardly gives `count` of `rows` when each has the chance `share` (Chernoff's bound)."""
    seen = count / rows
    if seen <= share:
        return False
    far = seen * math.log(seen / share) + ((1 - seen) * math.log((1 - seen) / (1 - share)) if seen < 1 else 0.0)
    return far * rows > -math.log(_SURE)


def _isolate(
    spread: dict[str, np.ndarray], sampled: int, scale: float, seed: int
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    if len(spread) < 2 or sampled < _LEAST_ROWS:
        return None, []
    # A second to load, and needed here alone.
    from sklearn.ensemble import IsolationForest

    names = sorted(spread)
    table = np.nan_to_num(np.stack([spread[name] for name in names], axis=1)).astype(np.float32)
    forest = IsolationForest(n_estimators=_TREES, max_samples=min(_TREE_ROWS, sampled), random_state=seed).fit(table)
    scores = -forest.score_samples(table)
    count = int(np.count_nonzero(scores > ISOLATED))
    worst = np.lexsort([np.arange(sampled), -scores])[:MOST_ROWS]
    listed = []
    for row in worst.tolist():
        most = np.lexsort([np.arange(len(names)), -np.abs(table[row])])[:_MOST_NAMED]
        listed.append(
            {
                "row": row,
                "score": rounded(float(scores[row]), 4),
                "columns": [{"column": names[place], "z": rounded(float(table[row, place]), 4)} for place in most],
            }
        )
    result = {
        "count": count,
        "share": rounded(count / sampled, 4),
        "rows": round(count * scale),
        "limit": ISOLATED,
        "worst": listed,
    }
    return result, []


@contextlib.contextmanager
def _cores_known() -> Iterator[None]:
    # scikit-learn's joblib would start `lscpu` to count cores that are not used here anyway.
    given = os.environ.get("LOKY_MAX_CPU_COUNT")
    os.environ["LOKY_MAX_CPU_COUNT"] = "1"
    try:
        yield
    finally:
        if given is None:
            del os.environ["LOKY_MAX_CPU_COUNT"]
        else:
            os.environ["LOKY_MAX_CPU_COUNT"] = given
