"""label: methods in turn over a dataset; its rows gain a label, and where that comes from lies beside them."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np
import pyarrow as pa

from headwater.components.common import hashing, results, storage
from headwater.components.common.beam import map_merge, pipeline_options, scratch_folder
from headwater.components.common.dataset import (
    LABELS_SCHEMA,
    Dataset,
    encode_schema,
    load_dataset,
    read_element,
    write_index,
)
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.pool import warm_up
from headwater.components.common.results import Home, Result
from headwater.components.common.settings import whole_numbers
from headwater.components.common.shard_file import describe
from headwater.components.label import table
from headwater.components.label.methods import METHODS, Context, Item, Labeller, Step
from headwater.components.label.page import render_page
from headwater.components.label.settings import check_as_of, check_steps

BASE = "_base"
"""Where a copy of the dataset lies below its labels, if it has no home of its own."""

_PRELOAD = ("headwater.components.label.labelling", "duckdb")
_MOST_EXAMPLES = 12
_ROWS_WORTH_A_POOL = 100_000


def label_dataset(
    dataset: str,
    output: str,
    *,
    steps: Sequence[Mapping[str, Any]],
    inputs: Mapping[str, str] = {},
    as_of: str = "",
    data_root: str = "",
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
) -> Result:
    """Labels the rows of a dataset.

    Args:
      dataset: path or URI of a dataset that collect made.
      output: folder for the result: the label table, and the dataset with it.
      steps: methods with their settings, run in order; a row keeps the first label that it gets. Each has `method`,
        `classes` and, if it is not "label", `label`, the name of the column; the others are the method's, as in
        `methods`.
      inputs: further data by the names that the steps use: paths or URIs.
      as_of: the time that the labels are of, ISO 8601; empty for none.
      data_root: URI of the durable home of the label table; by default the dataset's own, if it has one.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core, or none beside Beam's own for small data.

    Returns:
      The labels, which are a dataset: the rows with their label, its probability and whether it abstains.

    Raises:
      HeadwaterError: a setting is wrong, a column is missing, or the votes cannot tell what is asked.
    """
    pipeline_options(beam_pipeline_args)
    checked = check_steps(steps)
    when = check_as_of(as_of)
    warm_up(_PRELOAD)
    options = {"beam_pipeline_args": beam_pipeline_args, "workers": workers}
    opened = load_dataset(dataset, **options)
    first = checked[0]
    _check_dataset(opened, first)
    further = _open_inputs(inputs, options)
    context = Context(opened, further, options)
    prepared = [METHODS[step.method].prepare(step, context) for step in checked]
    output = storage.normalise(output)
    named = {"dataset": opened.result, **{f"inputs.{name}": found.result for name, found in further.items()}}
    settings = {"steps": _shaping(steps), "as_of": when.isoformat() if when else None}
    identity = results.fingerprint("labels", {role: each.fingerprint for role, each in named.items()}, settings)
    home = _home(opened, data_root)
    home = results.claim(home, "labels", identity) if home else None
    base = home.folder("labels") if home else output
    if home and storage.exists(storage.join(base, results.MANIFEST)):
        print(f"label: this was labelled before: {base}", flush=True)
        return _bring(results.load(base, "labels"), output)
    items = [
        Item(number, split, element)
        for number, (split, element) in enumerate(
            (split, element) for split in opened.splits for element in opened.elements(split)
        )
    ]
    rows = sum(item.element.rows for item in items)
    beam = {
        "beam_pipeline_args": beam_pipeline_args,
        "workers": workers or int(rows < _ROWS_WORTH_A_POOL),
        "scratch": storage.join(home.data_root, "_scratch") if home else "",
        "preload": _PRELOAD,
    }
    attempt = storage.attempt_id() if home else ""
    with scratch_folder(beam_pipeline_args, beam["scratch"]) as folder:
        labellers = [
            each.fit(items, storage.join(folder, f"step-{number}"), beam) for number, each in enumerate(prepared)
        ]
        plan = _Plan(
            labellers=tuple(labellers),
            methods=tuple(step.method for step in checked),
            classes=first.classes,
            label=first.label,
            key=tuple(opened.key),
            schema=_to_read(opened, labellers),
            as_of=when,
            base=base,
            suffix=f"-{attempt}" if attempt else "",
            private=frozenset(opened.result.body.get("private") or {}),
        )
        content = map_merge(
            "label: write",
            items,
            functools.partial(_write, plan),
            _merge,
            sizes=[item.element.rows for item in items],
            **beam,
        )
    found = json.loads(content)
    body = _body(opened, checked, labellers, found, rows)
    body["bases"] = [_base_of(opened, base)]
    for split in opened.splits:
        body["splits"][split] = _write_index(base, split, plan.suffix, found["shards"], opened)
    page = render_page(body, opened.result)
    body["page"] = f"_page{plan.suffix}.html"
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


def pass_on(dataset: str, output: str) -> Result:
    """A dataset as it is, for a pipeline without labels.

    Args:
      dataset: path or URI of a dataset's folder.
      output: folder for it: of a dataset under a `data_root` the manifest alone, of others all files.

    Raises:
      HeadwaterError: there is no dataset.
    """
    result = results.load(dataset, "dataset")
    output = storage.normalise(output)
    if result.home:
        return _bring(result, output)
    _copy(result.folder, output)
    return results.load(output, "dataset")


def _home(opened: Dataset, data_root: str) -> Home | None:
    if not data_root:
        return opened.home
    root = storage.normalise(data_root)
    if opened.home:
        return dataclasses.replace(opened.home, data_root=root)
    return Home(root, opened.result.body["name"], opened.result.body["span"], 1)


def _copy(folder: str, target: str) -> None:
    """Copies a folder, its manifest last."""
    files = storage.list_files(folder)
    for file in sorted(files, key=lambda file: file.uri.endswith(f"/{results.MANIFEST}")):
        storage.write_bytes(storage.join(target, storage.relative(file.uri, folder)), storage.read_bytes(file.uri))


def _commit(home: Home | None, base: str, output: str, manifest: bytes, page: str) -> Result:
    if not home:
        storage.write_bytes(storage.join(base, results.MANIFEST), manifest)
        return results.load(base, "labels")
    storage.write_bytes(home.report("labels"), page.encode())
    results.commit(home, "labels", manifest)
    return _bring(results.load(base, "labels"), output)


def _bring(result: Result, output: str) -> Result:
    uri = storage.join(output, results.MANIFEST)
    storage.write_bytes(uri, storage.read_bytes(storage.join(result.folder, results.MANIFEST)))
    return results.load(output, result.kind)


def _check_dataset(opened: Dataset, step: Step) -> None:
    if not opened.key or "splits" not in opened.result.body:
        raise HeadwaterError(
            f"dataset: {opened.result.uri} is plain files, whose rows have no key that labels could refer to; collect them "
            "first"
        )
    if not any(opened.rows(split) for split in opened.splits):
        raise HeadwaterError(f"dataset: {opened.result.uri} has no rows to label")
    if opened.result.kind == "labels":
        raise HeadwaterError(f"dataset: {opened.result.uri} is labelled already; give what collect made")
    for field in table.gained(step.label):
        if field.name in opened.schema.names:
            raise HeadwaterError(
                f"{step.where}.label: the dataset has a column {field.name!r} already; name the label otherwise"
            )


def _open_inputs(inputs: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Dataset]:
    found = {}
    for name, uri in inputs.items():
        try:
            found[name] = load_dataset(uri, **options)
        except HeadwaterError as error:
            raise HeadwaterError(f"inputs.{name}: {error}") from None
    return found


def _shaping(steps: Sequence[Mapping[str, Any]]) -> list[Any]:
    # KFP gives mappings in another order, and whole numbers as floats.
    return json.loads(json.dumps(whole_numbers(list(steps)), sort_keys=True))


def _to_read(opened: Dataset, labellers: Sequence[Labeller]) -> pa.Schema:
    wanted = {*opened.key, *(name for labeller in labellers for name in labeller.columns)}
    return pa.schema([field for field in opened.schema if field.name in wanted])


class _Plan(NamedTuple):
    """What writing an element needs to know."""

    labellers: tuple[Labeller, ...]
    methods: tuple[str, ...]
    classes: tuple[str, ...]
    label: str
    key: tuple[str, ...]
    schema: pa.Schema
    as_of: datetime.datetime | None
    base: str
    suffix: str
    private: frozenset[str]


def _write(plan: _Plan, item: Item) -> bytes:
    """Labels one element and writes its label table; gives the shard's record as JSON."""
    rows = pa.Table.from_batches(list(read_element(item.element, plan.schema)), schema=plan.schema)
    found = [labeller.label(item, rows) for labeller in plan.labellers]
    labels, methods = table.combine(found, rows.num_rows)
    made = table.make(rows.select(list(plan.key)), labels, methods, plan.methods, plan.classes, plan.label, plan.as_of)
    content = table.encode(made)
    path = f"split={item.split}/labels-{item.number:06d}{plan.suffix}.parquet"
    storage.write_bytes(storage.join(plan.base, path), content)
    record = {
        "number": item.number,
        "split": item.split,
        "path": path,
        "rows": made.num_rows,
        **describe(content),
        "digest": f"{hashing.digest(table.hash_rows(made, labels)):032x}",
    }
    codes = labels.codes
    by_method: dict[str, int] = {}
    for number, name in enumerate(plan.methods):
        by_method[name] = by_method.get(name, 0) + int((methods == number).sum())
    return json.dumps(
        {
            "shards": [record],
            "classes": np.bincount(codes[codes >= 0], minlength=len(plan.classes)).tolist(),
            "abstained": int((codes < 0).sum()),
            "methods": by_method,
            "examples": _examples(plan, item, rows, labels),
        }
    ).encode()


