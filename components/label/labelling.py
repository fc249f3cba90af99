"""label: methods in turn over a dataset; its rows gain a label, and where that comes from lies beside them."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from headwater.components.common import fanout, results, storage
from headwater.components.common.acknowledging import check_entries, mark_upstream
from headwater.components.common.beam import check_options, map_merge, scratch_folder
from headwater.components.common.dataset import Dataset, load_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.partitions import PartitionResults
from headwater.components.common.pool import warm_up
from headwater.components.common.results import Home, Result
from headwater.components.common.tables_in_memory import Tabular, as_uri
from headwater.components.common.user_code import code_of
from headwater.components.common.user_code import named as named_functions
from headwater.components.label import rounds, table
from headwater.components.label.carryover import Bases, Carried, check_not_taken, take_over
from headwater.components.label.choosing import ALL, choose
from headwater.components.label.classes import check_kind
from headwater.components.label.gold import by_key, outside
from headwater.components.label.manifest import describe_labels, findings_of, write_indexes
from headwater.components.label.methods import METHODS, Context, Item, Labeller, Prepared, Step
from headwater.components.label.page import render_page
from headwater.components.label.reuse import adopt, check_home, check_only_labels, keyed
from headwater.components.label.settings import as_json, check_as_of, check_steps
from headwater.components.label.writer import Plan, merge, write_labels

_PRELOAD = (
    "headwater.components.label.writer",
    "duckdb",
    # pyarrow imports it when it first makes an array.
    "pandas",
)
_ROWS_WORTH_A_POOL = 100_000
_OWN_FILES = ("split=", "headwater_", "_labels-", "_carried", "_page", "_ask/")


def label_dataset(
    dataset: Tabular,
    output: str,
    *,
    steps: Sequence[Mapping[str, Any]],
    inputs: Mapping[str, Tabular] = {},
    as_of: str = "",
    data_root: str = "",
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
    acknowledged: Sequence[Mapping[str, Any]] = (),
    method: str = ALL,
) -> Result:
    """Labels the rows of a dataset.

    Args:
      dataset: path or URI of a dataset that collect made, or of plain files: Parquet, CSV or JSONL; or a table of
        pandas, polars or Arrow. The rows of plain files are copied below the labels, each with the `_row_id` that collect would give it.
      output: folder for the result: the label table, and the dataset with it.
      steps: methods with their settings, run in order; a row keeps the first label that it gets. Each has `method`,
        `classes` and, if it is not "label", `label`, the name of the column; the others are the method's, as in
        `methods`.
      inputs: further data by the names that the steps use: paths or URIs, or tables.
      as_of: the time that the labels are of, ISO 8601; by default the end of the dataset's span, where paths name spans
        by dates, and else none.
      data_root: URI of the durable home of the label table; by default the dataset's own, if it has one. Plain files
        have none.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core, or none beside Beam's own for small data.
      acknowledged: findings that are known, as validate's setting `acknowledged` names them, whatever their date: they are
        notes, and shape nothing else.
      method: which of the steps are run: `all`, `auto` or a pace, as `choosing` says.

    Returns:
      The labels, which are a dataset: the rows with their label, its probability and whether it abstains. When all rows
      are too young to be labelled, its body has `accepted` False and says why.

    Raises:
      HeadwaterError: a setting is wrong, a column is missing, or the votes cannot tell what is asked.
    """
    check_options(beam_pipeline_args)
    steps = named_functions(steps)
    checked = check_steps(steps)
    acknowledgements = check_entries(acknowledged)
    when = check_as_of(as_of)
    dataset = as_uri(dataset)
    inputs = {name: as_uri(given, f"inputs.{name}") for name, given in inputs.items()}
    check_home(dataset, data_root)
    preload = (*_PRELOAD, *sorted({METHODS.names[step.method] for step in checked}))
    options: dict[str, Any] = {"beam_pipeline_args": beam_pipeline_args, "workers": workers, "preload": preload}
    opened = keyed(load_dataset(dataset, **options))
    if sum(map(opened.rows, opened.splits)) >= _ROWS_WORTH_A_POOL:
        warm_up(preload, workers)
    first = checked[0]
    _check_dataset(opened, first)
    when = when or check_as_of(opened.result.body.get("lineage", {}).get("end") or "")
    home = _home(opened, data_root)
    checked, chosen = choose(method, checked, home)
    earlier = take_over(first, [step.method for step in checked], opened, home)
    further = _open_inputs(inputs, checked, options)
    output = storage.normalise(output)
    read = [opened.result, *(each.result for each in (*further.values(), *earlier.bases))]
    _check_output(output, [*read, *([earlier.result] if earlier.result else [])])
    context = Context(opened, further, when, first.hidden, earlier.waiting)
    truth = _Truth(first, context)
    prepared = [METHODS[step.method].prepare(step, context) for step in checked]
    _check_sources(checked, prepared)
    named = {
        "dataset": opened.result,
        **{f"inputs.{name}": records.result for name, records in further.items()},
        **({"carried": earlier.result} if earlier.result else {}),
    }
    code = {name: code_of(name) for each in prepared for name in each.user_code}
    run = [given for number, given in enumerate(steps) if f"steps.{number}" in {step.where for step in checked}]
    settings = {"steps": _shaping(run), "as_of": when.isoformat() if when else None, "code": code}
    if chosen:
        settings["chosen"] = chosen
    identity = results.fingerprint("labels", {role: each.fingerprint for role, each in named.items()}, settings)
    home = results.claim(home, "labels", identity) if home else None
    base = home.folder("labels") if home else output
    if home and storage.exists(storage.join(base, results.MANIFEST)):
        print(f"label: this was labelled before: {base}", flush=True)
        return results.bring(results.load(base, "labels"), output)
    if home:
        try:
            check_not_taken(first, home)
        except HeadwaterError:
            results.release(base)
            raise
    rows = sum(opened.rows(split) for split in opened.splits) + earlier.rows
    beam: dict[str, Any] = {
        "beam_pipeline_args": beam_pipeline_args,
        "workers": workers or int(rows < _ROWS_WORTH_A_POOL),
        "scratch": storage.join(home.data_root, "_scratch") if home else "",
        "preload": preload,
    }
    readable = adopt(opened, base, earlier.bases, beam)
    if not home:
        _clear(base)
    attempt = fanout.attempt_id() if home else ""
    suffix = f"-{attempt}" if attempt else ""
    items = _items(readable, earlier)
    # What is private in the rows that were carried stays so.
    private = {**earlier.private, **(opened.result.body.get("private") or {})}
    with scratch_folder(beam_pipeline_args, beam["scratch"]) as folder:
        labellers: list[Labeller] = []
        for number, each in enumerate(prepared):
            if hasattr(each, "after"):
                each = each.after(table.Earlier(tuple(labellers), len(first.classes)))
            labellers.append(each.fit(items, storage.join(folder, f"step-{number}"), beam))
        plan = Plan(
            labellers=tuple(labellers),
            methods=tuple(step.method for step in checked),
            classes=first.classes,
            label=first.label,
            key=tuple(opened.key),
            schema=_to_read(opened, labellers, {first.hidden, *earlier.widened}),
            truth=first.hidden,
            known=truth.find(items, storage.join(folder, "truth"), beam),
            as_of=when,
            base=base,
            suffix=suffix,
            private=frozenset(private),
        )
        records = _write(plan, items, beam)
        waiting = _keep_waiting(labellers, base, suffix)
    if records["outside"]:
        raise outside(f"{first.where}.truth", first.truth, records["outside"], first.classes)
    bases = Bases(readable, earlier, base)
    body = describe_labels(opened, checked, labellers, records, rows)
    body["private"] = private
    body["findings"] = mark_upstream(findings_of(checked, labellers, earlier), acknowledgements)
    body["chosen"] = chosen
    body["earlier"] = rounds.earlier(home, first)
    body["bases"] = bases.references
    body["splits"] = write_indexes("labels", plan, records, items, bases, opened.splits)
    body["carried"] = {
        "rows": records["carried_rows"],
        "taken_over": earlier.rows,
        "splits": write_indexes("carried", plan, records, items, bases, ()),
        "events": waiting,
    }
    page = render_page(body, opened.result, home)
    body["page"] = f"_page{suffix}.html"
    storage.write_bytes(storage.join(base, body["page"]), page.encode())
    manifest = results.encode(
        {
            "format_version": results.FORMAT_VERSION,
            "kind": "labels",
            "producer": results.PRODUCER,
            "fingerprint": identity,
            "home": dataclasses.asdict(home) if home else None,
            "inputs": {role: each.reference() for role, each in sorted(named.items())},
            "settings": settings,
            "body": body,
        }
    )
    return _commit(home, base, output, manifest, page)


def _write(plan: Plan, items: Sequence[Item], beam: Mapping[str, Any]) -> dict[str, Any]:
    """Labels all elements; gives records and counts."""
    content = map_merge(
        "label: write",
        items,
        functools.partial(write_labels, plan),
        merge,
        sizes=[item.element.rows for item in items],
        **beam,
    )
    records = json.loads(content)
    return {**records, "carried_rows": sum(shard["rows"] for shard in records["carried"])}


def pass_on(dataset: str, output: str) -> Result:
    """A dataset as it is, for a pipeline without labels.

    Args:
      dataset: path or URI of a dataset's folder.
      output: folder for it: of a dataset under a `data_root` the manifest alone, of others all files.

    Raises:
      HeadwaterError: there is no dataset.
    """
    if not storage.exists(storage.join(storage.normalise(dataset), results.MANIFEST)):
        raise HeadwaterError(
            f"dataset: {dataset} is not a dataset made by collect; without steps, label can only pass on such a dataset"
        )
    result = results.load(dataset, "dataset")
    output = storage.normalise(output)
    if not _holds(output, result):
        _check_output(output, [result])
    if result.home:
        return results.bring(result, output)
    storage.copy_folder(result.folder, output, last=results.MANIFEST)
    return results.load(output, "dataset")


def _home(opened: Dataset, data_root: str) -> Home | None:
    if not data_root:
        return opened.home
    root = storage.normalise(data_root)
    if opened.home:
        return dataclasses.replace(opened.home, data_root=root)
    return Home(root, opened.result.body["name"], opened.result.body["span"], 1)


def _commit(home: Home | None, base: str, output: str, manifest: bytes, page: str) -> Result:
    if not home:
        storage.write_bytes(storage.join(base, results.MANIFEST), manifest)
        return results.load(base, "labels")
    storage.write_bytes(home.report("labels"), page.encode())
    results.commit(home, "labels", manifest)
    return results.bring(results.load(base, "labels"), output)


def _check_dataset(opened: Dataset, step: Step) -> None:
    if not any(opened.rows(split) for split in opened.splits):
        raise HeadwaterError(f"dataset: {opened.result.uri} has no rows to label")
    if opened.result.kind == "labels":
        raise HeadwaterError(f"dataset: {opened.result.uri} is already labelled; give the dataset that collect made")
    for field in table.gained(step.label):
        if field.name in opened.schema.names:
            raise HeadwaterError(
                f"{step.where}.label: the dataset already has a column {field.name!r}; give the label another name"
            )


def _check_sources(steps: Sequence[Step], prepared: Sequence[Prepared]) -> None:
    """Refuses two sources of one name: their votes could not be distinguished, and what waits would be given to
    both."""
    seen: dict[str, str] = {}
    for step, each in zip(steps, prepared):
        for name in each.sources:
            if seen.setdefault(name, step.where) != step.where:
                raise HeadwaterError(f"{step.where}: {name!r} already votes in {seen[name]}; give it another name")


def _holds(output: str, result: Result) -> bool:
    """Whether an earlier attempt passed this very dataset on to the folder."""
    if output in (result.folder.rstrip("/"), result.uri.rstrip("/")):
        return False
    there = storage.exists(storage.join(output, results.MANIFEST))
    return there and results.load(output, "dataset", "labels").fingerprint == result.fingerprint


def _check_output(output: str, read: Sequence[Result]) -> None:
    """Refuses to write over what is read."""
    for each in read:
        if output in (each.folder.rstrip("/"), each.uri.rstrip("/")):
            raise HeadwaterError(f"output: {output} is the folder of the input; give another folder")
    check_only_labels(output)


def _clear(folder: str) -> None:
    """Removes what an earlier labelling left in a folder: the manifest first, so that nobody takes the rest for
    labels."""
    if not storage.exists(storage.join(folder, results.MANIFEST)):
        return
    storage.delete(storage.join(folder, results.MANIFEST))
    for file in storage.list_files(folder):
        # A copy of the dataset is looked at where it is made.
        if storage.relative(file.uri, folder).startswith(_OWN_FILES):
            storage.delete(file.uri)


def _open_inputs(inputs: Mapping[str, str], steps: Sequence[Step], options: Mapping[str, Any]) -> dict[str, Dataset]:
    openers = [
        (METHODS[step.method].open_input, step.settings)
        for step in steps
        if hasattr(METHODS[step.method], "open_input")
    ]
    datasets = {}
    for name, uri in inputs.items():
        try:
            own = (found for opener, settings in openers if (found := opener(settings, name, uri)))
            datasets[name] = next(own, None) or load_dataset(uri, may_be_empty=True, **options)
        except HeadwaterError as error:
            raise HeadwaterError(f"inputs.{name}: {error}") from None
    return datasets


class _Truth:
    """What labels are compared with."""

    def __init__(self, step: Step, context: Context):
        self._schema = context.dataset.schema
        self._given = None
        where = f"{step.where}.truth"
        if step.truth_input:
            self._given = by_key(where, context, step.truth_input, step.truth, step.classes)
        elif step.truth and step.truth not in self._schema.names:
            raise HeadwaterError(
                f"{where}: there is no column {step.truth!r}; the columns are {', '.join(self._schema.names)}"
            )
        elif step.truth:
            check_kind(where, step.truth, self._schema.field(step.truth).type)

    def find(self, items: Sequence[Item], scratch: str, beam: Mapping[str, Any]) -> PartitionResults | None:
        """The truth of other data; None where it is the dataset's own or there is none."""
        return self._given.find(items, self._schema, scratch, beam) if self._given else None


