"""The mergeable state of statistics: what a finished proto has lost, kept so that spans can be added up later.

A state is an Arrow IPC file. Its schema's metadata holds

    headwater.state     version of this format, "1"
    headwater.examples  number of rows
    headwater.rules     JSON object: how columns were converted, in words

and it has one row a feature, ordered by path:

    path      list<string>  the feature's path
    basic     string        JSON: counts, sums, extremes, means and variances by TFDV's names for them
    sketches  list<binary>  the quantile sketches that `basic` refers to, each as tfx_bsl serialises it
    values    list<binary>  of text: the values' counts (an Arrow IPC stream, see `values.encode`) and tfx_bsl's sketch
                            of how many are distinct; else empty
"""

from __future__ import annotations

import json
from typing import Sequence

import pyarrow as pa

from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics.conversion import rules, to_lists
from headwater.components.generate_statistics.tfdv_internals import Combiner, Partial
from tensorflow_metadata.proto.v0 import statistics_pb2

VERSION = "1"
RULE = "headwater.conversion"
"""Name of the custom statistic that says how a feature's column was converted."""

_SCHEMA = pa.schema(
    [
        ("path", pa.list_(pa.string())),
        ("basic", pa.string()),
        ("sketches", pa.list_(pa.binary())),
        ("values", pa.list_(pa.binary())),
    ]
)


def measure(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> bytes:
    """The state of some rows.

    Args:
      batches: the rows, each batch of `schema`; none for the state of no rows.
      schema: of the dataset.
    """
    combiner = Combiner()
    lists = [to_lists(batch) for batch in batches] or [to_lists(pa.RecordBatch.from_pylist([], schema))]
    return _encode(combiner, combiner.measure(lists), rules(schema))


def merge(states: Sequence[bytes]) -> bytes:
    """The state of all the rows that `states` stand for, merged in their order.

    Raises:
      HeadwaterError: a state is of another format, or types differ between states.
    """
    tables = [_open(state) for state in states]
    combined: dict[str, str] = {}
    for table in tables:
        combined.update(_rules(table))
    combiner = Combiner()
    try:
        partial = combiner.merge([_rebuild(combiner, table) for table in tables])
    except (TypeError, ValueError) as error:
        raise HeadwaterError(f"states cannot be merged: {error}") from None
    return _encode(combiner, partial, combined)


def to_statistics(state: bytes, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics of a state, as TFDV's proto with one dataset named after the split."""
    table = _open(state)
    combiner = Combiner()
    dataset = combiner.finish(_rebuild(combiner, table))
    dataset.name = split
    texts = _rules(table)
    for feature in dataset.features:
        if list(feature.path.step)[0] in texts:
            feature.custom_stats.add(name=RULE, str=texts[feature.path.step[0]])
    return statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])


def _encode(combiner: Combiner, partial: Partial, texts: dict[str, str]) -> bytes:
    rows = list(combiner.take_apart(partial))
    metadata = {
        "headwater.state": VERSION,
        "headwater.examples": str(partial.basic.num_examples),
        "headwater.rules": json.dumps(dict(sorted(texts.items()))),
    }
    columns = [
        pa.array([list(row[0]) for row in rows], pa.list_(pa.string())),
        pa.array([json.dumps(row[1]) for row in rows], pa.string()),
        pa.array([row[2] for row in rows], pa.list_(pa.binary())),
        pa.array([row[3] for row in rows], pa.list_(pa.binary())),
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA.with_metadata(metadata)) as writer:
        writer.write_table(pa.table(columns, schema=_SCHEMA.with_metadata(metadata)))
    return sink.getvalue().to_pybytes()


def _open(state: bytes) -> pa.Table:
    try:
        table = pa.ipc.open_file(pa.BufferReader(state)).read_all()
    except (pa.ArrowInvalid, OSError):
        raise HeadwaterError("this is no state of statistics: it is not an Arrow file") from None
    version = (table.schema.metadata or {}).get(b"headwater.state", b"").decode()
    if version != VERSION:
        raise HeadwaterError(
            f"this state of statistics has format {version or 'unknown'!r}; this Headwater reads {VERSION!r}"
        )
    return table


def _rebuild(combiner: Combiner, table: pa.Table) -> Partial:
    features = [(row["path"], json.loads(row["basic"]), row["sketches"], row["values"]) for row in table.to_pylist()]
    return combiner.rebuild(int(table.schema.metadata[b"headwater.examples"]), features)


def _rules(table: pa.Table) -> dict[str, str]:
    return json.loads(table.schema.metadata[b"headwater.rules"])
