"""One round: what is labelled → a model → the rows that are worth asking about, as tasks, and what they are expected to
gain."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common import results, storage
from headwater.components.common.beam import map_merge, pipeline_options, scratch_folder
from headwater.components.common.dataset import load_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.components.common.tables_in_memory import Tabular, as_uri
from headwater.components.common.user_code import named
from headwater.components.label import features
from headwater.components.label.asking import scoring, sharing, state, stopping
from headwater.components.label.asking.choosing import Picked, choose
from headwater.components.label.asking.context import Context, classes_of, folder_of
from headwater.components.label.asking.diversity import centres_of
from headwater.components.label.asking.estimators import Model, fit, fit_committee, held_out
from headwater.components.label.asking.page import write_pages
from headwater.components.label.asking.settings import Ask, check_ask, sheet_of
from headwater.components.label.asking.state import Round, State
from headwater.components.label.asking.strategies import STRATEGIES, Space, Told, parts_of
from headwater.components.label.asking.survey import CODE, HASH, ROUND, decode, survey
from headwater.components.label.asking.survey import merge as merge_surveys
from headwater.components.label.gold import outside
from headwater.components.label.human.tasks import write_tasks
from headwater.components.label.reuse import check_only_labels, keyed
from headwater.components.label.settings import ask_from_project

SCORE, REASON = "_score", "_reason"
"""What a batch tells of each row beside its key."""

_COLD = "clusters"
_TRIES = 20
_ROWS_WORTH_A_POOL = 100_000
_PRELOAD = ("headwater.components.label.asking.scoring", *STRATEGIES.names.values(), "sklearn.ensemble", "duckdb")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a round asks.

    Attributes:
      batch: the rows, the first first: the dataset's key, `_score` and `_reason`.
      report: what is known of the loop; JSON values only.
      uri: the folder with the tasks; empty where nothing is asked.
    """

    batch: pa.Table
    report: Mapping[str, Any]
    uri: str


def ask_rows(
    dataset: Tabular,
    output: str,
    *,
    ask: Mapping[str, Any] = {},
    classes: Sequence[str] = (),
    label: str = "",
    hidden: Sequence[str] = (),
    inputs: Mapping[str, Tabular] = {},
    data_root: str = "",
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
) -> Asked:
    """Chooses the rows that people should label next, and writes them as tasks.

    Args:
      dataset: path or URI of a dataset, of labels, or of plain files; or a table of pandas, polars or Arrow.
      output: folder for the tasks; empty for the state's own.
      ask: the settings, as in the section `label.ask`.
      classes: their names, where the settings name none.
      label: the label column that the answers are for; "label" by default.
      hidden: columns that must be neither shown nor learnt from, as truth and gold.
      inputs: further data by name.
      data_root: the durable home of the loop's state, where neither the settings nor the dataset name one.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core, or none beside Beam's own for small data.

    Returns:
      The batch; that of an earlier run with the same data and settings, if there was one.

    Raises:
      HeadwaterError: a setting is wrong, a column is missing or private, or no row is left.
    """
    pipeline_options(beam_pipeline_args)
    settings = check_ask(named(ask))
    options: dict[str, Any] = {"beam_pipeline_args": beam_pipeline_args, "workers": workers}
    opened = keyed(load_dataset(as_uri(dataset), **options))
    names = classes_of(settings, classes, opened)
    context = Context(opened, settings, names, hidden, inputs, options)
    folder = folder_of(settings, opened, label or opened.result.body.get("label") or "label", data_root)
    if output:
        output = storage.normalise(output)
        check_only_labels(output)
    elif not folder:
        raise HeadwaterError("output: name a folder for the tasks; there is no data_root to keep them under")
    rows = sum(opened.rows(split) for split in opened.splits)
    beam = {
        "beam_pipeline_args": beam_pipeline_args,
        "workers": workers or int(rows < _ROWS_WORTH_A_POOL),
        "scratch": storage.join(opened.home.data_root, "_scratch") if opened.home else "",
        "preload": _PRELOAD,
    }
    for _ in range(_TRIES):
        current = state.load(folder)
        made = current.of(context.identity)
        if made is not None:
            print(f"label: ask: round {made.number} was asked before", flush=True)
            return _write(context, current, made, state.batch_of(current, made), output, options)
        asked = _next(context, current, beam)
        if isinstance(asked, Asked):
            return asked
        batch, votes, report = asked
        made = state.record(current, context.identity, batch, votes, report)
        if made is not None:
            return _write(context, current, made, batch, output, options)
        # Another run has taken the round; what it asks about must not be asked twice.
        print("label: ask: another run has asked meanwhile; choosing again", flush=True)
    raise HeadwaterError(f"{folder}: other runs take every round; run it again when they are done")


