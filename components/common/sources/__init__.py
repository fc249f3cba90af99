"""Users' own files as one table: found, fingerprinted, typed, and cut into ranges that can be read apart.

A range (`Element`) is a function of the file alone: fixed blocks of text, row groups of a Parquet file, blocks of
an Avro file. `formats` has one module a format, which says how its ranges are found and read.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common.arrow_types import ENCODED
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import hive, inferring
from headwater.components.common.sources.cells import invalid_text
from headwater.components.common.sources.discovery import discover
from headwater.components.common.sources.files import (
    BLOCK_BYTES,
    Element,
    Misfit,
    Notice,
    Reading,
    SourceFile,
    merge_notices,
)
from headwater.components.common.sources.formats import FORMATS
from headwater.components.common.sources.formats.base import Rows, clear_errors
from headwater.components.common.sources.joining import joined, joined_ranges
from headwater.components.common.sources.rejections import Rejection, clip
from headwater.components.common.sources.scanning import (
    Scan,
    blocks_of,
    checksum,
    digest_of,
    need_a_pool,
    open_files,
    open_here,
    scan_files,
)
from headwater.components.common.sources.types import (
    cast_rows,
    castable,
    conform,
    decode_type,
    encode_type,
    parse_type,
    widen,
)
from headwater.components.common.tables_in_memory import named

__all__ = [
    "Element",
    "Misfit",
    "Notice",
    "Reading",
    "Rejection",
    "SourceFile",
    "Sources",
    "blocks_of",
    "checksum",
    "digest_of",
    "discover",
    "fingerprint",
    "joined_ranges",
    "need_a_pool",
    "open_files",
    "open_here",
    "open_sources",
    "read_element",
    "read_elements",
    "reads_columns",
    "scan_files",
]


@dataclasses.dataclass(frozen=True)
class Sources:
    """The input as a whole.

    Attributes:
      files: in order of URI.
      schema: the columns of all files united by name, in order of appearance.
      elements: all ranges, in the order of files and of positions in them.
      guessed: the columns whose types were inferred from a sample; reading raises `Misfit` where one does not hold.
      notices: what the user should know of how the files are read; those of several files merged.
      columns: URI and columns of each file.
    """

    files: list[SourceFile]
    schema: pa.Schema
    elements: list[Element]
    guessed: frozenset[str] = frozenset()
    notices: tuple[Notice, ...] = ()
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()


def open_sources(
    scans: Sequence[Scan],
    *,
    types: Mapping[str, str] | None = None,
    exact: bool = False,
    label: str = "collect",
    **beam: Any,
) -> Sources:
    """Types the columns and numbers the rows of each range.

    Args:
      scans: from `scan_files`.
      types: declared types by column; the rest are the files' own (Parquet, Avro) or inferred. Types that files
        declare go before inferred ones.
      exact: read everything now. By default the types of CSV files are guessed from their beginnings, which reading
        proves or refutes by `Misfit`: then come back with `exact`.
      label: for progress.
      **beam: options of `beam.map_merge`.

    Raises:
      HeadwaterError: types conflict, a declared column is not there.
    """
    asked = {name: parse_type(kind) for name, kind in (types or {}).items()}
    inferred = {
        number
        for number, scan in enumerate(scans)
        if not _declares(scan) and (exact or not scan.elements or not scan.elements[0].guessed)
    }
    # One file that needs the long way takes all CSV files along: what is guessed is checked by one rule.
    scans = _infer(scans, inferred, label, beam)
    kinds, guessed, mixed = _unite(scans, inferred)
    kinds.update(_partition_types(scans))
    if not kinds:
        hint = "; ".join(dict.fromkeys(["", *(FORMATS[scan.file.format].hint for scan in scans)]))
        raise HeadwaterError(f"{scans[0].file.uri}: there is no readable record to take the columns from{hint}")
    unknown = sorted(set(asked) - set(kinds))
    if unknown:
        raise HeadwaterError(f"types: there is no column {unknown[0]!r}; the columns are {', '.join(kinds)}")
    for scan in scans:
        if _declares(scan):
            for name, kind in asked.items():
                if name in scan.kinds and not castable(scan.kinds[name], kind):
                    raise HeadwaterError(
                        f"types: {name!r} is {scan.kinds[name]} in {scan.file.uri}, which cannot be converted to {kind}"
                    )
    kinds.update(asked)
    elements = [element for scan in scans for element in scan.elements]
    notices = merge_notices(
        [notice for scan in scans for notice in scan.notices] + _mixed_zones(scans, mixed - set(asked))
    )
    return Sources(
        [scan.file for scan in scans],
        pa.schema(kinds),
        elements,
        frozenset(guessed) - set(asked),
        tuple(notices),
        tuple((scan.file.uri, tuple(scan.kinds)) for scan in scans),
    )


def fingerprint(files: Sequence[SourceFile]) -> str:
    """Identifies the content of all files, wherever they lie; what their folders hold of it is among it."""
    content = [[file.format, file.sha256, *([file.partitions] if file.partitions else [])] for file in files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def lineage(opened: Sources, rows: Iterable[int]) -> list[dict[str, Any]]:
    """Files as manifests describe them: uri, format, bytes, sha256, rows, and what their format adds.

    Args:
      opened: the files.
      rows: how many each of its elements has.
    """
    by_uri: dict[str, dict[str, Any]] = {
        file.uri: {"uri": named(file.uri), "format": file.format, "bytes": file.size, "sha256": file.sha256, "rows": 0}
        for file in opened.files
    }
    for file in opened.files:
        by_uri[file.uri].update(FORMATS[file.format].describe(file))
    for element, count in zip(opened.elements, rows):
        by_uri[element.file.uri]["rows"] += count
    return list(by_uri.values())


def read_element(
    element: Element,
    schema: pa.Schema,
    guessed: Collection[str] = (),
    only: Collection[str] | None = None,
    *,
    encoded: bool = False,
) -> Iterator[tuple[pa.RecordBatch, np.ndarray, list[Rejection]]]:
    """The rows of one range as record batches of `schema`.

    Args:
      element: the range.
      schema: the united schema.
      guessed: columns whose types have to be checked.
      only: the columns that are wanted, all by default; the others are missing throughout.
      encoded: whether text may be `ENCODED`, where the file holds it so.

    Yields:
      A batch; the number of each of its rows in the file, int64; and the records that could not be read.

    Raises:
      Misfit: what was guessed does not hold here.
    """
    file = element.file
    form = FORMATS[file.format]
    kinds = _kinds(file, schema, only)
    read = form.read_encoded if encoded else form.read
    for batch, rows, rejections in _read(read(element, kinds, guessed), element):
        if not form.converts:
            batch, rows, refused = _cast_batch(batch, rows, schema, encoded)
            rejections = [*rejections, *refused]
        yield _conform(batch, schema, file), rows, rejections


def read_elements(
    elements: Sequence[Element], schema: pa.Schema, guessed: Collection[str] = ()
) -> Iterator[tuple[pa.RecordBatch, np.ndarray, np.ndarray, list[tuple[int, Rejection]]]]:
    """The rows of several ranges, in order; those of neighbours that are alike at once, where their format can.

    Args:
      elements: the ranges.
      schema, guessed: as `read_element` takes them.

    Yields:
      A batch; of each of its rows the place of its range among the elements and its number in the file, int64; and the
      records that could not be read, each after the place of its range.

    Raises:
      Misfit: what was guessed does not hold here.
    """
    for _, group in itertools.groupby(enumerate(elements), key=lambda pair: _alike(pair[1])):
        places, alike = zip(*group)
        together = _read_together(alike, schema, guessed) if len(alike) > 1 else None
        if together:
            batch, records, rejections = together
            own, rows = _located(alike, records)
            refused, refused_rows = _located(alike, np.array([each.row for each in rejections], np.int64))
            told = [
                (places[place], rejection._replace(row=int(row)))
                for rejection, place, row in zip(rejections, refused, refused_rows)
            ]
            yield batch, own + places[0], rows, told
            continue
        for place, element in zip(places, alike):
            for batch, rows, rejections in read_element(element, schema, guessed):
                yield batch, np.full(len(rows), place, np.int64), rows, [(place, each) for each in rejections]


def _alike(element: Element) -> tuple[Any, ...]:
    """What is the same for ranges that may be read at once."""
    file = element.file
    return file.format, file.names, file.layout, file.partitions, element.guessed


def _read_together(elements: Sequence[Element], schema: pa.Schema, guessed: Collection[str]) -> Rows | None:
    file = elements[0].file
    try:
        read = FORMATS[file.format].read_together(elements, _kinds(file, schema), guessed)
    except (pa.ArrowException, OSError):
        # Whatever it is, reading one by one tells of which file.
        return None
    if read is None:
        return None
    batch, records, rejections = read
    return _conform(batch, schema, file), records, rejections


def _located(elements: Sequence[Element], records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of records numbered throughout, the place of each one's range, and its number in the file."""
    begins = np.cumsum([0, *(element.rows for element in elements)])
    places = np.searchsorted(begins, records, "right") - 1
    return places, records - begins[places] + np.array([element.first_row for element in elements])[places]


