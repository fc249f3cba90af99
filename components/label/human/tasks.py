"""Rows of a dataset as tasks for people: those that were chosen, or a sample; with gold questions mixed in."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing, storage
from headwater.components.common.arrow_types import is_text
from headwater.components.common.dataset import OWN_PREFIX, Dataset, load_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import KEY, as_key, decoded, hash_keys, value_type
from headwater.components.common.tables_in_memory import Tabular, as_arrow, as_uri
from headwater.components.label.classes import check_kind
from headwater.components.label.human.forms import FORMS
from headwater.components.label.human.forms.base import Batch, Task, as_json
from headwater.components.label.human.settings import Tasks, project_of
from headwater.components.label.reuse import keyed, read

SUMMARY = "batch.json"
"""The file beside the tasks that says what they are; it is written last."""

_FIRST, _SECOND, _IS_GOLD = "_first", "_second", "_is_gold"


def write_tasks(
    dataset: Dataset | Tabular,
    chosen: Tabular | None,
    output: str,
    settings: Tasks,
    *,
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 1,
) -> dict[str, Any]:
    """Writes rows as tasks for people.

    Args:
      dataset: a dataset, opened or its path or URI, or a table.
      chosen: a table of the rows to ask about, in the order in which they should be asked: the dataset's key columns, and any
        others; None for `settings.rows` of all rows.
      output: folder for the files, which get the same content for the same rows and settings.
      settings: what is asked, and how.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker.

    Returns:
      What `batch.json` holds as well: `project`, `batch`, `format`, `files`, `rows`, `gold`, `tasks`, `overlap`, `votes`,
      `cost`, `classes`, `columns` that are shown, `hidden` ones that are private, `not_asked`: how many of the chosen
      rows the budget left out.

    Raises:
      HeadwaterError: a column is missing, private or of the wrong type, a chosen row is not in the dataset, or the
        budget pays for no row.
    """
    opened = keyed(dataset if isinstance(dataset, Dataset) else load_dataset(as_uri(dataset)))
    plan = _plan(opened, settings)
    wanted = None if chosen is None else _keys_of_chosen(opened, as_arrow(chosen, "chosen"))
    most = settings.rows if wanted is None else len(wanted)
    if not most:
        raise HeadwaterError("chosen: there are no rows to ask about")
    found = _find(opened, plan, wanted, most, {"beam_pipeline_args": beam_pipeline_args, "workers": workers})
    asked, gold = (found.filter(pc.equal(found[_IS_GOLD], each)) for each in (False, True))
    if wanted is not None:
        asked = _as_chosen(asked, wanted)
    rows, golden = _within_budget(settings, asked.num_rows, gold.num_rows)
    made = pa.concat_tables([asked.slice(0, rows), gold.slice(0, golden)])
    made = made.take(pa.array(_mixed(rows, golden, settings.seed)))
    project = project_of(settings.project, opened.result.body.get("name") or "", settings.classes)
    batch = f"{hashing.digest(_keys(made)['first']):032x}"[:12]
    files = FORMS[settings.format].write(Batch(project, batch, _tasks(made, plan), plan.views, settings))
    for name, content in files.items():
        storage.write_bytes(storage.join(output, name), content)
    votes = made.num_rows * settings.overlap
    summary = {
        "project": project,
        "batch": batch,
        "dataset": opened.result.fingerprint,
        "format": settings.format,
        "files": list(files),
        "rows": rows,
        "gold": golden,
        "tasks": made.num_rows,
        "overlap": settings.overlap,
        "votes": votes,
        "cost": votes * settings.cost,
        "classes": list(settings.classes),
        "columns": list(plan.views),
        "hidden": plan.hidden,
        "not_asked": asked.num_rows - rows,
    }
    storage.write_bytes(storage.join(output, SUMMARY), as_json(summary))
    return summary


class _Plan(NamedTuple):
    """What is read of each row.

    Attributes:
      schema: the dataset's.
      key: its key's columns.
      readable: those of them that tasks may show.
      views: how each shown column is shown.
      hidden: columns that are private.
      gold: the column of gold, or empty.
      gold_share, seed: as in the settings.
    """

    schema: pa.Schema
    key: tuple[str, ...]
    readable: tuple[str, ...]
    views: Mapping[str, str]
    hidden: list[str]
    gold: str
    gold_share: float
    seed: int


def _plan(opened: Dataset, settings: Tasks) -> _Plan:
    schema = opened.schema
    private = opened.result.body.get("private") or {}
    for name in settings.columns:
        if name not in schema.names:
            raise HeadwaterError(f"columns: there is no column {name!r}; the columns are {', '.join(schema.names)}")
        if name in private:
            raise HeadwaterError(f"columns: {name!r} is private, so it cannot be shown to raters; remove it")
        kind = value_type(schema.field(name).type)
        if settings.columns[name] == "image" and not is_text(kind):
            raise HeadwaterError(f"columns: {name!r} is {kind}, but an image must be text that holds a URL")
    if settings.gold:
        if settings.gold not in schema.names:
            raise HeadwaterError(
                f"gold: there is no column {settings.gold!r}; the columns are {', '.join(schema.names)}"
            )
        check_kind("gold", settings.gold, schema.field(settings.gold).type)
    for name in settings.hidden:
        if name not in schema.names:
            raise HeadwaterError(f"hidden: there is no column {name!r}; the columns are {', '.join(schema.names)}")
    plain = [name for name in opened.key if (private.get(name) or {}).get("action", "hash") != "hash"]
    if plain:
        raise HeadwaterError(
            f"dataset: the key {plain[0]!r} is private, and each task needs its row's key; collect the dataset with "
            f"another key, or with private: {{{plain[0]}: hash}}"
        )
    unseen = {*private, *settings.hidden, settings.gold}
    views: dict[str, str] = dict(settings.columns) or {
        name: "table" for name in schema.names if not name.startswith(OWN_PREFIX) and name not in unseen
    }
    if not views:
        raise HeadwaterError("columns: there is no column to show; every one is private, hidden or added by Headwater")
    readable = tuple(name for name in opened.key if name not in unseen and not name.startswith(OWN_PREFIX))
    return _Plan(
        schema, tuple(opened.key), readable, views, sorted(name for name in private if name in schema.names),
        settings.gold, float(settings.gold_share), settings.seed,
    )  # fmt: skip


def _keys_of_chosen(opened: Dataset, chosen: pa.Table) -> np.ndarray:
    """The keys of chosen rows, each once, in their order."""
    lacking = next((name for name in opened.key if name not in chosen.column_names), None)
    if lacking is not None:
        raise HeadwaterError(
            f"chosen: has no column {lacking!r} of the dataset's key; its columns are {', '.join(chosen.column_names)}"
        )
    try:
        columns = [
            chosen[name].combine_chunks().cast(value_type(opened.schema.field(name).type)) for name in opened.key
        ]
    except pa.ArrowInvalid:
        raise HeadwaterError("chosen: its key is of another type than the dataset's") from None
    rows, keys = hash_keys([as_key(_array(column)) for column in columns])
    if len(rows) < chosen.num_rows:
        raise HeadwaterError(f"chosen: {chosen.num_rows - len(rows):,} rows have no key")
    _, first = np.unique(keys, return_index=True)
    return keys[np.sort(first)]


def _array(column: Any) -> pa.Array:
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _find(opened: Dataset, plan: _Plan, wanted: np.ndarray | None, most: int, beam: Mapping[str, Any]) -> pa.Table:
    """The chosen rows and gold ones; `_FIRST`, `_SECOND` and `_IS_GOLD` stand beside the columns that tasks need."""
    from headwater.components.common.beam import map_merge

    elements = [element for split in opened.splits for element in opened.elements(split) if element.rows]
    golden = math.ceil(most * plan.gold_share / (1 - plan.gold_share))
    kept = functools.partial(_least, plan.seed, None if wanted is not None else most, golden)
    content = map_merge(
        "label: choose rows to ask about",
        elements,
        functools.partial(_pick, plan, None if wanted is None else np.sort(wanted), kept),
        functools.partial(_merge, kept),
        sizes=[element.rows for element in elements],
        **beam,
    )
    return _decode(content)


def _pick(plan: _Plan, wanted: np.ndarray | None, kept: Any, element: Any) -> bytes:
    """What an element has of rows to ask about, and of gold ones."""
    names = dict.fromkeys([*plan.key, *([plan.gold] if plan.gold else [])])
    hits, position = [], 0
    own = [plan.schema.field(name) for name in names]
    # Of plain files `_row_id` alone is not in the file.
    more = [plan.schema.field(next(iter(plan.views)))] if set(names) <= {"_row_id"} else []
    for batch in read(element, pa.schema([*own, *more])):
        rows, keys = hash_keys([as_key(decoded(batch.column(batch.schema.get_field_index(n)))) for n in plan.key])
        is_gold = np.zeros(len(rows), bool)
        if plan.gold:
            column = decoded(batch.column(batch.schema.get_field_index(plan.gold)))
            is_gold = pc.is_valid(column).to_numpy(zero_copy_only=False)[rows]
        asked = ~is_gold if wanted is None else _among(keys, wanted)
        is_gold &= ~asked if plan.gold_share else False
        some = asked | is_gold
        hits.append(
            pa.table(
                {
                    _FIRST: keys["first"][some],
                    _SECOND: keys["second"][some],
                    _IS_GOLD: is_gold[some],
                    "_place": rows[some] + position,
                }
            )
        )
        position += batch.num_rows
    found = kept(pa.concat_tables(hits))
    schema = pa.schema([plan.schema.field(name) for name in dict.fromkeys([*plan.readable, *plan.views])])
    if not found.num_rows:
        return _encode([])
    whole = pa.Table.from_batches(read(element, schema), schema)
    shown = whole.take(found["_place"])
    return _encode([_with(found.drop(["_place"]), shown)])


def _with(found: pa.Table, shown: pa.Table) -> pa.Table:
    for field, column in zip(shown.schema, shown.columns):
        found = found.append_column(field, column)
    return found


def _among(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Whether keys are among wanted ones, which are sorted."""
    places = np.minimum(np.searchsorted(wanted["first"], keys["first"]), len(wanted) - 1)
    return wanted[places] == keys


