"""Files whose Arrow schema names code: reading one in an unprotected pyarrow before 14.0.1 makes a marker file.

Nothing here runs that code: the extension's name and its pickle are written as metadata, by hand.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import pickle

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.common import shard_file, storage


class _Marks:
    """Its pickle makes a folder; unpickled again and again it has been made once."""

    def __init__(self, marker: pathlib.Path):
        self._marker = str(marker)

    def __reduce__(self):
        return os.makedirs, (self._marker, 0o777, True)


def poisoned(kind: pa.Schema | pa.Field, marker: pathlib.Path) -> pa.Schema | pa.Field:
    """The same field, or all fields of a schema, as an extension type that a pickle describes."""
    if isinstance(kind, pa.Schema):
        return pa.schema([poisoned(field, marker) for field in kind], kind.metadata)
    extension = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(_Marks(marker)),
    }
    return kind.with_metadata({**(kind.metadata or {}), **extension})


def write(table: pa.Table, path: pathlib.Path, marker: pathlib.Path) -> pathlib.Path:
    """Writes a table as a Parquet file that makes the marker."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_parquet(table, marker))
    return path


def poison(data_root: pathlib.Path, home: pathlib.Path, marker: pathlib.Path) -> None:
    """Rewrites every Parquet and Arrow file and every schema below a data_root, and mends all checksums.

    It is what somebody can leave there who may write to the store and knows the formats.

    Args:
      data_root: a copy of a data_root.
      home: of which.
      marker: what the files would make.
    """
    sums = {str(home): str(data_root)}

    def rewrite(path: pathlib.Path, content: bytes) -> None:
        sums[storage.sha256(path.read_bytes())] = storage.sha256(content)
        path.write_bytes(content)

    # Indexes tell the checksums of the others.
    for path in sorted(data_root.rglob("*.parquet"), key=lambda path: path.name.startswith("_")):
        table = pq.read_table(path, partitioning=None)
        if path.name.startswith("_") and "sha256" in table.column_names:
            rows = table.to_pylist()
            for row in rows:
                row.update(shard_file.describe((path.parent / row["path"]).read_bytes()))
            table = pa.Table.from_pylist(rows, table.schema)
        rewrite(path, _parquet(table, marker))
    for path in data_root.rglob("*.arrow"):
        rewrite(path, _arrow(path.read_bytes(), marker))
    # Each of these refers to those before it.
    for kind in ("data", "labels", "statistics", "schema", "anomalies"):
        for path in data_root.rglob(f"{kind}/_manifest.json"):
            manifest = json.loads(path.read_text())
            if kind in ("data", "labels"):
                schema = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(manifest["body"]["schema"])))
                manifest["body"]["schema"] = base64.b64encode(poisoned(schema, marker).serialize()).decode()
            text = json.dumps(manifest)
            for before, after in sums.items():
                text = text.replace(before, after)
            rewrite(path, text.encode())


def _parquet(table: pa.Table, marker: pathlib.Path) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(table.columns, schema=poisoned(table.schema, marker)), sink)
    return sink.getvalue().to_pybytes()


def _arrow(content: bytes, marker: pathlib.Path) -> bytes:
    """An Arrow file, and the Arrow streams that it holds in its columns, as states of statistics do."""
    table = pa.ipc.open_file(content).read_all()
    if "content" in table.column_names:
        streams = [
            _ipc(pa.ipc.new_stream, pa.ipc.open_stream(stream.as_buffer()).read_all(), marker)
            for stream in table["content"]
        ]
        place = table.schema.get_field_index("content")
        table = table.set_column(place, table.schema.field(place), pa.array(streams, table.schema.field(place).type))
    return _ipc(pa.ipc.new_file, table, marker)


def _ipc(new, table: pa.Table, marker: pathlib.Path) -> bytes:
    schema = poisoned(table.schema, marker)
    sink = pa.BufferOutputStream()
    with new(sink, schema) as writer:
        writer.write_table(pa.Table.from_arrays(table.columns, schema=schema))
    return sink.getvalue().to_pybytes()
