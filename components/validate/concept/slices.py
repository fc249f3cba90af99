"""Slices: single bins, and bins of two features together, in which the label changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headwater.components.common.significance import benjamini_hochberg
from headwater.components.validate.concept import inference
from headwater.components.validate.concept.bins import Column
from headwater.components.validate.concept.features import Feature, Tested
from headwater.components.validate.concept.settings import Concept

MOST_PAIRED = 4
_CLEARLY = 0.75


def share_changed(test: inference.Tests) -> np.ndarray:
    """The share of each bin's labels that changed."""
    return test.effect[1:] / np.maximum(test.compared[1:], 1e-12)


def pairs_of(suspects: Sequence[Tested]) -> list[Feature]:
    """Each two of the strongest suspects together."""
    singles = [each.feature.columns[0].held() for each in suspects if len(each.feature.columns) == 1][:MOST_PAIRED]
    singles.sort(key=lambda column: column.name)
    return [Feature((one, two)) for place, one in enumerate(singles) for two in singles[place + 1 :]]


def cells_of(table: np.ndarray, feature: Feature) -> np.ndarray:
    """A table as `inference.concept` takes it, whose first index is the bin."""
    return table.reshape(feature.size, -1, *table.shape[-2:])


def find_slices(
    by_bin: Sequence[tuple[Tested, inference.Tests, np.ndarray]],
    pairs: Sequence[tuple[Feature, np.ndarray]],
    classes: Column,
    options: Concept,
) -> list[dict[str, Any]]:
    """Bins of the features whose concept changed, and pairs of bins that changed clearly more than either."""
    candidates: list[tuple[Feature, inference.Tests, np.ndarray, np.ndarray | None]] = []
    for each, test, table in by_bin:
        candidates.append((each.feature, test, cells_of(table, each.feature), None))
    names = {column.name for feature, *_ in candidates for column in feature.columns}
    for pair, table in pairs:
        if {column.name for column in pair.columns} <= names:
            cells = cells_of(table, pair)
            candidates.append((pair, inference.concept(cells), cells, _beyond_parents(cells.sum(axis=1), pair)))
    if not candidates:
        return []
    p_values = np.concatenate([test.p_value[1:] for _, test, _, _ in candidates])
    tested = np.concatenate([test.freedom[1:] > 0 for _, test, _, _ in candidates])
    adjusted = np.ones(len(p_values))
    adjusted[tested] = benjamini_hochberg(p_values[tested].tolist())
    slices, start = [], 0
    for feature, test, cells, beyond in candidates:
        p_value, start = adjusted[start : start + feature.size], start + feature.size
        own = share_changed(test)
        listed = (p_value <= options.max_p) & (own >= options.min_effect)
        if beyond is not None:
            listed &= beyond
        rows, shares = cells.sum(axis=(1, 2)), inference.like_shares(cells)
        slices += [
            {
                "slice": feature.word(code),
                "where": feature.sql(code),
                "features": [column.name for column in feature.columns],
                "rows": rows[code].tolist(),
                "share": float(test.compared[1 + code]),
                "labels": label_shares(shares[code], classes),
                "effect": float(own[code]),
                "contribution": float(test.effect[1 + code]),
                "p_value": float(p_value[code]),
            }
            for code in np.flatnonzero(listed).tolist()
        ]
    # A slice that is small and wholly changed stands before one that holds it and much else.
    return sorted(slices, key=lambda each: (-each["contribution"] * each["effect"], each["slice"]))


def _beyond_parents(cells: np.ndarray, pair: Feature) -> np.ndarray:
    """Whether pairs of bins changed clearly more than the rest of either bin."""
    shape = [column.size for column in pair.columns]
    table = cells.reshape(*shape, *cells.shape[1:]).astype(np.float64)
    own = inference.total_variation(cells.astype(np.float64))
    clear = np.ones(len(cells), bool)
    for axis in (0, 1):
        rest = (table.sum(axis=axis, keepdims=True) - table).reshape(cells.shape)
        clear &= inference.total_variation(rest) <= _CLEARLY * own
    return clear


def label_shares(shares: np.ndarray, label: Column) -> list[dict[str, Any]]:
    """Each class with its shares in the baseline and now."""
    return [
        {"class": label.word(place).removeprefix("= "), "baseline": float(baseline), "current": float(current)}
        for place, (baseline, current) in enumerate(shares)
        if baseline or current
    ]
