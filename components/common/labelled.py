"""Labelled rows: a shard's columns and, in a file beside it, those of its label table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.shard_file import Shard, read_shard

if TYPE_CHECKING:
    import pyarrow.dataset as pads


def shown(label: str) -> tuple[str, str, str]:
    """The columns that a labelled dataset has more: the label, its probability, and whether the row abstains."""
    return label, f"{label}_probability", f"{label}_abstain"


ROW = "_row"
"""The column of a file beside a shard that tells which of the shard's rows its own are, rising; there where it has
fewer."""


@dataclasses.dataclass(frozen=True)
class WideShard:
    """The rows of a shard that a file beside it has too, with further columns from there.

    Attributes:
      plain: the shard.
      beside: the file; row for row, or with the column `ROW`.
      names: its columns that are the dataset's.
      absent: columns that the shard lacks, missing throughout: one of an earlier span may have fewer.
    """

    plain: Shard
    beside: Shard
    names: tuple[str, ...] = ()
    absent: tuple[pa.Field, ...] = ()

    @property
    def uri(self) -> str:
        """The shard's."""
        return self.plain.uri

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.beside.rows

    def read(self, columns: Sequence[str]) -> pa.Table:
        """The rows, of the columns that are named.

        Raises:
          HeadwaterError: a file is missing, or is not the one that was written.
        """
        added = [name for name in columns if name in self.names]
        lacking = [field for field in self.absent if field.name in columns]
        own = [name for name in columns if name not in added and name not in {field.name for field in lacking}]
        parts = [read_shard(self.beside, added)] if added else []
        if own:
            plain, places = read_shard(self.plain, own), self.places()
            parts.append(plain if places is None else plain.take(pa.array(places)))
        for part in parts:
            if part.num_rows != self.rows:
                raise HeadwaterError(f"{self.beside.uri}: has {self.rows:,} rows, but {part.num_rows:,} has {self.uri}")
        parts.append(pa.table([pa.nulls(self.rows, field.type) for field in lacking], schema=pa.schema(lacking)))
        columns_of = {name: part[name] for part in parts for name in part.column_names}
        return pa.table([columns_of[name] for name in columns], list(columns))

    def places(self) -> np.ndarray | None:
        """Which of the shard's rows these are, int64, rising; None for all."""
        return None if self.rows == self.plain.rows else read_shard(self.beside, [ROW])[ROW].to_numpy()


class LabelledRows:
    """Labelled rows with the methods of a `pyarrow.dataset.Dataset` that read.

    Attributes:
      schema: the columns, that of the split last.
    """

    def __init__(self, schema: pa.Schema, shards: Mapping[str, Sequence[WideShard]]):
        self.schema = schema
        self._shards = shards

    def scanner(self, columns: Sequence[str] | None = None, filter: Any = None, **options: Any) -> pads.Scanner:
        """As `Dataset.scanner`; it can be consumed once.

        Args:
          columns: names; all by default.
          filter: an expression of `pyarrow.dataset`.
          **options: of `Scanner.from_batches`.
        """
        import pyarrow.dataset as pads

        # Which columns an expression reads is not known, so that with one all columns are read.
        wanted = list(columns) if columns is not None and filter is None else self.schema.names
        schema = pa.schema([self.schema.field(name) for name in wanted])
        batches = pa.RecordBatchReader.from_batches(schema, self._batches(schema))
        return pads.Scanner.from_batches(batches, columns=columns, filter=filter, **options)

    def to_batches(self, columns: Sequence[str] | None = None, filter: Any = None) -> Iterator[pa.RecordBatch]:
        """Record batches, one shard after the other."""
        return self.scanner(columns, filter).to_batches()

    def to_table(self, columns: Sequence[str] | None = None, filter: Any = None) -> pa.Table:
        """All rows in memory."""
        return self.scanner(columns, filter).to_table()

    def head(self, rows: int, columns: Sequence[str] | None = None, filter: Any = None) -> pa.Table:
        """The first rows."""
        return self.scanner(columns, filter).head(rows)

    def count_rows(self, filter: Any = None) -> int:
        """How many rows there are."""
        if filter is None:
            return sum(shard.rows for shards in self._shards.values() for shard in shards)
        return self.scanner(None, filter).to_table().num_rows

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        split_column = self.schema.names[-1]
        names = [name for name in schema.names if name != split_column]
        for split, shards in self._shards.items():
            for shard in shards:
                table = shard.read(names or [shard.names[0]])
                if split_column in schema.names:
                    table = table.append_column(split_column, pa.array([split] * table.num_rows, pa.string()))
                yield from table.select(schema.names).cast(schema).combine_chunks().to_batches()
