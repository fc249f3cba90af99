"""Feature skew: the same rows, found by key, as training and as serving saw them.

Rows of both sides are spilled into partitions by a hash of their key, and one partition after the other is joined in
memory, so that data of any size takes the memory of one partition. Two different keys are taken for one with a chance of
n²/2¹²⁹. Rows whose key stands more than once on a side, or has a missing part, have no partner that is sure; they are
counted and left out.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common import hashing, storage
from headwater.components.common.beam import check_options, map_merge, scratch_folder
from headwater.components.common.dataset import OWN_PREFIX, ROW_ID, Dataset, load_dataset, read_element
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import percent
from headwater.components.common.keys import as_key, common_type, hash_keys, is_number, value_type
from headwater.components.common.pool import warm_up
from headwater.components.common.settings import checked, whole_numbers
from headwater.components.common.tables_in_memory import Tabular, as_uri
from headwater.components.validate.feature_skew.joining import SIDES, add, join, nothing, spill_uri
from headwater.components.validate.feature_skew.settings import FeatureSkew

PARTITION_ROWS = 200_000
"""How many rows of the larger side a partition holds, on average."""

_PRELOAD = ["headwater.components.validate.feature_skew.measure"]
_CELLS_WORTH_A_POOL = 2_000_000


def measure_feature_skew(
    training: Tabular,
    *,
    config: Mapping[str, Any],
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
) -> dict[str, Any]:
    """Compares training rows with serving rows of the same key.

    Missing equals missing and NaN equals NaN; whole numbers and others are compared by value.

    Args:
      training: path or URI of the rows as training saw them, or a table of pandas, polars or Arrow; all splits count.
      config: settings by name, as `FeatureSkew` lists them; `serving` may be a table as well.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core, or none beside Beam's own for small data.

    Returns:
      JSON values: `rows` (joined, and by side `only` and `left_out`, which add up to each side's); for each column
      `differing` rows, their `share`, `missing` on one side alone, and of numbers the `mean` and `max` absolute
      difference; `examples`; and `findings`.

    Raises:
      HeadwaterError: a setting is wrong, a column is missing or of types that cannot be compared, or a dataset is
        missing or altered.
    """
    check_options(beam_pipeline_args)
    if isinstance(config, Mapping) and "serving" in config:
        config = {**config, "serving": as_uri(config["serving"], "feature_skew.serving")}
    options = checked(FeatureSkew, whole_numbers(config), "feature_skew")
    # Nothing is said of what identifies plain files, so they are not read for that.
    opened = [
        load_dataset(uri, unread=True, beam_pipeline_args=beam_pipeline_args, workers=workers, preload=_PRELOAD)
        for uri in (as_uri(training, "training"), options.serving)
    ]
    key, columns = _chosen(options, opened)
    types = {name: _common_type(name, *(side.schema.field(name).type for side in opened)) for name in (*key, *columns)}
    for name in options.tolerance:
        if not is_number(types[name]):
            raise HeadwaterError(f"feature_skew.tolerance.{name}: the column must hold numbers; it holds {types[name]}")
    totals = [sum(side.rows(split) for split in side.splits) for side in opened]
    partitions = max(1, -(-max(totals) // PARTITION_ROWS))
    cells = sum(totals) * len(types)
    if cells >= _CELLS_WORTH_A_POOL:
        warm_up(_PRELOAD, workers)
    beam: dict[str, Any] = {
        "beam_pipeline_args": beam_pipeline_args,
        "workers": workers or int(cells < _CELLS_WORTH_A_POOL),
        "scratch": storage.join(opened[0].home.data_root, "_scratch") if opened[0].home else "",
        "preload": _PRELOAD,
    }
    private: set[str] = set().union(*(_private(side) for side in opened))
    with scratch_folder(beam_pipeline_args, beam["scratch"]) as folder:
        ends = [_spill(side, name, key, types, partitions, folder, beam) for side, name in zip(opened, SIDES)]
        plan = (folder, key, types, {name: (t.absolute, t.relative) for name, t in options.tolerance.items()})
        content = map_merge(
            "validate: feature skew",
            list(range(partitions)),
            functools.partial(join, plan, [spilled["ends"] for spilled in ends], options.examples),
            functools.partial(add, options.examples),
            sizes=[-(-max(totals) // partitions)] * partitions,
            **beam,
        )
    summary = json.loads(content) if content else nothing(columns)
    return _report(summary, ends, totals, columns, private, options)


def _chosen(options: FeatureSkew, opened: Sequence[Dataset]) -> tuple[list[str], list[str]]:
    known = [set(side.schema.names) for side in opened]
    key = options.key or list(opened[0].key)
    if ROW_ID in key or not key:
        raise HeadwaterError(
            f"feature_skew.key: name the columns that identify a row; {ROW_ID} comes from the row's position in its "
            "file, which serving data does not have"
        )
    both = [name for name in opened[0].schema.names if name in known[1]]
    columns = options.columns or [name for name in both if name not in key and not name.startswith(OWN_PREFIX)]
    columns = [name for name in columns if options.columns or name != "split"]
    for where, names in (("key", key), ("columns", columns), ("tolerance", list(options.tolerance))):
        for name in names:
            for side, title in zip(known, SIDES):
                if name not in side:
                    near = difflib.get_close_matches(name, side, 1)
                    meant = f"; did you mean {near[0]!r}?" if near else ""
                    raise HeadwaterError(f"feature_skew.{where}: {title} data has no column {name!r}{meant}")
            if where == "tolerance" and name not in columns:
                raise HeadwaterError(
                    f"feature_skew.tolerance: column {name!r} is not compared; name it under feature_skew.columns or "
                    "remove its tolerance"
                )
    if not columns:
        raise HeadwaterError("feature_skew.columns: the two sides have no column in common apart from the key")
    return key, columns


def _common_type(name: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    common = common_type(one, other)
    if common is None:
        one, other = value_type(one), value_type(other)
        raise HeadwaterError(
            f"feature_skew: column {name!r} is {one} in training and {other} in serving; cast one of them"
        )
    return common


def _private(opened: Dataset) -> set[str]:
    marked = opened.result.body.get("private") or {}
    return {name for name, entry in marked.items() if (entry.get("action") or "keep") == "keep"}


# Spilling.


def _spill(
    opened: Dataset,
    side: str,
    key: Sequence[str],
    types: Mapping[str, pa.DataType],
    partitions: int,
    folder: str,
    beam: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes a side's rows by partition; gives where each element's partitions begin, and the rows without a key."""
    elements = [element for split in opened.splits for element in opened.elements(split)]
    schema = pa.schema([opened.schema.field(name) for name in types])
    content = map_merge(
        f"validate: {side} rows",
        list(enumerate(elements)),
        functools.partial(_spill_element, side, key, dict(types), schema, partitions, folder),
        b"\n".join,
        sizes=[element.rows for element in elements],
        **beam,
    )
    lines = [json.loads(line) for line in content.splitlines()]
    return {"ends": [line["ends"] for line in lines], "keyless": sum(line["keyless"] for line in lines)}


def _spill_element(
    side: str,
    key: Sequence[str],
    types: Mapping[str, pa.DataType],
    schema: pa.Schema,
    partitions: int,
    folder: str,
    item: tuple[int, Any],
) -> bytes:
    number, element = item
    held, keyless = [], 0
    for batch in read_element(element, schema):
        arrays = {name: batch.column(batch.schema.get_field_index(name)) for name in types}
        columns = {name: _as(arrays[name], kind) for name, kind in types.items()}
        # Numbers hash by value: made float64 first, long integers would fall together.
        rows, hashes = hash_keys(
            [as_key(arrays[name] if pa.types.is_floating(types[name]) else columns[name]) for name in key]
        )
        keyless += batch.num_rows - len(rows)
        table = pa.table({**columns})
        table = table if len(rows) == batch.num_rows else table.take(pa.array(rows))
        held.append(
            table.append_column("_first", pa.array(hashes["first"])).append_column(
                "_second", pa.array(hashes["second"])
            )
        )
    ends, pieces = [0], []
    if held:
        table = pa.concat_tables(held).combine_chunks()
        partition = (hashing.shares(table["_first"].to_numpy()) * partitions).astype(np.int64)
        order = np.argsort(partition, kind="stable")
        bounds = np.searchsorted(partition[order], np.arange(partitions + 1))
        table = table.take(pa.array(order)) if partitions > 1 else table
        for start, stop in zip(bounds[:-1], bounds[1:]):
            pieces.append(_to_stream(table.slice(start, stop - start)) if stop > start else b"")
            ends.append(ends[-1] + len(pieces[-1]))
    else:
        ends = [0] * (partitions + 1)
    storage.write_bytes(spill_uri(folder, side, number), b"".join(pieces))
    return json.dumps({"ends": ends, "keyless": keyless}).encode()


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind, safe=False)