def _least(seed: int, most: int | None, golden: int, found: pa.Table) -> pa.Table:
    """The first rows in an order that hashes make, of gold and of others as many as are needed."""
    rank = hashing.mix(found[_FIRST].to_numpy() ^ np.uint64(seed % (1 << 63)))
    is_gold = found[_IS_GOLD].to_numpy()
    order = np.lexsort((rank, is_gold))
    others = int((~is_gold).sum())
    places = np.concatenate([order[:others][:most], order[others:][:golden]])
    return found.take(pa.array(places))


def _merge(kept: Any, parts: list[bytes]) -> bytes:
    tables = [table for table in map(_decode, parts) if table.num_rows]
    return _encode([kept(pa.concat_tables(tables))] if tables else [])


def _encode(tables: Sequence[pa.Table]) -> bytes:
    if not tables:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, tables[0].schema) as writer:
        writer.write_table(tables[0].combine_chunks())
    return sink.getvalue().to_pybytes()


def _decode(content: bytes) -> pa.Table:
    if not content:
        empty = [(_FIRST, pa.uint64()), (_SECOND, pa.uint64()), (_IS_GOLD, pa.bool_())]
        return pa.schema(empty).empty_table()
    return pa.ipc.open_stream(content).read_all()


def _keys(found: pa.Table) -> np.ndarray:
    keys = np.empty(found.num_rows, KEY)
    keys["first"], keys["second"] = found[_FIRST].to_numpy(), found[_SECOND].to_numpy()
    return keys


