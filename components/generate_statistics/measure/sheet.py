"""What is measured of each feature in each slice: the tables of a state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.distributions import HASH_BINS
from headwater.components.common.hashing import hash_values
from headwater.components.generate_statistics.measure.features import BYTES, INT, STRING, Feature, Level
from headwater.components.generate_statistics.measure.ordering import distinct_cells, runs
from headwater.components.generate_statistics.measure.sliced_numbers import measure_slices
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.state import counts as counting
from headwater.components.generate_statistics.state import points as pointing
from headwater.components.generate_statistics.state.counts import Counts, Hashes, Rests
from headwater.components.generate_statistics.state.limits import POINTS
from headwater.components.generate_statistics.state.points import Points
from headwater.components.generate_statistics.state.state import (
    NO_LISTS,
    NOTHING,
    OF_INNER,
    OF_LENGTHS,
    OF_VALUES,
    OF_WEIGHTS,
    ROLES,
    L,
    N,
)


class Sheet:
    """Collects what is measured of each feature in each slice."""

    def __init__(self, width: int, weights: np.ndarray | None, groups: Sequence[np.ndarray | None]):
        self._width = width
        self._weights = weights
        # None stands for all rows.
        self._groups = groups
        # Of each group: the slices that have rows, and the place of each slice among them.
        self._present: list[tuple[np.ndarray, np.ndarray]] = []
        for group in groups:
            there = np.zeros(1, np.int64) if group is None else np.flatnonzero(np.bincount(group[group >= 0]))
            places = np.zeros(int(there.max(initial=0)) + 1, np.int64)
            places[there] = np.arange(len(there))
            self._present.append((there, places))
        self._numbers: list[tuple[np.ndarray, np.ndarray]] = []
        self._levels: list[tuple[np.ndarray, np.ndarray]] = []
        self._points: list[Points] = []
        self._counts: list[Counts] = []
        self._hashes: list[Hashes] = []
        self._rests: list[Rests] = []

    def add(self, place: int, feature: Feature, plan: Plan) -> None:
        """Measures one feature."""
        kind = feature.kind
        if kind == STRING and feature.path in plan.as_bytes:
            kind = BYTES
        for level, lists in enumerate(feature.levels):
            inner = feature.inner if level == 0 else None
            for number in range(len(self._groups)):
                self._add_level(place, level, lists, inner, number)
        values = feature.values
        private = plan.private.of(feature.path)
        if values is None or not len(values):
            for there, _ in self._present:
                self._add_numbers(there * self._width + place, {"kind": kind})
        elif kind == BYTES:
            self._add_bytes(place, feature)
        elif kind == STRING or (kind == INT and feature.path in plan.categorical):
            text = values if kind == STRING else values.cast(pa.string())
            self._add_text(place, feature, kind, text, plan, plan.private.hide if private else None)
        else:
            self._add_reals(place, feature, plan, plan.private.coarse if private else None)

    def tables(self) -> dict[str, Any]:
        """The tables of a `State`."""
        return {
            "numbers": _sorted(self._numbers, NOTHING),
            "levels": _sorted(self._levels, NO_LISTS),
            "points": pointing.in_order(self._points),
            "counts": counting.in_order(self._counts),
            "hashes": counting.hashes_in_order(self._hashes),
            "rests": counting.join_rests(self._rests),
        }

    def _slices_of(self, feature: Feature, group: np.ndarray) -> np.ndarray:
        return group if feature.rows is None else group[feature.rows]

    def _weights_of(self, feature: Feature) -> np.ndarray | None:
        if self._weights is None:
            return None
        return self._weights if feature.rows is None else self._weights[feature.rows]

    def _add_numbers(self, keys: np.ndarray, fields: Mapping[str, Any]) -> None:
        numbers = np.tile(NOTHING, (len(keys), 1))
        for name, value in fields.items():
            numbers[:, N[name]] = value
        self._numbers.append((keys, numbers))

    def _add_level(self, place: int, level: int, lists: Level, inner: np.ndarray | None, number: int) -> None:
        group = self._groups[number]
        # A slice's rows where the feature is missing throughout still say so.
        there, places = self._present[number]
        keys = there * self._width + place
        chosen: np.ndarray | slice = slice(None)
        if group is None:
            own = np.zeros(0 if lists.lengths is None else lists.count, np.int64)
        else:
            own = group if lists.rows is None else group[lists.rows]
            chosen = own >= 0
            own = places[own[chosen]]
        size = len(keys)
        numbers = np.tile(NO_LISTS, (size, 1))
        lengths = lists.lengths[chosen] if lists.lengths is not None else None
        numbers[:, L["present"]] = lists.count if group is None else np.bincount(own, minlength=size)
        if lengths is None:
            numbers[:, L["total"]] = numbers[:, L["present"]]
            numbers[numbers[:, L["present"]] > 0, L["min"]] = 1
            numbers[numbers[:, L["present"]] > 0, L["max"]] = 1
        else:
            numbers[:, L["total"]] = np.bincount(own, lengths, minlength=size)
            np.minimum.at(numbers[:, L["min"]], own, lengths)
            np.maximum.at(numbers[:, L["max"]], own, lengths)
            self._add_lengths(keys, OF_LENGTHS + level, own, lengths)
        if inner is not None:
            inner = inner[chosen]
            np.minimum.at(numbers[:, L["inner_min"]], own, inner)
            np.maximum.at(numbers[:, L["inner_max"]], own, inner)
            self._add_lengths(keys, OF_INNER, own, inner)
        if self._weights is not None:
            weights = (self._weights if lists.rows is None else self._weights[lists.rows])[chosen]
            own = np.zeros(len(weights), np.int64) if group is None else own
            numbers[:, L["weighted_present"]] = np.bincount(own, weights, minlength=size)
            weighted = weights if lengths is None else weights * lengths
            numbers[:, L["weighted_total"]] = np.bincount(own, weighted, minlength=size)
        self._levels.append((keys * ROLES + level, numbers))

    def _add_lengths(self, keys: np.ndarray, role: int, own: np.ndarray, lengths: np.ndarray) -> None:
        if not len(lengths):
            return
        span = int(lengths.max()) + 1
        pairs, count = np.unique(own * span + lengths, return_counts=True)
        self._points.append(
            Points(keys[pairs // span] * ROLES + role, (pairs % span).astype(np.float64), count.astype(np.float64))
        )

    def _add_reals(
        self, place: int, feature: Feature, plan: Plan, coarse: Callable[[np.ndarray], np.ndarray] | None
    ) -> None:
        assert feature.values is not None
        whole = feature.kind == INT
        raw = feature.values.to_numpy(zero_copy_only=False)
        values = raw.astype(np.float64)
        known = None if whole else ~np.isnan(values)
        if known is not None and known.all():
            known = None
        weights = self._weights_of(feature)
        for group in self._groups:
            if group is None:
                self._add_all_reals(place, feature.kind, values, known, weights, coarse)
                continue
            shown = values if coarse is None else coarse(values)
            found = measure_slices(feature.kind, shown, self._slices_of(feature, group), weights, plan.limits)
            keys = found.slices * self._width + place
            self._add_numbers(keys, found.fields)
            for role, points in ((OF_VALUES, found.values), (OF_WEIGHTS, found.weighted)):
                self._points.append(points._replace(keys=keys[points.keys] * ROLES + role))

    def _add_all_reals(
        self,
        place: int,
        kind: int,
        values: np.ndarray,
        known: np.ndarray | None,
        weights: np.ndarray | None,
        coarse: Callable[[np.ndarray], np.ndarray] | None,
    ) -> None:
        nan = 0
        if known is not None:
            nan = len(values) - int(np.count_nonzero(known))
            values, weights = values[known], weights[known] if weights is not None else None
        fields: dict[str, float] = {"kind": kind, "nan": nan, "values": len(values)}
        key = place * ROLES
        if len(values):
            fields["zeros"] = len(values) - np.count_nonzero(values)
            shown = values if coarse is None else coarse(values)
            if weights is None:
                distinct, count = pointing.spread(shown, kind)
            else:
                order = np.argsort(shown)
                distinct, count = pointing.of_sorted(shown[order])
                begin = np.cumsum(count).astype(np.int64) - count.astype(np.int64)
                held = np.add.reduceat(weights[order], begin)
                weighing = held > 0
                fields["weighted_rank_error"] = self._add_points(key + OF_WEIGHTS, distinct[weighing], held[weighing])
            fields["rank_error"] = self._add_points(key + OF_VALUES, distinct, count)
            fields["min"], fields["max"] = distinct[0], distinct[-1]
            finite = values
            if not (np.isfinite(distinct[0]) and np.isfinite(distinct[-1])):
                inside = np.isfinite(values)
                fields["pos_inf"], fields["neg_inf"] = np.sum(values == np.inf), np.sum(values == -np.inf)
                if weights is not None:
                    fields["weighted_pos_inf"] = weights[values == np.inf].sum()
                    weights = weights[inside]
                finite = values[inside]
                distinct = distinct[np.isfinite(distinct)]
            if len(finite):
                fields["finite_min"], fields["finite_max"] = distinct[0], distinct[-1]
                with np.errstate(over="ignore", invalid="ignore"):
                    fields["mean"] = mean = finite.mean()
                    fields["m2"] = np.square(finite - mean).sum()
                    if weights is not None and weights.sum() > 0:
                        fields["weight"] = weights.sum()
                        fields["weighted_mean"] = mean = (finite * weights).sum() / fields["weight"]
                        fields["weighted_m2"] = (np.square(finite - mean) * weights).sum()
        self._add_numbers(np.array([place]), fields)

    def _add_points(self, key: int, values: np.ndarray, weights: np.ndarray) -> float:
        """Adds the points of all rows, already within their limit, and gives how much ranks have moved by."""
        values, weights, moved = pointing.shrink(values, weights, POINTS)
        self._points.append(Points(np.full(len(values), key), values, weights))
        return moved

    def _add_bytes(self, place: int, feature: Feature) -> None:
        lengths = pc.binary_length(feature.values).to_numpy(zero_copy_only=False).astype(np.float64)
        for group in self._groups:
            own = np.zeros(len(lengths), np.int64) if group is None else self._slices_of(feature, group)
            mine, own = lengths[own >= 0], own[own >= 0]
            keys, index, count = np.unique(own, return_inverse=True, return_counts=True)
            low, high = np.full(len(keys), np.inf), np.full(len(keys), -np.inf)
            np.minimum.at(low, index, mine)
            np.maximum.at(high, index, mine)
            self._add_numbers(
                keys * self._width + place,
                {
                    "kind": BYTES,
                    "values": count,
                    "bytes": np.bincount(index, mine, minlength=len(keys)),
                    "min_bytes": low,
                    "max_bytes": high,
                },
            )

    def _add_text(
        self,
        place: int,
        feature: Feature,
        kind: int,
        text: pa.Array,
        plan: Plan,
        hide: Callable[[pa.Array], pa.Array] | None,
    ) -> None:
        weights = self._weights_of(feature)
        if weights is None and all(group is None for group in self._groups):
            counted = text.value_counts()
            distinct, count = counted.field(0), counted.field(1).to_numpy()
            # Of all rows without weights, nobody asks which value stands where.
            codes = np.empty(0, np.int64)
        else:
            encoded = text.dictionary_encode()
            distinct, codes = encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)
            count = np.bincount(codes, minlength=len(distinct))
        sizes = pc.binary_length(distinct).to_numpy(zero_copy_only=False).astype(np.float64)
        values, lost = counting.as_counted(distinct)
        if hide is not None:
            values = hide(values)
        hashes: np.ndarray | None = None
        for group in self._groups:
            if group is None:
                keys = np.zeros(len(distinct), np.int64)
                chosen, own_count = np.arange(len(distinct)), count
                held = np.bincount(codes, weights, minlength=len(distinct)) if weights is not None else None
            else:
                slices = self._slices_of(feature, group)
                inside = slices >= 0
                cells = slices[inside].astype(np.int64) * len(distinct) + codes[inside]
                cells, index, own_count = distinct_cells(cells, weights is not None)
                keys, chosen = cells // len(distinct), cells % len(distinct)
                held = None
                if weights is not None and index is not None:
                    held = np.bincount(index, weights[inside], minlength=len(cells))
            # The cells are in order, and so are their slices.
            slices, size = runs(keys)
            index = np.repeat(np.arange(len(slices)), size)
            own_keys = slices * self._width + place
            fields: dict[str, Any] = {
                "kind": kind,
                "values": np.bincount(index, own_count, minlength=len(slices)),
                "bytes": np.bincount(index, sizes[chosen] * own_count, minlength=len(slices)),
                "not_text": np.bincount(index, lost[chosen] * own_count, minlength=len(slices)),
            }
            exact, least, sketched = (
                limit(slices, self._width) for limit in (plan.limits.exact, plan.limits.hashes, plan.limits.sketched)
            )
            many = np.bincount(index, minlength=len(slices)) > exact
            if many.any() and hide is None:
                # Before values are taken out: most of them are not kept.
                hashes = hash_values(values) if hashes is None else hashes
                own_hashes = counting.least_hashes(index, hashes[chosen], many, least)
                self._hashes.append(own_hashes._replace(keys=own_keys[own_hashes.keys]))
                kept, own_count, fields["removed"], rests = counting.cut_rows(
                    index, own_count, np.where(many, sketched, exact), hashes[chosen]
                )
                fields["sketched"] = many
                bins = own_keys[rests.bins // HASH_BINS] * HASH_BINS + rests.bins % HASH_BINS
                self._rests.append(rests._replace(bins=bins))
                index, chosen, own_count = index[kept], chosen[kept], own_count[kept]
                held = None if held is None else held[kept]
            self._add_numbers(own_keys, fields)
            table = Counts(
                own_keys[index],
                values if len(chosen) == len(values) and group is None else values.take(pa.array(chosen)),
                own_count.astype(np.int64),
                held if held is not None else np.zeros(len(index)),
            )
            self._counts.append(counting.add_equal(table) if hide is not None else table)


def _sorted(parts: Sequence[tuple[np.ndarray, np.ndarray]], nothing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not parts:
        return np.empty(0, np.int64), np.empty((0, len(nothing)))
    keys = np.concatenate([part[0] for part in parts])
    order = np.argsort(keys, kind="stable")
    return keys[order], np.concatenate([part[1] for part in parts])[order]
