"""One look at every file: its checksum, where its records begin, and what its first records look like."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from headwater.components.common import storage, stores
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.items import may_abort
from headwater.components.common.scheduling import run_here
from headwater.components.common.sources import files as source_files
from headwater.components.common.sources import staging
from headwater.components.common.sources.files import Element, Notice, Reading, SourceFile
from headwater.components.common.sources.formats import FORMATS
from headwater.components.common.sources.formats.base import Block, Outline, check_names
from headwater.components.common.sources.joining import joined

RECORD_BYTES = 256 << 20
"""A record of text that is longer is refused: most often a quote was left open."""


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


def need_a_pool(files: Sequence[SourceFile]) -> bool:
    """Whether `map_merge` has processes of their own read these: several blocks, and what may end its reader."""
    return len(files) > 1 or any(file.size > source_files.BLOCK_BYTES or may_abort(file) for file in files)


def open_files(files: Sequence[SourceFile], label: str, **beam: Any) -> list[Scan] | None:
    """As `scan_files`, of files that need only be opened: nothing is read through, and checksums are left empty.

    Args:
      files, label, **beam: as `scan_files` takes them.

    Returns:
      What was found; None where a file has to be looked through, unpacked, or is text.
    """
    reading = Reading()
    if any(FORMATS[file.format].text or staging.needs_staging(file, reading) for file in files):
        return None
    run: Any = run_here
    if beam.get("beam_pipeline_args"):
        from headwater.components.common.beam import map_merge

        run = map_merge
    looks = _by_file(run, [(file, 0) for file in files], _open, f"{label}: open", [1] * len(files), "files", beam)
    return [_scan_of(file, looks[file.uri]) for file in files]


def open_here(files: Sequence[SourceFile]) -> list[Scan] | None:
    """As `open_files`, in this process.

    Returns:
      What was found; None where a file must not be opened here, or has to be read for its outline.
    """
    scans = []
    for file in files:
        plain = not (file.compression or file.place or file.partitions or stores.scheme(file.uri))
        outline = FORMATS[file.format].open_here(file.uri) if plain and file.format in FORMATS else None
        if outline is None:
            return None
        scans.append(_scan(file, "", outline))
    return scans


def blocks_of(file: SourceFile) -> list[tuple[SourceFile, int]]:
    """The blocks of a file that its checksum is made of, with the offset of each."""
    return [
        (file, number * source_files.BLOCK_BYTES) for number in range(max(1, -(-file.size // source_files.BLOCK_BYTES)))
    ]


def digest_of(block: tuple[SourceFile, int]) -> str:
    """The SHA-256 of one of the blocks."""
    file, start = block
    return storage.sha256(storage.read_range(file.content, start, start + source_files.BLOCK_BYTES))


def checksum(digests: Iterable[str]) -> str:
    """A file's checksum from those of its blocks."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


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
    looks = _look(files, reading, label, beam)
    # A byte order mark is seen only now, and that a JSON file is no JSON Lines.
    marked = {uri for uri, blocks in looks.items() if blocks[0].get("unpack")}
    if marked:
        files = _stage(files, folder, reading, label, beam, lambda file: file.uri in marked)
        looks = {**looks, **_look([file for file in files if file.uri in marked], reading, label, beam)}
    again = []
    for name in dict.fromkeys(file.format for file in files):
        chosen = [file for file in files if file.format == name]
        again += FORMATS[name].settle({file.uri: looks[file.uri] for file in chosen}, chosen)
    if again:
        second = _look(again, reading, label, beam)
        looks |= {uri: [{**one, **two} for one, two in zip(looks[uri], blocks)] for uri, blocks in second.items()}
    return [_scan_of(file, looks[file.uri]) for file in files]


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

    blocks = [block for file in files for block in blocks_of(file)]
    sizes = [min(source_files.BLOCK_BYTES, file.size - start) for file, start in blocks]
    runs = joined(blocks, (sizes, source_files.BLOCK_BYTES))
    own = [sum(min(source_files.BLOCK_BYTES, file.size - start) for file, start in run) for run in runs]
    return _by_file(map_merge, runs, functools.partial(_look_at_all, reading), f"{label}: scan", own, "bytes", beam)


def _by_file(run, items, look, label: str, sizes: list[int], unit: str, beam) -> dict[str, list[dict]]:
    options = {"preload": [__name__], **beam}
    content = run(label, items, look, b"\n".join, sizes=sizes, unit=unit, **options)
    # Read as one, so that the names of what is told are in memory once.
    records = json.loads(b"[%s]" % content.replace(b"\n", b","))
    return {uri: list(group) for uri, group in itertools.groupby(records, lambda record: record["uri"])}


def _open(item: tuple[SourceFile, int]) -> bytes:
    file, start = item
    return json.dumps(
        {"uri": file.uri, **FORMATS[file.format].look(Block(file, start, b"", b"\n", Reading()))}
    ).encode()


def _look_at_all(reading: Reading, blocks: tuple[tuple[SourceFile, int], ...]) -> bytes:
    lines = []
    for name, group in itertools.groupby(blocks, lambda block: block[0].format):
        form = FORMATS[name]
        read = [_read_block(reading, *block) for block in group]
        packed = [form.text and not block.start and staging.other_encoding(block.data[:4]) for block in read]
        looks = iter(form.look_together([block for block, other in zip(read, packed) if not other]))
        lines += [
            {
                "uri": block.file.uri,
                "sha256": storage.sha256(block.data),
                **({"unpack": True} if other else next(looks)),
            }
            for block, other in zip(read, packed)
        ]
    return b"\n".join(json.dumps(line).encode() for line in lines)


def _read_block(reading: Reading, file: SourceFile, start: int) -> Block:
    # What stands before a block tells something in text alone, and costs a copy.
    earlier = 1 if FORMATS[file.format].text and start else 0
    data = storage.read_range(file.content, start - earlier, start + source_files.BLOCK_BYTES)
    before, data = (data[:1], data[1:]) if earlier else (b"\n", data)
    return Block(file, start, data, before, reading)


def _scan_of(file: SourceFile, looks: Sequence[dict]) -> Scan:
    digest = checksum(look["sha256"] for look in looks) if "sha256" in looks[0] else ""
    return _scan(file, digest, FORMATS[file.format].outline(file, looks))


def _scan(file: SourceFile, digest: str, outline: Outline) -> Scan:
    file = dataclasses.replace(file, sha256=digest, names=_shared(*outline.names), layout=outline.layout)
    check_names(file.uri, file.names)
    _check_records(file, outline.ranges)
    elements, row = [], outline.first_row
    for start, stop, rows in outline.ranges:
        elements.append(Element(file, start, stop, row, rows, outline.guessed))
        row += max(rows, 0)
    notices = tuple(
        Notice(rule, severity, column, message, file.uri) for rule, severity, column, message in outline.notices
    )
    return Scan(file, elements, dict(outline.kinds), notices)


@functools.lru_cache(256)
def _shared(*names: str) -> tuple[str, ...]:
    """The columns of files that are alike: in memory once, and once in what workers are sent."""
    return names


def _check_records(file: SourceFile, ranges: Sequence[tuple[int, int, int]]) -> None:
    if FORMATS[file.format].text:
        for start, stop, _ in ranges:
            if stop - start > RECORD_BYTES + source_files.BLOCK_BYTES:
                raise HeadwaterError(
                    f"{file.uri}: the record near byte {start:,} is longer than {RECORD_BYTES >> 20} MiB; a quote may "
                    "have been left open"
                )