def _to_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


# Joining.


def _report(
    summary: Mapping[str, Any],
    ends: Sequence[Mapping[str, Any]],
    totals: Sequence[int],
    columns: Sequence[str],
    private: set[str],
    options: FeatureSkew,
) -> dict[str, Any]:
    joined = summary["joined"]
    rows: dict[str, Any] = {"joined": joined}
    for side, total, spilled in zip(SIDES, totals, ends):
        left_out = summary["twice"][side] + spilled["keyless"]
        rows[side] = {"rows": total, "only": summary["only"][side], "left_out": left_out}
        if joined + summary["only"][side] + left_out != total:
            raise AssertionError(f"feature skew: the counts of {side} rows do not add up: {rows}")
    by_column: dict[str, Any] = {}
    for name in columns:
        mine = summary["columns"][name]
        by_column[name] = {
            "differing": mine["differing"],
            "share": mine["differing"] / joined if joined else 0.0,
            "missing": mine["missing"],
            "mean": mine["sum"] / mine["measured"] if mine["measured"] else None,
            "max": mine["max"] if mine["measured"] else None,
            "examples": [] if name in private else [_masked(each, private) for each in mine["examples"]],
        }
    return {"rows": rows, "columns": by_column, "findings": list(_findings(rows, by_column, options))}


def _masked(example: Mapping[str, Any], private: set[str]) -> dict[str, Any]:
    key = {name: "(private)" if name in private else value for name, value in example["key"].items()}
    return {**example, "key": key}


def _findings(rows: Mapping[str, Any], columns: Mapping[str, Any], options: FeatureSkew) -> Iterator[dict[str, Any]]:
    common = {"split": "", "severity": "warning"}
    if not rows["joined"]:
        yield {
            **common,
            "feature": "",
            "kind": "COMPARISON_IMPOSSIBLE",
            "message": "feature skew: no key of the training data occurs in the serving data",
        }
        return
    for name, summary in columns.items():
        if summary["share"] > options.max_share:
            gap = f", by {summary['max']:.4g} at most" if summary["max"] else ""
            yield {
                **common,
                "feature": name,
                "kind": "FEATURE_SKEW",
                "message": f"differs between training and serving in {summary['differing']:,} of {rows['joined']:,} "
                "joined "
                f"rows ({percent(summary['share'])}){gap}",
            }
