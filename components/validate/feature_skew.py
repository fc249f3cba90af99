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
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from headwater.components.common import hashing, storage
from headwater.components.common.beam import map_merge, pipeline_options, scratch_folder
from headwater.components.common.dataset import OWN_PREFIX, ROW_ID, Dataset, load_dataset, read_element
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import as_key, common_type, hash_keys, is_number, value_type
from headwater.components.common.pool import warm_up
from headwater.components.common.settings import checked, whole_numbers

PARTITION_ROWS = 200_000
"""How many rows of the larger side a partition holds, on average."""

_SIDES = ("training", "serving")
_PRELOAD = ["headwater.components.validate.feature_skew"]
_CELLS_WORTH_A_POOL = 2_000_000
_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
_NotNegative = Annotated[float, pydantic.Field(ge=0)]


class Tolerance(pydantic.BaseModel):
    """By how much two numbers may differ: absolute + relative × the training value's size."""

    model_config = _STRICT

    absolute: _NotNegative = 0.0
    relative: _NotNegative = 0.0


class FeatureSkew(pydantic.BaseModel):
    """How rows are compared.

    Attributes:
      serving: path or URI of the rows as serving saw them.
      key: the columns that tell a row; by default the training data's key.
      columns: what is compared; by default all columns of both that are not the key.
      tolerance: by column; numbers without one must be equal.
      max_share: the share of joined rows that may differ in a column before it is a finding, in [0, 1].
      examples: how many differing rows are shown of each column.
    """

    model_config = _STRICT

    serving: Annotated[str, pydantic.Field(min_length=1)]
    key: list[str] = []
    columns: list[str] = []
    tolerance: dict[str, Tolerance] = {}
    max_share: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    examples: Annotated[int, pydantic.Field(ge=0, le=100)] = 5


