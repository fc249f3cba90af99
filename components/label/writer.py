"""What a worker does to label one element: its label table, the rows that wait, and counts that merge.

It knows nothing of Beam, so that worker processes need not import it.
"""

from __future__ import annotations

import datetime
import json
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common import hashing, storage
from headwater.components.common.dataset import read_element, split_folder
from headwater.components.common.labelled import WideShard
from headwater.components.common.partitions import PartitionResults
from headwater.components.common.shard_file import describe
from headwater.components.label import evaluation, table
from headwater.components.label.attribution import codes_of
from headwater.components.label.classes import ABSTAIN, OUTSIDE, disagree, numbers
from headwater.components.label.methods import Item, Labeller, Labels

_MOST_EXAMPLES = 12


class Plan(NamedTuple):
    """What writing an element needs to know."""

    labellers: tuple[Labeller, ...]
    methods: tuple[str, ...]
    classes: tuple[str, ...]
    label: str
    key: tuple[str, ...]
    schema: pa.Schema
    truth: str
    known: PartitionResults | None
    as_of: datetime.datetime | None
    base: str
    suffix: str
    private: frozenset[str]


def write_labels(plan: Plan, item: Item) -> bytes:
    """Labels one element and writes its label table, and which rows are carried; gives records and counts as JSON."""
    rows = pa.Table.from_batches(list(read_element(item.element, plan.schema)), schema=plan.schema)
    labels_of = [labeller.label(item, rows) for labeller in plan.labellers]
    labels, methods = table.combine(labels_of, rows.num_rows)
    truth = _truth_of(plan, item, rows)
    places = item.element.places() if isinstance(item.element, WideShard) else None
    report: dict[str, Any] = {"labels": [], "carried": [], "outside": int((truth == OUTSIDE).sum())}
    key = rows.select(list(plan.key))
    if labels.carried is not None and labels.carried.any():
        carried, kept = np.flatnonzero(labels.carried), np.flatnonzero(~labels.carried)
        places = np.arange(rows.num_rows) if places is None else places
        made = table.beside(key.take(pa.array(carried)), places[carried])
        report["carried"] = [_put(plan, item, "carried", made, hashing.hash_rows(table.whole(made)))]
        rows, key, truth, places = rows.take(pa.array(kept)), key.take(pa.array(kept)), truth[kept], places[kept]
        labels = Labels(*(each[kept] for each in labels[:3]))
        methods = methods[kept]
    found = table.patterns(labels, methods)
    if rows.num_rows:
        shape = plan.methods, plan.classes, plan.label, plan.as_of
        made = table.make(key, labels, methods, *shape)
        hashes = table.hash_rows(key, found, *shape)
        report["labels"] = [_put(plan, item, "labels", table.beside(made, places), hashes)]
    codes = labels.codes
    by_method: dict[str, int] = {}
    for number, name in enumerate(plan.methods):
        by_method[name] = by_method.get(name, 0) + int((methods == number).sum())
    report["classes"] = np.bincount(codes[codes >= 0], minlength=len(plan.classes)).tolist()
    report["abstained"], report["methods"] = int((codes < 0).sum()), by_method
    report["examples"] = _examples(plan, item, rows, labels, found)
    report["truth"] = evaluation.count(labels, np.maximum(truth, ABSTAIN))
    return json.dumps(report).encode()


def _truth_of(plan: Plan, item: Item, rows: pa.Table) -> np.ndarray:
    if plan.known is not None:
        return codes_of(plan.known, item.number, rows.num_rows)
    if plan.truth:
        return numbers(rows[plan.truth].combine_chunks(), plan.classes)
    return np.full(rows.num_rows, ABSTAIN, np.int8)


def _put(plan: Plan, item: Item, kind: str, made: pa.Table, hashes: np.ndarray) -> dict[str, Any]:
    """Writes a file beside a shard; gives its record."""
    content = table.encode(made)
    folder = split_folder(made.column_names, item.split) if kind == "labels" else "_carried"
    path = f"{folder}/{kind}-{item.number:06d}{plan.suffix}.parquet"
    storage.write_bytes(storage.join(plan.base, path), content)
    digest = f"{hashing.digest(hashes):032x}"
    report = {"number": item.number, "split": item.split, "path": path, "rows": made.num_rows}
    return {**report, **describe(content), "digest": digest}


def _examples(plan: Plan, item: Item, rows: pa.Table, labels: Labels, found: table.Patterns) -> list[dict[str, Any]]:
    """The rows on which sources disagree most evenly."""
    split = disagree(np.ascontiguousarray(found.labels.evidence.T))
    contested = np.flatnonzero(split[found.of])
    sure = found.labels.probabilities.max(1, initial=0)[found.of[contested]]
    if len(sure) > _MOST_EXAMPLES:
        least = sure <= np.partition(sure, _MOST_EXAMPLES)[_MOST_EXAMPLES]
        contested, sure = contested[least], sure[least]
    worst = contested[np.argsort(sure, kind="stable")[:_MOST_EXAMPLES]]
    key = rows.select(list(plan.key)).take(pa.array(worst)).to_pydict()
    names = [name for labeller in plan.labellers for name in labeller.sources]
    return [
        {
            "key": [_shown(name, key[name][place], plan.private) for name in plan.key],
            "probabilities": [round(float(each), 4) for each in labels.probabilities[row]],
            "votes": {
                names[source]: plan.classes[labels.evidence[row, source]]
                for source in np.flatnonzero(labels.evidence[row] >= 0).tolist()
            },
            "place": [item.number, int(row)],
        }
        for place, row in enumerate(worst.tolist())
    ]


def _shown(name: str, value: Any, private: frozenset[str]) -> str:
    if name in private:
        return "•"
    return value.hex() if isinstance(value, bytes) else str(value)


def merge(parts: list[bytes]) -> bytes:
    decoded = [json.loads(part) for part in parts]
    total = decoded[0]
    for other in decoded[1:]:
        for name in ("labels", "carried", "examples"):
            total[name] += other[name]
        total["classes"] = [one + more for one, more in zip(total["classes"], other["classes"])]
        for name in ("abstained", "outside"):
            total[name] += other[name]
        for name, count in other["methods"].items():
            total["methods"][name] = total["methods"].get(name, 0) + count
        total["truth"] = evaluation.add(total["truth"], other["truth"])
    total["examples"] = sorted(total["examples"], key=lambda each: (max(each["probabilities"]), each["place"]))
    total["examples"] = total["examples"][:_MOST_EXAMPLES]
    return json.dumps(total).encode()