def ask_after(result: Result, project: Mapping[str, Any]) -> Asked | None:
    """Asks about rows that were just labelled, or passed on.

    Args:
      result: the labels or the dataset. Of one under a `data_root` the tasks lie there, else below its own folder.
      project: the settings of a pipeline.

    Returns:
      The round; None where the project asks nobody, or nothing could be labelled yet.
    """
    given = ask_from_project(project)
    if given is None or not result.body["accepted"]:
        return None
    asked = ask_rows(result.folder, "" if result.home else storage.join(result.folder, "_ask"), **given)
    for line in asked.report["notes"]:
        print(f"label: ask: {line}", flush=True)
    if asked.uri:
        print(f"label: ask: round {asked.report['round']}: {asked.batch.num_rows:,} rows in {asked.uri}", flush=True)
    return asked


def _next(context: Context, current: State, beam: Mapping[str, Any]) -> Asked | tuple[pa.Table, int, dict[str, Any]]:
    """The next batch, the answers that it takes, and what is to be said; nothing where the budget is used up."""
    ask, lens = context.ask, context.lens(current)
    sizes = [element.rows for _, element in context.items]
    content = map_merge(
        "label: ask: survey", context.items, functools.partial(survey, lens), functools.partial(merge_surveys, lens),
        sizes=sizes, **beam,
    )  # fmt: skip
    counted, (sample, labelled) = decode(content)
    if counted["outside"] and not context.from_labels:
        raise outside("label.ask.answers", ask.answers, counted["outside"], context.classes)
    report = _report(context, current, counted)
    lost = len(context.answers.keys) - counted["matched"]
    if lost > 0:
        report["notes"].append(
            f"{lost:,} of {len(context.answers.keys):,} answers are for rows that the dataset does not have, and teach nothing"
        )
    wanted, told = _affordable(context, current, counted["free"])
    report["notes"] += told
    if not wanted or sample is None:
        return Asked(_empty(context), {**report, "rows": 0, "round": len(current.rounds)}, "")
    encoder = features.encoder_of("label.ask.columns", lens.features, counted["counts"])
    report["features"], report["left_out"] = encoder.columns, dict(encoder.dropped)
    sampled, known, codes, rounds = _vectors(encoder, sample, labelled)
    learnt = codes >= 0
    strategy, model, before, committee = _learn(context, known[learnt], codes[learnt], rounds[learnt], report)
    by_region = any(getattr(STRATEGIES[name], "BY_REGION", False) for name in parts_of(strategy, ask.shares))
    space = Space(centres_of(sampled, ask.regions, ask.seed) if by_region else None, ask.inner)
    with scratch_folder(beam["beam_pipeline_args"], beam["scratch"]) as scratch:
        left = sharing.leave(scratch, sharing.Models(model, tuple(committee)))
        scorer = scoring.Scorer(lens, encoder, tuple(parts_of(strategy, ask.shares)), left, space, ask.most)
        content = map_merge(
            "label: ask: score", context.items, functools.partial(scoring.score, scorer),
            functools.partial(scoring.merge, scorer), sizes=sizes, **beam,
        )  # fmt: skip
    pools, keys = scoring.pools(scorer, content)
    assert keys is not None, "some rows may be asked about"
    told_to = Told(
        wanted,
        known[: _most_told(known)],
        len(context.classes),
        dict(ask.shares),
        ask.inner,
        ask.seed + len(current.rounds),
    )
    picked = choose(strategy, pools, told_to)
    batch = _batch(context, keys, picked)
    overlap = ask.tasks.overlap
    votes = _votes(ask, batch.num_rows)
    if model is not None:
        fewer = len(codes[learnt]) - int(_of_last(rounds[learnt]).sum())
        held = held_out(
            "label.ask.estimator", ask.estimator, known[learnt], codes[learnt], len(context.classes), ask.seed
        )
        power = stopping.sharpness(*held)
        report["gain"] = stopping.hint(
            model, before, sampled, (fewer, int(learnt.sum())), batch.num_rows, overlap * float(ask.cost),
            float(ask.least_gain), power,
        )  # fmt: skip
    report["strategies"] = {name: sum(each.strategy == name for each in picked) for name in scorer.parts}
    report["rows"], report["round"] = batch.num_rows, len(current.rounds) + 1
    return batch, votes, report


