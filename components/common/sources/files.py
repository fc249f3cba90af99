"""Source files, the ranges of them that are read apart, and what users are told of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

from headwater.components.common.sources.hive import Partitions

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zip": "zip"}
"""Endings of files that are packed, and how."""

BLOCK_BYTES = 16 << 20
"""The bytes of a file that are looked at together; a range of text begins with the first record in one."""


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
      format: a key of `formats.FORMATS`; of an archive that is not unpacked yet, `discovery.ARCHIVE`.
      size: of the plain content, in bytes.
      compression: a value of `COMPRESSIONS`, or empty.
      place: URI of the plain content, when it is not at `uri` as it stands.
      sha256: of the SHA-256s of the content's blocks of `BLOCK_BYTES`, in order.
      names: its columns.
      partitions: the columns that its folders hold, see `hive`.
      layout: what reading has to know beyond that, as its format has found out: of a CSV its `Dialect`. None before.
    """

    uri: str
    format: str
    size: int
    compression: str = ""
    place: str = ""
    sha256: str = ""
    names: tuple[str, ...] = ()
    partitions: Partitions = ()
    layout: Any = None

    @property
    def content(self) -> str:
        """URI of the plain content."""
        return self.place or self.uri


@dataclasses.dataclass(frozen=True)
class Element:
    """A range of one file that is read by itself.

    Attributes:
      file: the file.
      start: where it begins, in the format's unit: bytes of most, row groups of Parquet.
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


def unpacked_name(name: str) -> str:
    """A file's name in small letters, without the ending that says how it is packed."""
    name = name.lower()
    return next((name.removesuffix(ending) for ending in COMPRESSIONS if name.endswith(ending)), name)
