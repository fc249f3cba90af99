"""The indexes of a dataset's files: what its manifest, and the index of each split's shards, say of them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.common import hashing, results, storage
from headwater.components.common.extension_types import storage_schema
from headwater.components.common.results import Result
from headwater.components.common.shard_file import Shard

SHARD_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("digest", pa.string()),
        ("source", pa.string()),
        ("start", pa.int64()),
        ("last", pa.string()),
        ("stop", pa.int64()),
        ("parts", pa.list_(pa.uint32())),
    ]
)
"""The columns of a shard index. `sha256` and `parts` are as of `shard_file`. `digest` is of the rows whatever their order (`hashing.digest`, hexadecimal); its rows are
those from `start` of the file `source` to `stop` of the file `last`, in the order of the manifest's sources; most often both are one file.
`start` and `stop` are bytes of a CSV, row groups of a Parquet file."""

LABELS_SCHEMA = pa.schema([*SHARD_SCHEMA, ("of", pa.string()), ("base", pa.int16())])
"""The columns of an index of label tables, and of carried rows: as a shard index's, of the file; `of` is the path of the
shard that it belongs to, in the dataset that is number `base` of the manifest's `bases`."""


def carried_splits(result: Result) -> Mapping[str, Mapping[str, Any]]:
    """What the manifest says of the rows that labels carried, by split; nothing for a dataset."""
    return result.body.get("carried", {}).get("splits", {})


def shard_index(result: Result, split: str, *, carried: bool = False) -> list[dict[str, Any]]:
    """The shards of a split, in order: the columns of `SHARD_SCHEMA` but `parts`, and the shard's `uri`.

    Args:
      result: a dataset's or labels'.
      split: its name.
      carried: whether it is the carried rows that are asked for.

    Raises:
      HeadwaterError: the index was altered or removed.
    """
    table = read_index(result, (carried_splits(result) if carried else result.body["splits"])[split])
    rows = table.select([name for name in table.column_names if name != "parts"]).to_pylist()
    return [{**row, "uri": storage.join(result.uri, row["path"])} for row in rows]


def write_index(
    folder: str, index: str, shards: Sequence[Mapping[str, Any]], schema: pa.Schema = SHARD_SCHEMA
) -> dict[str, Any]:
    """Writes the index of a split's shards.

    Args:
      folder: URI of the dataset's folder.
      index: the file's name.
      shards: in order, each with the columns of `schema`, `last` where it is not `source`; others are left out.
      schema: `SHARD_SCHEMA` or `LABELS_SCHEMA`.

    Returns:
      What the manifest says of the split.
    """
    sink = pa.BufferOutputStream()
    rows = [{"last": shard["source"], **shard} for shard in shards]
    rows = [{name: shard[name] for name in schema.names} for shard in rows]
    pq.write_table(pa.Table.from_pylist(rows, schema), sink, version="2.6")
    content = sink.getvalue().to_pybytes()
    storage.write_bytes(storage.join(folder, index), content)
    return {
        "rows": sum(shard["rows"] for shard in shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "shards": len(shards),
        "digest": f"{hashing.add_digests([int(shard['digest'], 16) for shard in shards]):032x}",
        "index": index,
        "index_sha256": storage.sha256(content),
    }


def other_files(result: Result) -> list[Mapping[str, Any]]:
    """The Parquet files of a dataset or labels that no index tells: `path`, `bytes` and `sha256` of each."""
    waiting = result.body.get("carried", {}).get("events", {})
    return [*result.body["rejected"]["files"], *(file for files in waiting.values() for file in files)]


def encode_schema(schema: pa.Schema) -> str:
    """An Arrow schema as text, for a manifest."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def decode_schema(text: str) -> pa.Schema:
    """The Arrow schema that `encode_schema` wrote."""
    return storage_schema(pa.ipc.read_schema(pa.BufferReader(base64.b64decode(text))))


def read_index(result: Result, entry: Mapping[str, Any]) -> pa.Table:
    uri = result.locate(entry["index"])
    content = storage.read_bytes(uri)
    results.check(uri, content, entry["index_sha256"])
    return pq.read_table(pa.BufferReader(content))


def indexed_shards(index: pa.Table, base: str, columns: int) -> list[Shard]:
    uris = [storage.join(base, path) for path in index["path"].to_pylist()]
    split_column = [index[name].to_pylist() for name in ("rows", "bytes", "sha256")]
    sums = [b""] * len(uris)
    # Indexes of an earlier minor format have none.
    if "parts" in index.column_names:
        lists = index["parts"].combine_chunks()
        values, offsets = lists.values.to_numpy(), lists.offsets.to_pylist()
        sums = [values[start:stop].tobytes() for start, stop in zip(offsets, offsets[1:])]
    return [
        Shard(uri, rows, size, sha, columns, parts) for uri, rows, size, sha, parts in zip(uris, *split_column, sums)
    ]
