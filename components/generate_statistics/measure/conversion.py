"""Every Arrow type as what TFDV's generators take: lists of integers, floats, text or structs.

A missing value becomes a missing list, a value a list of one. What is converted is converted by a rule that `rule`
puts in words, and the statistics name it. Missing elements inside a list are left out: TFDV has no place for them.
Moments and durations too far off for 64 bits of microseconds become the farthest that fit: they stay extremes, and do
not come back as ordinary ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.dataset import OWN_PREFIX
from headwater.components.common.errors import HeadwaterError

RULE = "headwater.conversion"
"""Name of the custom statistic that says how a feature's values were converted."""

_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_DAY_MILLISECONDS = 86_400_000
_TAKEN_AS_THEY_ARE = (
    pa.types.is_null,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


def measured(schema: pa.Schema) -> list[str]:
    """The columns that have statistics: all but Headwater's own."""
    return [name for name in schema.names if not name.startswith(OWN_PREFIX)]


def rules(schema: pa.Schema) -> dict[str, str]:
    """The rule of each measured column that is not taken as it is.

    Raises:
      HeadwaterError: a column's type has no rule.
    """
    rule_of = {}
    for name in measured(schema):
        try:
            rule_of[name] = rule(schema.field(name).type)
        except HeadwaterError as error:
            raise HeadwaterError(f"column {name!r}: {error}") from None
    return {name: text for name, text in rule_of.items() if text}


def rules_by_path(schema: pa.Schema) -> dict[tuple[str, ...], str]:
    """The rule of each feature that is not taken as it is: of columns as in `rules`, of what they hold its own."""
    rule_of: dict[tuple[str, ...], str] = {(name,): text for name, text in rules(schema).items()}
    for name in measured(schema):
        rule_of.update(_rules_within((name,), schema.field(name).type))
    return rule_of


def rule(kind: pa.DataType) -> str:
    """How values of a type are converted, in words; empty when they are taken as they are.

    Raises:
      HeadwaterError: the type has no rule.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return f"{kind} → its storage; {rule(kind.storage_type)}".rstrip("; ")
    if pa.types.is_boolean(kind):
        return "bool → INT, 0 or 1"
    if pa.types.is_float16(kind):
        return "halffloat → FLOAT"
    if pa.types.is_decimal(kind):
        return f"{kind} → FLOAT, the nearest double"
    if pa.types.is_date(kind):
        return f"{kind} → INT, days since 1970-01-01"
    if pa.types.is_timestamp(kind):
        return f"{kind} → INT, microseconds since 1970-01-01{' UTC' if kind.tz else ''}{_fitted(kind)}"
    if pa.types.is_time(kind):
        return f"{kind} → INT, microseconds since midnight{_fitted(kind)}"
    if pa.types.is_duration(kind):
        return f"{kind} → INT, microseconds{_fitted(kind)}"
    if pa.types.is_fixed_size_binary(kind):
        return f"{kind} → STRING, its bytes"
    if pa.types.is_dictionary(kind):
        return f"dictionary → its values; {rule(kind.value_type)}".rstrip("; ")
    if pa.types.is_map(kind):
        return "; ".join(["map → list of struct with key and value", *_parts(kind)])
    if pa.types.is_struct(kind):
        return "; ".join(["struct → list of struct with list children", *_parts(kind)])
    if pa.types.is_fixed_size_list(kind):
        return f"{kind} → list; {rule(kind.value_type)}".rstrip("; ")
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return rule(kind.value_type)
    if not any(taken(kind) for taken in _TAKEN_AS_THEY_ARE):
        raise HeadwaterError(f"values of type {kind} cannot be measured; cast them to text, a number or a time")
    return ""


def to_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A record batch with the measured columns as TFDV takes them."""
    names = measured(batch.schema)
    arrays = [as_lists(batch.column(batch.schema.get_field_index(name))) for name in names]
    if not arrays:
        return pa.RecordBatch.from_arrays([], [])
    return pa.RecordBatch.from_arrays(arrays, names)


def _rules_within(path: tuple[str, ...], kind: pa.DataType) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(kind, pa.BaseExtensionType):
        yield from _rules_within(path, kind.storage_type)
    elif pa.types.is_dictionary(kind) or is_list(kind):
        yield from _rules_within(path, kind.value_type)
    for name, part in _children(kind):
        if text := rule(part):
            yield (*path, name), text
        yield from _rules_within((*path, name), part)


def _parts(kind: pa.DataType) -> list[str]:
    return [f"{name}: {text}" for name, part in _children(kind) if (text := rule(part))]


def _children(kind: pa.DataType) -> list[tuple[str, pa.DataType]]:
    if pa.types.is_map(kind):
        return [("key", kind.key_type), ("value", kind.item_type)]
    return [(field.name, field.type) for field in kind] if pa.types.is_struct(kind) else []


def is_plain(kind: pa.DataType) -> bool:
    """Whether a column of this type has one value a row."""
    if isinstance(kind, pa.BaseExtensionType):
        return is_plain(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return is_plain(kind.value_type)
    return not (pa.types.is_null(kind) or pa.types.is_struct(kind) or pa.types.is_map(kind) or is_list(kind))


def as_lists(array: pa.Array) -> pa.Array:
    """One list a row: missing rows missing, others with their values."""
    if isinstance(array.type, pa.BaseExtensionType):
        return as_lists(array.storage)
    if pa.types.is_null(array.type):
        return array
    if pa.types.is_dictionary(array.type):
        return as_lists(array.dictionary_decode())
    valid = _valid(array)
    lengths, values = _elements(array, valid)
    if values.null_count:
        kept = _valid(values)
        owner = np.repeat(np.arange(len(lengths)), lengths)
        lengths, values = np.bincount(owner[kept], minlength=len(lengths)), values.filter(pa.array(kept))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if len(values) >= 2**31:
        return pa.LargeListArray.from_arrays(_offsets(offsets, valid, pa.int64()), to_values(values))
    return pa.ListArray.from_arrays(_offsets(offsets, valid, pa.int32()), to_values(values))


def to_values(values: pa.Array) -> pa.Array:
    """Values without missing ones as TFDV's types; nested values by their parts."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return to_values(values.storage)
    if pa.types.is_dictionary(kind):
        return to_values(values.dictionary_decode())
    if pa.types.is_boolean(kind):
        return values.cast(pa.int64())
    if pa.types.is_float16(kind):
        return pa.array(values.to_numpy(zero_copy_only=False).astype(np.float32))
    if pa.types.is_decimal(kind):
        return values.cast(pa.float64())
    if pa.types.is_date32(kind):
        return pa.array(_integers(values))
    if pa.types.is_date64(kind):
        return pa.array(_integers(values) // _DAY_MILLISECONDS)
    if pa.types.is_temporal(kind):
        return pa.array(_microseconds(values))
    if pa.types.is_fixed_size_binary(kind):
        offsets = np.arange(len(values) + 1, dtype=np.int32) * kind.byte_width
        start = values.offset * kind.byte_width
        data = values.buffers()[1].slice(start) if len(values) else pa.py_buffer(b"")
        return pa.BinaryArray.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(offsets.tobytes()), data])
    if pa.types.is_struct(kind):
        if not kind.num_fields:
            return values
        children = [as_lists(child) for child in values.flatten()]
        return pa.StructArray.from_arrays(children, [field.name for field in kind])
    if pa.types.is_map(kind) or is_list(kind):
        return as_lists(values)
    return values


def _elements(array: pa.Array, valid: np.ndarray) -> tuple[np.ndarray, pa.Array]:
    """The lengths of an array's rows and their elements; a value that is no list is one element."""
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        window = array.values.slice(array.offset * kind.list_size, len(array) * kind.list_size)
        window = window if valid.all() else window.filter(pa.array(np.repeat(valid, kind.list_size)))
        return np.where(valid, kind.list_size, 0), window
    if pa.types.is_map(kind):
        raw = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
        entries = pa.StructArray.from_arrays([array.keys, array.items], ["key", "value"]).slice(
            raw[0], raw[-1] - raw[0]
        )
        lengths = np.diff(raw)
        if not valid.all():
            entries = entries.filter(pa.array(np.repeat(valid, lengths)))
        return np.where(valid, lengths, 0), entries
    if is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        return lengths, array.flatten()
    return valid.astype(np.int64), array if valid.all() else array.filter(pa.array(valid))


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists, maps apart."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _valid(array: pa.Array) -> np.ndarray:
    return pc.is_valid(array).to_numpy(zero_copy_only=False)


def _offsets(offsets: np.ndarray, valid: np.ndarray, kind: pa.DataType) -> pa.Array:
    # A missing offset makes a missing list; the last one closes the array and belongs to no row.
    mask = None if valid.all() else np.append(~valid, False)
    return pa.array(offsets, kind, mask=mask)


def _integers(values: pa.Array) -> np.ndarray:
    width = np.int32 if values.type.bit_width == 32 else np.int64
    raw = np.frombuffer(values.buffers()[1], width, len(values) + values.offset) if len(values) else np.empty(0, width)
    return raw[values.offset if len(values) else 0 :].astype(np.int64)


def _microseconds(values: pa.Array) -> np.ndarray:
    whole = _integers(values)
    unit = _unit(values.type)
    if unit == "ns":
        return whole // 1_000
    farthest = (2**63 - 1) // _MICROSECONDS[unit]
    return whole.clip(-farthest, farthest) * _MICROSECONDS[unit]


def _fitted(kind: pa.DataType) -> str:
    if _unit(kind) == "ns":
        return ", rounded down"
    return ", clipped to 64 bits" if _unit(kind) in ("s", "ms") and not pa.types.is_time(kind) else ""


def _unit(kind: pa.DataType) -> str:
    # pyarrow 10's time types have a unit in their name alone.
    match = re.search(r"\[(\w+)", str(kind))
    assert match is not None, kind
    return match[1]
