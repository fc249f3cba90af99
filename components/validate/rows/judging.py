"""What runs on workers: an element's rows come in, are held against all rules at once, and fall into two shards.

It stands apart from the graphs, so that workers need not import Beam.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing, storage
from headwater.components.common.dataset import ROW_ID, read_element, split_folder
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.expressions import evaluate
from headwater.components.common.labelled import WideShard
from headwater.components.common.shard_writer import ShardWriter
from headwater.components.validate.rows import key_sets, schema_checks, tracing
from headwater.components.validate.rows.key_sets import KeySet
from headwater.components.validate.rows.outliers import Learnt, far_rows
from headwater.components.validate.rows.rules import RULES_COLUMN
from headwater.components.validate.rows.schema_rules import SchemaRule
from headwater.components.validate.rows.tracing import Trace

EXAMPLES = 5
"""How many rows are shown of those that break a rule in a split."""

PRIVATE = "[private]"
"""What stands for a value that must not be shown."""

_VALUE_CHARACTERS = 256
_RULES_AT_ONCE = 48


@dataclasses.dataclass(frozen=True)
class Judged:
    """What is reported of any rule, whatever its kind.

    Attributes:
      name, severity, tolerance, kind, text: as of `rules.Rule`; the kind "schema" for what a schema gives.
      columns: the columns that it is about.
      feature: the feature that it is about, where it is one.
    """

    name: str
    severity: str
    tolerance: float
    kind: str
    text: str
    columns: tuple[str, ...]
    feature: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is the same for all elements.

    Attributes:
      rules: all rules; their places are their numbers.
      schema: the columns to read.
      expressions: (rule, SQL expression) of the rules over one row.
      demands: (rule, demand) of the schema.
      sets: the keys of small referenced datasets.
      outliers: what the rules on outliers have learnt.
      folder: URI of the folder with the lists of rows that rules over many rows found.
      key: the columns that identify a row; none where its place must do.
      private: the columns whose values are not shown, each with the paths within it, with dots, that are not; with none it
        is all of it.
      passed, quarantine: URIs of the folders for the two datasets; empty to write none.
    """

    rules: tuple[Judged, ...]
    schema: pa.Schema
    expressions: tuple[tuple[int, str], ...]
    demands: tuple[tuple[int, SchemaRule], ...]
    sets: tuple[KeySet, ...]
    outliers: tuple[Learnt, ...]
    folder: str
    key: tuple[str, ...]
    private: Mapping[str, Sequence[str]]
    passed: str
    quarantine: str


class Item(NamedTuple):
    """One element of the dataset.

    Attributes:
      number: its place among all elements.
      split: its split.
      name: what it is called in reports.
      first_row: the number of its first row there.
      element: itself.
      identity: what the `_row_id`s of its file are made of; empty where rows have a key.
      traces: the rows that break rules over many rows.
    """

    number: int
    split: str
    name: str
    first_row: int
    element: Any
    identity: str
    traces: tuple[Trace, ...]


def judge(plan: Plan, item: Item) -> bytes:
    """Holds an element's rows against all rules, and writes its two shards.

    Returns:
      JSON: by split `rows`, `bad` and by rule `broken`, `first` and `examples`; and the records of the shards.
    """
    traced = {trace.number: tracing.rows_of(trace, plan.folder) for trace in item.traces}
    passed, quarantined = ShardWriter(), ShardWriter()
    notes: dict[str, dict[str, Any]] = {}
    numbers = _numbers(item)
    rows = bad_rows = 0
    for batch in read_element(item.element, plan.schema):
        broken = sorted(_broken(plan, batch, traced, rows), key=lambda pair: pair[0])
        bad = np.zeros(batch.num_rows, bool)
        for number, places in broken:
            chosen = places[: examples_wanted(notes, number)]
            note(notes, plan, item, number, len(places), batch, chosen, numbers[rows : rows + batch.num_rows])
            if plan.rules[number].severity == "error":
                bad[places] = True
        if plan.passed or plan.quarantine:
            _write(plan, item, batch, bad, broken, rows, passed, quarantined)
        rows += batch.num_rows
        bad_rows += int(bad.sum())
    state: dict[str, Any] = {"splits": {item.split: {"rows": rows, "bad": bad_rows, "rules": notes}}}
    for role, base, shard in (("passed", plan.passed, passed), ("quarantine", plan.quarantine, quarantined)):
        state[role] = [_store(base, item, shard)] if shard.rows else []
    return json.dumps(state).encode()


