"""Rows held against a schema's rules: which of them have values that it does not allow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.arrow_types import is_text
from headwater.components.common.keys import value_type
from headwater.components.validate.rows.schema_rules import SchemaRule

_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_DAY_MILLISECONDS = 86_400_000
_NUMBER = r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"
_WHOLE = r"^\s*[-+]?[0-9]+\s*$"
_SPELLED = r"^\s*[-+]?(nan|inf|infinity)\s*$"


def broken_rows(rules: Sequence[tuple[int, SchemaRule]], batch: pa.RecordBatch) -> Iterator[tuple[int, np.ndarray]]:
    """The rows that break each rule.

    Args:
      rules: the rules with their numbers, those of one feature side by side.
      batch: the rows.

    Yields:
      A rule's number, and the rows that break it, int64, rising; none for a rule that all rows keep.
    """
    path, instances, spread = None, None, None
    for number, rule in rules:
        if rule.path != path:
            path, instances, spread = rule.path, _instances(batch, rule.path), None
        if instances is None:
            if rule.what == "missing":
                yield number, np.arange(batch.num_rows)
            continue
        owners, array = instances
        if rule.what == "missing":
            bad = owners[_numpy(pc.is_null(array))] if array.null_count else owners[:0]
        else:
            spread = spread or _spread(array)
            bad = owners[_bad_instances(rule, spread)]
        if len(bad):
            yield number, np.unique(bad)


@dataclasses.dataclass(frozen=True)
class _Spread:
    """A feature's values, level by level.

    Attributes:
      counts: by level, the instance of each list and its number of values.
      values: the values, none missing.
      owners: the instance of each.
    """

    counts: list[tuple[np.ndarray, np.ndarray]]
    values: pa.Array
    owners: np.ndarray


def _instances(batch: pa.RecordBatch, path: tuple[str, ...]) -> tuple[np.ndarray, pa.Array] | None:
    """A feature once for each of its parents that is there, with the parent's row; None where there is no column."""
    place = batch.schema.get_field_index(path[0])
    if place < 0:
        return None
    owners, array = np.arange(batch.num_rows), _plain(batch.column(place))
    for name in path[1:]:
        spread = _spread(array)
        owners, values = owners[spread.owners], spread.values
        if not pa.types.is_struct(values.type) or values.type.get_field_index(name) < 0:
            return owners, pa.nulls(len(owners))
        array = _plain(values.flatten()[values.type.get_field_index(name)])
    return owners, array


def _spread(array: pa.Array) -> _Spread:
    owners = np.arange(len(array))
    counts: list[tuple[np.ndarray, np.ndarray]] = []
    while True:
        array = _plain(array)
        if array.null_count:
            kept = _numpy(pc.is_valid(array))
            array, owners = array.filter(pa.array(kept)), owners[kept]
        if not _is_list(array.type):
            # A value that stands in no list is one value.
            return _Spread(counts or [(owners, np.ones(len(owners), np.int64))], array, owners)
        lengths = _numpy(pc.list_value_length(array)).astype(np.int64)
        values = array.flatten()
        list_of = np.repeat(np.arange(len(array)), lengths)
        if values.null_count:
            kept = _numpy(pc.is_valid(values))
            values, list_of = values.filter(pa.array(kept)), list_of[kept]
            lengths = np.bincount(list_of, minlength=len(array))
        counts.append((owners, lengths))
        array, owners = values, owners[list_of]


def _bad_instances(rule: SchemaRule, spread: _Spread) -> np.ndarray:
    if rule.what == "valency":
        return _of_wrong_count(rule, spread)
    values = spread.values
    if rule.what == "domain":
        return spread.owners[~_numpy(pc.is_in(_as_text(values), value_set=pa.array(rule.values, pa.large_binary())))]
    numbers, unread = _as_numbers(values, rule.whole)
    if rule.what == "nan":
        bad = np.isnan(numbers) if numbers.dtype.kind == "f" else np.zeros(len(numbers), bool)
        return spread.owners[bad & ~unread]
    if rule.what == "infinite":
        return spread.owners[np.isinf(numbers)] if numbers.dtype.kind == "f" else spread.owners[:0]
    bad = unread.copy()
    if rule.low is not None:
        bad |= numbers < rule.low
    if rule.high is not None:
        bad |= numbers > rule.high
    return spread.owners[bad]