def _kinds(file: SourceFile, schema: pa.Schema, only: Collection[str] | None = None) -> dict[str, pa.DataType | None]:
    """The columns of a file that are wanted, with the types that they have in the end."""
    # Without a column there would be no rows.
    chosen = None if only is None else set(only)
    names = [name for name in file.names if chosen is None or name in chosen] or list(file.names[:1])
    wanted = dict(zip(schema.names, schema.types))
    return {name: wanted.get(name) for name in names}


def _read(reading: Iterator[Rows], element: Element) -> Iterator[Rows]:
    while True:
        # Only what reading raises is about the file.
        with clear_errors(element.file.uri, element.file.format):
            rows = next(reading, None)
        if rows is None:
            return
        yield rows


def reads_columns(element: Element) -> bool:
    """Whether reading a few columns of a range is much cheaper than reading all."""
    return FORMATS[element.file.format].columnar


def _cast_batch(
    batch: pa.RecordBatch, rows: np.ndarray, schema: pa.Schema, encoded: bool = False
) -> tuple[pa.RecordBatch, np.ndarray, list[Rejection]]:
    columns, bad, rejections = {}, np.zeros(batch.num_rows, bool), []
    names, wanted = batch.schema.names, dict(zip(schema.names, schema.types))
    for name, column in zip(names, batch.columns):
        places = invalid_text(column)
        rejections += [Rejection(int(rows[place]), name, "encoding: not UTF-8", None) for place in places[~bad[places]]]
        bad[places] = True
    if bad.any():
        batch, rows = batch.filter(pa.array(~bad)), rows[~bad]
        bad = np.zeros(batch.num_rows, bool)
    for name, column in zip(names, batch.columns):
        kind = wanted.get(name, column.type)
        if column.type.equals(kind) or (encoded and pa.types.is_string(kind) and column.type.equals(ENCODED)):
            columns[name] = column
            continue
        columns[name], places = cast_rows(column, kind, functools.partial(conform, target=kind))
        for place in places[~bad[places]]:
            value = clip(str(column[int(place)].as_py()))
            rejections.append(Rejection(int(rows[place]), name, f"type: not {kind}", value))
        bad[places] = True
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    if bad.any():
        batch, rows = batch.filter(pa.array(~bad)), rows[~bad]
    return batch, rows, rejections


