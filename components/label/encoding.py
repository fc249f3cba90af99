"""Columns as vectors: which forms a column can have, and how what was learnt of it encodes record batches.

What is learnt differs with the purpose: `features` learns scales from all rows, for models; `propagate.features` robust ones from
a sample, for distances. Both give an `Encoder`, which works on any worker and gives each row the same vector in whatever batch
it comes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing
from headwater.components.common.arrow_types import is_text
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import decoded, value_type
from headwater.components.label import texts

Form = Literal["number", "category", "text", "embedding"]
"""How a column becomes numbers."""

_GREATEST = 1e100
_CLIPPED = 8.0


def forms_of(kind: pa.DataType) -> list[Form]:
    """The forms that a type can have, first that which it has by itself; none for a type without a distance."""
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


def check_column(where: str, name: str, form: str | None, schema: pa.Schema, unseen: Collection[str]) -> list[Form]:
    """Holds a column against the dataset's.

    Args:
      where: the setting that names it, for errors.
      name: the column's.
      form: the form that is asked for; None for that which its type tells.
      schema: the dataset's.
      unseen: columns that must not be looked at.

    Returns:
      The forms that it can have, as `forms_of` gives them.

    Raises:
      HeadwaterError: the column is not there, must not be looked at, or cannot have the form.
    """
    if name not in schema.names:
        raise HeadwaterError(f"{where}: there is no column {name!r}; the columns are {', '.join(schema.names)}")
    if name in unseen:
        raise HeadwaterError(
            f"{where}.{name}: the column must not be looked at: it is private, or holds keys, labels or truth; leave it out"
        )
    kind = schema.field(name).type
    possible = forms_of(kind)
    if not possible or (form and form not in possible):
        other = f"; it can be {' or '.join(possible)}" if possible else ""
        raise HeadwaterError(
            f"{where}.{name}: the column is {kind}, which cannot be used as {form or 'a vector or a part of one'}{other}"
        )
    return possible


def check_lengths(where: str, name: str, lengths: Collection[int]) -> int:
    """The one length that the vectors of an embedding have, of those that there are.

    Raises:
      HeadwaterError: there are several, or none.
    """
    if len(set(lengths)) != 1 or not min(lengths):
        told = f"there are lengths from {min(lengths)} to {max(lengths)}" if lengths else "there is none at all"
        raise HeadwaterError(f"{where}.{name}: the vectors must be of one length, at least 1; {told}")
    return min(lengths)


@dataclasses.dataclass(frozen=True)
class Part:
    """What encodes one column.

    Attributes:
      name: the column's.
      form: how it becomes numbers.
      width: how many dimensions its values take.
      missing: whether one more dimension says where there is no value.
      middle: of numbers, what becomes 0.
      scale: of numbers and embeddings, what becomes 1; 0 for a column that tells nothing.
      values: of a category the hashes of its values, rising, each with a dimension of its own; None to hash them to `width`.
      rarity: of text, how much each bucket of n-grams counts; None for words and pairs of them.
      weight: what all is multiplied by.
    """

    name: str
    form: Form
    width: int
    missing: bool = False
    middle: float = 0.0
    scale: float = 1.0
    values: tuple[int, ...] | None = None
    rarity: np.ndarray | None = None
    weight: float = 1.0

    @property
    def dimensions(self) -> int:
        """How many dimensions it takes in all."""
        return self.width + self.missing


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Makes vectors of record batches; picklable.

    Attributes:
      parts: of each column that tells rows apart.
      dropped: columns that do not, each with the reason.
    """

    parts: tuple[Part, ...]
    dropped: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return [part.name for part in self.parts]

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return sum(part.dimensions for part in self.parts)

    def vectors(self, batch: pa.RecordBatch) -> np.ndarray:
        """The vectors of a batch's rows, float32, [rows, dimensions]; every part is finite."""
        made = np.zeros((batch.num_rows, self.dimensions), np.float32)
        start = 0
        for part in self.parts:
            column = batch.column(batch.schema.get_field_index(part.name))
            own = made[:, start : start + part.dimensions]
            _ENCODE[part.form](part, column, own[:, : part.width])
            if part.missing:
                own[:, -1] = ~known(part.form, column)
            if part.weight != 1:
                own *= np.float32(part.weight)
            start += part.dimensions
        # One zero, so that equal vectors have equal bytes.
        made += np.float32(0)
        return made

    def lacking(self, batch: pa.RecordBatch) -> np.ndarray:
        """Which rows of a batch lack a usable embedding, bool: it is missing, or a part of it is not finite."""
        lacks = np.zeros(batch.num_rows, bool)
        for part in self.parts:
            if part.form == "embedding":
                lacks |= ~known(part.form, batch.column(batch.schema.get_field_index(part.name)))
        return lacks


