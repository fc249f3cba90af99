"""Values of a CSV: text converted as pyarrow's CSV parser does it, and numbers that would lose digits by it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pacsv

from headwater.components.common.extremes import extremes
from headwater.components.common.sources import inferring
from headwater.components.common.sources.files import Misfit
from headwater.components.common.sources.formats.csv_parsing import parse
from headwater.components.common.sources.formats.dialect import Dialect
from headwater.components.common.sources.types import cast_rows, concat

_PLAIN = Dialect()
_ZERO_FIRST = r"^\s*[+-]?0[\dxX]"
_LONG_OR_SIGNED = r"^\s*([+-]?\d{16,}\s*$|\+)"
_EXACT_INTEGERS = 2.0**53


def cast_text(texts: pa.Array, kind: pa.DataType, dialect: Dialect = _PLAIN) -> tuple[pa.Array, np.ndarray]:
    """Converts text as the CSV parser does, value by value where some cannot be.

    Returns:
      The values, missing where they could not be converted; and the positions that could not, int64.
    """
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary
    possible = np.ones(len(distinct), bool)
    shape = _shape(kind, dialect)
    if shape:
        possible = pc.match_substring_regex(distinct, shape).to_numpy(zero_copy_only=False)
        # The texts that stand for a missing value are no numbers, and yet no mistakes.
        possible |= np.isin(distinct.to_numpy(zero_copy_only=False), pacsv.ConvertOptions().null_values)
    candidates = np.flatnonzero(possible)
    converted, wrong = cast_rows(distinct.take(pa.array(candidates)), kind, lambda part: _convert(part, kind, dialect))
    place = np.full(len(distinct), -1, np.int64)
    place[candidates] = np.arange(len(candidates))
    failed = ~possible
    failed[candidates[wrong]] = True
    index = encoded.indices.to_numpy(zero_copy_only=False)
    taken = place[index]
    values = converted.take(pa.array(taken, mask=taken < 0))
    return values, np.flatnonzero(failed[index])


def _shape(kind: pa.DataType, dialect: Dialect) -> str:
    """What values of a type can possibly look like: a quick way to tell most bad ones from good; empty for any."""
    group = rf"|[0-9]{{1,3}}(?:{re.escape(dialect.thousands)}[0-9]{{3}})+" if dialect.thousands else ""
    marks = re.escape(dialect.decimal + dialect.thousands)
    if pa.types.is_integer(kind):
        return rf"^\s*[+-]?(?:[0-9]+{group})\s*$"
    if pa.types.is_floating(kind):
        return rf"^\s*[-+0-9{marks}eEinfatyINFATYxX]+\s*$"
    if pa.types.is_decimal(kind):
        return rf"^\s*[-+0-9{marks}eE]+\s*$"
    return r"^\s*[-+0-9:.TtZz ]+\s*$" if pa.types.is_temporal(kind) else ""


def needs_text(kind: pa.DataType, data: bytes, dialect: Dialect) -> bool:
    """Whether a column has to be parsed as text first, as pyarrow's parser would read some of its values wrongly."""
    if is_nanoseconds(kind):
        return True
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    # It reads 0x1F as 31, and knows no thousands.
    return number and bool(dialect.thousands) or pa.types.is_integer(kind) and (b"0x" in data or b"0X" in data)


def _convert(texts: pa.Array, kind: pa.DataType, dialect: Dialect) -> pa.Array:
    if is_nanoseconds(kind):
        return inferring.parse_times(without_missing_names(texts), kind)
    plain = Dialect(decimal=dialect.decimal)
    table = parse(as_csv(ungrouped(texts, dialect)), ["value"], plain, {"value": kind}, [])
    return concat(table.columns)[0]


