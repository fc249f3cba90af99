"""CSV files in byte ranges: what types columns have, and the rows of one range.

Quotes follow the reading of pyarrow's parser: a quote opens only at the start of a field, a doubled quote inside
is one quote, and after the closing quote the rest of the field is plain. `dialect` says which characters these are;
`csv_ranges` finds where records begin.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as pacsv

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
from headwater.components.common.sources.formats.csv_inferring import Sample, guess_types, infer_types
from headwater.components.common.sources.formats.csv_parsing import clean, parse, ragged_row
from headwater.components.common.sources.formats.csv_values import (
    beyond_exact,
    cast_text,
    missing_where_empty,
    needs_text,
    whole_numbers,
)
from headwater.components.common.sources.formats.dialect import Dialect
from headwater.components.common.sources.rejections import Rejection, clip
from headwater.components.common.sources.types import concat, parse_type

SAMPLE_BYTES = 4 << 20
"""The beginning of each file that its types are guessed from."""


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
        return self.look_together([block])[0]

    def look_together(self, blocks: Sequence[Block]) -> list[dict[str, Any]]:
        """As `Format.look_together`: types are guessed of all files at once."""
        looked = [self._look(block) for block in blocks]
        guessed = iter(guess_types([sample for _, sample in looked if sample]))
        return [
            {**look, "kinds": {name: str(kind) for name, kind in next(guessed).items()}} if sample else look
            for look, sample in looked
        ]

    def _look(self, block: Block) -> tuple[dict[str, Any], Sample | None]:
        """What `look` finds but for types, and of a file's first block what these are guessed from."""
        file, data, reading = block.file, block.data, block.reading
        ended = data[-1:] == b"\n"
        if block.start:
            dialect = file.layout or Dialect(delimiter=_expected(file, reading))
            return {**csv_ranges.scan_block(data, dialect, block.before)._asdict(), "ended": ended}, None
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
        content = data[first:]
        found = csv_ranges.scan_block(content, dialect)
        whole = len(content) <= SAMPLE_BYTES and block.is_whole
        sure = csv_ranges.sure_records(content, found, dialect) if whole else -1
        look = {
            **found._asdict(),
            **looked,
            "dialect": vars(dialect),
            "expected": _expected(file, reading),
            "names": names,
            "first": first,
            "unnamed": [_unnamed_notice(name, names) for name in unnamed],
        }
        return look, Sample(content[:SAMPLE_BYTES], names, dialect, sure, whole)

    def settle(self, looks: Mapping[str, list[dict[str, Any]]], chosen: Sequence[SourceFile]) -> list[SourceFile]:
        """A file whose dialect is uncertain follows the others."""
        dialects = {uri: _dialect(**blocks[0]["dialect"]) for uri, blocks in looks.items()}
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
        dialect = _dialect(**first["dialect"])
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
            if not element.guessed or csv_ranges.count_records(data, file.layout) != element.rows:
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

# Files that are alike share theirs.
_dialect = functools.lru_cache(256)(Dialect)


def _expected(file: SourceFile, reading: Reading) -> str:
    """The delimiter that a file's name lets expect."""
    return "\t" if unpacked_name(file.uri).endswith(".tsv") else reading.delimiter or ","


def _unnamed_notice(name: str, names: Sequence[str]) -> NoticeOf:
    place = names.index(name) + 1
    sentence = (
        f"column {place} of {len(names)} has no name in the header, so it is called {name!r}; rename: {{{name}: ...}}"
    )
    return "unnamed_column", "warning", name, f"{sentence} gives it another name"