def _as_chosen(found: pa.Table, wanted: np.ndarray) -> pa.Table:
    """The rows in the order of their keys; of a key that several rows have, the first."""
    keys, first = np.unique(_keys(found), return_index=True)
    there = _among(wanted, keys) if len(keys) else np.zeros(len(wanted), bool)
    if not there.all():
        raise HeadwaterError(
            f"chosen: {int((~there).sum()):,} of {len(wanted):,} keys are those of no row of the dataset"
        )
    return found.take(pa.array(first[np.searchsorted(keys, wanted)]))


def _within_budget(settings: Tasks, rows: int, gold: int) -> tuple[int, int]:
    """How many rows and gold questions are asked."""
    share = settings.gold_share
    if settings.budget is not None:
        each = settings.cost * settings.overlap
        tasks = int(settings.budget / each + 1e-9)
        if not tasks:
            raise HeadwaterError(
                f"budget: {settings.budget:g} pays for no row, because {settings.overlap} answers at {settings.cost:g} "
                f"cost {each:g}; raise it, or lower overlap"
            )
        rows = min(rows, max(1, math.floor(tasks * (1 - share) + 1e-9)))
        gold = min(gold, tasks - rows)
    return rows, min(gold, round(rows * share / (1 - share)))


def _mixed(rows: int, gold: int, seed: int) -> np.ndarray:
    """Places of rows and gold questions, which come after them: the rows in order, gold anywhere in between."""
    chance = np.random.default_rng(seed)
    is_gold = np.zeros(rows + gold, bool)
    is_gold[chance.choice(rows + gold, gold, replace=False)] = True
    places = np.empty(rows + gold, np.int64)
    places[~is_gold], places[is_gold] = np.arange(rows), rows + np.arange(gold)
    return places


def _tasks(made: pa.Table, plan: _Plan) -> list[Task]:
    keys = _keys(made)
    columns = {name: _texts(made[name]) for name in plan.views}
    readable = {name: _texts(made[name]) for name in plan.readable}
    return [
        Task(
            f"{first:016x}{second:016x}",
            {name: values[place] for name, values in readable.items()},
            {name: values[place] for name, values in columns.items()},
        )
        for place, (first, second) in enumerate(zip(keys["first"].tolist(), keys["second"].tolist()))
    ]


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    """Values as people read them."""
    values: Iterable[Any] = column.to_pylist()
    return [
        None
        if each is None
        else each.hex()
        if isinstance(each, bytes)
        else each
        if isinstance(each, str)
        else str(each)
        for each in values
    ]
