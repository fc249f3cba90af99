"""Events that wait for the next span: the files that they lie in from one span to the next."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headwater.components.common import partitions, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import KEY
from headwater.components.label.attribution.matching import EVENT, order_of
from headwater.components.label.classes import words

CARRIED_SCHEMA = pa.schema(
    [("_key", pa.binary(KEY.itemsize)), ("time", pa.timestamp("us", "UTC")), ("class", pa.string())]
)
"""The columns of events that wait for the next span: the hash of the key, when they happened, the class that they
tell."""

# Which of the dataset's columns the key's hashes are of.
_ON = b"headwater.on"


def write_waiting(uri: str, events: np.ndarray, classes: tuple[str, ...], columns: Sequence[str]) -> None:
    """Writes events that wait."""
    # In an order of their own, so that the same events make the same file.
    names = EVENT.names or ()
    events = partitions.take(events, order_of({name: events[name] for name in names}, *names))
    keys = np.ascontiguousarray(events[["first", "second"]].astype(KEY)).tobytes()
    table = pa.table(
        [
            pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY.itemsize), len(events), [None, pa.py_buffer(keys)]),
            pa.array(events["time"]).cast(CARRIED_SCHEMA.field("time").type),
            words(events["code"], classes),
        ],
        schema=CARRIED_SCHEMA.with_metadata({_ON: json.dumps(list(columns))}),
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, version="2.6")
    storage.write_bytes(uri, sink.getvalue())


def read_waiting(uri: str, classes: tuple[str, ...], columns: Sequence[str]) -> np.ndarray:
    """The events that `write_waiting` wrote."""
    table = pq.read_table(pa.BufferReader(storage.read_bytes(uri))).combine_chunks()
    known = json.loads((table.schema.metadata or {}).get(_ON, b"null"))
    if known != list(columns):
        raise HeadwaterError(
            f"{uri}: events carried over from an earlier span were matched by {', '.join(known or ['?'])}, but are "
            f"matched by {', '.join(columns)} now; set carried_from: none to start afresh"
        )
    waiting = np.empty(table.num_rows, EVENT)
    if not table.num_rows:
        return waiting
    codes = pc.index_in(table["class"], pa.array(list(classes), pa.string()))
    if codes.null_count:
        gone = sorted(set(table["class"].to_pylist()) - set(classes))[0]
        raise HeadwaterError(
            f"{uri}: events carried over from an earlier span have the class {gone!r}, but the classes now are "
            f"{', '.join(classes)}; set carried_from: none to start afresh"
        )
    key = table["_key"].chunk(0)
    keys = np.frombuffer(key.buffers()[1], KEY, len(key) + key.offset)[key.offset :]
    waiting["first"], waiting["second"] = keys["first"], keys["second"]
    waiting["time"] = table["time"].cast(pa.int64()).to_numpy()
    waiting["code"] = codes.to_numpy()
    return waiting


def waiting_uri(folder: str, partition: int) -> str:
    """Where the events of one partition that wait are written."""
    return storage.join(folder, f"carried-{partition:06d}.parquet")
