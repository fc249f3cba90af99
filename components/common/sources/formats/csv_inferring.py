"""What types a CSV's columns have, inferred from its records; of many small files at once, and each is as it is alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pacsv

from headwater.components.common.sources import inferring
from headwater.components.common.sources.formats.csv_parsing import clean, is_text, parse
from headwater.components.common.sources.formats.csv_values import (
    as_csv,
    beyond_exact,
    find_suspects,
    has_leading_zero,
    is_nanoseconds,
    ungrouped,
    without_missing_names,
)
from headwater.components.common.sources.formats.dialect import Dialect
from headwater.components.common.sources.types import concat


def _table_of(characters: bytes) -> np.ndarray:
    table = np.zeros(256, bool)
    table[list(characters)] = True
    return table


# A value is text where it begins with none of these: no number, date, time, boolean, nor what stands for a missing value.
_OTHERS = _table_of(b'\t\r\n "#+,-./0123456789:<?tTfFnNiI\0')
# Beginning with one of these letters it is not text alone where the second character is one of those: true, nan, N/A, inf.
_LETTERS, _SECOND = _table_of(b"tTfFnNiI"), _table_of(b"rRaAuUnN/")


class Sample(NamedTuple):
    """The records that a file begins with.

    Attributes:
      data: the records; the last one may be cut off.
      names: the header's names.
      dialect: how they are written.
      records: how many there are; -1 where that is not sure, and where they are not all that the file has.
      whole: whether they are all that the file has.
    """

    data: bytes
    names: Sequence[str]
    dialect: Dialect
    records: int
    whole: bool


def infer_types(
    data: bytes, names: Sequence[str], dialect: Dialect, only: Sequence[str] | None = None
) -> tuple[int, dict[str, pa.DataType]]:
    """Infers the columns' types from one range.

    Numbers that would lose digits (a leading zero, hexadecimal ones, integers beyond float64's exact ones) stay text,
    and rows that will be rejected for their bytes have no say.

    Args:
      data: whole records.
      names: the header's names.
      dialect: how they are written.
      only: the columns wanted; all by default.

    Returns:
      The number of records, rejected ones included; and the type of each column, as `inferring` tells types.
    """
    data, dialect, kept, rejections = clean(data, names, dialect, 0)
    ragged: list[pacsv.InvalidRow] = []
    table = parse(data, names, dialect, {}, ragged, only)
    kinds = {name: _settle(table.schema.field(name).type) for name in only or names}
    for name in find_suspects(data, table, dialect, names, kinds):
        kinds[name] = pa.string()
    fine = [name for name, kind in kinds.items() if is_nanoseconds(kind)]
    texts = parse(data, names, dialect, dict.fromkeys(fine, pa.string()), [], fine) if fine else table
    kinds = {name: _inferred(kind, texts[name] if name in fine else table[name]) for name, kind in kinds.items()}
    if dialect.thousands:
        for name, kind in kinds.items():
            if pa.types.is_string(kind) and pa.types.is_string(table[name].type):
                kinds[name] = _infer_grouped(concat([table[name]])[0], dialect) or kind
    return table.num_rows + len(ragged) + len(rejections), kinds


def guess_types(samples: Sequence[Sample]) -> list[dict[str, pa.DataType]]:
    """Guesses the columns' types of files from their beginnings; of each nothing where it cannot."""
    guessed: list[dict[str, pa.DataType] | None] = [None] * len(samples)
    alike: dict[tuple[tuple[str, ...], Dialect], list[int]] = {}
    for place, sample in enumerate(samples):
        if sample.records > 0:
            alike.setdefault((tuple(sample.names), sample.dialect), []).append(place)
    for (names, dialect), places in alike.items():
        if len(places) > 1:
            together = infer_together(
                [samples[place].data for place in places], [samples[place].records for place in places], names, dialect
            )
            for place, kinds in zip(places, together):
                guessed[place] = kinds
    return [_guess(sample) if kinds is None else _settled(kinds) for sample, kinds in zip(samples, guessed)]


def _guess(sample: Sample) -> dict[str, pa.DataType]:
    data = sample.data
    if not sample.whole:
        end = data.rfind(b"\n") + 1
        quote = sample.dialect.quote.encode()
        while end and quote and data.count(quote, 0, end) % 2:
            end = data.rfind(b"\n", 0, end - 1) + 1
        data = data[:end]
    try:
        return _settled(infer_types(data, sample.names, sample.dialect)[1]) if data else {}
    except pa.ArrowInvalid:
        return {}


def _settled(kinds: dict[str, pa.DataType]) -> dict[str, pa.DataType]:
    return {name: kind if kind == inferring.MIXED_ZONES else inferring.settle(kind) for name, kind in kinds.items()}


def infer_together(
    contents: Sequence[bytes], records: Sequence[int], names: Sequence[str], dialect: Dialect
) -> list[dict[str, pa.DataType] | None]:
    """The types that `infer_types` infers from each of several files, which are parsed at once.

    To begin with a file costs pyarrow's parser more than a hundred of its rows, most of all where it has to try types. What
    it infers from all together tells what it would from each alone, but for some columns of some files: those are parsed
    again.

    Args:
      contents: of each file its records, with nothing doubtful about where they begin.
      records: how many each has, at least one.
      names: the header's names.
      dialect: how they are written.

    Returns:
      The types of each; None where it has to be looked at alone.
    """
    whole = b"".join(data if data.endswith(b"\n") else data + b"\n" for data in contents)
    if dialect.thousands or b"\0" in whole or not is_text(whole):
        return [None] * len(contents)
    ragged: list[pacsv.InvalidRow] = []
    try:
        table = parse(whole, names, dialect, {}, ragged)
    except pa.ArrowInvalid:
        return [None] * len(contents)
    if table.num_rows != sum(records):
        return [None] * len(contents)
    begins = np.cumsum([0, *records[:-1]])
    # Of numbers that would lose digits in some file, all files are looked at.
    safe = b"+" not in whole and not has_leading_zero(whole, dialect)
    columns = [_kinds_of_each(column, begins, safe) for column in concat(table.columns)]
    found: list[dict[str, pa.DataType] | None] = []
    for data, kinds in zip(contents, zip(*columns)):
        told = dict(zip(names, kinds))
        doubtful = [name for name, kind in told.items() if kind is None]
        found.append(told | infer_types(data, names, dialect, doubtful)[1] if doubtful else told)
    return found


def _kinds_of_each(column: pa.Array, begins: np.ndarray, safe: bool) -> list[pa.DataType | None]:
    """The types of stretches of a column; None where it takes a look at one by itself.

    Args:
      column: as pyarrow's parser gives it.
      begins: where each stretch begins; none is empty.
      safe: whether no number of any column would lose digits for how it is written.
    """
    kind, count = column.type, len(begins)
    if pa.types.is_null(kind):
        return [kind] * count
    empty = np.logical_and.reduceat(column.is_null().to_numpy(zero_copy_only=False), begins)
    kinds: list[pa.DataType | None]
    if pa.types.is_int64(kind) and safe:
        values = column.fill_null(0).to_numpy()
        ends = zip(np.minimum.reduceat(values, begins).tolist(), np.maximum.reduceat(values, begins).tolist())
        kinds = [inferring.integers(smallest, largest) for smallest, largest in ends]
    elif pa.types.is_float64(kind) and safe and not beyond_exact(column):
        values = column.fill_null(0).to_numpy()
        fractions = np.logical_or.reduceat(np.isfinite(values) & (values != np.trunc(values)), begins)
        kinds = [kind if fraction else None for fraction in fractions]
    elif pa.types.is_date32(kind):
        kinds = [kind] * count
    elif pa.types.is_string(kind):
        kinds = [kind if text else None for text in np.logical_or.reduceat(_is_text_alone(column), begins)]
    else:
        kinds = [None] * count
    return [pa.null() if none and found is not None else found for found, none in zip(kinds, empty)]


def _is_text_alone(texts: pa.Array) -> np.ndarray:
    """Whether values surely are nothing but text, by how they begin."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1]
    content = np.frombuffer(texts.buffers()[2] or b"\0", np.uint8)
    lengths, last = np.diff(offsets), len(content) - 1
    first, second = (content[np.minimum(offsets[:-1] + place, last)] for place in (0, 1))
    return (lengths > 0) & ~_OTHERS[first] | (lengths > 1) & _LETTERS[first] & ~_SECOND[second]


def _infer_grouped(texts: pa.Array, dialect: Dialect) -> pa.DataType | None:
    """The type of text that is numbers in groups of three digits; None where it is not that."""
    plain = ungrouped(texts, dialect)
    if plain.equals(texts):
        return None
    _, kinds = infer_types(as_csv(plain), ["value"], Dialect(decimal=dialect.decimal))
    return kinds["value"] if inferring.settle(kinds["value"]) in (pa.int64(), pa.float64()) else None


def _settle(kind: pa.DataType) -> pa.DataType:
    """An inferred type as the type that Parquet keeps unchanged."""
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_time32(kind):
        return pa.time32("ms")
    return pa.string() if pa.types.is_binary(kind) else kind


def _inferred(kind: pa.DataType, column: pa.ChunkedArray) -> pa.DataType:
    """A settled type as `inferring` tells it."""
    if pa.types.is_integer(kind):
        ends = pc.min_max(column).as_py()
        return inferring.integers(ends["min"] or 0, ends["max"] or 0)
    if is_nanoseconds(kind):
        return inferring.times(without_missing_names(concat([column])[0]))
    if pa.types.is_string(kind) and pa.types.is_string(column.type):
        inferred = inferring.times(concat([column])[0])
        return inferred if inferred == inferring.MIXED_ZONES else kind
    return kind
