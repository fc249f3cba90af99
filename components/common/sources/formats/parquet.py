"""Parquet files in ranges of row groups.

pyarrow reads them; what this version of it cannot read, or reads wrongly, DuckDB reads (`parquet_duckdb`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headwater.components.common import storage
from headwater.components.common.arrow_types import canonical_schema, with_type
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.extension_types import named
from headwater.components.common.sources.cells import find_rows, leaves
from headwater.components.common.sources.files import Element
from headwater.components.common.sources.formats import parquet_duckdb, parquet_plain
from headwater.components.common.sources.formats.base import Format, NoticeOf, Outline, Rows
from headwater.components.common.sources.formats.parquet_pages import has_gzip_members
from headwater.components.common.sources.rejections import Rejection

RANGE_BYTES = 16 << 20
"""Decoded bytes of the row groups that make one range; a larger row group is a range by itself."""

FIRST_ROW = 1
"""The number of a file's first row."""

_BATCH_ROWS = 1 << 17
# Of text whose values repeat, a row takes no more with its share of the dictionary.
_ENCODED_BYTES = 4
_TAIL_BYTES = 1 << 16
# What pyarrow says of whole files that it has no code for.
_UNSUPPORTED = (
    "not implemented",
    "not yet implemented",
    "not recognized",
    "unrecognized type",
    "unsupported",
    "unknown encoding",
    "only supports float and double",
    "map keys must be annotated",
    "lists with null",
    "expected all lists to be of size",
    # pyarrow 10 takes an empty page of version 2 for a damaged one.
    "corrupt snappy compressed data",
)
_FAILURES = (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError)
# pyarrow 15 is the first to read all members of a gzip page.
_READS_MEMBERS = int(pa.__version__.split(".")[0]) >= 15
_NANOSECONDS = (-(2**63) // 1000 + 1, (2**63 - 1) // 1000)


class Footer(NamedTuple):
    """What the end of a file says of it.

    Attributes:
      schema: the columns, of canonical types.
      ranges: the first row group, one past the last, and the rows of each range.
      extensions: columns of extension types, with the types' names.
      reader: "pyarrow" or "duckdb".
    """

    schema: pa.Schema
    ranges: list[tuple[int, int, int]]
    extensions: list[tuple[str, str]]
    reader: str


class _Unsupported(Exception):
    """A whole file, as far as can be seen, that pyarrow has no code for."""


class _InvalidDictionary(Exception):
    """pyarrow refuses a dictionary page for a text that is not UTF-8, and so does not say which rows hold it."""


def read_footer(uri: str) -> Footer:
    """The columns and the ranges of a file.

    Raises:
      HeadwaterError: it is empty, cut short, no Parquet file, or neither reader can read it.
    """
    try:
        with _open(uri) as file:
            groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
            sizes = [(group.num_rows, group.total_byte_size) for group in groups]
            own = file.schema_arrow
            return Footer(canonical_schema(own), _ranges(sizes), named(own), "pyarrow")
    except _Unsupported as error:
        schema, sizes = parquet_duckdb.read_footer(uri, str(error))
        return Footer(canonical_schema(schema), _ranges(sizes), [], "duckdb")


def read_rows(
    uri: str, start: int, stop: int, first_row: int, rows: int, kinds: Mapping[str, pa.DataType], encoded: bool = False
) -> Iterator[tuple[pa.RecordBatch, np.ndarray, list[Rejection]]]:
    """The rows of row groups [start, stop), batch by batch, with the number of each in the file, int64.

    Args:
      uri: the file.
      start: the first row group.
      stop: one past the last.
      first_row: the number of the first row.
      rows: how many rows the footer promises.
      kinds: the columns wanted, with the types that they are to be cast to later.
      encoded: whether text that the file holds as a dictionary comes as one, `ENCODED`.

    Raises:
      HeadwaterError: the file is damaged, or neither reader can read it.
    """
    done = 0
    try:
        for batch, refused in _read_in_full(uri, start, stop, first_row, kinds, encoded):
            count = batch.num_rows
            numbers = np.arange(first_row + done, first_row + done + count, dtype=np.int64)
            done += count
            if len(refused):
                kept = ~np.isin(numbers, [rejection.row for rejection in refused])
                batch, numbers = batch.filter(pa.array(kept)), numbers[kept]
            yield batch, numbers, refused
    except _Unsupported as error:
        for batch in parquet_duckdb.read_rows(uri, first_row - FIRST_ROW + done, rows - done, list(kinds), str(error)):
            numbers = np.arange(first_row + done, first_row + done + batch.num_rows, dtype=np.int64)
            done += batch.num_rows
            yield batch, numbers, []
    if done != rows:
        raise HeadwaterError(
            f"{uri}: the footer says that row groups {start} to {stop - 1} have {rows:,} rows, but {done:,} could be "
            "read; the file is damaged, so write it again"
        )


@contextlib.contextmanager
def _open(
    uri: str, int96: str = "us", plain_text: bool = False, encoded: int | None = None
) -> Iterator[pq.ParquetFile]:
    """A Parquet file, open for reading; what goes wrong inside is reported with the file's name.

    Args:
      uri: where it lies.
      int96: the unit of its INT96 timestamps.
      plain_text: reads text as large_string, also what is stored as a dictionary.
      encoded: the row group whose text is read as dictionaries where it is stored so.
    """
    options: dict[str, Any] = {"binary_type": pa.large_binary()} if plain_text else {}
    with storage.open_input(uri) as stream:
        if stream.size() == 0:
            raise HeadwaterError(f"{uri}: the file is empty (zero bytes); a Parquet file never is")
        try:
            metadata = _metadata_of(stream)
            if encoded is not None and metadata is not None:
                options["read_dictionary"] = _dictionaries(metadata, encoded)
            yield pq.ParquetFile(stream, metadata=metadata, coerce_int96_timestamp_unit=int96, **options)
        except _FAILURES as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            if any(words in reason.lower() for words in _UNSUPPORTED):
                raise _Unsupported(reason) from None
            if "invalid utf8" in reason.lower() and not plain_text:
                raise _InvalidDictionary from None
            raise HeadwaterError(f"{uri}: not a complete Parquet file; it may have been cut short: {reason}") from None
        except ValueError as error:
            # Of the Python of an extension type that somebody registered, as pandas registers some.
            raise HeadwaterError(
                f"{uri}: the metadata of an extension type cannot be read: {type(error).__name__}: {error}"
            ) from None


def _metadata_of(stream: pa.NativeFile) -> pq.FileMetaData | None:
    """A file's metadata, from its last bytes; None where pyarrow is to say what is wrong with them.

    Ranges of one file have it in common, and it is as long as there are row groups: parsing it for each would take longer
    than reading, and pyarrow leaves what it parsed for the garbage collector, which seldom comes.
    """
    size = stream.size()
    stream.seek(max(0, size - _TAIL_BYTES))
    tail = stream.read()
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if tail[-4:] != b"PAR1" or length > size - 4:
        return None
    if length > len(tail):
        stream.seek(size - length)
        tail = stream.read()
    return _parsed(tail[-length:])


@functools.lru_cache(maxsize=4)
def _parsed(footer: bytes) -> pq.FileMetaData:
    return pq.read_metadata(pa.BufferReader(footer))


def _dictionaries(metadata: pq.FileMetaData, group: int) -> list[str]:
    """The columns of text whose values repeat in a row group, so that most of it are numbers into a dictionary."""
    row_group = metadata.row_group(group)
    if row_group.num_rows > _BATCH_ROWS:
        return []
    text = {field.name for field in metadata.schema.to_arrow_schema() if pa.types.is_string(field.type)}
    chunks = [row_group.column(place) for place in range(metadata.num_columns)]
    return [
        chunk.path_in_schema
        for chunk in chunks
        if chunk.path_in_schema in text
        and chunk.has_dictionary_page
        and chunk.total_uncompressed_size <= _ENCODED_BYTES * chunk.num_values
    ]


def _ranges(groups: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Row groups of (rows, bytes) as ranges."""
    ranges: list[tuple[int, int, int]] = []
    start = rows = size = 0
    for group, (own_rows, own_size) in enumerate(groups):
        if group > start and size + own_size > RANGE_BYTES:
            ranges.append((start, group, rows))
            start, rows, size = group, 0, 0
        rows += own_rows
        size += own_size
    return [*ranges, (start, len(groups), rows)] if rows else ranges


def _read_in_full(
    uri: str, start: int, stop: int, first_row: int, kinds: Mapping[str, pa.DataType], encoded: bool
) -> Iterator[tuple[pa.RecordBatch, list[Rejection]]]:
    done = 0
    try:
        for batch, refused in _read_by_pyarrow(uri, start, stop, first_row, kinds, encoded=encoded):
            yield batch, refused
            done += batch.num_rows
    except _InvalidDictionary:
        for batch, refused in _read_by_pyarrow(uri, start, stop, first_row, kinds, plain_text=True):
            if batch.num_rows > done:
                first = first_row + done
                yield batch.slice(done), [rejection for rejection in refused if rejection.row >= first]
            first_row += batch.num_rows
            done = max(0, done - batch.num_rows)


def _read_by_pyarrow(
    uri: str,
    start: int,
    stop: int,
    first_row: int,
    kinds: Mapping[str, pa.DataType],
    plain_text: bool = False,
    encoded: bool = False,
) -> Iterator[tuple[pa.RecordBatch, list[Rejection]]]:
    groups, columns = range(start, stop), list(kinds)
    # Where dictionaries change, batches would end: the rows of one row group have one.
    within = start if encoded and stop == start + 1 else None
    with _open(uri, plain_text=plain_text, encoded=within) as file:
        if not _READS_MEMBERS and has_gzip_members(uri, file.metadata, groups, columns):
            raise _Unsupported(
                f"a page has several gzip members, of which pyarrow {pa.__version__} reads only the first"
            )
        exact = _int96_columns(file) & set(columns)
        batches = file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=columns)
        if not exact:
            for batch in batches:
                yield _canonical(batch), []
            return
        with _open(uri, "ns") as other:
            finer = other.iter_batches(_BATCH_ROWS, row_groups=groups, columns=sorted(exact))
            for batch, fine in zip(batches, finer):
                batch, refused = _with_int96(_canonical(batch), _canonical(fine), kinds, first_row)
                first_row += batch.num_rows
                yield batch, refused


def _canonical(batch: pa.RecordBatch) -> pa.RecordBatch:
    schema = canonical_schema(batch.schema)
    return pa.RecordBatch.from_arrays(
        [with_type(column, field.type) for column, field in zip(batch.columns, schema)], schema=schema
    )


def _int96_columns(file: pq.ParquetFile) -> set[str]:
    """The columns that hold INT96 timestamps, themselves or in their parts."""
    schema = file.schema
    places = [place for place in range(len(schema.names)) if schema.column(place).physical_type == "INT96"]
    paths = [schema.column(place).path for place in places]
    return {name for name in file.schema_arrow.names if any(f"{path}.".startswith(f"{name}.") for path in paths)}


def _with_int96(
    batch: pa.RecordBatch, fine: pa.RecordBatch, kinds: Mapping[str, pa.DataType], first_row: int
) -> tuple[pa.RecordBatch, list[Rejection]]:
    """INT96 holds nanoseconds from the year -4713 on: a column is of microseconds, unless nanoseconds were declared.

    Args:
      batch: the rows, INT96 as microseconds.
      fine: its INT96 columns as nanoseconds, which wrap around outside the years 1677 to 2262.
      kinds: the types that columns are to be cast to.
      first_row: the number of the batch's first row.

    Returns:
      The rows; and those whose value the column's type cannot hold.
    """
    columns = dict(zip(batch.schema.names, batch.columns))
    refused: dict[int, Rejection] = {}
    for name, nanoseconds in zip(fine.schema.names, fine.columns):
        wanted = kinds[name]
        if pa.types.is_timestamp(wanted) and wanted.unit == "ns":
            bad = _outside(columns[name])
            reason = "timestamp: outside the years 1677 to 2262, which nanoseconds reach; declare timestamp[us]"
            columns[name] = nanoseconds
        else:
            bad = find_rows([columns[name], nanoseconds], _has_fraction)
            reason = "timestamp: has nanoseconds; declare timestamp[ns] under types to keep them"
        for place in bad.tolist():
            refused.setdefault(place, Rejection(first_row + place, name, reason, None))
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    return batch, [refused[place] for place in sorted(refused)]


def _outside(microseconds: pa.Array) -> np.ndarray:
    values = _integers(microseconds)
    return np.flatnonzero((values < _NANOSECONDS[0]) | (values > _NANOSECONDS[1]))


def _has_fraction(parts: list[pa.Array]) -> bool:
    """Whether a timestamp has nanoseconds beside its microseconds; those that wrapped around cannot tell."""
    for coarse, fine in zip(leaves(parts[0]), leaves(parts[1])):
        if pa.types.is_timestamp(fine.type):
            whole = _integers(coarse)
            within = (whole >= _NANOSECONDS[0]) & (whole <= _NANOSECONDS[1])
            if (within & (_integers(fine) % 1000 != 0)).any():
                return True
    return False


def _integers(times: pa.Array) -> np.ndarray:
    return pc.fill_null(times.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)


class _Parquet(Format):
    name = "parquet"
    endings = (".parquet", ".pq")
    declares = True
    columnar = True
    # pyarrow does, at some.
    may_abort = True

    def open_here(self, uri: str) -> Outline | None:
        """The layout is names and types of the columns that DuckDB reads as pyarrow does."""
        footer = parquet_plain.read_footer(uri)
        if footer is None:
            return None
        schema, groups, plain = footer
        kinds = dict(zip(schema.names, schema.types))
        return Outline(_ranges(groups), schema.names, kinds, FIRST_ROW, layout=plain)

    def open(self, uri: str) -> Outline:
        footer = read_footer(uri)
        schema = footer.schema
        return Outline(
            footer.ranges, schema.names, dict(zip(schema.names, schema.types)), FIRST_ROW, notices=_notices_of(footer)
        )

    def read(
        self, element: Element, kinds: Mapping[str, pa.DataType | None], guessed: Collection[str]
    ) -> Iterator[Rows]:
        return self._read(element, kinds, False)

    def read_encoded(
        self, element: Element, kinds: Mapping[str, pa.DataType | None], guessed: Collection[str]
    ) -> Iterator[Rows]:
        return self._read(element, kinds, True)

    def _read(self, element: Element, kinds: Mapping[str, pa.DataType | None], encoded: bool) -> Iterator[Rows]:
        wanted = {name: kind or pa.null() for name, kind in kinds.items()}
        place = element.start, element.stop, element.first_row, element.rows
        return read_rows(element.file.content, *place, wanted, encoded)


FORMAT = _Parquet()


def _notices_of(footer: Footer) -> list[NoticeOf]:
    notices: list[NoticeOf] = [
        (
            "extension_type",
            "info",
            column,
            f"{column!r} has the extension type {name!r}, which is ignored; its values are read in their storage "
            f"type, {footer.schema.field(column).type}",
        )
        for column, name in footer.extensions
    ]
    if footer.reader != "pyarrow":
        notices.append(("reader", "info", None, f"pyarrow {pa.__version__} cannot read this file, so DuckDB read it"))
    return notices