def _examples(plan: _Plan, item: Item, rows: pa.Table, labels: Any) -> list[dict[str, Any]]:
    """The rows on which sources disagree most evenly."""
    voted = labels.evidence >= 0
    least = np.where(voted, labels.evidence, 127).min(1, initial=127)
    contested = np.flatnonzero(labels.evidence.max(1, initial=-1) > np.where(least == 127, -1, least))
    sure = labels.probabilities[contested].max(1, initial=0)
    worst = contested[np.argsort(sure, kind="stable")[:_MOST_EXAMPLES]]
    key = rows.select(list(plan.key)).take(pa.array(worst)).to_pydict()
    names = [name for labeller in plan.labellers for name in labeller.sources]
    return [
        {
            "key": [_shown(name, key[name][place], plan.private) for name in plan.key],
            "probabilities": [round(float(each), 4) for each in labels.probabilities[row]],
            "votes": {
                names[source]: plan.classes[labels.evidence[row, source]]
                for source in np.flatnonzero(voted[row]).tolist()
            },
            "place": [item.number, int(row)],
        }
        for place, row in enumerate(worst.tolist())
    ]


def _shown(name: str, value: Any, private: frozenset[str]) -> str:
    if name in private:
        return "•"
    return value.hex() if isinstance(value, bytes) else str(value)