def _infer(scans: Sequence[Scan], chosen: Collection[int], label: str, beam: Mapping[str, Any]) -> list[Scan]:
    """Reads all of the chosen files for their types and rows."""
    from headwater.components.common.beam import map_merge

    items = [(number, element) for number in sorted(chosen) for element in scans[number].elements]
    if not items:
        return list(scans)
    lengths = [element.stop - element.start for _, element in items]
    runs = joined([element for _, element in items], (lengths, BLOCK_BYTES))
    content = map_merge(
        f"{label}: infer types",
        runs,
        _infer_elements,
        b"\n".join,
        sizes=[sum(element.stop - element.start for element in run) for run in runs],
        unit="bytes",
        **{"preload": [__name__], **beam},
    )
    decoded = [json.loads(line) for line in content.splitlines()]
    result = list(scans)
    for number, group in itertools.groupby(zip(items, decoded), lambda pair: pair[0][0]):
        file = scans[number].file
        widen_two = FORMATS[file.format].widen
        kinds = {name: pa.null() for name in file.names}
        elements: list[Element] = []
        row = scans[number].elements[0].first_row
        for (_, element), (rows, types) in group:
            elements.append(dataclasses.replace(element, first_row=row, rows=rows, guessed=False))
            row += rows
            for name, text in types.items():
                kind = decode_type(text)
                kinds[name] = widen_two(kinds[name], kind) if name in kinds else kind
        file = dataclasses.replace(file, names=tuple(kinds))
        elements = [dataclasses.replace(element, file=file) for element in elements]
        result[number] = Scan(file, elements, kinds, scans[number].notices)
    return result