def ungrouped(texts: pa.Array, dialect: Dialect) -> pa.Array:
    """Numbers in groups of three digits without what separates these; other text as it is."""
    if not dialect.thousands:
        return texts
    mark, point = re.escape(dialect.thousands), re.escape(dialect.decimal)
    grouped = pc.match_substring_regex(texts, rf"^\s*[+-]?[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+(?:{point}[0-9]*)?\s*$")
    return pc.if_else(grouped, pc.replace_substring(texts, dialect.thousands, ""), texts)


def as_csv(texts: pa.Array) -> bytes:
    sink = io.BytesIO()
    pacsv.write_csv(pa.table([texts], ["value"]), sink, pacsv.WriteOptions(include_header=False))
    return sink.getvalue()


def missing_where_empty(column: pa.Array) -> pa.Array:
    if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
        return column
    empty = pc.equal(pc.binary_length(column), 0)
    if not pc.any(empty).as_py():
        return column
    return pc.if_else(empty, pa.scalar(None, column.type), column)


def is_nanoseconds(kind: pa.DataType) -> bool:
    """Whether pyarrow's parser would let times of far years wrap: it has to be kept from them."""
    return pa.types.is_timestamp(kind) and kind.unit == "ns"


def without_missing_names(texts: pa.Array) -> pa.Array:
    known = pc.is_in(texts, pa.array(pacsv.ConvertOptions().null_values))
    return pc.if_else(known, pa.scalar(None, pa.string()), texts)


def whole_numbers(texts: pa.Array, kind: pa.DataType, dialect: Dialect) -> pa.Array:
    """Texts that were guessed to be integers, as integers.

    Raises:
      Misfit: one is none, or would lose a leading zero.
    """
    texts = ungrouped(texts, dialect)
    present = missing_where_empty(texts)
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1]
    content = np.frombuffer(texts.buffers()[2] or b"\0", np.uint8)
    first = content[np.minimum(offsets[:-1], len(content) - 1)]
    if ((first == ord("0")) & (np.diff(offsets) > 1)).any():
        raise Misfit
    signed = (first == ord("-")) & (np.diff(offsets) > 2)
    if signed.any() and (content[offsets[:-1][signed] + 1] == ord("0")).any():
        raise Misfit
    try:
        return pc.cast(present, kind)
    except pa.ArrowInvalid:
        pass
    try:
        return pc.cast(without_missing_names(present), kind)
    except pa.ArrowInvalid:
        raise Misfit from None


def find_suspects(
    data: bytes, table: pa.Table, dialect: Dialect, names: Sequence[str], kinds: dict[str, pa.DataType]
) -> list[str]:
    """The columns of numbers that would lose digits, or the plus sign of a telephone number, as numbers."""
    # A plus sign is a number's to newer versions of pyarrow alone.
    plus = b"+" in data
    suspects = [name for name in kinds if pa.types.is_floating(kinds[name]) and (plus or beyond_exact(table[name]))]
    whole = [name for name in kinds if pa.types.is_integer(kinds[name])]
    if whole and has_leading_zero(data, dialect):
        suspects += whole
    if not suspects:
        return []
    texts = parse(data, names, dialect, dict.fromkeys(suspects, pa.string()), [], suspects)
    return [
        name
        for name in suspects
        if pc.any(
            pc.match_substring_regex(texts[name], _ZERO_FIRST if pa.types.is_integer(kinds[name]) else _LONG_OR_SIGNED)
        ).as_py()
    ]


def has_leading_zero(data: bytes, dialect: Dialect) -> bool:
    """Whether some field may begin with 0 and another digit, or be hexadecimal; too often, never too rarely."""
    pattern = rf"(?:^|[{re.escape(dialect.delimiter + dialect.quote)}\r\n])\s*[+-]?0[0-9xX]"
    ends = pa.py_buffer(np.array([0, len(data)], np.int32))
    whole = pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(data)])
    return pc.match_substring_regex(whole, pattern)[0].as_py()


def beyond_exact(column: pa.ChunkedArray | pa.Array) -> bool:
    least, most = extremes(column)
    return most is not None and max(most, -least) >= _EXACT_INTEGERS
