"""What a format of files is, and what formats share."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common import storage
from headwater.components.common.arrow_types import canonical_schema
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import files, inferring
from headwater.components.common.sources.files import Element, Reading, SourceFile
from headwater.components.common.sources.rejections import Rejection

Rows = tuple[pa.RecordBatch, np.ndarray, list[Rejection]]
"""A batch; the number of each of its rows in the file, int64; and the records that could not be read."""

NoticeOf = tuple[str, str, str | None, str]
"""A notice about one file: rule, severity, column if it is about one, and a sentence without the file's name."""


class Block(NamedTuple):
    """Bytes of a file that are looked at before any row is read.

    Attributes:
      file: the file.
      start: their offset, a multiple of `files.BLOCK_BYTES`.
      data: the bytes; those of the last block are fewer.
      before: of text the byte before them; a line end at the file's beginning.
      reading: how text is read, as far as the user says.
    """

    file: SourceFile
    start: int
    data: bytes
    before: bytes
    reading: Reading

    @property
    def is_whole(self) -> bool:
        """Whether it is all that the file has."""
        return len(self.data) == self.file.size


class Outline(NamedTuple):
    """What a look at a file finds.

    Attributes:
      ranges: (start, stop, records) of what is read apart, in order; records is -1 where only reading tells. The unit of
        start and stop is the format's: bytes, row groups, batches.
      names: the columns, where the format names them up front.
      kinds: their types: declared by the file or guessed from a sample; empty where they are inferred.
      first_row: the number of the first record, as the format's users count.
      guessed: whether `kinds` and the records of `ranges` are guesses, which reading checks and refutes by `Misfit`.
      layout: what reading has to know beyond that, for `SourceFile.layout`.
      notices: what the user should know of how the file is read.
    """

    ranges: Sequence[tuple[int, int, int]]
    names: Sequence[str] = ()
    kinds: Mapping[str, pa.DataType] = {}
    first_row: int = 1
    guessed: bool = False
    layout: Any = None
    notices: Sequence[NoticeOf] = ()