def _infer_elements(elements: tuple[Element, ...]) -> bytes:
    return b"\n".join(map(_infer_element, elements))


def _infer_element(element: Element) -> bytes:
    rows, kinds = FORMATS[element.file.format].infer(element)
    return json.dumps([rows, {name: encode_type(kind) for name, kind in kinds.items()}]).encode()


def _declares(scan: Scan) -> bool:
    return FORMATS[scan.file.format].declares


def _unite(scans: Sequence[Scan], inferred: Collection[int]) -> tuple[dict[str, pa.DataType], set[str], set[str]]:
    """The columns of all files by name; those whose types are guesses; and those that mix times of both kinds."""
    declared: dict[str, tuple[pa.DataType, str]] = {}
    kinds: dict[str, pa.DataType] = {}
    guessed: set[str] = set()
    for number, scan in enumerate(scans):
        declares = _declares(scan)
        if not declares and number not in inferred:
            guessed.update(scan.kinds)
        for name, kind in scan.kinds.items():
            if declares:
                earlier, uri = declared.get(name, (kind, scan.file.uri))
                wider = widen(earlier, kind)
                if wider is None:
                    raise HeadwaterError(
                        f"{scan.file.uri}: column {name!r} is {kind} here and {earlier} in {uri}; no type holds both, "
                        "so declare one in types or fix the files"
                    )
                declared[name] = (wider, uri)
                kinds.setdefault(name, wider)
            elif kinds.get(name) is not kind:
                kinds[name] = inferring.widen_inferred(kinds[name], kind) if name in kinds else kind
    mixed = {
        name
        for name, kind in kinds.items()
        if name not in declared and inferring.has_leaf(kind, inferring.MIXED_ZONES.equals)
    }
    kinds = {name: kind if name in declared else inferring.settle(kind) for name, kind in kinds.items()}
    for name, (kind, _) in declared.items():
        # A file that declares its types knows better than a guess over text; what does not fit is rejected.
        others = [inferring.settle(scan.kinds[name]) for scan in scans if not _declares(scan) and name in scan.kinds]
        wider = functools.reduce(lambda one, two: one and widen(one, two), others, kind)
        kinds[name] = wider or kind
        guessed.discard(name)
    return kinds, guessed, mixed


def _partition_types(scans: Sequence[Scan]) -> dict[str, pa.DataType]:
    """The types of the columns that folders hold.

    Raises:
      HeadwaterError: a file has a column of that name as well.
    """
    types = hive.types_of([scan.file.partitions for scan in scans])
    for scan in scans:
        for name, _ in scan.file.partitions:
            if name in scan.kinds:
                raise HeadwaterError(
                    f"{scan.file.uri}: {name!r} is a column of the file and a key of its folder; rename one, or give "
                    "the files themselves, as by a glob within the folder, to ignore the folder's key"
                )
    return types


def _mixed_zones(scans: Sequence[Scan], names: Collection[str]) -> list[Notice]:
    return [
        Notice(
            "mixed_zones",
            "warning",
            name,
            f"{name!r} holds times with and without a zone, so it stays text; declare types: "
            f"{{{name}: 'timestamp[us, UTC]'}} to reject those without, or give formats: {{{name}: ...}} with a zone "
            "for them",
            next(scan.file.uri for scan in scans if name in scan.kinds),
        )
        for name in sorted(names)
    ]


def _conform(batch: pa.RecordBatch, schema: pa.Schema, file: SourceFile) -> pa.RecordBatch:
    own = tuple((name, value) for name, value in file.partitions if name in schema.names)
    fixed = hive.constants(own, {name: schema.field(name).type for name, _ in own}, file.uri)
    columns = dict(zip(batch.schema.names, batch.columns))
    arrays = [
        columns[field.name]
        if field.name in columns
        else pa.repeat(fixed[field.name], batch.num_rows)
        if field.name in fixed and fixed[field.name].is_valid
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    fields = [field.with_type(ENCODED) if array.type.equals(ENCODED) else field for field, array in zip(schema, arrays)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