def measure_feature_skew(
    training: str,
    *,
    config: Mapping[str, Any],
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
) -> dict[str, Any]:
    """Compares training rows with serving rows of the same key.

    Missing equals missing and NaN equals NaN; whole numbers and others are compared by value.

    Args:
      training: path or URI of the rows as training saw them; all splits count.
      config: settings by name, as `FeatureSkew` lists them.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core, or none beside Beam's own for small data.

    Returns:
      JSON values: `rows` (joined, and by side `only` and `left_out`, which add up to each side's); for each column
      `differing` rows, their `share`, `missing` on one side alone, and of numbers the `mean` and `greatest` absolute
      difference; `examples`; and `findings`.

    Raises:
      HeadwaterError: a setting is wrong, a column is missing or of types that cannot be compared, or a dataset is
        missing or altered.
    """
    pipeline_options(beam_pipeline_args)
    options = checked(FeatureSkew, whole_numbers(config), "feature_skew")
    warm_up(_PRELOAD)
    opened = [
        load_dataset(uri, beam_pipeline_args=beam_pipeline_args, workers=workers) for uri in (training, options.serving)
    ]
    key, columns = _chosen(options, opened)
    types = {name: _common_type(name, *(side.schema.field(name).type for side in opened)) for name in (*key, *columns)}
    for name in options.tolerance:
        if not is_number(types[name]):
            raise HeadwaterError(f"feature_skew.tolerance.{name}: the column holds {types[name]}, and no numbers")
    totals = [sum(side.rows(split) for split in side.splits) for side in opened]
    partitions = max(1, -(-max(totals) // PARTITION_ROWS))
    cells = sum(totals) * len(types)
    beam = {
        "beam_pipeline_args": beam_pipeline_args,
        "workers": workers or int(cells < _CELLS_WORTH_A_POOL),
        "scratch": storage.join(opened[0].home.data_root, "_scratch") if opened[0].home else "",
        "preload": _PRELOAD,
    }
    private = set().union(*(_private(side) for side in opened))
    with scratch_folder(beam_pipeline_args, beam["scratch"]) as folder:
        ends = [_spill(side, name, key, types, partitions, folder, beam) for side, name in zip(opened, _SIDES)]
        plan = (folder, key, types, {name: (t.absolute, t.relative) for name, t in options.tolerance.items()})
        content = map_merge(
            "validate: feature skew",
            list(range(partitions)),
            functools.partial(_join, plan, [found["ends"] for found in ends], options.examples),
            functools.partial(_add, options.examples),
            sizes=[-(-max(totals) // partitions)] * partitions,
            **beam,
        )
    told = json.loads(content) if content else _nothing(columns)
    return _report(told, ends, totals, columns, private, options)


def _chosen(options: FeatureSkew, opened: Sequence[Dataset]) -> tuple[list[str], list[str]]:
    known = [set(side.schema.names) for side in opened]
    key = options.key or list(opened[0].key)
    if ROW_ID in key or not key:
        raise HeadwaterError(
            f"feature_skew.key: name the columns that tell a row; {ROW_ID} is made of a row's place in its file, which "
            "serving does not know"
        )
    both = [name for name in opened[0].schema.names if name in known[1]]
    columns = options.columns or [name for name in both if name not in key and not name.startswith(OWN_PREFIX)]
    columns = [name for name in columns if options.columns or name != "split"]
    for where, names in (("key", key), ("columns", columns), ("tolerance", list(options.tolerance))):
        for name in names:
            for side, title in zip(known, _SIDES):
                if name not in side:
                    near = difflib.get_close_matches(name, side, 1)
                    meant = f"; did you mean {near[0]!r}?" if near else ""
                    raise HeadwaterError(f"feature_skew.{where}: {title} data has no column {name!r}{meant}")
            if where == "tolerance" and name not in columns:
                raise HeadwaterError(f"feature_skew.tolerance: {name!r} is not compared")
    if not columns:
        raise HeadwaterError("feature_skew.columns: the two sides have no column in common beside the key")
    return key, columns


def _common_type(name: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    found = common_type(one, other)
    if found is None:
        one, other = value_type(one), value_type(other)
        raise HeadwaterError(
            f"feature_skew: column {name!r} is {one} in training and {other} in serving; cast one of them"
        )
    return found


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
        found = {name: batch.column(batch.schema.get_field_index(name)) for name in types}
        columns = {name: _as(found[name], kind) for name, kind in types.items()}
        # Numbers hash by value: made float64 first, long integers would fall together.
        rows, hashes = hash_keys(
            [as_key(found[name] if pa.types.is_floating(types[name]) else columns[name]) for name in key]
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
    storage.write_bytes(_spilled(folder, side, number), b"".join(pieces))
    return json.dumps({"ends": ends, "keyless": keyless}).encode()


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind, safe=False)


def _spilled(folder: str, side: str, number: int) -> str:
    return storage.join(folder, f"{side}-{number:06d}")


def _to_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


# Joining.


def _join(plan: tuple, ends: Sequence[Sequence[Sequence[int]]], most: int, partition: int) -> bytes:
    folder, key, types, tolerances = plan
    sides = [_load(folder, side, own, partition) for side, own in zip(_SIDES, ends)]
    told = _nothing([name for name in types if name not in key])
    if any(side is None for side in sides):
        for title, side in zip(_SIDES, sides):
            if side is not None:
                single = _single(side)
                told["only"][title], told["twice"][title] = int(single.sum()), int((~single).sum())
        return json.dumps(told).encode()
    keys, single = [_keys(side) for side in sides], [_single(side) for side in sides]
    # A key that stands twice on one side has no sure partner on the other.
    twice = [own[~alone] for own, alone in zip(keys, single)]
    single = [alone & ~np.isin(own, other) for own, alone, other in zip(keys, single, reversed(twice))]
    for title, own in zip(_SIDES, single):
        told["twice"][title] = int((~own).sum())
    alone = [set_of[own] for set_of, own in zip(keys, single)]
    rows = [np.flatnonzero(own) for own in single]
    _, first, second = np.intersect1d(alone[0], alone[1], assume_unique=True, return_indices=True)
    pairs = np.sort(first), second[np.argsort(first, kind="stable")]
    chosen = [rows[0][pairs[0]], rows[1][pairs[1]]]
    told["joined"] = len(pairs[0])
    for title, own in zip(_SIDES, rows):
        told["only"][title] = len(own) - len(pairs[0])
    training, serving = (table.take(pa.array(own)) for table, own in zip(sides, chosen))
    for name in told["columns"]:
        told["columns"][name] = _compare(training, serving, name, key, tolerances.get(name, (0.0, 0.0)), most)
    return json.dumps(told).encode()


def _load(folder: str, side: str, ends: Sequence[Sequence[int]], partition: int) -> pa.Table | None:
    parts = []
    for number, own in enumerate(ends):
        start, stop = own[partition], own[partition + 1]
        if stop > start:
            parts.append(pa.ipc.open_stream(storage.read_range(_spilled(folder, side, number), start, stop)).read_all())
    return pa.concat_tables(parts).combine_chunks() if parts else None


def _keys(table: pa.Table) -> np.ndarray:
    """Keys as pairs of numbers that sort as one."""
    keys = np.empty(table.num_rows, np.dtype([("first", "<u8"), ("second", "<u8")]))
    keys["first"], keys["second"] = table["_first"].to_numpy(), table["_second"].to_numpy()
    return keys


def _single(table: pa.Table) -> np.ndarray:
    """Which rows have a key of their own."""
    first, second = table["_first"].to_numpy(), table["_second"].to_numpy()
    order = np.lexsort((second, first))
    equal = (first[order][1:] == first[order][:-1]) & (second[order][1:] == second[order][:-1])
    twice = np.zeros(len(order), bool)
    twice[order[1:][equal]] = True
    twice[order[:-1][equal]] = True
    return ~twice


def _compare(
    training: pa.Table, serving: pa.Table, name: str, key: Sequence[str], tolerance: tuple[float, float], most: int
) -> dict[str, Any]:
    one, other = (_one(table[name]) for table in (training, serving))
    there = [pc.is_valid(side).to_numpy(zero_copy_only=False) for side in (one, other)]
    both, alone = there[0] & there[1], there[0] != there[1]
    told: dict[str, Any] = {"missing": int(alone.sum()), "sum": 0.0, "greatest": 0.0, "measured": 0}
    if is_number(one.type):
        different = both & ~_equal(one, other)
        gaps = np.zeros(len(one))
        if different.any():
            places = np.flatnonzero(different)
            a, b = (_doubles(side.take(pa.array(places))) for side in (one, other))
            with np.errstate(invalid="ignore"):
                gap = np.abs(a - b)
                # NaN beside a number, and infinities, are beyond any tolerance.
                beyond = ~(gap <= tolerance[0] + tolerance[1] * np.abs(a))
            gaps[places] = gap
            different[places] = beyond
            finite = gaps[places][np.isfinite(gap)]
            told["sum"], told["greatest"] = float(finite.sum()), float(finite.max(initial=0.0))
        told["measured"] = int(both.sum())
    else:
        different = both & ~_equal(one, other)
    different |= alone
    places = np.flatnonzero(different)
    told["differing"] = len(places)
    shown = pa.array(places[:most])
    told["examples"] = [
        {"key": {part: _said(_one(training[part]).take(shown)[n]) for part in key}, "training": _said(one.take(shown)[n]),
         "serving": _said(other.take(shown)[n])}
        for n in range(len(shown))
    ]  # fmt: skip
    return told


def _equal(one: pa.Array, other: pa.Array) -> np.ndarray:
    kind = one.type
    if pa.types.is_floating(kind):
        a, b = (pc.fill_null(side, 0.0).to_numpy(zero_copy_only=False) for side in (one, other))
        return (a == b) | (np.isnan(a) & np.isnan(b))
    if (
        pa.types.is_nested(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_null(kind)
        or pa.types.is_duration(kind)
    ):
        return hashing.hash_values(one) == hashing.hash_values(other)
    return pc.fill_null(pc.equal(one, other), False).to_numpy(zero_copy_only=False)


def _doubles(column: pa.Array) -> np.ndarray:
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _said(value: pa.Scalar) -> Any:
    """A value as JSON has it, at most 80 characters long."""
    plain = value.as_py()
    if plain is None or isinstance(plain, (bool, int)):
        return plain
    if isinstance(plain, float):
        return plain if np.isfinite(plain) else str(plain)
    return str(plain)[:80]


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _nothing(columns: Sequence[str]) -> dict[str, Any]:
    none = {"missing": 0, "sum": 0.0, "greatest": 0.0, "measured": 0, "differing": 0}
    return {
        "joined": 0,
        "only": dict.fromkeys(_SIDES, 0),
        "twice": dict.fromkeys(_SIDES, 0),
        "columns": {name: {**none, "examples": []} for name in columns},
    }


def _add(most: int, contents: list[bytes]) -> bytes:
    """What several partitions tell together; of examples the first stay."""
    total: dict[str, Any] = {}
    for told in map(json.loads, contents):
        if not total:
            total = told
            continue
        total["joined"] += told["joined"]
        for part in ("only", "twice"):
            for side in _SIDES:
                total[part][side] += told[part][side]
        for name, found in told["columns"].items():
            mine = total["columns"][name]
            for field in ("missing", "sum", "measured", "differing"):
                mine[field] += found[field]
            mine["greatest"] = max(mine["greatest"], found["greatest"])
            mine["examples"] = (mine["examples"] + found["examples"])[:most]
    return json.dumps(total).encode()


# Telling.


def _report(
    told: Mapping[str, Any],
    ends: Sequence[Mapping[str, Any]],
    totals: Sequence[int],
    columns: Sequence[str],
    private: set[str],
    options: FeatureSkew,
) -> dict[str, Any]:
    joined = told["joined"]
    rows: dict[str, Any] = {"joined": joined}
    for side, total, spilled in zip(_SIDES, totals, ends):
        left_out = told["twice"][side] + spilled["keyless"]
        rows[side] = {"rows": total, "only": told["only"][side], "left_out": left_out}
        if joined + told["only"][side] + left_out != total:
            raise AssertionError(f"feature skew: rows of {side} data do not add up: {rows}")
    found: dict[str, Any] = {}
    for name in columns:
        mine = told["columns"][name]
        found[name] = {
            "differing": mine["differing"],
            "share": mine["differing"] / joined if joined else 0.0,
            "missing": mine["missing"],
            "mean": mine["sum"] / mine["measured"] if mine["measured"] else None,
            "greatest": mine["greatest"] if mine["measured"] else None,
            "examples": [] if name in private else [_masked(each, private) for each in mine["examples"]],
        }
    return {"rows": rows, "columns": found, "findings": list(_findings(rows, found, options))}


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
            "message": "feature skew: no key of the training data stands in the serving data",
        }
        return
    for name, told in columns.items():
        if told["share"] > options.max_share:
            gap = f", by {told['greatest']:.4g} at most" if told["greatest"] else ""
            yield {
                **common,
                "feature": name,
                "kind": "FEATURE_SKEW",
                "message": f"differs between training and serving in {told['differing']:,} of {rows['joined']:,} joined "
                f"rows ({told['share']:.2%}){gap}",
            }
