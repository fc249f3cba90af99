"""Source files: which there are, of what format, and the ranges of them that are read apart."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.dialect import Dialect
from headwater.components.common.sources.hive import Partitions, partitions_of

FORMATS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".avro": "avro",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zip": "zip"}
TEXT = ("csv", "jsonl")
"""The formats that are text: they have an encoding."""

ARCHIVE = "archive"
"""The format of a zip file before it is unpacked: its members have formats of their own."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """How text is read, as far as the user says; the rest of a CSV's dialect is detected in each file.

    Attributes:
      delimiter: of a CSV; a `.tsv` has tabs then. Empty to detect it.
      encoding: of CSV and JSONL, as Python names encodings; a byte order mark goes before it.
      column_names: the columns of CSV files that have no header; empty when they have one.
      quote: see `Dialect`; empty for none, None to detect it.
      escape: see `Dialect`; None to detect it.
      comment: see `Dialect`; it is not detected.
      skip_rows: see `Dialect`; None to detect it.
      header: see `Dialect`; None to detect it.
      decimal: see `Dialect`; it is not detected.
      thousands: see `Dialect`; it is not detected.
    """

    delimiter: str = ""
    encoding: str = "utf-8"
    column_names: tuple[str, ...] = ()
    quote: str | None = None
    escape: str | None = None
    comment: str = ""
    skip_rows: int | None = None
    header: bool | None = None
    decimal: str = "."
    thousands: str = ""


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One file of the input.

    Attributes:
      uri: where it is, for people; a member of an archive follows its name and a `#`.
      format: a value of `FORMATS`.
      size: of the plain content, in bytes.
      compression: a value of `COMPRESSIONS`, or empty.
      dialect: of a CSV; before the file was read, only the delimiter that its name lets expect.
      place: URI of the plain content, when it is not at `uri` as it stands.
      sha256: of the SHA-256s of the content's blocks of `csv_ranges.BLOCK_BYTES`, in order.
      names: its columns.
      partitions: the columns that its folders hold, see `hive`.
      detected: whether `dialect` is complete, and not to be detected again.
    """

    uri: str
    format: str
    size: int
    compression: str = ""
    dialect: Dialect = Dialect()
    place: str = ""
    sha256: str = ""
    names: tuple[str, ...] = ()
    partitions: Partitions = ()
    detected: bool = False

    @property
    def content(self) -> str:
        """URI of the plain content."""
        return self.place or self.uri


@dataclasses.dataclass(frozen=True)
class Element:
    """A range of one file that is read by itself.

    Attributes:
      file: the file.
      start: its first byte; in a Parquet file its first row group.
      stop: one past the last.
      first_row: the number of its first row in the file (CSV counts the header as row 1, the others count from 1).
      rows: how many records it holds, those to be rejected included; -1 while that is not known.
      guessed: whether its rows and types were inferred from a sample, so that reading must check them.
    """

    file: SourceFile
    start: int
    stop: int
    first_row: int
    rows: int
    guessed: bool = False


class Notice(NamedTuple):
    """Something about how a file was read that its user should know: it becomes a finding.

    Attributes:
      rule: the short name of what was looked at.
      severity: "warning" or "info".
      column: the column that it is about, if it is about one.
      message: one sentence, without the file's name; equal sentences about several files are one finding.
      uri: the file.
    """

    rule: str
    severity: str
    column: str | None
    message: str
    uri: str


def merge_notices(notices: Iterable[Notice]) -> list[Notice]:
    """Equal notices about several files as one, whose sentence names the first file and counts the others."""
    uris: dict[tuple[str, str, str | None, str], list[str]] = {}
    for rule, severity, column, message, uri in notices:
        uris.setdefault((rule, severity, column, message), []).append(uri)
    merged = []
    for (rule, severity, column, message), (first, *others) in uris.items():
        more = f" and {len(others):,} other {'file' if len(others) == 1 else 'files'}" if others else ""
        merged.append(Notice(rule, severity, column, f"{message} ({first}{more})", first))
    return merged


class Misfit(Exception):
    """What was guessed from a sample does not hold for a range: all ranges have to be looked at."""


def recognise(name: str, reading: Reading) -> tuple[str, str, Dialect] | None:
    """The format, the compression and the delimiter that a file's name tells, or None."""
    stem, ending = os.path.splitext(name.lower())
    compression = COMPRESSIONS.get(ending, "")
    if not compression:
        stem, compression = name.lower(), ""
    base, ending = os.path.splitext(stem)
    kind = FORMATS.get(ending)
    if kind is None and "tfrecord" in os.path.basename(stem):
        # As TFX names them: data_tfrecord-00000-of-00001.gz
        kind = "tfrecord"
    if kind is None and compression == "zip":
        kind = ARCHIVE
    if kind is None:
        return None
    return kind, compression, Dialect(delimiter="\t" if ending == ".tsv" else reading.delimiter or ",")


def discover(
    uris: Sequence[str], reading: Reading = Reading(), left_out: Collection[str] = (), roots: Mapping[str, str] = {}
) -> list[SourceFile]:
    """The files that paths, folders, globs and URIs name, sorted by URI.

    Args:
      uris: what is named.
      reading: how text is read.
      left_out: keys of `key=value` folders that are no columns.
      roots: by URI, the folder below which its `key=value` folders are columns; what is named by default.

    Raises:
      HeadwaterError: nothing is there, or a file is of no format that is read.
    """
    if not uris:
        raise HeadwaterError("sources: must name at least one file, folder, glob or database")
    found: dict[str, SourceFile] = {}
    for uri in uris:
        files = storage.expand(uri)
        root = roots.get(uri) or storage.fixed_part(uri)
        known = []
        for file in files:
            recognised = recognise(file.uri, reading)
            if recognised:
                kind, compression, dialect = recognised
                columns = partitions_of(storage.relative(file.uri, root), left_out) if file.uri != root else ()
                known.append(SourceFile(file.uri, kind, file.size, compression, dialect, partitions=columns))
        if not known:
            if [storage.normalise(uri)] == [file.uri for file in files]:
                raise HeadwaterError(
                    f"{files[0].uri}: the file's extension is not one of {', '.join(FORMATS)}, optionally followed by "
                    f"{', '.join(COMPRESSIONS)}"
                )
            there = f"{len(files)} other files are" if files else "nothing is"
            raise HeadwaterError(f"{storage.normalise(uri)}: there is no file of a known format here; {there}")
        found.update((file.uri, file) for file in known)
    return [found[uri] for uri in sorted(found)]
