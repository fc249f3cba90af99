"""Columns as vectors of comparable scale, for models: numbers scaled, categories one-hot, text as hashed words, embeddings.

What scaling needs to know of all rows is a small state that merges; of it comes an encoder.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing
from headwater.components.common.dataset import OWN_PREFIX
from headwater.components.common.errors import HeadwaterError
from headwater.components.label.encoding import (
    Encoder,
    Form,
    Part,
    check_column,
    check_lengths,
    flat,
    forms_of,
    lengths,
    numbers,
    words_of,
)

TEXT_DIMENSIONS = 256
"""So many dimensions the words of a text column are hashed to."""

_MOST_VALUES = 32
_MOST_COUNTED = 256
_LEAST_WORDS = 3.0
_DIGITS = 9


class Feature(NamedTuple):
    """A column and how it becomes numbers; "auto" is text or a category, as its values tell."""

    name: str
    form: Form | Literal["auto"]


def features_of(
    where: str, schema: pa.Schema, given: Mapping[str, str] | Sequence[str], unseen: Collection[str]
) -> tuple[Feature, ...]:
    """The columns that are looked at, each with its form.

    Args:
      where: the setting that names them, for errors.
      schema: the dataset's.
      given: names, or forms by name, each a `Form` or "auto"; none for all columns that can be looked at.
      unseen: columns that must not be looked at: private ones, the key, labels and truth.

    Raises:
      HeadwaterError: a column is not there, must not be looked at, or cannot have its form; or there is none.
    """
    forms = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given, "auto")
    features = []
    for name, form in forms.items():
        possible = check_column(where, name, None if form == "auto" else form, schema, unseen)
        features.append(Feature(name, _own(possible) if form == "auto" else form))  # type: ignore[arg-type]
    if not forms:
        for field in schema:
            possible = forms_of(field.type)
            if possible and field.name not in unseen and not field.name.startswith(OWN_PREFIX):
                features.append(Feature(field.name, _own(possible)))
    if not features:
        raise HeadwaterError(
            f"{where}: there is no column to learn from; all are private, keys, labels, or of types without a distance"
        )
    return tuple(features)


def _own(possible: Sequence[Form]) -> Form | Literal["auto"]:
    """The form of a column by itself: for models, yes and no are numbers, and of texts only the values tell."""
    if "text" in possible:
        return "auto"
    return "number" if "number" in possible else possible[0]


def count(features: Sequence[Feature], batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """What a batch tells of each feature; JSON values only."""
    return [_count(feature, batch.column(batch.schema.get_field_index(feature.name))) for feature in features]


def merge(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What two parts tell together."""
    return [_merged(first, second) for first, second in zip(one, other)]


def _count(feature: Feature, column: pa.Array) -> dict[str, Any]:
    if feature.form == "number":
        values = numbers(column)
        known = values[np.isfinite(values)]
        mean = float(known.mean()) if len(known) else 0.0
        squares = float(((known - mean) ** 2).sum())
        return {"rows": len(values), "known": len(known), "mean": mean, "squares": squares}
    if feature.form == "embedding":
        values, _ = flat(column)
        squares = float((values[np.isfinite(values)].astype(np.float64) ** 2).sum())
        widths = sorted(set(pc.drop_null(lengths(column)).to_pylist()))
        known = len(column) - column.null_count
        return {"rows": len(column), "known": known, "widths": widths[-3:], "squares": squares}
    texts = words_of(column)
    counted = pc.value_counts(pc.drop_null(texts))
    words = pc.sum(pc.count_substring(pc.utf8_trim_whitespace(texts), " ")).as_py() or 0
    known = len(texts) - texts.null_count
    by_value = dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist()))
    return _limited({"rows": len(texts), "known": known, "values": by_value, "many": False, "words": words + known})


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    rows, known = one["rows"] + other["rows"], one["known"] + other["known"]
    if "mean" in one:
        if not known:
            return {**one, "rows": rows}
        apart = other["mean"] - one["mean"]
        mean = one["mean"] + apart * other["known"] / known
        squares = one["squares"] + other["squares"] + apart**2 * one["known"] * other["known"] / known
        return {"rows": rows, "known": known, "mean": mean, "squares": squares}
    if "widths" in one:
        widths = sorted({*one["widths"], *other["widths"]})[-3:]
        return {"rows": rows, "known": known, "widths": widths, "squares": one["squares"] + other["squares"]}
    values = dict(one["values"])
    for value, times in other["values"].items():
        values[value] = values.get(value, 0) + times
    many, words = one["many"] or other["many"], one["words"] + other["words"]
    return _limited({"rows": rows, "known": known, "values": values, "many": many, "words": words})


def _limited(state: dict[str, Any]) -> dict[str, Any]:
    """Too many values to be a category are not kept."""
    if state["many"] or len(state["values"]) > _MOST_COUNTED:
        return {**state, "values": {}, "many": True}
    return state


def encoder_of(where: str, features: Sequence[Feature], counts: Sequence[Mapping[str, Any]]) -> Encoder:
    """The encoder of features, of what was counted over all rows.

    Raises:
      HeadwaterError: no column tells rows apart, or the vectors of an embedding differ in length.
    """
    parts, dropped = [], {}
    for feature, state in zip(features, counts):
        part = _part_of(where, feature, state)
        if isinstance(part, str):
            dropped[feature.name] = part
        else:
            parts.append(part)
    if not parts:
        reasons = ", ".join(f"{name} ({reason})" for name, reason in dropped.items())
        raise HeadwaterError(f"{where}: no column tells rows apart: {reasons}; name others")
    return Encoder(tuple(parts), dropped)


def _part_of(where: str, feature: Feature, state: Mapping[str, Any]) -> Part | str:
    name, form = feature
    missing = state["known"] < state["rows"]
    if not state["known"]:
        return "empty"
    if form == "number":
        # Sums of parts differ in their last bits with how rows fall into files.
        middle, scale = _rounded(state["mean"]), _rounded(math.sqrt(state["squares"] / state["known"]))
        return Part(name, "number", 1, missing, middle, scale) if scale > 0 else "constant"
    if form == "embedding":
        width = check_lengths(where, name, state["widths"])
        scale = _rounded(math.sqrt(state["squares"] / state["known"] / width))
        return Part(name, "embedding", width, missing, scale=scale) if scale > 0 else "constant"
    few = not state["many"] and len(state["values"]) <= _MOST_COUNTED
    if form == "auto":
        wordy = state["words"] / state["known"] >= _LEAST_WORDS
        if not few and not wordy:
            return "too many values for categories, too few words for text"
        form = "text" if not few or (wordy and len(state["values"]) > _MOST_VALUES) else "category"
    if form == "text":
        return Part(name, "text", TEXT_DIMENSIONS, missing)
    if not few:
        raise HeadwaterError(
            f"{where}.{name}: the column has more than {_MOST_COUNTED} different values, too many for categories; use it as text"
        )
    ordered = sorted(state["values"], key=lambda value: (-state["values"][value], value))[:_MOST_VALUES]
    hashes = np.unique(hashing.hash_values(pa.array(ordered, pa.string())))
    kept = Part(name, "category", len(hashes), missing, values=tuple(hashes.tolist()))
    return kept if len(hashes) > 1 or missing else "constant"


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
