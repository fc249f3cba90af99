"""Rows as points, whose distances say how like they are: numbers scaled robustly, categories one-hot or hashed, text as
hashed n-grams, embeddings as they are, each column with a weight.

A column is learnt from a sample of the rows and from counts of all; what is learnt encodes record batches on any worker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from headwater.components.common import hashing
from headwater.components.common.arrow_types import is_text
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import decoded, value_type
from headwater.components.label.features import Form, numbers
from headwater.components.label.propagate import text

_CLIPPED = 8.0
# Quantiles, and how many standard deviations of a normal distribution lie between.
_SPREADS = ((0.25, 1.349), (0.05, 3.29))


class Column(pydantic.BaseModel):
    """How a column counts in the distance.

    Attributes:
      form: `number`, `category`, `text` or `embedding`; by default as the column's type tells, which for text must be said.
      weight: what the column's differences are multiplied by. At 1, two typical numbers, two categories and two unlike
        texts are equally far apart; embeddings are taken as they are.
      dimensions: of text, how many its n-grams are projected to; of a category, how many values are told apart exactly:
        where there are more, they are hashed to as many dimensions.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    form: Form | None = None
    weight: Annotated[float | int, pydantic.Field(gt=0, le=1e6)] = 1.0
    dimensions: Annotated[int, pydantic.Field(ge=2, le=1024)] = 64


class Feature(Column):
    """A column with its name and its form."""

    name: str
    form: Form


def features_of(where: str, columns: Mapping[str, Column], schema: pa.Schema, unseen: Sequence[str]) -> list[Feature]:
    """The columns with their forms, held against the dataset's.

    Args:
      where: the setting, for errors.
      columns: as they were given.
      schema: the dataset's.
      unseen: columns that hold classes, and must not be looked at.

    Raises:
      HeadwaterError: a column is not there, holds the classes, or has no such form or no form that its type tells.
    """
    features = []
    for name, given in columns.items():
        if name not in schema.names:
            raise HeadwaterError(f"{where}: there is no column {name!r}; the columns are {', '.join(schema.names)}")
        if name in unseen:
            raise HeadwaterError(
                f"{where}.{name}: the column holds the classes; rows must not be compared by it; leave it out"
            )
        kind = schema.field(name).type
        possible = _forms(kind)
        if not possible or (given.form and given.form not in possible):
            other = f"; it can be {' or '.join(possible)}" if possible else ""
            raise HeadwaterError(
                f"{where}.{name}: the column is {kind}, which cannot be compared as {given.form or 'a column'}{other}"
            )
        if not given.form and is_text(value_type(kind)):
            raise HeadwaterError(
                f"{where}.{name}: the column is text, which has no distance by itself; say form: text to compare what "
                "is written, or form: category to compare whether it is the same"
            )
        features.append(Feature(name=name, **{**given.model_dump(), "form": given.form or possible[0]}))
    return features


def _forms(kind: pa.DataType) -> list[Form]:
    """The forms that a type can have, first that which it has by itself."""
    kind = value_type(kind)
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        own = kind.value_type
        return ["embedding"] if pa.types.is_floating(own) or pa.types.is_integer(own) else []
    if is_text(kind):
        return ["text", "category"]
    if pa.types.is_boolean(kind):
        return ["category", "number"]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return ["number", "category"]
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return ["number", "category"]
    return []


def seen(features: Sequence[Feature], batch: pa.RecordBatch) -> dict[str, list[int]]:
    """What all rows must tell: of each column how many values are missing; of an embedding the least and the greatest
    length."""
    found = {}
    for feature in features:
        column = _of(batch, feature.name)
        counts = [int((~_known(feature, column)).sum())]
        if feature.form == "embedding":
            lengths = pc.min_max(_lengths(column))
            counts += (
                [lengths["min"].as_py() or 0, lengths["max"].as_py() or 0] if len(column) > column.null_count else []
            )
        found[feature.name] = counts
    return found


