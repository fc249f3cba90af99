"""Arrow types of columns: how two are widened to one, how a user names one, how values are cast row by row."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.arrow_types import is_text
from headwater.components.common.errors import HeadwaterError

_PARAMETRIC = re.compile(r"(timestamp|time32|time64|duration|decimal128|dictionary)\[([^\]]*)\]")
_NAMES = (
    "bool, int8 … int64, uint8 … uint64, float32, float64, string, binary, date32, timestamp[us], timestamp[us, UTC], "
    "time32[ms], time64[us], duration[us], decimal128[12, 2]"
)
_UNITS = ("s", "ms", "us", "ns")


@functools.lru_cache(1024)
def parse_type(name: str) -> pa.DataType:
    """The Arrow type that a user names, as in `int64`, `timestamp[us, UTC]` or `decimal128[12, 2]`.

    Raises:
      HeadwaterError: no type has that name.
    """
    text = name.strip()
    try:
        match = _PARAMETRIC.fullmatch(text)
        if not match:
            return pa.type_for_alias(text)
        parts = [part.strip().removeprefix("tz=") for part in match[2].split(",")]
        if match[1] == "decimal128":
            return pa.decimal128(int(parts[0]), int(parts[1]))
        return getattr(pa, match[1])(*parts)
    except (ValueError, IndexError, TypeError, AttributeError, pa.ArrowInvalid):
        raise HeadwaterError(f"{name!r} is not a type; use one of: {_NAMES}") from None


def widen(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """The narrowest type that holds the values of both, or None when only text could.

    Null gives way to anything, integers to wider ones (int64 and uint64 have none) and to float64, dictionaries to their values, dates to
    timestamps, timestamps to the finer unit; structs widen field by field, lists by their items.
    """
    if first.equals(second):
        return first
    for one, other in ((first, second), (second, first)):
        if pa.types.is_null(one):
            return other
        if pa.types.is_dictionary(one):
            return widen(one.value_type, other)
        if pa.types.is_large_string(one) and pa.types.is_string(other):
            return one
        if pa.types.is_large_binary(one) and pa.types.is_binary(other):
            return one
        if pa.types.is_date32(one) and pa.types.is_timestamp(other) and other.tz is None:
            return other
        if pa.types.is_floating(one) and (pa.types.is_floating(other) or pa.types.is_integer(other)):
            return pa.float64()
    if pa.types.is_integer(first) and pa.types.is_integer(second):
        return _widen_integers(first, second)
    if pa.types.is_timestamp(first) and pa.types.is_timestamp(second) and first.tz == second.tz:
        return pa.timestamp(max(first.unit, second.unit, key=_UNITS.index), first.tz)
    if pa.types.is_struct(first) and pa.types.is_struct(second):
        return _widen_structs(first, second)
    if pa.types.is_list(first) and pa.types.is_list(second):
        item = widen(first.value_type, second.value_type)
        return item and pa.list_(item)
    return None


def encode_type(kind: pa.DataType) -> str:
    """A type, nested ones too, as text."""
    return base64.b64encode(pa.schema([("", kind)]).serialize().to_pybytes()).decode()


def decode_type(text: str) -> pa.DataType:
    """The type that `encode_type` wrote."""
    return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(text))).field(0).type


def cast_values(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Casts values safely, and reads no text as hexadecimal, as pyarrow's cast does: 0x1F is no integer here.

    Raises:
      ArrowInvalid: a value cannot be kept.
    """
    text = is_text(values.type)
    if text and pa.types.is_integer(target) and pc.any(pc.match_substring(values, "x", ignore_case=True)).as_py():
        raise pa.ArrowInvalid(f"hexadecimal text is not a valid {target}")
    return pc.cast(values, target)


def castable(kind: pa.DataType, target: pa.DataType) -> bool:
    """Whether values of one type can be made another at all, some of them perhaps not."""
    try:
        conform(pa.array([], kind), target)
        return True
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
        return False


def conform(
    values: pa.Array, target: pa.DataType, cast: Callable[[pa.Array, pa.DataType], pa.Array] = cast_values
) -> pa.Array:
    """Casts an array, structs field by field by name and lists item by item; absent fields are missing.

    Args:
      values: an array.
      target: the type wanted.
      cast: casts what is neither struct nor list, or raises ArrowInvalid.

    Raises:
      ArrowInvalid: a value cannot be kept.
    """
    if values.type.equals(target):
        return values
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), target)
    if pa.types.is_struct(values.type) and pa.types.is_struct(target):
        names = [field.name for field in values.type]
        flat = dict(zip(names, values.flatten()))
        parts = [
            conform(flat[field.name], field.type, cast) if field.name in flat else pa.nulls(len(values), field.type)
            for field in target
        ]
        missing = pc.is_null(values)
        buffers = [None if not values.null_count else pc.invert(missing).buffers()[1]]
        return pa.Array.from_buffers(target, len(values), buffers, values.null_count, children=parts)
    if _is_list(values.type) and pa.types.is_list(target):
        if pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type):
            return pc.cast(values, target)
        items = conform(values.flatten(), target.value_type, cast)
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        validity = None if not values.null_count else pc.is_valid(values).buffers()[1]
        return pa.Array.from_buffers(
            target, len(values), [validity, pa.py_buffer(offsets)], values.null_count, children=[items]
        )
    return cast(values, target)


def cast_rows(
    values: pa.Array, target: pa.DataType, cast: Callable[[pa.Array], pa.Array] | None = None
) -> tuple[pa.Array, np.ndarray]:
    """Casts the values that can be, one by one where need be.

    Args:
      values: an array.
      target: the type wanted.
      cast: casts an array or raises ArrowInvalid; a safe Arrow cast by default.

    Returns:
      The values as `target`, missing where they could not be cast; and the positions that could not, int64.
    """
    cast = cast or (lambda part: cast_values(part, target))
    parts: list[pa.Array] = []
    bad: list[int] = []
    _cast_part(values, 0, cast, target, parts, bad)
    return pa.concat_arrays(parts) if parts else pa.array([], target), np.array(bad, np.int64)


def _cast_part(
    values: pa.Array,
    start: int,
    cast: Callable[[pa.Array], pa.Array],
    target: pa.DataType,
    parts: list[pa.Array],
    bad: list[int],
) -> None:
    # Halving finds few bad values among many in few casts.
    try:
        parts.append(cast(values))
        return
    except pa.ArrowInvalid:
        pass
    if len(values) == 1:
        parts.append(pa.nulls(1, target))
        bad.append(start)
        return
    half = len(values) // 2
    _cast_part(values.slice(0, half), start, cast, target, parts, bad)
    _cast_part(values.slice(half), start + half, cast, target, parts, bad)


def concat(columns: Sequence[pa.ChunkedArray]) -> list[pa.Array]:
    """Each chunked column as one array."""
    return [
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks)
        if column.num_chunks
        else pa.array([], column.type)
        for column in columns
    ]


def _widen_structs(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    fields = {field.name: field.type for field in first}
    for field in second:
        wider = widen(fields.get(field.name, pa.null()), field.type)
        if wider is None:
            return None
        fields[field.name] = wider
    return pa.struct(list(fields.items()))


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _widen_integers(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    signed = [kind for kind in (first, second) if pa.types.is_signed_integer(kind)]
    unsigned = [kind for kind in (first, second) if pa.types.is_unsigned_integer(kind)]
    if not signed or not unsigned:
        return max(first, second, key=lambda kind: kind.bit_width)
    width = max(signed[0].bit_width, 2 * unsigned[0].bit_width)
    return {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(width)