def merge(states: list[bytes]) -> bytes:
    """What was found in neighbouring elements as one; of examples the first stay."""
    total: dict[str, Any] = {"splits": {}, "passed": [], "quarantine": []}
    for content in states:
        state = json.loads(content)
        total["passed"] += state["passed"]
        total["quarantine"] += state["quarantine"]
        for split, counts in state["splits"].items():
            sums = total["splits"].setdefault(split, {"rows": 0, "bad": 0, "rules": {}})
            sums["rows"] += counts["rows"]
            sums["bad"] += counts["bad"]
            for number, rule in counts["rules"].items():
                if number not in sums["rules"]:
                    sums["rules"][number] = rule
                    continue
                known = sums["rules"][number]
                known["broken"] += rule["broken"]
                known["examples"] = (known["examples"] + rule["examples"])[:EXAMPLES]
    return json.dumps(total).encode()


def _broken(
    plan: Plan, batch: pa.RecordBatch, traced: Mapping[int, np.ndarray], first: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Each rule that rows of a batch break, by number, with the rows, int64, rising."""
    for start in range(0, len(plan.expressions), _RULES_AT_ONCE):
        yield from _of_expressions(plan, plan.expressions[start : start + _RULES_AT_ONCE], batch)
    yield from schema_checks.broken_rows(plan.demands, batch)
    for keys in plan.sets:
        rows = key_sets.not_in_set(keys, batch)
        if len(rows):
            yield keys.number, rows
    for learnt in plan.outliers:
        rows = far_rows(learnt, batch)
        if len(rows):
            yield learnt.number, rows
    for number, rows in traced.items():
        own = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + batch.num_rows)] - first
        if len(own):
            yield number, own


def _of_expressions(
    plan: Plan, expressions: Sequence[tuple[int, str]], batch: pa.RecordBatch
) -> Iterator[tuple[int, np.ndarray]]:
    """Row rules, all in one query: each sets a bit of a number where it is broken."""
    names = {name for number, _ in expressions for name in plan.rules[number].columns}
    batch = _only(batch, [name for name in batch.schema.names if name in names])
    # Every expression stands in two pairs of brackets, as it was checked in one: none reaches beyond them.
    bits = [
        f"CASE WHEN (({text}\n)) IS FALSE THEN {1 << bit}::BIGINT ELSE 0 END"
        for bit, (_, text) in enumerate(expressions)
    ]
    try:
        values, failed = evaluate("rules", " | ".join(bits), batch)
    except HeadwaterError:
        # One by one, so that the error names the rule.
        values, failed = pa.array(np.zeros(batch.num_rows, np.int64)), np.ones(batch.num_rows, bool)
    marks = values.fill_null(0).to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(failed)
    if not len(odd) and not marks.any():
        return
    rest = batch.take(pa.array(odd)) if len(odd) else None
    for bit, (number, text) in enumerate(expressions):
        rows = np.flatnonzero(marks & (1 << bit))
        if rest is not None:
            # Where one rule cannot be computed, the others still have an answer.
            answers, undone = evaluate(f"rule {plan.rules[number].name!r}", text, rest)
            wrong = undone | ~answers.fill_null(True).to_numpy(zero_copy_only=False)
            rows = np.union1d(rows, odd[wrong])
        if len(rows):
            yield number, rows


def _numbers(item: Item) -> Sequence[int] | np.ndarray:
    """The number that each of an element's rows has in its file, from 1."""
    # Labels may have some of a shard's rows alone.
    places = item.element.places() if isinstance(item.element, WideShard) else None
    return range(item.first_row, item.first_row + item.element.rows) if places is None else places + item.first_row


def examples_wanted(notes: Mapping[str, Mapping[str, Any]], number: int) -> int:
    """How many more rows are to be shown of those that break a rule."""
    return EXAMPLES - len(notes[str(number)]["examples"]) if str(number) in notes else EXAMPLES


def note(
    notes: dict[str, dict[str, Any]],
    plan: Plan,
    item: Item,
    number: int,
    broken: int,
    batch: pa.RecordBatch,
    chosen: np.ndarray,
    numbers: Sequence[int] | np.ndarray,
) -> None:
    """Adds to what is known of a split's rules that rows break one.

    Args:
      notes: by rule `broken`, `first` and `examples`.
      plan, item: as of `judge`.
      number: the rule's.
      broken: how many rows break it.
      batch: rows.
      chosen: the places among them of those to show.
      numbers: the number of each of the rows in its file.
    """
    known = notes.setdefault(str(number), {"broken": 0, "first": item.name, "examples": []})
    known["broken"] += broken
    if not len(chosen):
        return
    key = _shown(batch, plan.key, chosen, plan.private)
    values = _shown(batch, plan.rules[number].columns, chosen, plan.private)
    for row, place in enumerate(chosen.tolist()):
        known["examples"].append(
            {"shard": item.name, "row": int(numbers[place]), "key": key[row], "values": values[row]}
        )


def _shown(
    batch: pa.RecordBatch, names: Sequence[str], rows: np.ndarray, private: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """The values of a few rows as JSON knows them, private ones hidden."""
    columns = {}
    for name in names:
        place = batch.schema.get_field_index(name)
        if place >= 0:
            hidden = private.get(name)
            values = batch.column(place).take(pa.array(rows))
            if hidden is None:
                columns[name] = [_as_json(value) for value in values]
            else:
                columns[name] = [_masked(value, hidden) if hidden else PRIVATE for value in values]
    return [{name: values[row] for name, values in columns.items()} for row in range(len(rows))]


def _masked(scalar: pa.Scalar, paths: Sequence[str]) -> Any:
    """A struct as text, without what lies at some paths."""
    try:
        value = scalar.as_py()
    except (ValueError, OverflowError):
        return None
    for path in paths:
        _hide(value, path.split("."))
    return None if value is None else _shortened(str(value))


def _hide(value: Any, path: Sequence[str]) -> None:
    """Hides what lies at a path, through structs and lists of them."""
    if isinstance(value, list):
        for each in value:
            _hide(each, path)
    elif isinstance(value, dict) and len(path) > 1:
        _hide(value.get(path[0]), path[1:])
    elif isinstance(value, dict) and path[0] in value:
        value[path[0]] = PRIVATE


def _as_json(scalar: pa.Scalar) -> Any:
    try:
        value = scalar.as_py()
    except (ValueError, OverflowError):
        # A moment that Python has no name for: the number that stands for it, but for one within a list or struct.
        if pa.types.is_nested(scalar.type):
            return None
        value = pc.cast(scalar, pa.int32() if pa.types.is_date32(scalar.type) else pa.int64()).as_py()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return _shortened(value.hex() if isinstance(value, bytes) else str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _VALUE_CHARACTERS else text[: _VALUE_CHARACTERS - 1] + "…"


def _write(
    plan: Plan,
    item: Item,
    batch: pa.RecordBatch,
    bad: np.ndarray,
    broken: Sequence[tuple[int, np.ndarray]],
    before: int,
    passed: ShardWriter,
    quarantined: ShardWriter,
) -> None:
    names = sorted(name for name in batch.schema.names if name not in (ROW_ID, RULES_COLUMN))
    hashes = hashing.hash_rows([batch.column(batch.schema.get_field_index(name)) for name in names])
    batch = _only(batch, [name for name in batch.schema.names if name != RULES_COLUMN])
    if item.identity:
        rows = np.arange(batch.num_rows, dtype=np.int64) + item.first_row + before
        batch = _with(batch, ROW_ID, hashing.row_ids(item.identity, rows))
    if plan.passed and not bad.all():
        passed.write(batch.filter(pa.array(~bad)) if bad.any() else batch, hashes[~bad])
    if plan.quarantine and bad.any():
        kept = batch.filter(pa.array(bad)) if not bad.all() else batch
        quarantined.write(_with(kept, RULES_COLUMN, _names_of(plan, bad, broken)), hashes[bad])


def _names_of(plan: Plan, bad: np.ndarray, broken: Sequence[tuple[int, np.ndarray]]) -> pa.Array:
    """The names of the rules that each bad row breaks, in the order of the rules."""
    place = np.cumsum(bad) - 1
    rows = [place[places[bad[places]]] for _, places in broken]
    numbers = np.repeat([number for number, _ in broken], [len(part) for part in rows])
    owners = np.concatenate(rows)
    order = np.lexsort((numbers, owners))
    ends = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=int(bad.sum())))])
    names = pa.array([rule.name for rule in plan.rules], pa.string()).take(pa.array(numbers[order]))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), names)


def _store(base: str, item: Item, shard: ShardWriter) -> dict[str, Any]:
    """Writes the file of one shard; gives its line of the index, with its split."""
    content, described = shard.close()
    path = f"{split_folder(shard.names, item.split)}/part-{item.number:05d}.parquet"
    storage.write_bytes(storage.join(base, path), content)
    return {
        "split": item.split,
        "path": path,
        **described,
        "source": getattr(item.element, "uri", None) or item.element.file.uri,
        "start": getattr(item.element, "start", None),
        "stop": getattr(item.element, "stop", None),
    }


def _only(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    fields = [batch.schema.get_field_index(name) for name in names]
    schema = pa.schema([batch.schema.field(place) for place in fields])
    return pa.RecordBatch.from_arrays([batch.column(place) for place in fields], schema=schema)


def _with(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    schema = pa.schema([*batch.schema, pa.field(name, column.type)])
    return pa.RecordBatch.from_arrays([*batch.columns, column], schema=schema)
