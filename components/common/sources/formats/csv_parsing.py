"""What pyarrow's CSV parser is given: records whose bytes are text, without comments; and the others, rejected."""

from __future__ import annotations

import dataclasses
import functools
import io
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pyarrow import csv as pacsv

from headwater.components.common.sources.formats.csv_ranges import unsplittable_parts
from headwater.components.common.sources.formats.dialect import Dialect
from headwater.components.common.sources.rejections import Rejection, clip
from headwater.components.common.sources.types import concat

BLOCK_BYTES = 1 << 20
"""So much text without quotes is split into values and converted at once that it stays in a core's cache."""


def parse(
    data: bytes,
    names: Sequence[str],
    dialect: Dialect,
    kinds: dict[str, pa.DataType],
    ragged: list[pacsv.InvalidRow],
    only: Sequence[str] | None = None,
) -> pa.Table:
    """The values of whole records that `clean` has left; records of another number of values go to `ragged`."""
    if data[:1] in (b"", b"\r", b"\n") and not data.strip(b"\r\n"):
        return pa.table({name: pa.array([], kinds.get(name, pa.null())) for name in names})
    read = functools.partial(_parse, data, names, kinds=kinds, ragged=ragged, only=only)
    quotes = dialect.quote and dialect.quote.encode() in data
    if quotes or dialect.escape or b"\r" in data or len(data) <= BLOCK_BYTES:
        # Some versions of pyarrow cut a record, or count its line end twice, where a block ends.
        return read(dialect=dialect, block_size=len(data) + 1)
    # Where nothing is quoted the parser looks at each byte once less.
    dialect = dataclasses.replace(dialect, quote="")
    try:
        return read(dialect=dialect, block_size=BLOCK_BYTES)
    except pa.ArrowInvalid as error:
        if "conversion error" in str(error):
            raise
    # A record is longer than a block.
    ragged.clear()
    return read(dialect=dialect, block_size=len(data) + 1)


def _parse(
    data: bytes,
    names: Sequence[str],
    dialect: Dialect,
    kinds: dict[str, pa.DataType],
    ragged: list[pacsv.InvalidRow],
    only: Sequence[str] | None,
    block_size: int,
) -> pa.Table:
    def skip(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    return pacsv.read_csv(
        pa.BufferReader(data),
        # One thread: rows keep their numbers, and the pool's processes already use every core.
        read_options=pacsv.ReadOptions(use_threads=False, block_size=block_size, column_names=list(names)),
        parse_options=dialect.parse_options(
            # A blank line is no record, but in a file of one column it is a missing value.
            ignore_empty_lines=len(names) > 1,
            invalid_row_handler=skip,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=kinds,
            include_columns=list(only) if only else None,
            decimal_point=dialect.decimal,
            # `clean` has looked at all bytes.
            check_utf8=False,
        ),
    )


def _uncommented(data: bytes, dialect: Dialect) -> bytes:
    """Records without the comments among them."""
    mark = dialect.comment.encode()
    if not mark or not (data.startswith(mark) or b"\n" + mark in data):
        return data
    pieces, kept = [], 0
    for match in unsplittable_parts(dialect).finditer(b"\n" + data):
        if match["comment"] is not None:
            start, stop = match.span()
            pieces.append(data[kept : start - 1])
            # With the line end after it; `start` counts the one put before the data.
            kept = stop
    return b"".join([*pieces, data[kept:]])


def clean(
    data: bytes, names: Sequence[str], dialect: Dialect, first_row: int
) -> tuple[bytes, Dialect, np.ndarray | None, list[Rejection]]:
    """Takes out comments, and the records whose bytes are no text: NUL, or not UTF-8.

    Returns:
      The remaining records as CSV; its dialect; their positions, or None for all; and the rejections.
    """
    data = _uncommented(data, dialect)
    if dialect.escape and b"\\N" in data:
        # How MySQL, Hive and Postgres write a missing value into escaped files.
        edge = re.escape(dialect.delimiter.encode())
        data = re.sub(rb"(?:^|(?<=[%s\r\n]))\\N(?=[%s\r\n]|\Z)" % (edge, edge), b"", data)
    if b"\0" not in data and is_text(data):
        return data, dialect, None, []
    # Every byte read as one character: a text that pyarrow can hand over whole, with the same commas and quotes.
    ragged: list[pacsv.InvalidRow] = []
    table = parse(data.decode("latin-1").encode(), names, dialect, dict.fromkeys(names, pa.string()), ragged)
    rejections = [ragged_row(row, first_row + row.number - 1, row.text.encode("latin-1")) for row in ragged]
    positions = np.delete(np.arange(table.num_rows + len(ragged)), [row.number - 1 for row in ragged])
    bad = np.zeros(table.num_rows, bool)
    columns = []
    for name, column in zip(names, concat(table.columns)):
        encoded = column.dictionary_encode()
        texts, reasons = _restore(encoded.dictionary.to_pylist())
        index = encoded.indices.to_numpy(zero_copy_only=False)
        columns.append(pa.array(texts, pa.string()).take(encoded.indices))
        wrong = np.array([reason is not None for reason in reasons], bool)[index]
        for place in np.flatnonzero(wrong & ~bad):
            value = clip(column[int(place)].as_py().encode("latin-1"))
            rejections.append(Rejection(first_row + int(positions[place]), name, reasons[index[place]], value))
        bad |= wrong
    sink = io.BytesIO()
    options = pacsv.WriteOptions(include_header=False, delimiter=dialect.delimiter)
    pacsv.write_csv(pa.table(columns, list(names)).filter(pa.array(~bad)), sink, options)
    return sink.getvalue(), dialect.plain(), positions[~bad], rejections


def _restore(texts: Sequence[str]) -> tuple[list[str], list[str | None]]:
    """Distinct values read byte by byte as the UTF-8 they are, and the reason where they are none."""
    restored: list[str] = []
    reasons: list[str | None] = []
    for text in texts:
        reason = "nul_byte: the value holds a NUL byte" if "\0" in text else None
        if reason is None and not text.isascii():
            try:
                text = text.encode("latin-1").decode()
            except UnicodeDecodeError:
                reason = "encoding: not UTF-8"
        restored.append("" if reason else text)
        reasons.append(reason)
    return restored, reasons


def ragged_row(row: pacsv.InvalidRow, number: int, text: str | bytes) -> Rejection:
    reason = f"ragged_row: {row.actual_columns} values where the header has {row.expected_columns}"
    return Rejection(number, None, reason, clip(text))


def is_text(data: bytes) -> bool:
    """Whether bytes are UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False