class Format:
    """A format of files. A new one is a module with a `FORMAT`, and its line in `FORMATS`.

    Files that are opened (Parquet) need `open` and `read`; files of lines (JSON Lines) are `Lines`.

    Attributes:
      name: what manifests call it.
      endings: of files' names, in small letters, with their dots.
      text: whether files are text: they have an encoding, and a record is found by reading through the file.
      declares: whether files say what types their columns have; the types of others are inferred by `infer`.
      converts: whether `read` gives columns of the types that are asked for, and UTF-8. What others give is converted
        after it, and rows that do not fit are rejected.
      columnar: whether reading a few columns is much cheaper than reading all.
      may_abort: whether reading a damaged file may end the process, so that it is never done in the user's own.
      hint: for the error about files without any record: what a file should look like.
    """

    name: str
    endings: tuple[str, ...]
    text = False
    declares = False
    converts = False
    columnar = False
    may_abort = False
    hint = ""

    def is_named(self, name: str) -> bool:
        """Whether a name without any known ending, in small letters, is one that files of this format have."""
        return False

    def plain(self, uri: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The content of a file that is unpacked before it is read, as `look` and `read` are to see it."""
        return chunks

    def open(self, uri: str) -> Outline:
        """Opens a file for its `outline`. Runs on a worker, once a file; `layout` does not travel.

        Raises:
          HeadwaterError: the file is damaged, or of another format.
        """
        raise NotImplementedError

    def open_here(self, uri: str) -> Outline | None:
        """As `open`, in the user's own process, of a local file; None where that could end it."""
        return None

    def look(self, block: Block) -> dict[str, Any]:
        """What `outline` needs to know of one block, as JSON. Runs on workers, for each block of each file.

        `unpack` among it, if true, asks for the file to be unpacked by `plain` first.
        """
        if block.start:
            return {}
        with clear_errors(block.file.uri, self.name):
            outline = self.open(block.file.content)
        schema = canonical_schema(pa.schema(outline.kinds)) if outline.kinds else None
        return {
            "ranges": outline.ranges,
            "names": outline.names,
            "schema": schema.serialize().to_pybytes().hex() if schema is not None else "",
            "first_row": outline.first_row,
            "notices": outline.notices,
        }

    def look_together(self, blocks: Sequence[Block]) -> list[dict[str, Any]]:
        """What `look` says of each of several blocks, for formats that are quicker with many small files at once."""
        return [self.look(block) for block in blocks]

    def settle(self, looks: Mapping[str, list[dict[str, Any]]], chosen: Sequence[SourceFile]) -> list[SourceFile]:
        """Compares the files of this format, where what one is depends on the others.

        Args:
          looks: what `look` says of each block, by URI; may be changed.
          chosen: the files.

        Returns:
          Those to look at once more, with their `layout`. What the second look does not say remains from the first.
        """
        return []

    def outline(self, file: SourceFile, looks: Sequence[Mapping[str, Any]]) -> Outline:
        """What the looks at all blocks of a file say together."""
        first = looks[0]
        schema = pa.ipc.read_schema(pa.BufferReader(bytes.fromhex(first["schema"]))) if first["schema"] else []
        kinds = {field.name: field.type for field in schema}
        ranges = [(start, stop, records) for start, stop, records in first["ranges"]]
        notices = [(rule, severity, column, sentence) for rule, severity, column, sentence in first["notices"]]
        return Outline(ranges, first["names"], kinds, first["first_row"], notices=notices)

    def infer(self, element: Element) -> tuple[int, dict[str, pa.DataType]]:
        """The number of a range's records, and the types that hold its values; for formats that do not declare them."""
        raise NotImplementedError

    def widen(self, first: pa.DataType, second: pa.DataType) -> pa.DataType:
        """The type that holds the values of two ranges, whose types `infer` gave."""
        return inferring.widen_inferred(first, second)

    def read(
        self, element: Element, kinds: Mapping[str, pa.DataType | None], guessed: Collection[str]
    ) -> Iterator[Rows]:
        """The rows of one range. Runs on workers.

        Args:
          element: the range.
          kinds: the columns that are wanted, and the types that they will have; None where nobody asks for the values.
          guessed: those whose types were guessed and must be checked, where the range is `guessed`.

        Raises:
          Misfit: what was guessed does not hold here.
        """
        raise NotImplementedError

    def read_together(
        self, elements: Sequence[Element], kinds: Mapping[str, pa.DataType | None], guessed: Collection[str]
    ) -> Rows | None:
        """The rows of ranges of several files with the same columns and layout, at once; None where they are read one by one.

        For formats that convert. The numbers of rows are not those in their files: they count all records of the ranges, from 0.

        Args:
          elements: the ranges, all of them `guessed` or none.
          kinds, guessed: as `read` takes them.

        Raises:
          Misfit: what was guessed does not hold for one of them.
        """
        return None

    def read_encoded(
        self, element: Element, kinds: Mapping[str, pa.DataType | None], guessed: Collection[str]
    ) -> Iterator[Rows]:
        """As `read`, but text may be `ENCODED`, where the file holds it so."""
        return self.read(element, kinds, guessed)

    def describe(self, file: SourceFile) -> dict[str, Any]:
        """What a manifest says of a file beyond its name, size, checksum and rows."""
        return {}


class Lines(Format):
    """A format of text with one record a line and nothing before the first. It needs `infer_lines` and `read_lines`."""

    text = True

    def infer_lines(self, data: bytes) -> tuple[int, dict[str, pa.DataType]]:
        """The number of records of whole lines, and the types that hold their values, in order of appearance."""
        raise NotImplementedError

    def read_lines(self, data: bytes, kinds: dict[str, pa.DataType], first_row: int) -> Rows:
        """The rows of whole lines.

        Args:
          data: the lines.
          kinds: the columns that are wanted.
          first_row: the number of the first record.
        """
        raise NotImplementedError

    def look(self, block: Block) -> dict[str, Any]:
        """Where the first line begins."""
        return {"start": block.data.find(b"\n") + 1}

    def outline(self, file: SourceFile, looks: Sequence[Mapping[str, Any]]) -> Outline:
        """A range for each block that a line begins in."""
        begins = [
            number * files.BLOCK_BYTES + look["start"] for number, look in enumerate(looks) if number and look["start"]
        ]
        edges = [0, *begins, file.size]
        return Outline([(start, stop, -1) for start, stop in zip(edges, edges[1:]) if start < stop])

    def infer(self, element: Element) -> tuple[int, dict[str, pa.DataType]]:
        """As `Format.infer`."""
        return self.infer_lines(content_of(element))

    def read(
        self, element: Element, kinds: Mapping[str, pa.DataType | None], guessed: Collection[str]
    ) -> Iterator[Rows]:
        """As `Format.read`."""
        yield self.read_lines(content_of(element), as_text(kinds), element.first_row)


@contextlib.contextmanager
def clear_errors(uri: str, name: str) -> Iterator[None]:
    """What a format's library says of a damaged file, as an error that names the file.

    Args:
      uri: the file.
      name: of its format.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise HeadwaterError(f"{uri}: cannot be read as {name}; it may be damaged: {reason}") from None


def content_of(element: Element) -> bytes:
    """The bytes of a range of text."""
    return storage.read_range(element.file.content, element.start, element.stop)


def as_text(kinds: Mapping[str, pa.DataType | None]) -> dict[str, pa.DataType]:
    """The types of columns, of which those that nobody asks for are text."""
    return {name: kind or pa.string() for name, kind in kinds.items()}


def check_names(uri: str, names: Sequence[str]) -> None:
    """Refuses two columns of one name.

    Raises:
      HeadwaterError: names the column.
    """
    if len(set(names)) == len(names):
        return
    seen = set()
    for name in names:
        if name in seen:
            raise HeadwaterError(f"{uri}: the column name {name!r} appears twice; column names must be unique")
        seen.add(name)
