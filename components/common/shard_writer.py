"""Writing a shard's file, and reading back what was written before its index vouches for it."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.common import hashing
from headwater.components.common.arrow_types import ENCODED, used_dictionary, with_type
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.shard_file import LENGTH_AND_MAGIC, describe
from headwater.components.common.varints import varint

_FEW_ROWS = 1024
# The first page of each column is read back.
_PAGE_BYTES = 1 << 17
# As much as a dictionary of Parquet holds before text is written plainly.
_DICTIONARY_BYTES = 1 << 20


class ShardWriter:
    """One Parquet file in the making, and what its index will say.

    Args:
      schema: the columns with their types, where batches have text as dictionaries; the first batch's by default.

    Attributes:
      rows: how many were written.
    """

    def __init__(self, schema: pa.Schema | None = None):
        self._schema = schema
        self._sink = io.BytesIO()
        self._writer: pq.ParquetWriter | None = None
        self._first: pa.RecordBatch | None = None
        self._file_schema: pa.Schema | None = None
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
        try:
            if self._writer is None:
                self._begin(batch, self._schema)
            assert self._file_schema is not None and self._writer is not None
            columns = [
                _plain(column, kind) if own.equals(kind) else _encoded(column, kind)
                for column, own, kind in zip(batch.columns, self._file_schema.types, self._schema.types)
            ]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._file_schema))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise HeadwaterError(f"this version of pyarrow cannot write such a column to Parquet: {error}") from None
        self.rows += batch.num_rows
        self._digests.append(hashing.digest(hashes))

    def _begin(self, batch: pa.RecordBatch, schema: pa.Schema) -> None:
        # Where the first rows' text repeats, a dictionary is worth its price.
        repeating = [name for name, column in zip(batch.schema.names, batch.columns) if _repeats(column)]
        # Text that is a dictionary already is written as one: its values need not be looked up again.
        self._file_schema = pa.schema(
            [
                field.with_type(column.type) if _is_encoded(column, field.type) else field
                for column, field in zip(batch.columns, schema)
            ],
            schema.metadata,
        )
        self._writer = pq.ParquetWriter(
            self._sink, self._file_schema, version="2.6", use_dictionary=repeating, data_page_size=_PAGE_BYTES
        )
        self._first = batch

    def close(self) -> tuple[pa.Buffer, dict[str, Any]]:
        """Ends the file; some rows were written.

        Returns:
          The file; and `rows`, `bytes`, `sha256`, `digest` and `parts`, as an index tells them.

        Raises:
          HeadwaterError: a column is not read back as it was written.
        """
        assert self._writer is not None and self._schema is not None and self._file_schema is not None
        self._writer.close()
        if self._file_schema.types != self._schema.types:
            _tell_schema(self._sink, self._file_schema, self._schema)
        content = pa.py_buffer(self._sink.getbuffer())
        _check_first_batch(content, self._first, self._schema)
        return content, {
            "rows": self.rows,
            **describe(content),
            "digest": f"{hashing.add_digests(self._digests):032x}",
        }


def _tell_schema(sink: io.BytesIO, written: pa.Schema, schema: pa.Schema) -> None:
    """Has a Parquet file tell of one schema as Arrow's, in place of the one that it was written with."""
    view = sink.getbuffer()
    end = len(view) - LENGTH_AND_MAGIC
    start = end - int.from_bytes(view[end : end + 4], "little")
    # The last one: what comes from rows stands before it.
    before, found, after = bytes(view[start:end]).rpartition(_schema_entry(written))
    view.release()
    if not found:
        raise HeadwaterError(f"pyarrow {pa.__version__} does not tell a file's schema as earlier versions do")
    footer = before + _schema_entry(schema) + after
    sink.seek(start)
    sink.write(footer + len(footer).to_bytes(4, "little") + b"PAR1")
    sink.truncate()


def _schema_entry(schema: pa.Schema) -> bytes:
    """A schema in a footer: two texts of Thrift's compact protocol, each after its length."""
    told = base64.b64encode(schema.serialize())
    return b"\x18\x0cARROW:schema\x18" + varint(len(told)) + told


def _check_first_batch(content: pa.Buffer, batch: pa.RecordBatch, schema: pa.Schema) -> None:
    """Compares the first row group with the rows that it was made of: nested columns whole, others at their
    beginning."""
    file = pq.ParquetFile(pa.BufferReader(content))
    nested = [field.name for field in schema if pa.types.is_nested(field.type)]
    flat = [name for name in schema.names if name not in nested]
    for names, rows in ((nested, batch.num_rows), (flat, min(_FEW_ROWS, batch.num_rows))):
        if not names or not rows:
            continue
        first = next(file.iter_batches(rows, row_groups=[0], columns=names))
        for name in names:
            given = _plain(_named(batch, name).slice(0, rows), schema.field(name).type)
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


def _is_encoded(column: pa.Array, kind: pa.DataType) -> bool:
    """Whether a column of text is a dictionary, no larger than one of Parquet's."""
    return pa.types.is_string(kind) and column.type.equals(ENCODED) and column.dictionary.nbytes <= _DICTIONARY_BYTES


def _encoded(column: pa.Array, kind: pa.DataType) -> pa.DictionaryArray:
    return used_dictionary(column if column.type.equals(ENCODED) else _plain(column, kind).dictionary_encode())


def _plain(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(column.type) and not column.type.equals(kind):
        column = column.cast(kind)
    return with_type(column, kind) if column.type.equals(kind) else column
