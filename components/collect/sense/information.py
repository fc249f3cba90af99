"""What the columns tell about the label, and which of them tell too much."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from headwater.components.collect.health.findings import finding, rounded
from headwater.components.collect.sense.columns import MOST_VALUES, Column, cells_and_bins, cut, quantile_edges

MOST_CLASSES = 50
"""Distinct numbers up to which a label is one of classes; a text or bool label always is."""

LEAK = 0.98
"""The accuracy, or R² of a numeric label, on rows not looked at, from which a single column tells too much."""

LEAST_SKILL = 0.8
"""The share of the errors of always naming the most frequent class that a leak avoids."""

_LEAK_BINS, _ROWS_PER_BIN = 200, 50
_LEAST_ERRORS = 10
_LEAST_ROWS = 100
_SEED = 0


def tell_label(
    label: Column | None, columns: Sequence[Column]
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The mutual information of each column with the label, and the columns that leak it.

    Numbers are cut into 20 quantile bins, with bins for missing and NaN; categories are their 64 most frequent values,
    the others, and missing. The information is corrected for its bias by Miller and Madow's term (Miller, "Note on the
    bias of information estimates", 1955) and given as a share of the label's entropy.

    A leak is a column from which a table of one entry a bin (up to 200 quantile bins, or every value), filled on one
    half of the rows, predicts the label on the other half: with an accuracy of at least 0.98 and at most a fifth of the
    errors of always naming the most frequent class; for a numeric label, with an R² of at least 0.98, of its values or
    of their ranks. Ids do not pass, since their values do not come again in the other half.

    Args:
      label: the column to predict; None when it has no values. Rows without a label are left out.
      columns: the others.

    Returns:
      `column`, `kind` (`classes` or `number`), `rows`, `entropy` in nats, and `columns`: by falling share, `column`,
      `information` in nats, `normalised` and `leak`; None without labelled rows. And the findings `leak`.
    """
    if label is None:
        return None, []
    known = ~label.null if label.values is None else ~np.isnan(label.values)
    rows = np.flatnonzero(known)
    if not len(rows):
        return None, []
    is_classes = label.values is None or label.codes is not None and label.distinct <= MOST_CLASSES
    _, (bins, count) = cells_and_bins(label, [rows])
    bins = bins[rows]
    entropy = _entropy(np.bincount(bins, minlength=count))
    told, findings = [], []
    numbers = None if is_classes else _targets(label.values[rows])
    half = np.zeros(len(rows), bool)
    half[np.random.default_rng(_SEED).permutation(len(rows))[: len(rows) // 2]] = True
    for column in columns:
        _, (codes, size) = cells_and_bins(column, [rows])
        shared = mutual_information(codes[rows], bins, size, count)
        leak = _leak(column, rows, half, (bins, count), numbers)
        share = min(1.0, shared / entropy) if entropy > 0 else None
        told.append(
            {
                "column": column.name,
                "information": rounded(shared),
                "normalised": rounded(share, 4),
                "leak": leak is not None,
            }
        )
        if leak is not None:
            findings.append(_finding(column.name, label.name, leak, is_classes))
    told.sort(key=lambda each: (-(each["normalised"] or 0.0), each["column"]))
    kind = "classes" if is_classes else "number"
    return (
        {"column": label.name, "kind": kind, "rows": len(rows), "entropy": rounded(entropy), "columns": told},
        findings,
    )


def mutual_information(left: np.ndarray, right: np.ndarray, left_size: int, right_size: int) -> float:
    """Mutual information of two columns of codes in nats, with Miller and Madow's correction, at least 0.

    Args:
      left: codes below `left_size`, one a row.
      right: codes below `right_size`, one a row.
      left_size: the number of codes.
      right_size: the number of codes.
    """
    joint = np.bincount(left.astype(np.int64) * right_size + right, minlength=left_size * right_size)
    joint = joint.reshape(left_size, right_size)
    rows = joint.sum()
    if not rows:
        return 0.0
    ends = joint.sum(axis=1), joint.sum(axis=0)
    plain = _entropy(ends[0]) + _entropy(ends[1]) - _entropy(joint.ravel())
    # Each entropy is too small by (occupied cells - 1) / 2n on average.
    occupied = [int(np.count_nonzero(counts)) - 1 for counts in (*ends, joint)]
    return max(0.0, float(plain + (occupied[0] + occupied[1] - occupied[2]) / (2 * rows)))


def entropies(
    left: np.ndarray, right: np.ndarray, left_size: int, right_size: int
) -> tuple[float, float, float]:
    """The entropies of two columns of codes and of both together, in nats, as they stand in the sample."""
    joint = left.astype(np.int64) * right_size + right
    counts = np.unique(joint, return_counts=True)[1]
    return (
        _entropy(np.bincount(left, minlength=left_size)),
        _entropy(np.bincount(right, minlength=right_size)),
        _entropy(counts),
    )


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _targets(values: np.ndarray) -> list[np.ndarray]:
    """A numeric label, and its ranks: of a label with a long tail, R² is mostly about the tail."""
    finite = np.clip(values, -1e150, 1e150)
    return [finite / max(np.abs(finite).max(), 1e-300), np.argsort(np.argsort(values, kind="stable")) / len(values)]


def _leak(
    column: Column,
    rows: np.ndarray,
    half: np.ndarray,
    label: tuple[np.ndarray, int],
    numbers: Sequence[np.ndarray] | None,
) -> tuple[float, bool] | None:
    """How well the column predicts the label if it does so too well, and whether that it is missing is enough."""
    if len(rows) < _LEAST_ROWS:
        return None
    tables = [(column.null[rows].astype(np.int32), 2)] if column.null.any() else []
    codes, size = _lookup_codes(column, rows)
    for place, (found, number) in enumerate([*tables, (codes[rows], size)]):
        if numbers is None:
            score = _accuracy(found, number, *label, half)
        else:
            score = max(_explained(found, number, target, half) for target in numbers)
        if score is not None and score >= LEAK:
            return score, place < len(tables)
    return None


def _lookup_codes(column: Column, rows: np.ndarray) -> tuple[np.ndarray, int]:
    if column.values is None or column.distinct <= MOST_VALUES and column.codes is not None:
        return column.codes, column.distinct + 1
    bins = int(np.clip(len(rows) // _ROWS_PER_BIN, 2, _LEAK_BINS))
    edges = quantile_edges(column.values[rows], bins)
    return cut(column, edges), len(edges) + 3


def _accuracy(codes: np.ndarray, size: int, classes: np.ndarray, count: int, half: np.ndarray) -> float | None:
    """Accuracy on the other half of naming each code's most frequent class; None unless clearly better than one class."""
    held = ~half
    table = np.bincount(codes[half].astype(np.int64) * count + classes[half], minlength=size * count)
    table = table.reshape(size, count)
    common = int(table.sum(axis=0).argmax())
    named = np.where(table.any(axis=1), table.argmax(axis=1), common)
    missed = int((classes[held] != common).sum())
    wrong = int((named[codes[held]] != classes[held]).sum())
    if missed < _LEAST_ERRORS or wrong > (1 - LEAST_SKILL) * missed:
        return None
    return 1 - wrong / int(held.sum())


def _explained(codes: np.ndarray, size: int, target: np.ndarray, half: np.ndarray) -> float:
    """R² on the other half of naming each code's mean."""
    held = ~half
    counts = np.bincount(codes[half], minlength=size)
    mean = target[half].mean()
    means = np.where(counts > 0, np.bincount(codes[half], target[half], size) / np.maximum(counts, 1), mean)
    spread = np.square(target[held] - target[held].mean()).sum()
    return 1 - float(np.square(target[held] - means[codes[held]]).sum() / spread) if spread > 0 else 0.0


def _finding(column: str, label: str, leak: tuple[float, bool], is_classes: bool) -> dict[str, Any]:
    score, by_missing = leak
    measure = f"an accuracy of {score:.1%}" if is_classes else f"an R² of {score:.3f}"
    what = f"whether {column!r} is missing" if by_missing else f"{column!r} alone"
    message = f"{what} predicts {label!r} with {measure} on rows not looked at; it may be known only after the label"
    return finding("leak", "warning", column, message, score, LEAK)
