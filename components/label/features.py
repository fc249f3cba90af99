"""Columns as vectors of comparable scale: numbers scaled, categories one-hot, text as hashed words, embeddings as they are.

What scaling needs to know of all rows is a small state that merges; the encoder that comes of it works on record batches, on
any worker, and gives each row the same vector in whatever batch it comes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing
from headwater.components.common.arrow_types import is_text
from headwater.components.common.dataset import OWN_PREFIX
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import decoded, value_type

Form = Literal["number", "category", "text", "embedding"]
"""How a column becomes numbers."""

TEXT_DIMENSIONS = 256
"""So many dimensions the words of a text column are hashed to."""

_MOST_VALUES = 32
_MOST_COUNTED = 256
_LEAST_WORDS = 3.0
_TEXT_LENGTH = 4.0
_DIGITS = 9
_GREATEST = 1e100


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
        if name not in schema.names:
            raise HeadwaterError(f"{where}: there is no column {name!r}; the columns are {', '.join(schema.names)}")
        if name in unseen:
            raise HeadwaterError(
                f"{where}: {name!r} cannot be a feature: it is private, or holds keys, labels or truth; remove it"
            )
        own = _form_of(schema.field(name).type)
        possible: tuple[str | None, ...] = (
            ("category", "text") if own == "auto" else (own, "category") if own == "number" else (own,)
        )
        if own is None or (form != "auto" and form not in possible):
            kind = schema.field(name).type
            raise HeadwaterError(
                f"{where}: {name!r} is {kind}, which cannot be {'a feature' if form == 'auto' else f'used as {form}'}"
                + (f"; it can be {' or '.join(map(str, possible))}" if own else "")
            )
        features.append(Feature(name, own if form == "auto" else form))  # type: ignore[arg-type]
    if not forms:
        for field in schema:
            own = _form_of(field.type)
            if own and field.name not in unseen and not field.name.startswith(OWN_PREFIX):
                features.append(Feature(field.name, own))
    if not features:
        raise HeadwaterError(
            f"{where}: there is no column to learn from; all are private, keys, labels, or of types without a distance"
        )
    return tuple(features)


def _form_of(kind: pa.DataType) -> Form | Literal["auto"] | None:
    kind = value_type(kind)
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        return "embedding" if pa.types.is_floating(kind.value_type) else None
    if is_text(kind):
        return "auto"
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return "number"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) else None


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
        values, widths = _flat(column)
        squares = float((values[np.isfinite(values)] ** 2).sum())
        known = len(column) - column.null_count
        return {"rows": len(column), "known": known, "widths": widths[-3:], "squares": squares}
    texts = _texts(column)
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


class _Part(NamedTuple):
    """How one column is encoded; `values` of a category, `middle` and `scale` of numbers, `width` of an embedding."""

    name: str
    form: Form
    values: tuple[str, ...] = ()
    middle: float = 0.0
    scale: float = 1.0
    width: int = 0
    missing: bool = False

    @property
    def dimensions(self) -> int:
        own = {"number": 1, "category": len(self.values), "text": TEXT_DIMENSIONS, "embedding": self.width}[self.form]
        return own + self.missing


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Makes vectors of record batches; picklable.

    Attributes:
      parts: of each column that tells rows apart.
      dropped: columns that do not, each with the reason.
    """

    parts: tuple[_Part, ...]
    dropped: Mapping[str, str]

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return [part.name for part in self.parts]

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return sum(part.dimensions for part in self.parts)

    def vectors(self, batch: pa.RecordBatch) -> np.ndarray:
        """The vectors of a batch's rows, float32, [rows, dimensions]; no value is missing."""
        made = np.zeros((batch.num_rows, self.dimensions), np.float32)
        start = 0
        for part in self.parts:
            column = batch.column(batch.schema.get_field_index(part.name))
            own = made[:, start : start + part.dimensions]
            _ENCODE[part.form](part, column, own)
            if part.missing:
                own[:, -1] = ~_present(part, column)
            start += part.dimensions
        return made


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


