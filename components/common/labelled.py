"""Labelled rows: a shard's columns and, in a file beside it, those of its label table."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import pyarrow as pa

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.shard_file import Shard, read_shard

if TYPE_CHECKING:
    import pyarrow.dataset as pads


def shown(label: str) -> tuple[str, str, str]:
    """The columns that a labelled dataset has more: the label, its probability, and whether the row abstains."""
    return label, f"{label}_probability", f"{label}_abstain"


@dataclasses.dataclass(frozen=True)
class WideShard(Shard):
    """A shard with further columns in a file beside it, row for row.

    Attributes:
      added: that file.
      names: its columns that are the dataset's.
    """

    added: Shard | None = None
    names: tuple[str, ...] = ()

    def read(self, columns: Sequence[str]) -> pa.Table:
        """The rows, of the columns that are named.

        Raises:
          HeadwaterError: a file is missing, or is not the one that was written.
        """
        added = [name for name in columns if name in self.names]
        own = [name for name in columns if name not in self.names]
        if not added:
            return read_shard(self._plain(), own)
        beside = read_shard(self.added, added)
        if not own:
            return beside.select(list(columns))
        found = read_shard(self._plain(), own)
        if found.num_rows != beside.num_rows:
            raise HeadwaterError(
                f"{self.added.uri}: has {beside.num_rows:,} rows for the {found.num_rows:,} of {self.uri}"
            )
        for name in added:
            found = found.append_column(beside.schema.field(name), beside[name])
        return found.select(list(columns))

    def _plain(self) -> Shard:
        return Shard(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Shard)})


class LabelledRows:
    """Labelled rows with the methods of a `pyarrow.dataset.Dataset` that read.

    Attributes:
      schema: the columns, `split` last.
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

        # What an expression reads is not told, so that with one all columns are read.
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
        names = [name for name in schema.names if name != "split"]
        for split, shards in self._shards.items():
            for shard in shards:
                table = shard.read(names or [shard.names[0]])
                if "split" in schema.names:
                    table = table.append_column("split", pa.array([split] * table.num_rows, pa.string()))
                yield from table.select(schema.names).cast(schema).combine_chunks().to_batches()
