"""Votes as they came, whatever their form, as records that find their rows by key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing
from headwater.components.common.arrow_types import is_text
from headwater.components.common.dataset import ROW_ID, Dataset, read_element
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import KEY, as_key, decoded, hash_keys, is_number, value_type
from headwater.components.common.times import microseconds
from headwater.components.label.classes import OUTSIDE, check_kind, numbers
from headwater.components.label.human.forms.base import PROJECT, ROW
from headwater.components.label.human.forms.label_studio import FORM as LABEL_STUDIO
from headwater.components.label.human.forms.label_studio import Export

VOTE = np.dtype([*KEY.descr, ("rater", "<u8"), ("order", "<u8"), ("time", "<i8"), ("seconds", "<f4"), ("answer", "i1")])
"""A vote: the key of its row, the hash of the rater's name, its place in the input, when it was given (0 where that is
not known), how long it took (NaN where that is not known), and the number of the class."""

COUNTS = ("read", "unanswered", "cancelled", "no_rater")
_HEX = 32


@dataclasses.dataclass(frozen=True)
class Source:
    """Votes to read.

    Attributes:
      where: the setting that names them, for errors.
      elements: what is read.
      key: the dataset's key, with its types.
      classes: names of the classes.
      project: what tasks of this dataset carry.
      answer, rater, seconds, time: names of columns; of an export the first is the control that takes the answer. The last
        two are empty for none.
      schema: the columns that are read of flat files; None of an export.
      by_row: whether votes find their rows by `_row`, else by the key's columns; of an export by either.
    """

    where: str
    elements: tuple[Any, ...]
    key: tuple[tuple[str, pa.DataType], ...]
    classes: tuple[str, ...]
    project: str
    answer: str
    rater: str
    seconds: str
    time: str
    schema: pa.Schema | None
    by_row: bool


def source_of(
    where: str, dataset: Dataset, votes: Dataset, columns: Mapping[str, str], classes: Sequence[str], project: str
) -> Source:
    """Holds the columns of votes against what is needed of them.

    Args:
      where: the key of the setting.
      dataset: the rows that they are of.
      votes: the input.
      columns: the names of `answer`, `rater`, `seconds` and `time`; the last two are empty where nothing is said.
      classes: names of the classes.
      project: what tasks of this dataset carry.

    Raises:
      HeadwaterError: a column is missing, or of a type that it cannot have.
    """
    key = tuple((name, value_type(dataset.schema.field(name).type)) for name in dataset.key)
    elements = tuple(element for split in votes.splits for element in votes.elements(split))
    if any(isinstance(element, Export) for element in elements):
        return Source(where, elements, key, tuple(classes), project, columns["answer"], "rater", "seconds", "time", None, True)  # fmt: skip
    names, uri = votes.schema.names, votes.result.uri
    listed = f"its columns are {', '.join(names)}"
    for what in ("rater", "answer"):
        if columns[what] not in names:
            raise HeadwaterError(
                f"{where}: {uri} has no column {columns[what]!r} for the {what}; name it by `{what}`; {listed}"
            )
    optional = {}
    for what in ("seconds", "time"):
        if columns[what] and columns[what] not in names:
            raise HeadwaterError(f"{where}: {uri} has no column {columns[what]!r} for the {what}; {listed}")
        optional[what] = columns[what] or (what if what in names else "")
    by_row = ROW in names
    lacking = [name for name, _ in key if name not in names]
    if not by_row and lacking:
        needed = ROW if list(dataset.key) == [ROW_ID] else f"{ROW}, or the dataset's key {', '.join(dataset.key)}"
        raise HeadwaterError(f"{where}: {uri} does not say which row a vote is for; it needs {needed}; {listed}")
    check_kind(f"{where}.answer", columns["answer"], votes.schema.field(columns["answer"]).type)
    if optional["seconds"]:
        kind = value_type(votes.schema.field(optional["seconds"]).type)
        if not is_number(kind) and not pa.types.is_null(kind):
            raise HeadwaterError(f"{where}: column {optional['seconds']!r} of {uri} is {kind}; it must hold numbers")
    own = [ROW] if by_row else [name for name, _ in key]
    read = [columns["rater"], columns["answer"], *optional.values(), *own, PROJECT]
    schema = pa.schema([votes.schema.field(name) for name in dict.fromkeys(read) if name in names])
    return Source(
        where, tuple(element for element in elements if element.rows), key, tuple(classes), project, columns["answer"],
        columns["rater"], optional["seconds"], optional["time"], schema, by_row,
    )  # fmt: skip


def records(source: Source, number: int) -> Iterator[tuple[np.ndarray, pa.Array, dict[str, int]]]:
    """The votes of one element.

    Args:
      source: the votes.
      number: of the element.

    Returns:
      `VOTE`s, the raters' names, and counts by `COUNTS`; batch by batch.

    Raises:
      HeadwaterError: an answer is no class, a vote is of another project, or something cannot be read; names the file and
        the row.
    """
    element, position = source.elements[number], 0
    export = isinstance(element, Export)
    if export:
        batches: Any = LABEL_STUDIO.read(element, source.answer, [name for name, _ in source.key])
    else:
        assert source.schema is not None, "flat files have columns"
        batches = read_element(element, source.schema)
    uri = element.uri if export else element.file.uri if hasattr(element, "file") else element.uri
    start = 0 if export else getattr(element, "first_row", 1)
    for batch in batches:
        read = _Batch(source, batch, f"{source.where}: {uri}", start + position, number << 40 | position)
        yield read.records(export)
        position += batch.num_rows


class _Batch:
    """Some votes, with where they stand."""

    def __init__(self, source: Source, batch: Any, where: str, first: int, order: int):
        self._source, self._batch, self._where, self._order = source, batch, where, order
        lines = batch["line"].to_numpy() if "line" in batch.schema.names else None
        self._what = "task" if lines is not None else "row"
        self._number = lines if lines is not None else np.arange(first, first + batch.num_rows)

    def records(self, export: bool) -> tuple[np.ndarray, pa.Array, dict[str, int]]:
        source, rows = self._source, self._batch.num_rows
        counts = dict.fromkeys(COUNTS, 0)
        counts["read"] = rows
        project = self._column(PROJECT)
        if project is not None:
            other = pc.fill_null(pc.not_equal(_text(project), source.project), False)
            self._refuse(other, lambda at: f"is a vote of the project {_text(project)[at].as_py()!r}, but the tasks of "
                         f"this dataset and these classes are of {source.project!r}; give the votes of this project, or "
                         "name it by `project`")  # fmt: skip
        names = _text(self._needed(source.rater if not export else "rater"))
        answer = numbers(self._needed("answer" if export else source.answer), source.classes)
        kept = np.ones(rows, bool)
        cancelled = self._column("cancelled") if export else None
        if cancelled is not None:
            kept &= ~cancelled.to_numpy(zero_copy_only=False)
            counts["cancelled"] = rows - int(kept.sum())
        counts["unanswered"] = int((kept & (answer == -1)).sum())
        kept &= answer != -1
        self._refuse(
            pa.array(kept & (answer == OUTSIDE)),
            lambda at: f"has an answer that is not one of the classes, which are {', '.join(source.classes)}",
        )
        nobody = (pc.is_null(names)).to_numpy(zero_copy_only=False)
        counts["no_rater"] = int((kept & nobody).sum())
        kept &= ~nobody
        places = np.flatnonzero(kept)
        made = np.zeros(len(places), VOTE)
        keys = self._keys(places)
        made["first"], made["second"] = keys["first"], keys["second"]
        names = names.take(pa.array(places))
        made["rater"] = hashing.hash_values(names)
        made["order"] = self._order + places
        made["answer"] = answer[places]
        made["seconds"] = self._seconds()[places]
        made["time"] = self._time(export)[places]
        return made, names, counts

    def _keys(self, places: np.ndarray) -> np.ndarray:
        keys = np.empty(len(places), KEY)
        given = self._column(ROW)
        by_row = np.zeros(len(places), bool)
        if given is not None:
            texts = _text(given).take(pa.array(places))
            by_row = pc.is_valid(texts).to_numpy(zero_copy_only=False)
            own = texts.filter(pa.array(by_row))
            wrong = ~pc.match_substring_regex(own, f"^[0-9a-f]{{{_HEX}}}$").to_numpy(zero_copy_only=False)
            if wrong.any():
                at = self._number[places[by_row][wrong][0]]
                raise HeadwaterError(
                    f"{self._where}, {self._what} {at:,}: `{ROW}` must be the {_HEX} hexadecimal digits that the task "
                    "carried; a spreadsheet may have changed them"
                )
            digits = np.frombuffer(bytes.fromhex("".join(own.to_pylist())), ">u8").reshape(-1, 2)
            keys["first"][by_row], keys["second"][by_row] = digits[:, 0], digits[:, 1]
        if not by_row.all():
            others = places[~by_row]
            rows, found = hash_keys([self._key(name, kind, others) for name, kind in self._source.key])
            if len(rows) < len(others):
                at = self._number[np.delete(others, rows)[0]]
                needed = ", ".join(name for name, _ in self._source.key)
                raise HeadwaterError(
                    f"{self._where}, {self._what} {at:,}: the vote does not say which row it is for; it needs {ROW} or "
                    f"{needed}"
                )
            keys[~by_row] = found
        return keys

    def _key(self, name: str, kind: pa.DataType, places: np.ndarray) -> pa.Array:
        column = self._column(name)
        if column is None:
            return pa.nulls(len(places), kind)
        values = decoded(column).take(pa.array(places))
        if pa.types.is_fixed_size_binary(kind) and is_text(values.type):
            return pa.nulls(len(places), kind)
        try:
            return as_key(values if values.type == kind else values.cast(kind))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise HeadwaterError(
                f"{self._where}: column {name!r} is {values.type} with values that cannot be read as {kind}, the type of the dataset's key"
            ) from None

    def _seconds(self) -> np.ndarray:
        column = self._column(self._source.seconds)
        if column is None:
            return np.full(self._batch.num_rows, np.nan, np.float32)
        values = pc.fill_null(decoded(column).cast(pa.float32(), safe=False), np.nan).to_numpy(zero_copy_only=False)
        return np.where(values > 0, values, np.nan)

    def _time(self, export: bool) -> np.ndarray:
        column = self._column(self._source.time)
        if column is None:
            return np.zeros(self._batch.num_rows, np.int64)
        if export:
            return pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
        column = decoded(column)
        if is_text(column.type):
            try:
                column = column.cast(pa.timestamp("us"))
            except pa.ArrowInvalid:
                raise HeadwaterError(
                    f"{self._where}: column {self._source.time!r} has a value that cannot be read as a time; "
                    "write times as 2026-01-31T12:00:00"
                ) from None
        if column.null_count == len(column):
            # Pandas reads a column that nobody filled in as numbers.
            return np.zeros(self._batch.num_rows, np.int64)
        if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
            raise HeadwaterError(
                f"{self._where}: column {self._source.time!r} is {column.type}; it must hold dates or timestamps"
            )
        return microseconds(column)

    def _column(self, name: str) -> pa.Array | None:
        if not name or name not in self._batch.schema.names:
            return None
        column = self._batch.column(self._batch.schema.get_field_index(name))
        return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) and column.num_chunks else (
            pa.array([], column.type) if isinstance(column, pa.ChunkedArray) else column
        )  # fmt: skip

    def _needed(self, name: str) -> pa.Array:
        column = self._column(name)
        assert column is not None, "its columns were looked at"
        return column

    def _refuse(self, wrong: Any, why: Any) -> None:
        wrong = wrong.to_numpy(zero_copy_only=False)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise HeadwaterError(f"{self._where}, {self._what} {self._number[at]:,}: {why(at)}")


def _text(values: pa.Array) -> pa.Array:
    values = decoded(values)
    return values if pa.types.is_string(values.type) else values.cast(pa.string())