def _shaping(steps: Sequence[Mapping[str, Any]]) -> list[Any]:
    # KFP gives mappings in another order.
    return json.loads(json.dumps(as_json("steps", list(steps)), sort_keys=True))


def _items(opened: Dataset, earlier: Carried) -> list[Item]:
    """All elements: the dataset's, then those that an earlier span carried."""
    pairs = [(split, element) for split in opened.splits for element in opened.elements(split)]
    pairs += [(split, element) for split, elements in earlier.parts.items() for element in elements]
    return [Item(number, split, element) for number, (split, element) in enumerate(pairs)]


def _to_read(opened: Dataset, labellers: Sequence[Labeller], others: set[str]) -> pa.Schema:
    wanted = {*opened.key, *others, *(name for labeller in labellers for name in labeller.columns)}
    return pa.schema([field for field in opened.schema if field.name in wanted])


def _keep_waiting(labellers: Sequence[Labeller], base: str, suffix: str) -> dict[str, list[dict[str, Any]]]:
    """Copies what methods keep for the next span out of scratch; gives the manifest's entries by input."""
    kept: dict[str, list[dict[str, Any]]] = {}
    for labeller in labellers:
        for place, (name, uris) in enumerate(labeller.waiting.items()):
            kept[name] = []
            for number, uri in enumerate(uris):
                content = storage.read_bytes(uri)
                path = f"_carried/events-{len(kept):03d}-{place:03d}-{number:06d}{suffix}.parquet"
                storage.write_bytes(storage.join(base, path), content)
                kept[name].append({"path": path, "bytes": len(content), "sha256": storage.sha256(content)})
    return kept
