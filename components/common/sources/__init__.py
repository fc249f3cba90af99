"""Users' own files as one table: found, fingerprinted, typed, and cut into ranges that can be read apart.

A range (`Element`) is a function of the file alone: fixed blocks of a CSV, row groups of a Parquet file.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import os
from typing import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import csv, parquet
from headwater.components.common.sources.csv import Rejection
from headwater.components.common.sources.types import cast_rows, parse_type, widen

_FORMATS = {".csv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet"}


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One file of the input.

    Attributes:
      uri: where it is.
      format: "csv" or "parquet".
      size: in bytes.
      sha256: of the SHA-256s of its blocks of `csv.BLOCK_BYTES`, in order.
      names: its columns.
    """

    uri: str
    format: str
    size: int
    sha256: str = ""
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Element:
    """A range of one file that is read by itself.

    Attributes:
      file: the file.
      start: first byte of a CSV range, first row group of a Parquet range.
      stop: one past the last.
      first_row: the number of its first row in the file (CSV counts the header as row 1, Parquet from 1).
      rows: how many records it holds, those to be rejected included.
      delimiter: of a CSV.
    """

    file: SourceFile
    start: int
    stop: int
    first_row: int
    rows: int
    delimiter: str = ","


@dataclasses.dataclass(frozen=True)
class Sources:
    """The input as a whole.

    Attributes:
      files: in order of URI.
      schema: the columns of all files united by name, in order of appearance.
      elements: all ranges, in the order of files and of positions in them.
    """

    files: list[SourceFile]
    schema: pa.Schema
    elements: list[Element]


def discover(uris: Sequence[str]) -> list[SourceFile]:
    """The files that paths, folders, globs and URIs name.

    Raises:
      HeadwaterError: nothing is there, formats are mixed, or a file is of no format that is read.
    """
    if not uris:
        raise HeadwaterError("sources: none is given; name at least one CSV or Parquet file, folder or glob")
    found: dict[str, SourceFile] = {}
    for uri in uris:
        files = storage.expand(uri)
        kinds = [(file, _FORMATS.get(os.path.splitext(file.uri)[1].lower())) for file in files]
        if [storage.normalise(uri)] == [file.uri for file in files] and kinds[0][1] is None:
            raise HeadwaterError(f"{kinds[0][0].uri}: the ending says neither .csv nor .parquet")
        known = [SourceFile(file.uri, kind, file.size) for file, kind in kinds if kind]
        if not known:
            there = f"{len(files)} other files are" if files else "nothing is"
            raise HeadwaterError(f"{storage.normalise(uri)}: no .csv or .parquet file is here; {there}")
        found.update((file.uri, file) for file in known)
    formats = sorted({file.format for file in found.values()})
    if len(formats) > 1:
        examples = [next(file.uri for file in found.values() if file.format == kind) for kind in formats]
        raise HeadwaterError(f"sources: formats are mixed, {examples[0]} and {examples[1]}; give one format at a time")
    return [found[uri] for uri in sorted(found)]


