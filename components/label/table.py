"""The label table: one for all methods, a Parquet file beside each shard of the dataset, row for row.

Where it has not all of the shard's rows, its column `_row` tells which. Its columns are the dataset's key, the label,
its probability and whether it abstains, and Headwater's own: of each class its probability, the method, what each source
voted, and as of when. The dataset that is passed on reads both files side by side, so that no shard is copied; of the
label table it shows the label, its probability and the abstain flag.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.common import hashing
from headwater.components.common.labelled import ROW, shown
from headwater.components.label.classes import words
from headwater.components.label.methods import Item, Labeller, Labels, certain
from headwater.components.label.patterns import distinct

PROBABILITIES, METHOD, EVIDENCE, AS_OF = "_probabilities", "_method", "_evidence", "_as_of"


def gained(label: str) -> list[pa.Field]:
    """The columns that the dataset gains."""
    return [pa.field(name, kind) for name, kind in zip(shown(label), (pa.string(), pa.float32(), pa.bool_()))]


def combine(labels: Sequence[Labels], rows: int) -> tuple[Labels, np.ndarray]:
    """The labels of several methods in turn: a row keeps the first label that it gets, all evidence is kept.

    Returns:
      The labels, and the number of the method of each, -1 where all abstain; int8. A row that one method carries is
      carried.
    """
    if len(labels) == 1:
        codes = np.maximum(labels[0].codes, -1)
        return labels[0]._replace(codes=codes), np.minimum(codes, 0)
    codes = np.full(rows, -1, np.int8)
    methods = np.full(rows, -1, np.int8)
    probabilities = labels[-1].probabilities.copy()
    for number, each in enumerate(labels):
        free = (codes < 0) & (each.codes >= 0)
        codes[free], methods[free] = each.codes[free], number
        probabilities[free] = each.probabilities[free]
    evidence = np.concatenate([each.evidence for each in labels], 1)
    waiting = [each.carried for each in labels if each.carried is not None]
    return Labels(codes, probabilities, evidence, np.any(waiting, 0) if waiting else None), methods


class Earlier(NamedTuple):
    """The labels that the steps before one give; picklable, so that any worker asks for those of its rows.

    Attributes:
      labellers: those steps', in their order.
      classes: how many there are.
    """

    labellers: tuple[Labeller, ...]
    classes: int

    def more(self, columns: Iterable[str]) -> list[str]:
        """The columns that `labels` reads beyond some."""
        known = set(columns)
        wanted = dict.fromkeys(name for labeller in self.labellers for name in labeller.columns)
        return [name for name in wanted if name not in known]

    def labels(self, item: Item, rows: pa.Table) -> Labels:
        """The labels of an element's rows, which have the steps' columns; none where there is no step before."""
        if not self.labellers:
            codes = np.full(rows.num_rows, -1, np.int8)
            return Labels(codes, certain(codes, self.classes), np.zeros((rows.num_rows, 0), np.int8))
        return combine([labeller.label(item, rows) for labeller in self.labellers], rows.num_rows)[0]


def make(
    key: pa.Table,
    labels: Labels,
    methods: np.ndarray,
    names: Sequence[str],
    classes: Sequence[str],
    label: str,
    as_of: datetime.datetime | None,
) -> pa.Table:
    """The label table of one shard.

    Args:
      key: the key's columns, of the shard's rows.
      labels, methods: as `combine` gives them.
      names: of the methods.
      classes: their names.
      label: the label column.
      as_of: the time that the labels are of; None for no time.
    """
    rows = len(labels.codes)
    abstains = labels.codes < 0
    chosen = labels.probabilities[np.arange(rows), np.maximum(labels.codes, 0)]
    sources = labels.evidence.shape[1]
    columns = [
        words(labels.codes, classes),
        pa.array(chosen, pa.float32(), mask=abstains),
        pa.array(abstains),
        _lists(labels.probabilities.astype(np.float32), labels.probabilities.shape[1]),
        words(methods, names),
        _lists(labels.evidence, sources),
        pa.array(np.full(rows, as_of and _instant(as_of), "datetime64[us]"), pa.timestamp("us", "UTC")),
    ]
    fields = [
        *key.schema,
        *gained(label),
        pa.field(PROBABILITIES, columns[3].type),
        pa.field(METHOD, pa.string()),
        pa.field(EVIDENCE, columns[5].type),
        pa.field(AS_OF, columns[6].type),
    ]
    return pa.table([*key.columns, *columns], schema=pa.schema(fields))


def beside(made: pa.Table, places: np.ndarray | None) -> pa.Table:
    """A table of some of a shard's rows with the column that tells which; of all rows, where `places` is None."""
    return made if places is None else made.append_column(pa.field(ROW, pa.int64()), pa.array(places, pa.int64()))


