"""One look at every file: its checksum, where its records begin, and what its first records look like."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import (
    avro,
    csv,
    csv_ranges,
    jsonarrays,
    jsonl,
    parquet,
    sniffing,
    staging,
    tfrecord,
)
from headwater.components.common.sources.dialect import Dialect
from headwater.components.common.sources.files import Element, Notice, Reading, SourceFile
from headwater.components.common.sources.types import parse_type

SAMPLE_BYTES = 4 << 20
"""The beginning of each CSV file that its types are guessed from."""

RECORD_BYTES = 256 << 20
"""A record of text that is longer is refused: most often a quote was left open."""

_FIRST_ROWS = {"jsonl": jsonl, "parquet": parquet, "avro": avro, "tfrecord": tfrecord}


class Scan(NamedTuple):
    """What a look at one file found.

    Attributes:
      file: with its checksum and, where the format names them up front, its columns.
      elements: its ranges in order; `rows` is -1 where only reading tells.
      kinds: the columns' types: declared by the format, guessed from a sample, or empty.
      notices: what the user should know of how it is read.
    """

    file: SourceFile
    elements: list[Element]
    kinds: dict[str, pa.DataType]
    notices: tuple[Notice, ...] = ()


def scan_files(
    files: Sequence[SourceFile], folder: str, reading: Reading, label: str = "collect", **beam: Any
) -> list[Scan]:
    """Looks at files, unpacking first those that need it.

    Args:
      files: from `discover`.
      folder: URI of a scratch folder that every worker reaches; empty where nothing may be unpacked.
      reading: how text is read.
      label: for progress.
      **beam: options of `beam.map_merge`.

    Raises:
      HeadwaterError: a file cannot be read, or a quote never closes.
    """
    files = _stage(files, folder, reading, label, beam, lambda file: staging.needs_staging(file, reading))
    records = _look(files, reading, label, beam)
    # A byte order mark is seen only now, and that a JSON file is no JSON Lines.
    marked = {uri for uri, found in records.items() if found[0].get("encoding") or found[0].get("document")}
    if marked:
        files = _stage(files, folder, reading, label, beam, lambda file: file.uri in marked)
        records = {**records, **_look([file for file in files if file.uri in marked], reading, label, beam)}
    files, changed = _settle_dialects(files, records)
    if changed:
        again = _look(changed, reading, label, beam)
        for file in changed:
            if file.dialect == Dialect(**records[file.uri][0]["dialect"]):
                again[file.uri][0]["notices"] = records[file.uri][0]["notices"]
        records = {**records, **again}
    return [_scan_of(file, records[file.uri]) for file in files]


def _settle_dialects(
    files: Sequence[SourceFile], records: dict[str, list[dict]]
) -> tuple[list[SourceFile], list[SourceFile]]:
    """Gives CSV files their detected dialects; a file whose dialect is uncertain follows the others.

    Returns:
      All files, and those among them that have to be read again, because their blocks were read in another dialect.
    """
    found = {file.uri: Dialect(**records[file.uri][0]["dialect"]) for file in files if file.format == "csv"}
    sure = {dialect for uri, dialect in found.items() if records[uri][0]["sure"]}
    common = {dataclasses.replace(dialect, skip_rows=0) for dialect in sure}
    settled, changed = [], []
    for file in files:
        if file.format == "csv":
            dialect, seen = found[file.uri], file.dialect
            first = records[file.uri][0]
            if not first["sure"] and len(common) == 1:
                dialect = dataclasses.replace(next(iter(common)), skip_rows=dialect.skip_rows)
                first["notices"] = [notice for notice in first["notices"] if notice[:2] != ["csv_dialect", "warning"]]
            again = dialect != found[file.uri]
            # Blocks after the first were read before the first showed the dialect.
            blocks = len(records[file.uri]) > 1 and (dialect.delimiter, dialect.quote) != (seen.delimiter, seen.quote)
            file = dataclasses.replace(file, dialect=dialect)
            if again or blocks:
                file = dataclasses.replace(file, detected=True)
                changed.append(file)
        settled.append(file)
    return settled, changed


def _stage(files, folder, reading, label, beam, needed) -> list[SourceFile]:
    packed = [file for file in files if needed(file)]
    if not packed:
        return list(files)
    if not folder:
        raise HeadwaterError(
            f"{packed[0].uri}: plain input must be uncompressed UTF-8, with one JSON object per line; this is "
            "compressed, in another encoding, or JSON over several lines, so collect it first"
        )
    plain = staging.stage_files(packed, folder, reading, label, **beam)
    return sorted([file for file in files if not needed(file)] + plain, key=lambda file: file.uri)


def _look(files: Sequence[SourceFile], reading: Reading, label: str, beam) -> dict[str, list[dict]]:
    from headwater.components.common.beam import map_merge

    blocks = [
        (file, number * csv_ranges.BLOCK_BYTES)
        for file in files
        for number in range(max(1, -(-file.size // csv_ranges.BLOCK_BYTES)))
    ]
    content = map_merge(
        f"{label}: scan",
        blocks,
        functools.partial(_look_at, reading),
        b"\n".join,
        sizes=[min(csv_ranges.BLOCK_BYTES, file.size - start) for file, start in blocks],
        unit="bytes",
        **{"preload": [__name__], **beam},
    )
    lines = [json.loads(line) for line in content.splitlines()]
    return {uri: list(group) for uri, group in itertools.groupby(lines, lambda record: record["uri"])}


def _look_at(reading: Reading, item: tuple[SourceFile, int]) -> bytes:
    file, start = item
    data = storage.read_range(file.content, max(0, start - 1), start + csv_ranges.BLOCK_BYTES)
    before, data = (data[:1], data[1:]) if start else (b"\n", data)
    record: dict[str, Any] = {"uri": file.uri, "sha256": storage.sha256(data)}
    if file.format in staging.TEXT:
        if not start and (encoding := staging.other_encoding(data[:4])):
            return json.dumps({**record, "encoding": encoding}).encode()
        record["ended"] = data[-1:] == b"\n"
    if file.format == "csv":
        if start:
            record.update(csv_ranges.scan_block(data, file.dialect, before)._asdict())
        else:
            record.update(_look_at_beginning(file, data, reading))
    elif file.format == "jsonl":
        record["start"] = data.find(b"\n") + 1
        if not start and jsonarrays.may_be_document(file.uri):
            record["document"] = not file.place and jsonarrays.is_document(data)
            one = data.strip()
            record["wrapped"] = jsonarrays.wrapped_in(one) if len(data) == file.size and b"\n" not in one else None
    elif not start:
        record.update(_look_inside(file))
    return json.dumps(record).encode()


def _look_at_beginning(file: SourceFile, data: bytes, reading: Reading) -> dict:
    """The dialect, the header and the first block of a CSV file."""
    dialect, sure = file.dialect, True
    notices: list[tuple[str, str, str | None, str]] = []
    if not file.detected:
        whole = len(data) == file.size
        dialect, sure, notices = sniffing.sniff(data, whole, reading, file.dialect.delimiter)
    start = csv_ranges.find_content(file.uri, data, dialect)
    names, unnamed, first = csv_ranges.read_header(file.uri, data[start:], dialect, reading.column_names)
    _check_names(file.uri, names)
    first += start
    sample = data[first : first + SAMPLE_BYTES]
    kinds = csv.sample_types(sample, names, dialect, whole=first + len(sample) == file.size)
    return {
        **csv_ranges.scan_block(data[first:], dialect)._asdict(),
        "dialect": dataclasses.asdict(dialect),
        "sure": sure,
        "names": names,
        "first": first,
        "kinds": {name: str(kind) for name, kind in kinds.items()},
        "notices": [*notices, *(_unnamed_notice(name, names) for name in unnamed)],
    }


def _unnamed_notice(name: str, names: Sequence[str]) -> tuple[str, str, str | None, str]:
    place = names.index(name) + 1
    sentence = (
        f"column {place} of {len(names)} has no name in the header, so it is called {name!r}; rename: {{{name}: ...}}"
    )
    return "unnamed_column", "warning", name, f"{sentence} gives it another name"


def _look_inside(file: SourceFile) -> dict:
    if file.format == "tfrecord":
        return {"ranges": tfrecord.find_ranges(file.content)}
    if file.format == "avro":
        schema, ranges, notices = avro.read_schema(file.content), avro.find_ranges(file.content), []
    else:
        footer = parquet.read_footer(file.content)
        schema, ranges, notices = footer.schema, footer.ranges, _notices_of(footer)
    return {
        "ranges": ranges,
        "names": schema.names,
        "schema": schema.serialize().to_pybytes().hex(),
        "notices": notices,
    }


def _notices_of(footer: parquet.Footer) -> list[tuple[str, str, str | None, str]]:
    found: list[tuple[str, str, str | None, str]] = [
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
        found.append(("reader", "info", None, f"pyarrow {pa.__version__} cannot read this file, so DuckDB read it"))
    return found


def _scan_of(file: SourceFile, records: Sequence[dict]) -> Scan:
    digest = hashlib.sha256("".join(record["sha256"] for record in records).encode()).hexdigest()
    first = records[0]
    file = dataclasses.replace(file, sha256=digest, names=tuple(first.get("names", ())))
    _check_names(file.uri, file.names)
    kinds: dict[str, pa.DataType] = {}
    guessed = False
    if file.format == "csv":
        blocks = [
            csv_ranges.Block(r["quotes"], tuple(r["starts"]), tuple(r["lines"]), r["blank"], tuple(r["regular"]))
            for r in records
        ]
        ended = records[-1]["ended"] or not file.size
        ranges = csv_ranges.chain_blocks(
            file.uri, file.content, blocks, file.size, file.dialect, first["first"], ended=ended
        )
        guessed = all(rows >= 0 for _, _, rows in ranges) and bool(first["kinds"])
        kinds = {name: parse_type(first["kinds"].get(name, "null")) for name in file.names}
    elif file.format == "jsonl":
        starts = [0] + [
            number * csv_ranges.BLOCK_BYTES + record["start"]
            for number, record in enumerate(records)
            if number and record["start"]
        ]
        ranges = [(start, stop, -1) for start, stop in zip(starts, [*starts[1:], file.size]) if start < stop]
    else:
        ranges = [tuple(found) for found in first["ranges"]]
        if "schema" in first:
            schema = pa.ipc.read_schema(pa.BufferReader(bytes.fromhex(first["schema"])))
            kinds = dict(zip(schema.names, schema.types))
    _check_records(file, ranges)
    row = csv_ranges.first_row_number(file.dialect) if file.format == "csv" else _FIRST_ROWS[file.format].FIRST_ROW
    elements = []
    for start, stop, rows in ranges:
        elements.append(Element(file, start, stop, row, rows, guessed))
        row += max(rows, 0)
    notices = [
        Notice(rule, severity, column, message, file.uri)
        for rule, severity, column, message in first.get("notices", ())
    ]
    if first.get("wrapped"):
        notices.append(_wrapped(file.uri, first["wrapped"]))
    return Scan(file, elements, kinds, tuple(notices))


def _wrapped(uri: str, key: str) -> Notice:
    return Notice(
        "wrapped_records",
        "warning",
        key,
        f"the file is one object, read as one row, whose {key!r} holds a list of objects; if those are the records, "
        f"write them one per line first, as with jq -c '.[\"{key}\"][]'",
        uri,
    )


def _check_names(uri: str, names: Sequence[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise HeadwaterError(f"{uri}: the column name {name!r} appears twice; column names must be unique")
        seen.add(name)


def _check_records(file: SourceFile, ranges: Sequence[tuple[int, int, int]]) -> None:
    if file.format in staging.TEXT:
        for start, stop, _ in ranges:
            if stop - start > RECORD_BYTES + csv_ranges.BLOCK_BYTES:
                raise HeadwaterError(
                    f"{file.uri}: the record near byte {start:,} is longer than {RECORD_BYTES >> 20} MiB; a quote may "
                    "have "
                    "been left open"
                )
