"""Compressed, archived and differently encoded files, unpacked once as plain UTF-8 into a scratch folder.

Neither gzip nor zip can be read from the middle, and record ends of UTF-16 cannot be distinguished from a byte alone. Unpacked
once, such a file is cut into ranges and read on every core like any other. JSON documents become JSON Lines on the way
(`Format.plain`).
"""

from __future__ import annotations

import codecs
import dataclasses
import functools
import itertools
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa

from headwater.components.common import fanout, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.discovery import recognise
from headwater.components.common.sources.files import Reading, SourceFile
from headwater.components.common.sources.formats import FORMATS

CHUNK_BYTES = 1 << 20
BOMB_BYTES = 256 << 20
"""Content smaller than this is unpacked whatever its ratio."""

BOMB_RATIO = 250
"""Beyond `BOMB_BYTES`, content that unpacks to more than this many times its size is refused."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def needs_staging(file: SourceFile, reading: Reading) -> bool:
    """Whether a file cannot be read as it stands."""
    if file.place:
        return False
    return bool(file.compression) or (FORMATS[file.format].text and not _is_utf8(reading.encoding))


def other_encoding(head: bytes) -> str | None:
    """The encoding other than UTF-8 that a byte order mark names."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name if name != "utf-8-sig" else None
    return None


def stage_files(
    files: Sequence[SourceFile], folder: str, reading: Reading, label: str, **beam: Any
) -> list[SourceFile]:
    """Unpacks files into `folder`.

    Args:
      files: those that need it.
      folder: URI of a scratch folder that every worker reaches.
      reading: how text is read.
      label: for progress.
      **beam: options of `beam.map_merge`.

    Returns:
      The plain files, more than were given where archives have several members; an empty archive is an error.

    Raises:
      HeadwaterError: a file is damaged, protected, a bomb, or not in its encoding.
    """
    from headwater.components.common.beam import map_merge

    content = map_merge(
        f"{label}: unpack",
        list(enumerate(files)),
        functools.partial(_stage, storage.join(folder, fanout.attempt_id()), reading),
        b"\n".join,
        sizes=[file.size for file in files],
        unit="bytes",
        **{"preload": [__name__], **beam},
    )
    staged = []
    for line in content.splitlines():
        for member in json.loads(line):
            columns = tuple((name, value) for name, value in member["partitions"])
            staged.append(SourceFile(**{**member, "partitions": columns}))
    return staged


def _stage(folder: str, reading: Reading, item: tuple[int, SourceFile]) -> bytes:
    number, file = item
    stem = storage.join(folder, f"{number:05d}")
    with storage.open_input(file.uri) as raw:
        try:
            if file.compression == "zip":
                members = _unzip(file, raw, stem, reading)
            else:
                source = pa.CompressedInputStream(raw, file.compression) if file.compression else raw
                members = [_plain(file, source, stem, reading, file.size)]
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise HeadwaterError(f"{file.uri}: cannot be unpacked; it may be damaged or cut short: {error}") from None
    return json.dumps([dataclasses.asdict(member) for member in members]).encode()


def _unzip(file: SourceFile, raw: Any, stem: str, reading: Reading) -> list[SourceFile]:
    members = []
    with zipfile.ZipFile(raw) as archive:
        entries = sorted(
            (entry for entry in archive.infolist() if not entry.is_dir()), key=lambda entry: entry.filename
        )
        for number, entry in enumerate(entries):
            name = entry.filename
            if re.match(r"(?:[A-Za-z]:|[/\\])", name) or ".." in re.split(r"[/\\]", name):
                raise HeadwaterError(
                    f"{file.uri}: the path of the member {name!r} leads outside the archive; such archives are refused"
                )
            if any(part.startswith(("_", ".")) for part in name.split("/")):
                continue
            recognised = recognise(name)
            if recognised is None or recognised[1]:
                raise HeadwaterError(f"{file.uri}: the format of the member {name!r} cannot be read inside an archive")
            if entry.flag_bits & 0x1:
                raise HeadwaterError(
                    f"{file.uri}: the member {name!r} is protected by a password; store it without one"
                )
            uri = f"{file.uri}#{name}"
            member = SourceFile(uri, recognised[0], entry.file_size, "zip", partitions=file.partitions)
            with archive.open(entry) as stream:
                members.append(_plain(member, stream, f"{stem}-{number:05d}", reading, entry.compress_size))
    if not members:
        raise HeadwaterError(f"{file.uri}: the archive has no file that can be read")
    return members


def _plain(file: SourceFile, source: IO[bytes], place: str, reading: Reading, packed: int) -> SourceFile:
    size = 0
    chunks = FORMATS[file.format].plain(file.uri, _decoded(file, _chunks(source), reading))
    with storage.open_output(place) as target:
        for chunk in chunks:
            size += len(chunk)
            if size > BOMB_BYTES and size > BOMB_RATIO * packed:
                raise HeadwaterError(
                    f"{file.uri}: unpacks to more than {BOMB_RATIO} times its size; this looks like a zip bomb: "
                    "unpack it yourself if it is not"
                )
            target.write(chunk)
    return dataclasses.replace(file, size=size, place=place)


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK_BYTES):
        yield chunk


def _decoded(file: SourceFile, chunks: Iterator[bytes], reading: Reading) -> Iterator[bytes]:
    first = next(chunks, b"")
    encoding = other_encoding(first[:4]) or reading.encoding
    if not FORMATS[file.format].text or _is_utf8(encoding):
        yield first
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    done = 0
    for chunk in itertools.chain([first], chunks):
        yield _decode(file, decoder, chunk, encoding, done)
        done += len(chunk)
    yield _decode(file, decoder, b"", encoding, done, final=True)


def _decode(file: SourceFile, decoder: Any, chunk: bytes, encoding: str, done: int, final: bool = False) -> bytes:
    try:
        return decoder.decode(chunk, final).encode()
    except UnicodeError as error:
        place = done + getattr(error, "start", 0)
        raise HeadwaterError(
            f"{file.uri}: not {encoding} near byte {place:,}; set `encoding`, or fix the file"
        ) from None


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")
