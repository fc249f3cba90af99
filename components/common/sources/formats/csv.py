"""CSV files in byte ranges: what types columns have, and the rows of one range.

Quotes follow the reading of pyarrow's parser: a quote opens only at the start of a field, a doubled quote inside
is one quote, and after the closing quote the rest of the field is plain. `dialect` says which characters these are;
`csv_ranges` finds where records begin.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pacsv

from headwater.components.common.sources import inferring
from headwater.components.common.sources.files import Element, Misfit, Reading, SourceFile, unpacked_name
from headwater.components.common.sources.formats import csv_ranges, sniffing
from headwater.components.common.sources.formats.base import (
    Block,
    Format,
    NoticeOf,
    Outline,
    Rows,
    as_text,
    check_names,
    content_of,
)
from headwater.components.common.sources.formats.csv_parsing import clean, parse, ragged_row
from headwater.components.common.sources.formats.csv_values import (
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
from headwater.components.common.sources.formats.dialect import Dialect
from headwater.components.common.sources.rejections import Rejection, clip
from headwater.components.common.sources.types import concat, parse_type

SAMPLE_BYTES = 4 << 20
"""The beginning of each file that its types are guessed from."""


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
    counted = table.num_rows + len(ragged) + len(rejections)
    real = [name for name in only if name in guessed and name not in as_text and pa.types.is_floating(kinds[name])]
    if records not in (-1, counted) or any(beyond_exact(table[name]) for name in real):
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


def _column_of(error: pa.ArrowInvalid) -> int:
    match = re.search(r"CSV column #(\d+)", str(error))
    if not match:
        raise error
    return int(match[1])


def _article(kind: pa.DataType) -> str:
    name = str(kind)
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


class _Csv(Format):
    name = "csv"
    endings = (".csv", ".txt", ".tsv")
    text = True
    converts = True

    def look(self, block: Block) -> dict[str, Any]:
        file, data, reading = block.file, block.data, block.reading
        ended = data[-1:] == b"\n"
        if block.start:
            dialect = file.layout or Dialect(delimiter=_expected(file, reading))
            return {**csv_ranges.scan_block(data, dialect, block.before)._asdict(), "ended": ended}
        looked: dict[str, Any] = {"ended": ended, "sure": True}
        dialect = file.layout
        if dialect is None:
            dialect, looked["sure"], looked["sniffed"] = sniffing.sniff(
                data, block.is_whole, reading, _expected(file, reading)
            )
        start = csv_ranges.find_content(file.uri, data, dialect)
        names, unnamed, first = csv_ranges.read_header(file.uri, data[start:], dialect, reading.column_names)
        check_names(file.uri, names)
        first += start
        sample = data[first : first + SAMPLE_BYTES]
        kinds = sample_types(sample, names, dialect, whole=first + len(sample) == file.size)
        return {
            **csv_ranges.scan_block(data[first:], dialect)._asdict(),
            **looked,
            "dialect": dataclasses.asdict(dialect),
            "expected": _expected(file, reading),
            "names": names,
            "first": first,
            "kinds": {name: str(kind) for name, kind in kinds.items()},
            "unnamed": [_unnamed_notice(name, names) for name in unnamed],
        }

    def settle(self, looks: Mapping[str, list[dict[str, Any]]], chosen: Sequence[SourceFile]) -> list[SourceFile]:
        """A file whose dialect is uncertain follows the others."""
        dialects = {uri: Dialect(**blocks[0]["dialect"]) for uri, blocks in looks.items()}
        sure = {dialect for uri, dialect in dialects.items() if looks[uri][0]["sure"]}
        common = {dataclasses.replace(dialect, skip_rows=0) for dialect in sure}
        again = []
        for file in chosen:
            own = dialect = dialects[file.uri]
            first, *others = looks[file.uri]
            if not first["sure"] and len(common) == 1:
                dialect = dataclasses.replace(next(iter(common)), skip_rows=own.skip_rows)
                kept = [] if dialect != own else first["sniffed"]
                first["sniffed"] = [notice for notice in kept if notice[:2] != ["csv_dialect", "warning"]]
            # Blocks after the first were looked at before the first showed the dialect.
            plain = Dialect(delimiter=first["expected"])
            blocks = others and (dialect.delimiter, dialect.quote) != (plain.delimiter, plain.quote)
            if dialect != own or blocks:
                again.append(dataclasses.replace(file, layout=dialect))
        return again

    def outline(self, file: SourceFile, looks: Sequence[Mapping[str, Any]]) -> Outline:
        first = looks[0]
        dialect = Dialect(**first["dialect"])
        blocks = [
            csv_ranges.Block(
                look["quotes"], tuple(look["starts"]), tuple(look["lines"]), look["blank"], tuple(look["regular"])
            )
            for look in looks
        ]
        ended = looks[-1]["ended"] or not file.size
        ranges = csv_ranges.chain_blocks(
            file.uri, file.content, blocks, file.size, dialect, first["first"], ended=ended
        )
        return Outline(
            ranges,
            first["names"],
            {name: parse_type(first["kinds"].get(name, "null")) for name in first["names"]},
            csv_ranges.first_row_number(dialect),
            guessed=all(rows >= 0 for _, _, rows in ranges) and bool(first["kinds"]),
            layout=dialect,
            notices=[*first.get("sniffed", ()), *first["unnamed"]],
        )

    def infer(self, element: Element) -> tuple[int, dict[str, pa.DataType]]:
        return infer_types(content_of(element), element.file.names, element.file.layout)

    def read(
        self, element: Element, kinds: Mapping[str, pa.DataType | None], guessed: Collection[str]
    ) -> Iterator[Rows]:
        yield read_rows(
            content_of(element),
            element.file.names,
            as_text(kinds),
            element.file.layout,
            element.first_row,
            guessed=guessed if element.guessed else (),
            records=element.rows if element.guessed else -1,
            only=list(kinds),
        )

    def read_together(
        self, elements: Sequence[Element], kinds: Mapping[str, pa.DataType | None], guessed: Collection[str]
    ) -> Rows | None:
        """As `Format.read_together`: to begin with a file costs pyarrow's parser more than a hundred rows do."""
        file, contents = elements[0].file, []
        for element in elements:
            data = content_of(element)
            if not element.guessed or not csv_ranges.has_records(data, file.layout, element.rows):
                return None
            contents.append(data if data.endswith(b"\n") else data + b"\n")
        whole, records = b"".join(contents), sum(element.rows for element in elements)
        return read_rows(
            whole, file.names, as_text(kinds), file.layout, 0, guessed=guessed, records=records, only=list(kinds)
        )

    def describe(self, file: SourceFile) -> dict[str, Any]:
        """What of the dialect is not RFC 4180's."""
        changes = file.layout.changes()
        return {"dialect": changes} if changes else {}


FORMAT = _Csv()


def _expected(file: SourceFile, reading: Reading) -> str:
    """The delimiter that a file's name lets expect."""
    return "\t" if unpacked_name(file.uri).endswith(".tsv") else reading.delimiter or ","


def _unnamed_notice(name: str, names: Sequence[str]) -> NoticeOf:
    place = names.index(name) + 1
    sentence = (
        f"column {place} of {len(names)} has no name in the header, so it is called {name!r}; rename: {{{name}: ...}}"
    )
    return "unnamed_column", "warning", name, f"{sentence} gives it another name"