def _merge(parts: list[bytes]) -> bytes:
    found = [json.loads(part) for part in parts]
    total = found[0]
    for other in found[1:]:
        total["shards"] += other["shards"]
        total["classes"] = [one + more for one, more in zip(total["classes"], other["classes"])]
        total["abstained"] += other["abstained"]
        for name, count in other["methods"].items():
            total["methods"][name] = total["methods"].get(name, 0) + count
        total["examples"] += other["examples"]
    total["examples"] = sorted(total["examples"], key=lambda each: (max(each["probabilities"]), each["place"]))
    total["examples"] = total["examples"][:_MOST_EXAMPLES]
    return json.dumps(total).encode()


def _body(
    opened: Dataset, steps: Sequence[Step], labellers: Sequence[Labeller], found: Mapping[str, Any], rows: int
) -> dict[str, Any]:
    known = opened.result.body
    first = steps[0]
    written = sum(shard["rows"] for shard in found["shards"])
    if written != rows or written != sum(found["classes"]) + found["abstained"]:
        raise HeadwaterError(
            f"the accounts do not add up: {rows:,} rows read, {written:,} written, {sum(found['classes']):,} labelled, "
            f"{found['abstained']:,} abstained"
        )
    schema = pa.schema([*opened.schema, *table.gained(first.label)])
    return {
        "name": known["name"],
        "span": known["span"],
        "key": list(opened.key),
        "schema": encode_schema(schema),
        "columns": {field.name: str(field.type) for field in schema},
        "accepted": True,
        "refusal": "",
        "accounts": {"read": rows, "written": written, "rejected": 0, "filtered": {}},
        "rejected": {"reasons": {}, "files": []},
        "private": known.get("private") or {},
        "findings": _findings(steps, labellers),
        "label": first.label,
        "classes": list(first.classes),
        "labelled": {
            "classes": dict(zip(first.classes, found["classes"])),
            "abstained": found["abstained"],
            "methods": found["methods"],
        },
        "sources": [name for labeller in labellers for name in labeller.sources],
        "steps": [{"method": step.method, **labeller.report} for step, labeller in zip(steps, labellers)],
        "examples": found["examples"],
        "splits": {},
    }


def _findings(steps: Sequence[Step], labellers: Sequence[Labeller]) -> list[dict[str, str]]:
    return [
        {"severity": "warning", "rule": step.method, "message": message}
        for step, labeller in zip(steps, labellers)
        for message in labeller.report.get("warnings", ())
    ]


def _base_of(opened: Dataset, base: str) -> dict[str, str]:
    """The reference to the dataset's shards; of a dataset without a home a copy, as artifacts do not know each other."""
    reference = opened.result.reference()
    if opened.home:
        return reference
    _copy(opened.result.folder, storage.join(base, BASE))
    return {**reference, "uri": BASE}


def _write_index(
    base: str, split: str, suffix: str, shards: Sequence[Mapping[str, Any]], opened: Dataset
) -> dict[str, Any]:
    """Writes which label table belongs to which shard; gives the split's entry in the manifest."""
    own = sorted((shard for shard in shards if shard["split"] == split), key=lambda shard: shard["number"])
    # The source and its range are told by the shard.
    nothing = dict.fromkeys(LABELS_SCHEMA.names)
    rows = [
        {**nothing, **shard, "of": storage.relative(element.uri, opened.result.uri), "base": 0}
        for shard, element in zip(own, opened.elements(split))
    ]
    return write_index(base, f"_labels-{split}{suffix}.parquet", rows, LABELS_SCHEMA)