def known(form: str, column: pa.Array) -> np.ndarray:
    """Where there is a value, bool: of numbers a finite one, of embeddings one whose every part is."""
    if form == "number":
        return np.isfinite(numbers(column))
    valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
    if form == "embedding":
        values, owners = flat(column)
        valid[owners[~np.isfinite(values)]] = False
    return valid


def numbers(column: pa.Array) -> np.ndarray:
    """Values as float64; NaN where one is missing."""
    column = _timeless(decoded(column))
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    # Of greater ones there would be no squares.
    return np.where(np.isinf(values), np.nan, np.clip(values, -_GREATEST, _GREATEST))


def words_of(column: pa.Array) -> pa.Array:
    """Values as strings, whatever their type."""
    column = _timeless(decoded(column))
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def lengths(column: pa.Array) -> pa.Array:
    """The lengths of lists, missing ones missing."""
    column = decoded(column)
    if pa.types.is_fixed_size_list(column.type):
        sizes = np.full(len(column), column.type.list_size, np.int32)
        return pa.array(sizes, mask=pc.is_null(column).to_numpy(zero_copy_only=False))
    return pc.list_value_length(column)


def flat(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The values of the lists that are not missing, and the row of each."""
    column = decoded(column)
    rows = np.flatnonzero(pc.is_valid(column).to_numpy(zero_copy_only=False))
    present = column.drop_null() if column.null_count else column
    parts = present.flatten()
    if not pa.types.is_floating(parts.type):
        parts = parts.cast(pa.float64())
    values = parts.to_numpy(zero_copy_only=False)
    return values, np.repeat(rows, lengths(present).to_numpy(zero_copy_only=False))


def _timeless(column: pa.Array) -> pa.Array:
    """Times as the numbers that they are."""
    if not pa.types.is_temporal(column.type):
        return column
    return column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64())


def _number(part: Part, column: pa.Array, made: np.ndarray) -> None:
    if not part.scale > 0:
        return
    scaled = (numbers(column) - part.middle) / part.scale
    # Beyond any spread that tells rows apart, one value would outweigh all other columns.
    made[:, 0] = np.clip(np.where(np.isfinite(scaled), scaled, 0), -_CLIPPED, _CLIPPED)


def _category(part: Part, column: pa.Array, made: np.ndarray) -> None:
    hashes = hashing.hash_values(words_of(column))
    if part.values is None:
        made[:] = texts.signs(hashes, part.width)
        return
    values = np.array(part.values, np.uint64)
    if not len(values):
        return
    places = np.searchsorted(values, hashes)
    rows = np.flatnonzero(values[np.minimum(places, len(values) - 1)] == hashes)
    made[rows, places[rows]] = 1


def _text(part: Part, column: pa.Array, made: np.ndarray) -> None:
    given = pc.fill_null(words_of(column), "")
    made[:] = texts.words(given, part.width) if part.rarity is None else texts.project(given, part.rarity, part.width)


def _embedding(part: Part, column: pa.Array, made: np.ndarray) -> None:
    rows = np.flatnonzero(pc.is_valid(column).to_numpy(zero_copy_only=False))
    if len(rows) and part.scale > 0:
        values = np.nan_to_num(flat(column)[0], posinf=0, neginf=0)
        made[rows] = values.reshape(len(rows), part.width) / part.scale


_ENCODE: dict[str, Any] = {"number": _number, "category": _category, "text": _text, "embedding": _embedding}
