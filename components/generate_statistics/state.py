"""The mergeable state of statistics: what a finished proto has lost, kept so that spans can be added up later.

A state is an Arrow IPC file. Its schema's metadata holds

    headwater.state     version of this format, "1"
    headwater.examples  number of rows

and it has one row a feature, ordered by path:

    path      list<string>  the feature's path
    rule      string        how its values were converted, in words; missing when they were taken as they are
    basic     string        JSON, with NaN and Infinity as Python writes them: counts, sums, extremes, means and
                            variances by TFDV's names for them
    sketches  list<binary>  the quantile sketches that `basic` refers to, each as tfx_bsl serialises it
    values    list<binary>  of text: the values' counts (an Arrow IPC stream, see `values.encode`) and tfx_bsl's sketch
                            of how many are distinct; else empty
"""

from __future__ import annotations

import json
from typing import Mapping, Sequence

import pyarrow as pa

from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics.conversion import RULE, rules_by_path, to_lists
from headwater.components.generate_statistics.tfdv_internals import Combiner, Partial
from tensorflow_metadata.proto.v0 import statistics_pb2

VERSION = "1"

_Rules = Mapping[Sequence[str], str]

_SCHEMA = pa.schema(
    [
        ("path", pa.list_(pa.string())),
        ("rule", pa.string()),
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

    Raises:
      HeadwaterError: a column's type has no rule of conversion.
    """
    texts = rules_by_path(schema)
    combiner = Combiner()
    lists = [to_lists(batch) for batch in batches] or [to_lists(pa.RecordBatch.from_pylist([], schema))]
    return _encode(combiner, combiner.measure(lists), texts)


def merge(states: Sequence[bytes]) -> bytes:
    """The state of all the rows that `states` stand for, merged in their order.

    Raises:
      HeadwaterError: there is no state, one is of another format, or types differ between states.
    """
    if not states:
        raise HeadwaterError("there are no states to merge")
    tables = [_open(state) for state in states]
    combined: dict[Sequence[str], str] = {}
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
        if text := texts.get(tuple(feature.path.step)):
            feature.custom_stats.add(name=RULE, str=text)
    return statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])


def _encode(combiner: Combiner, partial: Partial, texts: _Rules) -> bytes:
    rows = list(combiner.take_apart(partial))
    metadata = {"headwater.state": VERSION, "headwater.examples": str(partial.basic.num_examples)}
    columns = [
        pa.array([list(row[0]) for row in rows], pa.list_(pa.string())),
        pa.array([texts.get(tuple(row[0])) for row in rows], pa.string()),
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


def _rules(table: pa.Table) -> dict[Sequence[str], str]:
    pairs = zip(table["path"].to_pylist(), table["rule"].to_pylist())
    return {tuple(path): text for path, text in pairs if text}