def _learn(
    context: Context, vectors: np.ndarray, codes: np.ndarray, rounds: np.ndarray, report: dict[str, Any]
) -> tuple[str, Model | None, Model | None, list[Model]]:
    """The strategy that can be used, the model, the one without the last round's answers, and the committee."""
    ask = context.ask
    strategy, classes = ask.strategy, len(context.classes)
    needs = {STRATEGIES[name].LEARNS for name in parts_of(strategy, ask.shares)}
    if by_inner := {STRATEGIES[ask.inner].LEARNS} if "regions" in parts_of(strategy, ask.shares) else set():
        needs |= by_inner
    if len(np.unique(codes)) < 2:
        if needs != {"nothing"}:
            known = f"only the class {context.classes[int(codes[0])]!r} is" if len(codes) else "nothing is"
            report["notes"].append(
                f"{known} labelled yet, so there is no model to ask by: rows are taken from clusters of the whole dataset"
            )
            strategy = _COLD
        return strategy, None, None, []
    where, seed = "label.ask.estimator", ask.seed
    model = fit(where, ask.estimator, vectors, codes, classes, seed)
    last = _of_last(rounds)
    before = None
    if last.any() and len(np.unique(codes[~last])) > 1:
        before = fit(where, ask.estimator, vectors[~last], codes[~last], classes, seed)
    committee = []
    if "committee" in needs:
        given = ask.committee or ([ask.estimator] if ask.estimator else [])
        committee = fit_committee("label.ask.committee", given, vectors, codes, classes, seed)
    return strategy, model, before, committee


def _of_last(rounds: np.ndarray) -> np.ndarray:
    """Whether rows were asked about in the latest round that has answers."""
    return (rounds >= 0) & (rounds == rounds.max(initial=-1))


