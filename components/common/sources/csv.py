"""CSV files in byte ranges: what types columns have, and the rows of one range.

Quotes follow the reading of pyarrow's parser: a quote opens only at the start of a field, a doubled quote inside
is one quote, and after the closing quote the rest of the field is plain. `dialect` says which characters these are;
`csv_ranges` finds where records begin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pacsv

from headwater.components.common.sources import inferring
from headwater.components.common.sources.csv_parsing import clean, parse, ragged_row
from headwater.components.common.sources.csv_values import (
    as_csv,
    beyond_exact,
    cast_text,
    find_suspects,
    is_nanoseconds,
    missing_where_empty,
    needs_text,
    ungrouped,
    whole_numbers,
    without_missing_names,
)
from headwater.components.common.sources.dialect import Dialect
from headwater.components.common.sources.files import Misfit
from headwater.components.common.sources.rejections import Rejection, clip
from headwater.components.common.sources.types import concat


def infer_types(data: bytes, names: Sequence[str], dialect: Dialect) -> tuple[int, dict[str, pa.DataType]]:
    """Infers the columns' types from one range.

    Numbers that would lose digits (a leading zero, hexadecimal ones, integers beyond float64's exact ones) stay text,
    and rows that will be rejected for their bytes have no say.

    Returns:
      The number of records, rejected ones included; and the type of each column, as `inferring` tells types.
    """
    data, dialect, kept, rejections = clean(data, names, dialect, 0)
    ragged: list[pacsv.InvalidRow] = []
    table = parse(data, names, dialect, {}, ragged)
    kinds = {name: _settle(table.schema.field(name).type) for name in names}
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


def sample_types(data: bytes, names: Sequence[str], dialect: Dialect, whole: bool) -> dict[str, pa.DataType]:
    """Guesses the columns' types from the beginning of a file's records; nothing where it cannot.

    Args:
      data: the beginning, at a record.
      names: the header's names.
      dialect: how it is written.
      whole: whether `data` is all there is.
    """
    if not whole:
        end = data.rfind(b"\n") + 1
        quote = dialect.quote.encode()
        while end and quote and data.count(quote, 0, end) % 2:
            end = data.rfind(b"\n", 0, end - 1) + 1
        data = data[:end]
    try:
        kinds = infer_types(data, names, dialect)[1] if data else {}
        return {name: kind if kind == inferring.MIXED_ZONES else inferring.settle(kind) for name, kind in kinds.items()}
    except pa.ArrowInvalid:
        return {}


def read_rows(
    data: bytes,
    names: Sequence[str],
    kinds: dict[str, pa.DataType],
    dialect: Dialect,
    first_row: int,
    *,
    guessed: Collection[str] = (),
    records: int = -1,
    only: Sequence[str] | None = None,
) -> tuple[pa.RecordBatch, np.ndarray, list[Rejection]]:
    """The typed rows of one range.

    Args:
      data: whole records.
      names: the header's names.
      kinds: each column's type.
      dialect: how it is written.
      first_row: the number of the first record in the source.
      guessed: columns whose types were guessed from a sample.
      records: how many there should be; -1 to take what is there.
      only: the columns wanted; all by default.

    Returns:
      The rows that could be read; the number of each in the source, int64; and the others. An empty field is a
      missing value in every column; NA, NULL, NaN and their like are missing in columns that are not text.

    Raises:
      Misfit: `guessed` or `records` do not hold.
    """
    only = list(only or names)
    data, dialect, kept, rejections = clean(data, names, dialect, first_row)
    ragged: list[pacsv.InvalidRow] = []
    # Guessed integers are parsed as text first: only their text shows a leading zero.
    whole = [name for name in only if name in guessed and pa.types.is_integer(kinds[name])]
    as_text = [name for name in only if name not in whole and needs_text(kinds[name], data, dialect)]
    while True:
        ragged.clear()
        types = {name: pa.string() if name in as_text or name in whole else kinds[name] for name in only}
        try:
            table = parse(data, names, dialect, types, ragged, only)
            break
        except pa.ArrowInvalid as error:
            as_text.append(names[_column_of(error)])
            if as_text[-1] in guessed:
                raise Misfit from None
    found = table.num_rows + len(ragged) + len(rejections)
    real = [name for name in only if name in guessed and name not in as_text and pa.types.is_floating(kinds[name])]
    if records not in (-1, found) or any(beyond_exact(table[name]) for name in real):
        raise Misfit
    positions = np.arange(table.num_rows + len(ragged), dtype=np.int64)
    rows = first_row + (positions if kept is None else kept)
    dropped = np.array([row.number - 1 for row in ragged], np.int64)
    rejections += [ragged_row(row, int(rows[row.number - 1]), row.text) for row in ragged]
    rows = np.delete(rows, dropped)
    columns = dict(zip(only, concat([table[name] for name in only])))
    for name in whole:
        columns[name] = whole_numbers(columns[name], kinds[name], dialect)
    bad = np.zeros(len(rows), bool)
    for name in as_text:
        texts = columns[name]
        columns[name], places = cast_text(texts, kinds[name], dialect)
        if name in guessed and (len(places) or pa.types.is_floating(kinds[name]) and beyond_exact(columns[name])):
            raise Misfit
        # A row is rejected once, for the first column that fails.
        for place in places[~bad[places]]:
            value = clip(texts[int(place)].as_py())
            rejections.append(Rejection(int(rows[place]), name, f"type: not {_article(kinds[name])}", value))
        bad[places] = True
    arrays = [missing_where_empty(columns[name]) for name in only]
    batch = pa.RecordBatch.from_arrays(arrays, only)
    if bad.any():
        batch = batch.filter(pa.array(~bad))
        rows = rows[~bad]
    return batch, rows, sorted(rejections, key=lambda rejection: rejection.row)


def encode_types(rows: int, kinds: dict[str, pa.DataType]) -> bytes:
    """The result of `infer_types` as bytes."""
    return json.dumps([rows, {name: str(kind) for name, kind in kinds.items()}]).encode()


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
        found = inferring.times(concat([column])[0])
        return found if found == inferring.MIXED_ZONES else kind
    return kind


def _column_of(error: pa.ArrowInvalid) -> int:
    match = re.search(r"CSV column #(\d+)", str(error))
    if not match:
        raise error
    return int(match[1])


def _article(kind: pa.DataType) -> str:
    name = str(kind)
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
