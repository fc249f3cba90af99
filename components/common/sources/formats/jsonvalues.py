"""JSON values one by one, every number as it is written: for the lines that pyarrow's parser does not take."""

from __future__ import annotations

import decimal
import json
import math
from typing import Any

import pyarrow as pa

from headwater.components.common.arrow_types import is_text
from headwater.components.common.sources import inferring

_MOST_DIGITS = 40


class Number(str):
    """A number as it is written."""


def load(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """One line's object with its numbers as `Number`s; else None and the reason."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None, "encoding: not UTF-8"
    try:
        record = json.loads(
            text, parse_int=Number, parse_float=Number, parse_constant=Number, object_pairs_hook=_object
        )
    except _Twice as error:
        return None, f"json: the key {error.args[0]!r} appears twice in one object"
    except (ValueError, RecursionError):
        return None, "json: the line is not a JSON object"
    if not isinstance(record, dict) or not record:
        return None, "json: the line is not a JSON object with columns"
    if any("\ud800" <= character <= "\udfff" for character in dump(record)):
        return None, "encoding: half of a surrogate pair is not a character"
    return record, ""


def dump(value: Any) -> str:
    """A value as JSON, its numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{dump(name)}: {dump(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dump, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def kind_of(value: Any) -> pa.DataType:
    """The inferred type of one value, as `inferring` tells types."""
    if value is None:
        return pa.null()
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, Number):
        if value.lstrip("-").isdigit():
            return inferring.integers(int(value), int(value)) if len(value) <= _MOST_DIGITS else pa.string()
        return pa.string() if _overflows(value) else pa.float64()
    if isinstance(value, str):
        return inferring.times(pa.array([value]))
    if isinstance(value, list):
        kind = pa.null()
        for each in value:
            kind = inferring.widen_inferred(kind, kind_of(each))
        return pa.list_(kind)
    return pa.struct([(name, kind_of(each)) for name, each in value.items()])


def fit(value: Any, kind: pa.DataType) -> Any:
    """A value as Arrow takes it for a column of a type.

    Raises:
      ValueError: the value is not of that type, or the type cannot keep it exactly.
    """
    if value is None:
        return None
    if is_text(kind):
        return value if isinstance(value, str) and not isinstance(value, Number) else dump(value)
    if pa.types.is_struct(kind) and isinstance(value, dict):
        return {field.name: fit(value.get(field.name), field.type) for field in kind}
    if pa.types.is_list(kind) and isinstance(value, list):
        return [fit(each, kind.value_type) for each in value]
    if pa.types.is_boolean(kind) and isinstance(value, bool):
        return value
    if pa.types.is_binary(kind) and isinstance(value, str) and not isinstance(value, Number):
        return value.encode()
    if isinstance(value, Number):
        return _fit_number(value, kind)
    raise ValueError(f"not {kind}")


def _fit_number(value: Number, kind: pa.DataType) -> Any:
    if pa.types.is_floating(kind):
        if _overflows(value):
            raise ValueError("beyond float64")
        return float(value)
    try:
        exact = decimal.Decimal(value)
        if not exact.is_finite() or exact.adjusted() > _MOST_DIGITS:
            raise ValueError(f"not {kind}")
        if pa.types.is_integer(kind) and exact != exact.to_integral_value():
            raise ValueError(f"not {kind}")
        number = int(exact) if pa.types.is_integer(kind) else exact
        pa.scalar(number, kind)
    except (decimal.InvalidOperation, pa.ArrowException, OverflowError, TypeError):
        raise ValueError(f"not {kind}") from None
    return number


def _overflows(number: Number) -> bool:
    return math.isinf(float(number)) and "Inf" not in number


class _Twice(Exception):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise _Twice(name)
        members[name] = value
    return members
