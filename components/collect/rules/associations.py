"""Associations: columns that move together, so that what changes later in several of them is told once.

It gives no finding: `duplicate_column` says which columns repeat each other, and validate groups what drifts by these pairs,
which were measured before anything changed.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.collect.rules.base import Evidence, Outcome
from headwater.components.collect.rules.binning import bins, is_number, numbers

LEAST_RANKED = 0.9
"""Numbers whose ranks correlate at least so much (Spearman, 1904) go together."""

LEAST_TOLD = 0.9
"""Two columns of which one tells at least this share of the other's entropy (Theil's U, 1970) go together."""

_MOST_TOLD = 40
_MOST_PAIRS = 500
_LEAST_ENTROPY = 0.1
_FEW_ROWS = 50


def associations(evidence: Evidence) -> Outcome:
    """Pairs of columns that go together, for the manifest's `analysis`."""
    if not evidence.sample or evidence.sample.table.num_rows < _FEW_ROWS:
        return Outcome([])
    columns = {
        name: column
        for name, column in evidence.sample.columns.items()
        if not pa.types.is_temporal(column.type) and not pa.types.is_nested(column.type)
    }
    return Outcome([], {"associations": find_associations(columns)})


def find_associations(columns: dict[str, pa.Array]) -> list[dict[str, Any]]:
    """Pairs of `columns` with `measure`, in [0, 1], the closest first."""
    strengths: dict[tuple[str, str], float] = {}
    ranked = [name for name, column in columns.items() if is_number(column.type)]
    if len(ranked) > 1:
        ranks = np.stack([_ranks(numbers(columns[name])) for name in ranked])
        with np.errstate(invalid="ignore", divide="ignore"):
            alike = np.nan_to_num(np.abs(np.corrcoef(ranks)))
        for one, two in zip(*np.where(np.triu(alike, 1) >= LEAST_RANKED)):
            strengths[ranked[one], ranked[two]] = float(alike[one, two])
    coded = {name: np.unique(bins(column), return_inverse=True)[1] for name, column in columns.items()}
    entropies = {name: _entropy(np.bincount(codes)) for name, codes in coded.items()}
    telling = [name for name in coded if entropies[name] >= _LEAST_ENTROPY][:_MOST_TOLD]
    for one, two in itertools.combinations(telling, 2):
        size = int(coded[two].max()) + 1
        both = np.bincount(coded[one] * size + coded[two])
        cells, rows = int((both > 0).sum()), len(coded[one])
        # Less what chance adds (Miller, 1955).
        bias = max(0, cells - size - int(coded[one].max())) / (2 * rows * np.log(2))
        shared = entropies[one] + entropies[two] - _entropy(both) - bias
        told = shared / min(entropies[one], entropies[two])
        if told >= LEAST_TOLD:
            strengths[one, two] = max(strengths.get((one, two), 0.0), min(1.0, told))
    ordered = sorted(strengths.items(), key=lambda each: (-each[1], each[0]))[:_MOST_PAIRS]
    return [{"columns": list(pair), "measure": round(measure, 4)} for pair, measure in ordered]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, ties and missing values at their middle."""
    _, inverse, counts = np.unique(np.where(np.isnan(values), -np.inf, values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - counts / 2.0)[inverse]


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
