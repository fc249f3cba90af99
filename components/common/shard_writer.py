"""Writing a shard's file, and reading back what was written before its index vouches for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.common import hashing
from headwater.components.common.arrow_types import with_type
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.shard_file import describe

_FEW_ROWS = 1024
# The first page of each column is read back.
_PAGE_BYTES = 1 << 17


class ShardWriter:
    """One Parquet file in the making, and what its index will say.

    Args:
      schema: the columns with their types, where batches have text as dictionaries; the first batch's by default.

    Attributes:
      rows: how many were written.
    """

    def __init__(self, schema: pa.Schema | None = None):
        self._schema = schema
        self._buffer = pa.BufferOutputStream()
        self._writer: pq.ParquetWriter | None = None
        self._first: pa.RecordBatch | None = None
        self.rows = 0
        self._digests: list[int] = []

    @property
    def names(self) -> list[str]:
        """The columns; some rows were written."""
        assert self._schema is not None
        return list(self._schema.names)

    def write(self, batch: pa.RecordBatch, hashes: np.ndarray) -> None:
        """Adds rows.

        Args:
          batch: of the schema's columns, in its order.
          hashes: of the rows, as `hashing.hash_rows` gives them.

        Raises:
          HeadwaterError: this version of pyarrow cannot write such a column.
        """
        self._schema = self._schema or batch.schema
        columns = [_plain(column, field.type) for column, field in zip(batch.columns, self._schema)]
        plain = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        try:
            if self._writer is None:
                # Where the first rows' text repeats, a dictionary is worth its price.
                repeating = [name for name, column in zip(batch.schema.names, batch.columns) if _repeats(column)]
                self._writer = pq.ParquetWriter(
                    self._buffer, self._schema, version="2.6", use_dictionary=repeating, data_page_size=_PAGE_BYTES
                )
                self._first = plain
            self._writer.write_table(pa.Table.from_batches([plain]))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise HeadwaterError(f"this version of pyarrow cannot write such a column to Parquet: {error}") from None
        self.rows += batch.num_rows
        self._digests.append(hashing.digest(hashes))

    def close(self) -> tuple[pa.Buffer, dict[str, Any]]:
        """Ends the file; some rows were written.

        Returns:
          The file; and `rows`, `bytes`, `sha256`, `digest` and `parts`, as an index tells them.

        Raises:
          HeadwaterError: a column is not read back as it was written.
        """
        assert self._writer is not None
        self._writer.close()
        content = self._buffer.getvalue()
        _check_first_batch(content, self._first)
        return content, {
            "rows": self.rows,
            **describe(content),
            "digest": f"{hashing.add_digests(self._digests):032x}",
        }


def _check_first_batch(content: pa.Buffer, batch: pa.RecordBatch) -> None:
    """Compares the first row group with the rows that it was made of: nested columns whole, others at their
    beginning."""
    file = pq.ParquetFile(pa.BufferReader(content))
    nested = [field.name for field in batch.schema if pa.types.is_nested(field.type)]
    flat = [name for name in batch.schema.names if name not in nested]
    for names, rows in ((nested, batch.num_rows), (flat, min(_FEW_ROWS, batch.num_rows))):
        if not names or not rows:
            continue
        first = next(file.iter_batches(rows, row_groups=[0], columns=names))
        for name in names:
            given = _named(batch, name).slice(0, rows)
            back = _named(first, name)
            if not _is_equal(back if back.type.equals(given.type) else back.cast(given.type), given):
                raise HeadwaterError(
                    f"column {name!r} is {given.type}, which pyarrow {pa.__version__} does not read back as it was "
                    "written; nothing was kept: give the column another type, or leave it out"
                )


def _is_equal(back: pa.Array, given: pa.Array) -> bool:
    if len(back) != len(given):
        return False
    # Arrow's comparison is quick, but takes no NaN for another, nor a map for one of another layout.
    same = not pa.types.is_nested(given.type) and back.equals(given)
    return same or not (hashing.hash_values(back) != hashing.hash_values(given)).any()


def _named(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def _repeats(column: pa.Array) -> bool:
    if pa.types.is_dictionary(column.type):
        return True
    return pa.types.is_string(column.type) and hashing.repeats(column)


def _plain(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(column.type) and not column.type.equals(kind):
        column = column.cast(kind)
    return with_type(column, kind) if column.type.equals(kind) else column