def _part_of(where: str, feature: Feature, state: Mapping[str, Any]) -> _Part | str:
    name, form = feature
    missing = state["known"] < state["rows"]
    if not state["known"]:
        return "empty"
    if form == "number":
        # Sums of parts differ in their last bits with how rows fall into files.
        middle, scale = _rounded(state["mean"]), _rounded(math.sqrt(state["squares"] / state["known"]))
        return _Part(name, "number", (), middle, scale, missing=missing) if scale > 0 else "constant"
    if form == "embedding":
        widths = state["widths"]
        if len(widths) != 1 or not widths[0]:
            raise HeadwaterError(
                f"{where}: the vectors of {name!r} must be of one length, at least 1; there are lengths {', '.join(map(str, widths))}"
            )
        scale = _rounded(math.sqrt(state["squares"] / state["known"] / widths[0]))
        return _Part(name, "embedding", (), 0.0, scale, widths[0], missing) if scale > 0 else "constant"
    few = not state["many"] and len(state["values"]) <= _MOST_COUNTED
    if form == "auto":
        wordy = state["words"] / state["known"] >= _LEAST_WORDS
        if not few and not wordy:
            return "too many values for categories, too few words for text"
        form = "text" if not few or (wordy and len(state["values"]) > _MOST_VALUES) else "category"
    if form == "text":
        return _Part(name, "text", missing=missing)
    if not few:
        raise HeadwaterError(
            f"{where}: {name!r} has more than {_MOST_COUNTED} different values, too many for categories; use it as text"
        )
    ordered = sorted(state["values"], key=lambda value: (-state["values"][value], value))[:_MOST_VALUES]
    return _Part(name, "category", tuple(ordered), missing=missing) if len(ordered) > 1 or missing else "constant"


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def numbers(column: pa.Array) -> np.ndarray:
    """Values as float64; NaN where one is missing."""
    column = decoded(column)
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64())
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    # Of greater ones there would be no squares.
    return np.where(np.isinf(values), np.nan, np.clip(values, -_GREATEST, _GREATEST))


def _texts(column: pa.Array) -> pa.Array:
    column = decoded(column)
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _flat(column: pa.Array) -> tuple[np.ndarray, list[int]]:
    """The values of the lists that are not missing, float64, and the lengths that there are."""
    present = column.drop_null()
    if pa.types.is_fixed_size_list(column.type):
        widths = [column.type.list_size] if len(present) else []
    else:
        widths = sorted(set(pc.list_value_length(present).to_pylist()))
    return present.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False), widths


def _present(part: _Part, column: pa.Array) -> np.ndarray:
    if part.form == "number":
        return np.isfinite(numbers(column))
    return pc.is_valid(column).to_numpy(zero_copy_only=False)


def _number(part: _Part, column: pa.Array, made: np.ndarray) -> None:
    scaled = (numbers(column) - part.middle) / part.scale
    # Beyond any spread that tells rows apart, one value would outweigh all other columns.
    made[:, 0] = np.clip(np.where(np.isfinite(scaled), scaled, 0), -10, 10)


def _category(part: _Part, column: pa.Array, made: np.ndarray) -> None:
    places = pc.fill_null(pc.index_in(_texts(column), value_set=pa.array(part.values)), -1)
    codes = places.to_numpy(zero_copy_only=False)
    known = np.flatnonzero(codes >= 0)
    made[known, codes[known]] = 1


def _embedding(part: _Part, column: pa.Array, made: np.ndarray) -> None:
    known = np.flatnonzero(pc.is_valid(column).to_numpy(zero_copy_only=False))
    if len(known):
        values = np.nan_to_num(_flat(column)[0], posinf=0, neginf=0)
        made[known, : part.width] = values.reshape(len(known), part.width) / part.scale


def _text(part: _Part, column: pa.Array, made: np.ndarray) -> None:
    """Words and pairs of them, each in the dimension and with the sign that its hash tells; of one length."""
    lists = pc.utf8_split_whitespace(pc.utf8_lower(pc.fill_null(_texts(column), "")))
    offsets = lists.offsets.to_numpy().astype(np.int64)
    tokens = lists.flatten()
    if not len(tokens):
        return
    hashes = hashing.hash_values(tokens)
    rows = np.repeat(np.arange(len(lists)), np.diff(offsets))
    same = np.flatnonzero(rows[1:] == rows[:-1])
    pairs = hashing.mix(hashes[same] + hashing.mix(hashes[same + 1]))
    every, of = np.concatenate([hashes, pairs]), np.concatenate([rows, rows[same]])
    blank = pc.equal(tokens, "").to_numpy(zero_copy_only=False)
    weights = np.where(every >> np.uint64(63), 1.0, -1.0)
    weights[: len(tokens)][blank] = 0
    places = of * TEXT_DIMENSIONS + (every % np.uint64(TEXT_DIMENSIONS)).astype(np.int64)
    sums = np.bincount(places, weights, minlength=len(lists) * TEXT_DIMENSIONS).reshape(len(lists), TEXT_DIMENSIONS)
    lengths = np.sqrt((sums**2).sum(1, keepdims=True))
    made[:, :TEXT_DIMENSIONS] = sums * (_TEXT_LENGTH / np.where(lengths > 0, lengths, 1))


_ENCODE = {"number": _number, "category": _category, "embedding": _embedding, "text": _text}