def _vectors(
    encoder: features.Encoder, sample: pa.Table, labelled: pa.Table | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of the sample and of what is labelled or was asked about; of these class and round."""
    sampled = encoder.vectors(_one(sample))
    if labelled is None or not labelled.num_rows:
        nothing = np.zeros(0, np.int32)
        return sampled, sampled[:0], nothing.astype(np.int8), nothing
    # In an order that no file decides.
    ordered = labelled.take(pa.array(np.argsort(labelled[HASH].to_numpy(), kind="stable")))
    return sampled, encoder.vectors(_one(ordered)), ordered[CODE].to_numpy(), ordered[ROUND].to_numpy()


def _one(table: pa.Table) -> pa.RecordBatch:
    return (
        table.combine_chunks().to_batches()[0]
        if table.num_rows
        else pa.RecordBatch.from_arrays([pa.array([], field.type) for field in table.schema], names=table.schema.names)
    )


def _most_told(known: np.ndarray) -> int:
    # Clusters are as many as labels, up to a limit: more rows tell no more.
    return min(len(known), 5_000)


def _affordable(context: Context, current: State, free: int) -> tuple[int, list[str]]:
    """How many rows the next batch has, and why not as many as were wanted."""
    ask, notes = context.ask, []
    wanted = min(ask.rows, free)
    if not free:
        notes.append("no row is left to ask about: all are answered, were asked about, or are not of label.ask.where")
    elif free < ask.rows:
        notes.append(f"only {free:,} rows are left to ask about")
    if ask.budget is not None and free:
        left = ask.budget - current.votes
        rows = max(0, left // ask.tasks.overlap)
        while rows and _votes(ask, rows) > left:
            rows -= 1
        if not rows:
            notes.append(
                f"the budget is used up: {current.votes:,} of {ask.budget:,} answers are asked for, and one row takes "
                f"{ask.tasks.overlap}; raise label.ask.budget to go on"
            )
        elif rows < wanted:
            notes.append(f"the budget leaves {left:,} answers, enough for {rows:,} rows")
        wanted = min(wanted, rows)
    return wanted, notes


def _votes(ask: Ask, rows: int) -> int:
    """How many answers a batch takes, gold questions included."""
    share = float(ask.tasks.gold_share)
    return (rows + round(rows * share / (1 - share))) * ask.tasks.overlap


def _report(context: Context, current: State, counted: Mapping[str, Any]) -> dict[str, Any]:
    ask = context.ask
    return {
        "strategy": ask.strategy,
        "asked": current.rows,
        "replied": counted["replied"],
        "answered": counted["answered"],
        "classes": dict(zip(context.classes, counted["classes"])),
        "askable": counted["free"],
        "votes": current.votes,
        "notes": [],
        "gain": None,
    }


def _batch(context: Context, keys: pa.Table, picked: Sequence[Picked]) -> pa.Table:
    """The key, score and reason of the rows, in their order."""
    hashes = keys[HASH].to_numpy()
    order = np.argsort(hashes, kind="stable")
    wanted = np.array([each.hash for each in picked], np.uint64)
    rows = keys.take(pa.array(order[np.searchsorted(hashes[order], wanted)])).select(list(context.opened.key))
    rows = rows.append_column(SCORE, pa.array([each.score for each in picked], pa.float64()))
    reasons = [f"{each.strategy}: {STRATEGIES[each.strategy].TITLE}" for each in picked]
    return rows.append_column(REASON, pa.array(reasons, pa.string())).combine_chunks()


def _empty(context: Context) -> pa.Table:
    key = [context.opened.schema.field(name) for name in context.opened.key]
    return pa.schema([*key, (SCORE, pa.float64()), (REASON, pa.string())]).empty_table()


def _write(
    context: Context, current: State, made: Round, batch: pa.Table, output: str, options: Mapping[str, Any]
) -> Asked:
    """Writes a round's tasks."""
    ask = context.ask
    place = output or storage.join(current.folder, f"round-{made.number:06d}")
    storage.write_bytes(storage.join(place, "batch.parquet"), state.encode(batch))
    sheet = sheet_of(ask, list(context.classes), context.hidden)
    tasks = write_tasks(context.opened, batch, place, sheet, **{**options, "workers": options["workers"] or 1})
    total = current.votes + (0 if current.of(made.identity) else made.votes)
    left = None if ask.budget is None else max(0, ask.budget - total)
    report = {**made.report, "batch_votes": made.votes, "votes": total, "budget": ask.budget, "budget_left": left}
    report["price"] = float(ask.cost)
    if not current.folder:
        report["notes"] = [
            *report["notes"],
            "there is no data_root and no label.ask.state, so that the next round remembers only rows that are answered",
        ]
    report["tasks"] = {name: tasks[name] for name in ("project", "format", "files", "tasks", "gold", "cost")}
    storage.write_bytes(storage.join(place, "ask.json"), results.encode(report))
    earlier = [each for each in current.rounds if each.number < made.number]
    write_pages(context.opened, place, report, batch, [*earlier, made])
    return Asked(batch, report, place)
