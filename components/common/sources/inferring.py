"""Types inferred from text, by one rule for CSV and JSON, whatever block or file a value stands in.

While types are inferred, some carry more than the final type says: whole numbers are decimals whose precision tells
how long they are and whose scale whether one is negative, timestamps in seconds do not fit nanoseconds, and times
with and without a zone in one column are `MIXED_ZONES`. `settle` turns them into the types that rows are read as.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.sources.types import widen

MIXED_ZONES = pa.large_string()
"""Times, some with a zone and some without: text in the end."""

EXACT_DIGITS, _INT64_DIGITS, _UINT64_DIGITS = 16, 19, 20
_EXACT = 2**53
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d{1,9})?)?)?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?")
_ZONE = r"[T ].*(?:Z|[+-]\d{2}(?::?\d{2})?)$"
_BEYOND_MICROSECONDS = r"(\.\d{6})\d+"
# Nanoseconds in 64 bits hold a little more than these years.
_FIRST_NS, _LAST_NS = "1678-01-01", "2262-01-01"


def integers(smallest: int, largest: int) -> pa.DataType:
    """The inferred type of whole numbers in a range; text where neither int64 nor uint64 holds them."""
    size = max(-smallest, largest)
    if smallest < -(2**63) or largest >= 2**64 or (smallest < 0 and largest >= 2**63):
        return pa.string()
    digits = EXACT_DIGITS if size <= _EXACT else _INT64_DIGITS if largest < 2**63 else _UINT64_DIGITS
    return pa.decimal128(digits, int(smallest < 0))


def times(texts: pa.Array) -> pa.DataType:
    """The inferred type of texts: dates, timestamps, `MIXED_ZONES`, or text.

    A timestamp is UTC where every value has a zone, and naive where none has. It is in microseconds, in nanoseconds
    where some value needs them.
    """
    texts = texts.drop_null()
    if not len(texts) or not _TIME.fullmatch(texts[0].as_py()):
        return pa.string()
    if not pc.all(pc.match_substring_regex(texts, f"^(?:{_TIME.pattern})$")).as_py():
        return pa.string()
    dates = pc.match_substring_regex(texts, _DATE)
    zoned = pc.match_substring_regex(texts, _ZONE)
    kinds = []
    for chosen, zone in ((zoned, "UTC"), (pc.invert(zoned), None)):
        part = texts.filter(chosen)
        if len(part):
            kinds.append(_timestamp(part, zone))
    if None in kinds:
        return pa.string()
    if len(kinds) == 2:
        return MIXED_ZONES
    return pa.date32() if pc.all(dates).as_py() else kinds[0]


def parse_times(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Texts as dates or times.

    Raises:
      ArrowInvalid: one is none, has digits that the type has no place for, or has a zone where the type has none
        or none where the type has one.
    """
    try:
        if pa.types.is_date(kind):
            if not pc.all(pc.match_substring_regex(texts, _DATE)).as_py() and texts.null_count < len(texts):
                raise pa.ArrowInvalid("not a date")
            return pc.cast(pc.cast(texts, pa.timestamp("s")), kind)
        if pa.types.is_timestamp(kind) and kind.unit == "ns" and not _fits_ns(texts, kind.tz):
            raise pa.ArrowInvalid("outside of what nanoseconds hold")
        return pc.cast(texts, kind)
    except pa.ArrowNotImplementedError as error:
        raise pa.ArrowInvalid(str(error)) from None


def widen_inferred(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The inferred type for values of either; text where nothing else holds both, structs and lists part by part."""
    if first.equals(second) or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if pa.types.is_decimal(first) and pa.types.is_decimal(second):
        digits, negative = max(first.precision, second.precision), max(first.scale, second.scale)
        return pa.string() if negative and digits == _UINT64_DIGITS else pa.decimal128(digits, negative)
    for one, other in ((first, second), (second, first)):
        if pa.types.is_decimal(one) and pa.types.is_floating(other):
            return other if one.precision == EXACT_DIGITS else pa.string()
        if _is_time(one) and _is_time(other) and (one == MIXED_ZONES or bool(_zone(one)) and not _zone(other)):
            return MIXED_ZONES
    if pa.types.is_timestamp(first) and pa.types.is_timestamp(second):
        units = {first.unit, second.unit}
        if "ns" in units:
            return pa.string() if "s" in units else pa.timestamp("ns", first.tz)
        return pa.timestamp("s" if "s" in units else "us", first.tz)
    if pa.types.is_struct(first) and pa.types.is_struct(second):
        fields = {field.name: field.type for field in first}
        for field in second:
            fields[field.name] = widen_inferred(fields.get(field.name, pa.null()), field.type)
        return pa.struct(list(fields.items()))
    if pa.types.is_list(first) and pa.types.is_list(second):
        return pa.list_(widen_inferred(first.value_type, second.value_type))
    return widen(settle(first), settle(second)) or pa.string()


def settle(kind: pa.DataType) -> pa.DataType:
    """The type that rows of an inferred type are read as."""
    if pa.types.is_decimal(kind):
        return pa.uint64() if kind.precision == _UINT64_DIGITS else pa.int64()
    if kind == MIXED_ZONES:
        return pa.string()
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_struct(kind):
        return map_leaves(kind, settle) if kind.num_fields else pa.string()
    return map_leaves(kind, settle)


def map_leaves(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """A struct's fields and a list's items changed; other types as they are."""
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, change(field.type)) for field in kind])
    return pa.list_(change(kind.value_type)) if pa.types.is_list(kind) else kind


def has_leaf(kind: pa.DataType, test: Callable[[pa.DataType], bool]) -> bool:
    """Whether a type, or a type in it, passes a test."""
    if pa.types.is_struct(kind):
        return any(has_leaf(field.type, test) for field in kind)
    return has_leaf(kind.value_type, test) if pa.types.is_list(kind) else test(kind)


def _timestamp(texts: pa.Array, zone: str | None) -> pa.DataType | None:
    for unit in ("us", "ns"):
        try:
            pc.cast(texts, pa.timestamp(unit, zone))
        except pa.ArrowInvalid:
            continue
        fits = _fits_ns(texts, zone)
        if unit == "us":
            return pa.timestamp("us" if fits else "s", zone)
        return pa.timestamp("ns", zone) if fits else None
    return None


def _fits_ns(texts: pa.Array, zone: str | None) -> bool:
    """Whether nanoseconds hold all of the times; Arrow's own cast lets them wrap."""
    cast = pc.cast(pc.replace_substring_regex(texts, _BEYOND_MICROSECONDS, r"\1"), pa.timestamp("us", zone))
    limits = pc.min_max(cast.cast(pa.int64()))
    first, last = (
        pc.cast(pa.scalar(edge), pa.timestamp("us")).cast(pa.int64()).as_py() for edge in (_FIRST_NS, _LAST_NS)
    )
    return limits["min"].as_py() is None or (first <= limits["min"].as_py() and limits["max"].as_py() < last)


def _is_time(kind: pa.DataType) -> bool:
    return kind == MIXED_ZONES or pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def _zone(kind: pa.DataType) -> str | None:
    return kind.tz if pa.types.is_timestamp(kind) else None