def fingerprint_files(
    files: Sequence[SourceFile], delimiter: str = ",", label: str = "collect: scan", **beam: object
) -> tuple[list[SourceFile], dict[str, list[tuple[int, int]]]]:
    """Reads every file once for its checksum, and finds the ranges of CSV files.

    Args:
      files: from `discover`.
      delimiter: of CSV files.
      label: for progress.
      **beam: options of `beam.map_merge`.

    Returns:
      The files with their SHA-256; and the byte ranges of each CSV file by URI.

    Raises:
      HeadwaterError: a quote never closes, or a file cannot be read.
    """
    from headwater.components.common.beam import map_merge

    blocks = [
        (file, number * csv.BLOCK_BYTES) for file in files for number in range(max(1, -(-file.size // csv.BLOCK_BYTES)))
    ]
    sizes = [min(csv.BLOCK_BYTES, file.size - start) for file, start in blocks]
    content = map_merge(
        label,
        blocks,
        functools.partial(_scan, delimiter),
        _join_lines,
        sizes=sizes,
        unit="bytes",
        preload=[__name__],
        **beam,
    )
    scanned = [json.loads(line) for line in content.splitlines()]
    result, ranges = [], {}
    for file in files:
        mine = [record for record in scanned if record["uri"] == file.uri]
        digest = hashlib.sha256("".join(record["sha256"] for record in mine).encode()).hexdigest()
        result.append(dataclasses.replace(file, sha256=digest))
        if file.format == "csv":
            found = [csv.Block(r["quotes"], tuple(r["starts"]), tuple(r["regular"])) for r in mine]
            ranges[file.uri] = csv.chain_blocks(file.uri, found, file.size, delimiter)
    return result, ranges


def open_sources(
    files: Sequence[SourceFile],
    ranges: Mapping[str, list[tuple[int, int]]],
    *,
    types: Mapping[str, str] | None = None,
    delimiter: str = ",",
    own_columns: bool = False,
    label: str = "collect: infer types",
    **beam: object,
) -> Sources:
    """Types the columns over the whole input and numbers the rows of each range.

    Args:
      files: with checksums, and
      ranges: of CSV files, both from `fingerprint_files`.
      types: declared types by column; the rest are inferred (CSV) or the files' own (Parquet).
      delimiter: of CSV files.
      own_columns: whether names that begin with `_` may be there.
      label: for progress.
      **beam: options of `beam.map_merge`.

    Raises:
      HeadwaterError: columns are twice there or reserved, types conflict, a declared column is not there.
    """
    declared = {name: parse_type(kind) for name, kind in (types or {}).items()}
    opened = _open_csv if files[0].format == "csv" else _open_parquet
    found, kinds, elements = opened(files, ranges, delimiter, label, beam)
    if not own_columns:
        _refuse_own(found)
    unknown = sorted(set(declared) - set(kinds))
    if unknown:
        raise HeadwaterError(f"types: there is no column {unknown[0]!r}; the columns are {', '.join(kinds)}")
    kinds.update(declared)
    return Sources(found, pa.schema(kinds), elements)


def fingerprint(files: Sequence[SourceFile]) -> str:
    """Identifies the content of all files, wherever they lie."""
    return hashlib.sha256(json.dumps([[file.format, file.sha256] for file in files]).encode()).hexdigest()


def read_element(element: Element, schema: pa.Schema) -> Iterator[tuple[pa.RecordBatch, np.ndarray, list[Rejection]]]:
    """The rows of one range as record batches of `schema`.

    Yields:
      A batch; the number of each of its rows in the file, int64; and the records that could not be read.
    """
    if element.file.format == "csv":
        data = storage.read_range(element.file.uri, element.start, element.stop)
        kinds = {name: schema.field(name).type for name in element.file.names}
        batch, rows, rejections = csv.read_rows(data, element.file.names, kinds, element.delimiter, element.first_row)
        yield _conform(batch, schema), rows, rejections
        return
    for batch, rows in parquet.read_rows(element.file.uri, element.start, element.stop, element.first_row):
        columns, bad, rejections = {}, np.zeros(batch.num_rows, bool), []
        for name, column in zip(batch.schema.names, batch.columns):
            kind = schema.field(name).type
            columns[name], places = _cast_column(column, kind)
            for place in places[~bad[places]]:
                value = csv.clip(str(column[int(place)].as_py()))
                rejections.append(Rejection(int(rows[place]), name, f"type: not {kind}", value))
            bad[places] = True
        batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
        if bad.any():
            batch, rows = batch.filter(pa.array(~bad)), rows[~bad]
        yield _conform(batch, schema), rows, rejections


def _open_csv(files, ranges, delimiter, label, beam):
    from headwater.components.common.beam import map_merge

    files = [
        dataclasses.replace(file, names=tuple(_check_names(file.uri, csv.read_header(file.uri, delimiter))))
        for file in files
    ]
    items = [Element(file, start, stop, 0, 0, delimiter) for file in files for start, stop in ranges[file.uri]]
    sizes = [item.stop - item.start for item in items]
    content = map_merge(label, items, _infer, _join_lines, sizes=sizes, unit="bytes", preload=[__name__], **beam)
    kinds = {name: pa.null() for file in files for name in file.names}
    elements = []
    inferred = [json.loads(line) for line in content.splitlines()]
    for file, group in itertools.groupby(zip(items, inferred), lambda pair: pair[0].file):
        row = csv.FIRST_ROW
        for item, (rows, found) in group:
            elements.append(dataclasses.replace(item, first_row=row, rows=rows))
            row += rows
            for name, kind in found.items():
                kinds[name] = csv.widen_text(kinds[name], parse_type(kind))
    return files, kinds, elements


def _open_parquet(files, ranges, delimiter, label, beam):
    kinds: dict[str, pa.DataType] = {}
    first: dict[str, str] = {}
    result, elements = [], []
    for file in files:
        schema, groups = parquet.read_footer(file.uri)
        file = dataclasses.replace(file, names=tuple(_check_names(file.uri, schema.names)))
        result.append(file)
        for field in schema:
            wider = widen(kinds.setdefault(field.name, field.type), field.type)
            if wider is None:
                raise HeadwaterError(
                    f"{file.uri}: column {field.name!r} is {field.type}, and {kinds[field.name]} in {first[field.name]}; "
                    "no type holds both: declare one in types, or mend the files"
                )
            kinds[field.name] = wider
            first.setdefault(field.name, file.uri)
        row = parquet.FIRST_ROW
        for start, stop, rows in groups:
            elements.append(Element(file, start, stop, row, rows))
            row += rows
    return result, kinds, elements


def _check_names(uri: str, names: Sequence[str]) -> Sequence[str]:
    seen = set()
    for name in names:
        if name in seen:
            raise HeadwaterError(f"{uri}: the column name {name!r} is there twice; give each column a name of its own")
        seen.add(name)
    return names


def _refuse_own(files: Sequence[SourceFile]) -> None:
    for file in files:
        for name in file.names:
            if name.startswith("_"):
                raise HeadwaterError(
                    f"{file.uri}: the column {name!r} begins with '_', which marks Headwater's own columns; rename it"
                )


def _scan(delimiter: str, item: tuple[SourceFile, int]) -> bytes:
    file, start = item
    data = storage.read_range(file.uri, max(0, start - 1), start + csv.BLOCK_BYTES)
    before, data = (data[:1], data[1:]) if start else (b"\n", data)
    record = {"uri": file.uri, "sha256": storage.sha256(data)}
    if file.format == "csv":
        record.update(csv.scan_block(data, delimiter, before)._asdict())
    return json.dumps(record).encode()


def _infer(item: Element) -> bytes:
    data = storage.read_range(item.file.uri, item.start, item.stop)
    return csv.encode_types(*csv.infer_types(data, item.file.names, item.delimiter))


def _join_lines(parts: list[bytes]) -> bytes:
    return b"\n".join(parts)


def _cast_column(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    if column.type.equals(kind):
        return column, np.array([], np.int64)
    try:
        pc.cast(column.slice(0, 0), kind)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise HeadwaterError(f"types: a column of {column.type} cannot be made {kind}") from None
    return cast_rows(column, kind)


def _conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [
        batch.column(batch.schema.get_field_index(field.name))
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
