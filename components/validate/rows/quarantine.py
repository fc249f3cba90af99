"""Rows held against rules: one report, and on request two datasets, what passed and what is quarantined."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headwater.components.common import storage
from headwater.components.common.beam import check_options, map_merge, scratch_folder
from headwater.components.common.dataset import ROW_ID, Dataset, load_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.labelled import WideShard
from headwater.components.common.pool import warm_up
from headwater.components.common.results import Home, Result
from headwater.components.common.shard_file import Shard
from headwater.components.common.tables_in_memory import DESCRIPTION, Tabular, as_uri, named
from headwater.components.validate.rows import judging, key_sets, outliers, outputs, queries, tracing
from headwater.components.validate.rows.judging import Item, Judged, Plan
from headwater.components.validate.rows.outputs import PASSED, QUARANTINE
from headwater.components.validate.rows.report import RowReport, make_report
from headwater.components.validate.rows.rules import (
    Outliers,
    RowRules,
    check_columns,
    check_reference,
    check_row_rules,
    require_numbers,
)
from headwater.components.validate.rows.schema_rules import SchemaRule, rules_of
from headwater.components.validate.rows.tracing import Crossing

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

_PRELOAD = ("headwater.components.validate.rows.judging", "duckdb", "pandas")
# Below this many values, starting more processes costs more than it saves.
_CELLS_WORTH_A_POOL = 2_000_000


def check_rows(
    dataset: Tabular,
    *,
    schema: schema_pb2.Schema | None = None,
    environment: str = "",
    config: Mapping[str, Any],
    passed: str = "",
    quarantine: str = "",
    home: Home | None = None,
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
) -> RowReport:
    """Holds every row of a dataset against rules, and parts those that break them from the others.

    What rules can ask is described in `rules`; what a schema asks, in `schema_rules`. A row rule that is missing (NULL) on a
    row keeps it, as a SQL CHECK constraint does. A row that breaks a rule of severity "error" is bad, whether or not
    the rule's tolerance makes that a finding.

    Args:
      dataset: path or URI of a dataset, or of a plain file, folder or glob; or a table of pandas, polars or Arrow.
      schema: a schema whose demands on single values become rules as well.
      environment: the schema environment to judge in; empty for none.
      config: settings by name, as `rules.RowRules` lists them.
      passed: folder for a dataset of the rows that are not bad; empty to write none.
      quarantine: folder for a dataset of the bad rows with all columns and `_rules`, the names of all rules that each
        broke; empty to write none. Rows of plain files get the `_row_id` in both that collect would give them.
      home: the span under a `data_root` that the rows are of: both datasets lie there, and the two folders get their
        manifests alone. None for all files in the folders.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core, or none beside Beam's own for small data.

    Returns:
      The report, with the datasets that were written.

    Raises:
      HeadwaterError: a setting is wrong, a column or a referenced dataset is not there, the dataset is missing,
        altered or not accepted; all but what reading finds is raised before any row is judged.
    """
    check_options(beam_pipeline_args)
    settings = check_row_rules(config)
    if schema is None and not settings.rules:
        raise HeadwaterError(
            "rules: there are no rules and no schema, so nothing would be checked; give at least one of them"
        )
    if environment and schema is None:
        raise HeadwaterError(f"environment: {environment!r} is an environment of a schema, but no schema is given")
    passed, quarantine = (storage.normalise(uri) if uri else "" for uri in (passed, quarantine))
    options: dict[str, Any] = {"beam_pipeline_args": beam_pipeline_args, "workers": workers, "preload": _PRELOAD}
    # What a plain file holds identifies what is written of it; without it nobody asks, and it need not be read for that.
    options["unread"] = not (passed or quarantine)
    uri = as_uri(dataset)
    alone = schema is None and options["unread"] and queries.suit(settings, beam_pipeline_args)
    plain = queries.open_plain(uri, settings) if alone else None
    if plain:
        opened, read_by = plain
    else:
        opened = load_dataset(uri, **options)
        if sum(map(opened.rows, opened.splits)) * len(opened.schema) >= _CELLS_WORTH_A_POOL:
            warm_up(_PRELOAD, workers)
        read_by = check_columns(settings, opened.schema)
    demands = rules_of(schema, environment, settings.schema_severity, opened.schema) if schema is not None else []
    crossings, referred = _crossings(settings, opened, options)
    learning, learnt_from = _learning(settings, opened, options)
    referred = {**referred, **learnt_from}
    outputs.check_outputs(opened, referred, passed, quarantine)
    rules = _all_rules(settings, read_by, demands)
    inputs = {"dataset": opened.result, **{f"references.{name}": reference for name, reference in referred.items()}}
    shaping = {
        **_shaping(settings),
        "schema": storage.sha256(schema.SerializeToString(deterministic=True)) if schema is not None else None,
        "environment": environment,
    }
    targets = {
        role: outputs.target(role, folder, home, inputs, shaping)
        for role, folder in ((PASSED, passed), (QUARANTINE, quarantine))
        if folder
    }
    folders = {role: each.folder for role, each in targets.items()}
    plan = _plan(settings, rules, demands, opened, folders.get(PASSED, ""), folders.get(QUARANTINE, ""))
    beam: dict[str, Any] = {
        "beam_pipeline_args": beam_pipeline_args,
        "workers": workers or int(_cells(opened, plan, crossings) < _CELLS_WORTH_A_POOL),
        "scratch": storage.join(opened.home.data_root, "_scratch") if opened.home else "",
        "preload": _PRELOAD,
    }
    content = queries.judge(plan, _items(opened, {}), workers) if plain else None
    unlearnt: dict[int, str] = {}
    if content is None:
        with scratch_folder(beam_pipeline_args, beam["scratch"]) as folder:
            traces, sets = tracing.trace(crossings, opened, folder, **beam)
            learnt, unlearnt = outliers.learn(learning, folder, **beam)
            plan = dataclasses.replace(plan, folder=folder, sets=tuple(sets), outliers=tuple(learnt))
            items = _items(opened, traces)
            content = map_merge(
                "validate: rows",
                items,
                functools.partial(judging.judge, plan),
                judging.merge,
                sizes=[item.element.rows for item in items],
                **beam,
            )
        key_sets.release_sets()
        outliers.release()
    state = json.loads(content)
    report = make_report(rules, {split: opened.rows(split) for split in opened.splits}, state, unlearnt)
    written: dict[str, Any] = {
        role: outputs.commit(each, opened, plan, state[role], report, inputs) for role, each in targets.items()
    }
    return dataclasses.replace(report, **written)


def _shaping(settings: RowRules) -> dict[str, Any]:
    """The settings that shape what comes out: where a referenced dataset lies does not, what it holds is an input."""
    described = settings.model_dump(mode="json")
    for rule in described["rules"]:
        if rule["references"]:
            del rule["references"]["dataset"]
        if rule["outliers"]:
            del rule["outliers"]["reference"]
    return described


def _crossings(
    settings: RowRules, opened: Dataset, options: Mapping[str, Any]
) -> tuple[list[Crossing], dict[str, Result]]:
    """The rules over many rows, and the datasets that they refer to."""
    crossings, referred = [], {}
    for number, rule in enumerate(settings.rules):
        if rule.unique is not None:
            crossings.append(Crossing(number, "unique", tuple(rule.unique)))
        elif rule.monotone is not None:
            asked = rule.monotone
            columns = tuple(dict.fromkeys([asked.column, *asked.order, *asked.group]))
            crossings.append(Crossing(number, "monotone", columns, monotone=asked))
        elif rule.references is not None:
            where = f"rules.{number} ({rule.name!r}): references"
            try:
                other = load_dataset(rule.references.dataset, **options)
            except HeadwaterError as error:
                raise HeadwaterError(f"{where}: {error}") from None
            check_reference(where, rule.references, opened.schema, other.schema)
            referred[rule.name] = other.result
            crossings.append(
                Crossing(
                    number,
                    "references",
                    tuple(rule.references.columns),
                    targets=tuple(rule.references.targets),
                    other=other,
                )
            )
    return crossings, referred


def _learning(
    settings: RowRules, opened: Dataset, options: Mapping[str, Any]
) -> tuple[list[tuple[int, Outliers, Dataset]], dict[str, Result]]:
    """The rules on outliers, and the datasets other than this one that they are learnt from."""
    learning, referred = [], {}
    for number, rule in enumerate(settings.rules):
        if rule.outliers is None:
            continue
        source = opened
        if rule.outliers.reference:
            where = f"rules.{number} ({rule.name!r}): outliers.reference"
            try:
                source = load_dataset(rule.outliers.reference, **options)
            except HeadwaterError as error:
                raise HeadwaterError(f"{where}: {error}") from None
            require_numbers(where, rule.outliers.columns, source.schema)
            referred[rule.name] = source.result
        learning.append((number, rule.outliers, source))
    return learning, referred


def _all_rules(
    settings: RowRules, read_by: Mapping[str, Sequence[str]], demands: Sequence[SchemaRule]
) -> tuple[Judged, ...]:
    users = [
        Judged(
            rule.name,
            rule.severity,
            rule.tolerance,
            rule.kind,
            rule.text,
            tuple(read_by[rule.name]),
            read_by[rule.name][0] if len(read_by[rule.name]) == 1 else "",
        )
        for rule in settings.rules
    ]
    given = [
        Judged(
            demand.name,
            demand.severity,
            demand.tolerance,
            "schema",
            demand.text,
            demand.path[:1],
            demand.feature,
        )
        for demand in demands
    ]
    for name, count in collections.Counter(rule.name for rule in given).items():
        if count > 1:
            raise HeadwaterError(f"schema: two features lead to the same rule name {name!r}; rename one of them")
    return (*users, *given)


def _plan(
    settings: RowRules,
    rules: tuple[Judged, ...],
    demands: Sequence[SchemaRule],
    opened: Dataset,
    passed: str,
    quarantine: str,
) -> Plan:
    key = tuple(opened.key) or ((ROW_ID,) if ROW_ID in opened.schema.names else ())
    if passed or quarantine:
        columns = opened.schema
    else:
        wanted = {*key, *(name for rule in rules for name in rule.columns)}
        columns = pa.schema([field for field in opened.schema if field.name in wanted])
    return Plan(
        rules=rules,
        schema=columns,
        expressions=tuple((number, rule.row) for number, rule in enumerate(settings.rules) if rule.row is not None),
        demands=tuple(enumerate(demands, len(settings.rules))),
        sets=(),
        outliers=(),
        folder="",
        key=key,
        private={
            **{
                name: tuple(entry.get("paths") or ())
                for name, entry in (opened.result.body.get("private") or {}).items()
            },
            **dict.fromkeys(settings.private, ()),
        },
        passed=passed,
        quarantine=quarantine,
    )


def _cells(opened: Dataset, plan: Plan, crossings: Sequence[Crossing]) -> int:
    rows = sum(opened.rows(split) for split in opened.splits)
    others = sum(rule.other.rows(split) for rule in crossings if rule.other for split in rule.other.splits)
    return (rows + others) * max(1, len(plan.schema), len(plan.rules))


def _items(opened: Dataset, traces: Mapping[int, Sequence[Any]]) -> list[Item]:
    bases = _bases(opened)
    keyed = bool(opened.key) or ROW_ID in opened.schema.names
    identities: dict[str, str] = {}
    copies: dict[str, int] = {}
    items: list[Item] = []
    for split in opened.splits:
        for element in opened.elements(split):
            number = len(items)
            if isinstance(element, (Shard, WideShard)):
                # Of another dataset's shard, as labels have them, the last of its name tells nothing.
                name, first, identity = _name_of(element.uri, bases) or element.uri, 1, ""
            else:
                file = element.file
                name, first = _name_of(file.uri, bases) or file.uri.rpartition("/")[2], element.first_row
                if named(file.uri) != file.uri:
                    name = DESCRIPTION
                if file.uri not in identities:
                    # As collect does it: of two files with the same content each has its own.
                    copies[file.sha256] = copies.get(file.sha256, -1) + 1
                    identities[file.uri] = hashlib.sha256(f"{file.sha256}:{copies[file.sha256]}".encode()).hexdigest()
                identity = "" if keyed else identities[file.uri]
            items.append(Item(number, split, name, first, element, identity, tuple(traces.get(number, ()))))
    return items


def _bases(opened: Dataset) -> list[str]:
    """The folders that names in reports are seen from, the nearest first."""
    if opened.home:
        return [opened.home.folder("dataset"), opened.home.data_root]
    folder = opened.result.folder
    # What stands before a pattern holds all files that it names.
    return [folder, re.split(r"[*?[]", folder, maxsplit=1)[0].rpartition("/")[0]]


def _name_of(uri: str, bases: Sequence[str]) -> str:
    """A file's name as seen from the first of the folders that holds it; empty where none does."""
    base = next((each for each in bases if each and uri.startswith(each.rstrip("/") + "/")), None)
    return "" if base is None else storage.relative(uri, base)