def add_seen(one: Mapping[str, list[int]], other: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """What the rows of both tell."""
    total = {}
    for name, mine in one.items():
        more = other[name]
        ends = [mine[1:], more[1:]]
        lengths = [each for each in ends if each]
        total[name] = [mine[0] + more[0]]
        if lengths:
            total[name] += [min(each[0] for each in lengths), max(each[1] for each in lengths)]
    return total


@dataclasses.dataclass(frozen=True)
class _Learnt:
    """What encodes one column; `values` are hashes, of a category."""

    feature: Feature
    width: int
    middle: float = 0.0
    scale: float = 0.0
    values: np.ndarray | None = None
    missing: bool = False
    weights: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Makes points of rows; picklable.

    Attributes:
      parts: what was learnt of each column.
    """

    parts: tuple[_Learnt, ...]

    @property
    def columns(self) -> list[str]:
        """Names of the columns that it reads."""
        return [part.feature.name for part in self.parts]

    @property
    def dimensions(self) -> int:
        """How many dimensions a point has."""
        return sum(part.width for part in self.parts)

    def points(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """The points of a batch's rows.

        Returns:
          float32, [rows, dimensions]; and which rows lack an embedding, and so have no place; bool.
        """
        made = np.zeros((batch.num_rows, self.dimensions), np.float32)
        lacking = np.zeros(batch.num_rows, bool)
        start = 0
        for part in self.parts:
            column = _of(batch, part.feature.name)
            own = made[:, start : start + part.width]
            _ENCODE[part.feature.form](part, column, own)
            own *= np.float32(part.feature.weight)
            if part.feature.form == "embedding":
                lacking |= ~_known(part.feature, column)
            start += part.width
        # One zero, so that equal points have equal bytes.
        made += np.float32(0)
        return made, lacking


def learn(
    where: str, features: Sequence[Feature], sample: pa.RecordBatch, counts: Mapping[str, Sequence[int]]
) -> Encoder:
    """Learns how the columns are encoded.

    Args:
      where: the setting, for errors.
      features: the columns.
      sample: rows of the dataset, of all columns but embeddings.
      counts: of all rows, as `seen` gives them.

    Raises:
      HeadwaterError: the vectors of an embedding differ in length.
    """
    parts = []
    for feature in features:
        missing, *lengths = counts[feature.name]
        if feature.form == "embedding":
            if not lengths or lengths[0] != lengths[1] or not lengths[1]:
                told = f"there are lengths from {lengths[0]} to {lengths[1]}" if lengths else "there is none at all"
                raise HeadwaterError(f"{where}.{feature.name}: the vectors must be of one length, at least 1; {told}")
            parts.append(_Learnt(feature, lengths[1]))
            continue
        column = _of(sample, feature.name)
        if feature.form == "number":
            parts.append(_number_learnt(feature, column, missing > 0))
        elif feature.form == "category":
            parts.append(_category_learnt(feature, column))
        else:
            parts.append(_Learnt(feature, feature.dimensions, weights=text.rarity(_texts(column))))
    return Encoder(tuple(parts))


def _number_learnt(feature: Feature, column: pa.Array, missing: bool) -> _Learnt:
    values = numbers(column)
    values = values[np.isfinite(values)]
    if not len(values):
        return _Learnt(feature, 1 + missing, missing=missing)
    # Of a column that is nearly always one value the middle half tells no spread, and the outermost values too much.
    middle = np.median(values)
    scale = max(float(np.ptp(np.quantile(values, [part, 1 - part]))) / width for part, width in _SPREADS)
    scale = scale if scale > 0 else float(np.std(values))
    return _Learnt(feature, 1 + missing, float(middle), float(scale), missing=missing)


def _category_learnt(feature: Feature, column: pa.Array) -> _Learnt:
    values = np.unique(hashing.hash_values(column))
    if len(values) > feature.dimensions:
        return _Learnt(feature, feature.dimensions)
    return _Learnt(feature, max(1, len(values)), values=values)


def _of(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def _texts(column: pa.Array) -> pa.Array:
    return pc.fill_null(decoded(column).cast(pa.string()), "")


def _lengths(column: pa.Array) -> pa.Array:
    column = decoded(column)
    if pa.types.is_fixed_size_list(column.type):
        return pa.array(np.full(len(column), column.type.list_size, np.int32))
    return pc.list_value_length(column)


def _known(feature: Feature, column: pa.Array) -> np.ndarray:
    """Where there is a value: of numbers a finite one, of embeddings one whose every part is."""
    if feature.form == "number":
        return np.isfinite(numbers(column))
    valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
    if feature.form != "embedding":
        return valid
    values, owners = _flat(column)
    broken = owners[~np.isfinite(values)]
    valid[broken] = False
    return valid


def _flat(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The values of the lists that are not missing, and the row of each."""
    column = decoded(column)
    rows = np.flatnonzero(pc.is_valid(column).to_numpy(zero_copy_only=False))
    present = column.drop_null() if column.null_count else column
    parts = present.flatten()
    if not pa.types.is_float16(parts.type):
        parts = parts.cast(pa.float32(), safe=False)
    values = parts.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return values, np.repeat(rows, _lengths(present).to_numpy(zero_copy_only=False))


def _number(part: _Learnt, column: pa.Array, made: np.ndarray) -> None:
    values = numbers(column)
    known = np.isfinite(values)
    if part.scale > 0:
        # Beyond any spread that tells rows apart, one value would outweigh all other columns.
        made[known, 0] = np.clip((values[known] - part.middle) / part.scale, -_CLIPPED, _CLIPPED)
    if part.missing:
        made[:, 1] = ~known


def _category(part: _Learnt, column: pa.Array, made: np.ndarray) -> None:
    hashes = hashing.hash_values(column)
    if part.values is None:
        made[:] = text.signs(hashes, part.width)
        return
    places = np.searchsorted(part.values, hashes)
    rows = np.flatnonzero(part.values[np.minimum(places, len(part.values) - 1)] == hashes)
    made[rows, places[rows]] = 1


def _text(part: _Learnt, column: pa.Array, made: np.ndarray) -> None:
    assert part.weights is not None
    made[:] = text.project(_texts(column), part.weights, part.width)


def _embedding(part: _Learnt, column: pa.Array, made: np.ndarray) -> None:
    values, owners = _flat(column)
    known = np.flatnonzero(_known(part.feature, column))
    rows = owners[:: part.width]
    whole = values.reshape(-1, part.width)[np.isin(rows, known, assume_unique=True)]
    made[known] = whole


_ENCODE: dict[str, Any] = {"number": _number, "category": _category, "text": _text, "embedding": _embedding}