def _of_wrong_count(rule: SchemaRule, spread: _Spread) -> np.ndarray:
    levels = spread.counts
    if rule.flat:
        present = levels[0][0]
        levels = [(present, np.bincount(spread.owners, minlength=int(present.max(initial=-1)) + 1)[present])]
    parts = [np.empty(0, np.int64)]
    for (low, high), (owners, lengths) in zip(rule.counts, levels):
        bad = np.zeros(len(lengths), bool)
        if low is not None:
            bad |= lengths < low
        if high is not None:
            bad |= lengths > high
        parts.append(owners[bad])
    return np.concatenate(parts)


def _as_text(values: pa.Array) -> pa.Array:
    """Values as the bytes that a domain of text has, large_binary."""
    kind = values.type
    if is_text(kind):
        return values.cast(pa.large_string()).cast(pa.large_binary())
    if pa.types.is_fixed_size_binary(kind):
        values = values.cast(pa.binary())
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return values.cast(pa.large_binary())
    numbers, _ = _as_numbers(values, False)
    if numbers.dtype.kind == "f":
        # A whole float has the digits of the number that it is.
        plain = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
        texts = pc.if_else(
            pa.array(plain),
            pa.array(np.where(plain, numbers, 0).astype(np.int64)).cast(pa.string()),
            pa.array(numbers).cast(pa.string()),
        )
    else:
        texts = pa.array(numbers).cast(pa.string())
    return texts.cast(pa.large_string()).cast(pa.large_binary())


def _as_numbers(values: pa.Array, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values as numbers, and which of them are none."""
    kind = values.type
    unread = np.zeros(len(values), bool)
    if pa.types.is_boolean(kind):
        return _numpy(values).astype(np.int64), unread
    if pa.types.is_float16(kind):
        return _numpy(values).astype(np.float32), unread
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numpy(values), unread
    if pa.types.is_decimal(kind):
        return _numpy(values.cast(pa.float64())), unread
    if pa.types.is_temporal(kind):
        return _moments(values), unread
    text = _as_utf8(values)
    if text is None:
        return np.zeros(len(values)), ~unread
    spelled = pc.match_substring_regex(text, _WHOLE if whole else _NUMBER)
    if not whole:
        spelled = pc.or_(spelled, pc.match_substring_regex(text, _SPELLED, ignore_case=True))
    spelled = _numpy(spelled)
    plain = pc.utf8_ltrim(pc.utf8_trim_whitespace(text), "+")
    return _numpy(pc.if_else(pa.array(spelled), plain, "0").cast(pa.float64())), ~spelled


def _as_utf8(values: pa.Array) -> pa.Array | None:
    if is_text(values.type):
        return values.cast(pa.large_string())
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        try:
            return values.cast(pa.large_binary()).cast(pa.large_string())
        except pa.ArrowInvalid:
            return None
    return None


def _moments(values: pa.Array) -> np.ndarray:
    kind = values.type
    whole = _numpy(values.view(pa.int32() if kind.bit_width == 32 else pa.int64())).astype(np.int64)
    if pa.types.is_date32(kind):
        return whole
    if pa.types.is_date64(kind):
        return whole // _DAY_MILLISECONDS
    unit = str(kind).partition("[")[2].rstrip("]").partition(",")[0]
    if unit == "ns":
        return whole // 1_000
    farthest = (2**63 - 1) // _MICROSECONDS[unit]
    return whole.clip(-farthest, farthest) * _MICROSECONDS[unit]


def _plain(array: pa.Array) -> pa.Array:
    """Values as they are, whatever encodes them; a map as the list of its entries."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.cast(value_type(array.type))
    if pa.types.is_map(array.type):
        kind = array.type
        entry = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
        entries = pa.StructArray.from_arrays([array.keys, array.items], fields=list(entry))
        missing = pc.is_null(array)
        if len(array):
            bounds = pa.array(offsets, mask=np.append(_numpy(missing), False))
            array = pa.ListArray.from_arrays(bounds, entries)
        else:
            array = pa.array([], pa.list_(entry))
    return array


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _numpy(array: pa.Array) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False)
