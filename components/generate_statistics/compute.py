"""generate-statistics: one pass over a dataset, TFDV's combiners on whole shards, states merged in a fixed order."""

from __future__ import annotations

import functools
import importlib
import threading
from typing import Any, Sequence

import pyarrow as pa

from headwater.components.common import results, storage
from headwater.components.common.beam import map_merge, pipeline_options
from headwater.components.common.dataset import load_dataset, read_element
from headwater.components.common.results import Result
from headwater.components.generate_statistics.conversion import measured, rules

FILE = "Split-{split}/FeatureStats.pb"
STATE = "Split-{split}/State.arrow"

_TFDV = "headwater.components.generate_statistics.state"
# Below this many cells, importing TFDV in more processes costs more than it saves.
_CELLS_WORTH_A_POOL = 8_000_000


def compute_statistics(
    dataset: str, output: str, *, beam_pipeline_args: Sequence[str] = (), workers: int = 0
) -> Result:
    """Computes the statistics of each split of a dataset.

    Args:
      dataset: path or URI of a dataset, or of a plain Parquet or CSV file, folder or glob.
      output: folder for the result.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core, or none beside Beam's own for small data.

    Returns:
      The statistics: `Split-<name>/FeatureStats.pb`, a `DatasetFeatureStatisticsList` as TFX lays it out, and
      `Split-<name>/State.arrow`, which `merge` in `state` adds to others.

    Raises:
      HeadwaterError: the dataset is missing, altered, not accepted, or has a column whose type has no statistics.
    """
    pipeline_options(beam_pipeline_args)
    opened = load_dataset(dataset, beam_pipeline_args=beam_pipeline_args, workers=workers)
    conversions = rules(opened.schema)
    items = [(split, element) for split in opened.splits for element in opened.elements(split)]
    sizes = [element.rows for _, element in items]
    # TFDV takes seconds to import: it begins now, while workers start and shards are read.
    threading.Thread(target=importlib.import_module, args=(_TFDV,), daemon=True).start()
    content = map_merge(
        "generate-statistics",
        items,
        functools.partial(_measure, opened.schema),
        _merge,
        sizes=sizes,
        beam_pipeline_args=beam_pipeline_args,
        workers=workers or int(sum(sizes) * len(opened.schema) < _CELLS_WORTH_A_POOL),
        scratch=storage.join(opened.home.data_root, "_scratch") if opened.home else "",
        preload=[_TFDV],
    )
    from headwater.components.generate_statistics import state
    from headwater.components.generate_statistics.page import render_page

    found = _unpack(content)
    states = {split: found.get(split) or state.measure([], opened.schema) for split in opened.splits}
    statistics = {split: state.to_statistics(content, split) for split, content in states.items()}
    files = {
        FILE.format(split=split): proto.SerializeToString(deterministic=True) for split, proto in statistics.items()
    }
    files.update({STATE.format(split=split): content for split, content in states.items()})
    body = {
        "dataset": {
            "uri": opened.result.uri,
            "name": opened.home.name if opened.home else "",
            "span": opened.home.span if opened.home else None,
            "key": opened.key,
        },
        "splits": {
            split: {"rows": proto.datasets[0].num_examples, "features": len(measured(opened.schema))}
            for split, proto in statistics.items()
        },
        "conversions": conversions,
    }
    return results.save(
        "statistics",
        output,
        files=files,
        body=body,
        inputs={"dataset": opened.result},
        settings={},
        home=opened.home,
        page=render_page(body, statistics),
    )


def _measure(schema: pa.Schema, item: tuple[str, Any]) -> bytes:
    from headwater.components.generate_statistics import state

    split, element = item
    return _pack({split: state.measure(list(read_element(element, schema)), schema)})


def _merge(parts: list[bytes]) -> bytes:
    from headwater.components.generate_statistics import state

    states: dict[str, list[bytes]] = {}
    for part in parts:
        for split, content in _unpack(part).items():
            states.setdefault(split, []).append(content)
    return _pack(
        {split: contents[0] if len(contents) == 1 else state.merge(contents) for split, contents in states.items()}
    )


def _pack(states: dict[str, bytes]) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table(
        {"split": pa.array(list(states), pa.string()), "state": pa.array(list(states.values()), pa.binary())}
    )
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _unpack(content: bytes) -> dict[str, bytes]:
    table = pa.ipc.open_stream(pa.BufferReader(content)).read_all()
    return dict(zip(table["split"].to_pylist(), table["state"].to_pylist()))
