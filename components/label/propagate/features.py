"""Rows as points, whose distances say how like they are: numbers scaled robustly, categories one-hot or hashed, text as
hashed n-grams, embeddings as they are, each column with a weight.

A column is learnt from a sample of the rows and from counts of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from headwater.components.common import hashing
from headwater.components.common.arrow_types import is_text
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import value_type
from headwater.components.label import texts
from headwater.components.label.encoding import (
    Encoder,
    Form,
    Part,
    check_column,
    check_lengths,
    known,
    lengths,
    numbers,
    words_of,
)

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
        possible = check_column(where, name, given.form, schema, unseen)
        if not given.form and is_text(value_type(schema.field(name).type)):
            raise HeadwaterError(
                f"{where}.{name}: the column is text, which has no distance by itself; say form: text to compare what "
                "is written, or form: category to compare whether it is the same"
            )
        features.append(Feature(name=name, **{**given.model_dump(), "form": given.form or possible[0]}))
    return features


def seen(features: Sequence[Feature], batch: pa.RecordBatch) -> dict[str, list[int]]:
    """What all rows must tell: of each column how many values are missing; of an embedding the least and the greatest
    length."""
    found = {}
    for feature in features:
        column = _of(batch, feature.name)
        counts = [int((~known(feature.form, column)).sum())]
        if feature.form == "embedding":
            ends = pc.min_max(lengths(column))
            counts += [ends["min"].as_py(), ends["max"].as_py()] if len(column) > column.null_count else []
        found[feature.name] = counts
    return found


def add_seen(one: Mapping[str, list[int]], other: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """What the rows of both tell."""
    total = {}
    for name, mine in one.items():
        more = other[name]
        ends = [mine[1:], more[1:]]
        there = [each for each in ends if each]
        total[name] = [mine[0] + more[0]]
        if there:
            total[name] += [min(each[0] for each in there), max(each[1] for each in there)]
    return total


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
        missing, *ends = counts[feature.name]
        weight = float(feature.weight)
        if feature.form == "embedding":
            width = check_lengths(where, feature.name, ends)
            parts.append(Part(feature.name, "embedding", width, weight=weight))
            continue
        column = _of(sample, feature.name)
        if feature.form == "number":
            middle, scale = _spread(numbers(column))
            parts.append(Part(feature.name, "number", 1, missing > 0, middle, scale, weight=weight))
        elif feature.form == "category":
            values = np.unique(hashing.hash_values(words_of(column)))
            told = tuple(values.tolist()) if len(values) <= feature.dimensions else None
            width = feature.dimensions if told is None else max(1, len(values))
            parts.append(Part(feature.name, "category", width, values=told, weight=weight))
        else:
            rarity = texts.rarity(pc.fill_null(words_of(column), ""))
            parts.append(Part(feature.name, "text", feature.dimensions, rarity=rarity, weight=weight))
    return Encoder(tuple(parts))


def _spread(values: np.ndarray) -> tuple[float, float]:
    """The middle and the scale of numbers."""
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 0.0
    # Of a column that is nearly always one value the middle half tells no spread, and the outermost values too much.
    scale = max(float(np.ptp(np.quantile(values, [part, 1 - part]))) / width for part, width in _SPREADS)
    return float(np.median(values)), scale if scale > 0 else float(np.std(values))


def _of(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))