def whole(made: pa.Table) -> list[pa.Array]:
    """A table's columns in one piece each."""
    arrays = [column.combine_chunks() for column in made.columns]
    return [each if isinstance(each, pa.Array) else pa.concat_arrays(each.chunks) for each in arrays]


class Patterns(NamedTuple):
    """The distinct ones of some rows' labels.

    Attributes:
      labels, methods: as `combine` gives them, one a pattern.
      of: int32, which of them each row has.
    """

    labels: Labels
    methods: np.ndarray
    of: np.ndarray


def patterns(labels: Labels, methods: np.ndarray) -> Patterns:
    """The distinct labels of rows, as `combine` gives them."""
    rows, classes = labels.probabilities.shape
    chances = np.ascontiguousarray(labels.probabilities, "<f4").view(np.int8).reshape(rows, 4 * classes)
    every = np.empty((rows, 2 + chances.shape[1] + labels.evidence.shape[1]), np.int8)
    every[:, 0], every[:, 1] = labels.codes, methods
    every[:, 2 : 2 + chances.shape[1]], every[:, 2 + chances.shape[1] :] = chances, labels.evidence
    few, of = distinct(every)
    probabilities = np.ascontiguousarray(few[:, 2 : 2 + chances.shape[1]]).view("<f4")
    return Patterns(Labels(few[:, 0], probabilities, few[:, 2 + chances.shape[1] :]), few[:, 1], of)


def hash_rows(key: pa.Table, found: Patterns, *shape: Any) -> np.ndarray:
    """A hash of each row of a label table, uint64: of the key, and of what it says of the row; lists by their bytes, since
    they are all of one length.

    Args:
      key: the key's columns.
      found: of the same rows.
      *shape: as `make` takes them after `methods`.
    """
    labels = found.labels
    made = make(pa.table({}), labels, found.methods, *shape)
    plain = made.select([field.name for field in made.schema if not pa.types.is_list(field.type)])
    hashes = hashing.hash_rows([*whole(plain), _bytes(labels.evidence), _bytes(labels.probabilities.astype("<f4"))])
    return hashing.hash_rows([*whole(key), pa.array(hashes[found.of])])


def encode(table: pa.Table) -> pa.Buffer:
    """A label table as a Parquet file."""
    sink = pa.BufferOutputStream()
    repeating = [field.name for field in table.schema if pa.types.is_string(field.type)]
    pq.write_table(table, sink, version="2.6", use_dictionary=[*repeating, *({AS_OF} & {*table.column_names})])
    return sink.getvalue()


def _lists(values: np.ndarray, width: int) -> pa.Array:
    offsets = np.arange(0, values.size + 1, width, dtype=np.int32) if width else np.zeros(len(values) + 1, np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(values).ravel()))


def _bytes(values: np.ndarray) -> pa.Array:
    """Each row's bytes."""
    content = np.ascontiguousarray(values)
    width = content.itemsize * content.shape[1]
    return pa.Array.from_buffers(pa.binary(width), len(content), [None, pa.py_buffer(content)])


def _instant(when: datetime.datetime) -> np.datetime64:
    return np.datetime64(when.astimezone(datetime.UTC).replace(tzinfo=None), "us")
