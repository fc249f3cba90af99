"""What the manifest of labels says: the accounts, the findings, and which file belongs to which shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from headwater.components.common.dataset import Dataset
from headwater.components.common.dataset_index import LABELS_SCHEMA, encode_schema, write_index
from headwater.components.common.errors import HeadwaterError
from headwater.components.label import evaluation, table
from headwater.components.label.carryover import Bases, Carried
from headwater.components.label.methods import Item, Labeller, Step
from headwater.components.label.writer import Plan


def describe_labels(
    opened: Dataset, steps: Sequence[Step], labellers: Sequence[Labeller], records: dict[str, Any], rows: int
) -> dict[str, Any]:
    """The body, without what is written beside the labels; checks that the accounts add up."""
    known = opened.result.body
    first = steps[0]
    written = sum(shard["rows"] for shard in records["labels"])
    carried = records["carried_rows"]
    if written + carried != rows or written != sum(records["classes"]) + records["abstained"]:
        raise HeadwaterError(
            f"the counts of rows do not add up: {rows:,} read, {written:,} written, {carried:,} carried, "
            f"{sum(records['classes']):,} labelled, {records['abstained']:,} abstained"
        )
    schema = pa.schema([*opened.schema, *table.gained(first.label)])
    refusal = (
        f"no row can be labelled yet: all {carried:,} are carried over to the next span, because their windows have "
        "not passed"
    )
    return {
        "name": known["name"],
        "span": known["span"],
        "key": list(opened.key),
        "schema": encode_schema(schema),
        "columns": {field.name: str(field.type) for field in schema},
        "accepted": written > 0,
        "refusal": "" if written else refusal,
        "accounts": {"read": rows, "written": written, "rejected": 0, "filtered": {}, "carried": carried},
        "rejected": {"reasons": {}, "files": []},
        "label": first.label,
        "classes": list(first.classes),
        "labelled": {
            "classes": dict(zip(first.classes, records["classes"])),
            "abstained": records["abstained"],
            "methods": records["methods"],
        },
        "sources": [name for labeller in labellers for name in labeller.sources],
        "steps": [{"method": step.method, **labeller.report} for step, labeller in zip(steps, labellers)],
        "truth": evaluation.describe(records["truth"], first.classes) if first.truth else None,
        "examples": records["examples"],
    }


def findings_of(steps: Sequence[Step], labellers: Sequence[Labeller], earlier: Carried) -> list[dict[str, str]]:
    """What methods and the rows of an earlier span warn of."""
    summary = [(step.method, labeller.report.get("warnings", ())) for step, labeller in zip(steps, labellers)]
    return [
        {"severity": "warning", "rule": rule, "message": message}
        for rule, messages in (*summary, ("carried", earlier.warnings))
        for message in messages
    ]


def write_indexes(
    kind: str, plan: Plan, records: Mapping[str, Any], items: Sequence[Item], bases: Bases, always: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Writes which file belongs to which shard, by split; gives the manifest's entries.

    Args:
      kind: "labels" or "carried".
      plan: where they go.
      records: what the files hold.
      items: the elements that they are of.
      bases: the datasets of those.
      always: splits that are there without a file as well.
    """
    # The source and its range are known from the shard.
    nothing = dict.fromkeys(LABELS_SCHEMA.names)
    entries = {}
    for split in dict.fromkeys([*always, *(item.split for item in items)]):
        shards = sorted(
            (shard for shard in records[kind] if shard["split"] == split), key=lambda shard: shard["number"]
        )
        if shards or split in always:
            rows = [{**nothing, **shard, **bases.place_of(items[shard["number"]].element)} for shard in shards]
            index = f"_{kind}-{split}{plan.suffix}.parquet"
            entries[split] = write_index(plan.base, index, rows, LABELS_SCHEMA)
    return entries
