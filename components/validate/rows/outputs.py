"""The two datasets that come of holding rows against rules: what passed and what is quarantined."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from headwater.components.common import results, storage
from headwater.components.common.dataset import ROW_ID, Dataset, split_folder
from headwater.components.common.dataset_index import decode_schema, encode_schema, write_index
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Home, Result
from headwater.components.validate.rows.judging import Plan
from headwater.components.validate.rows.report import RowReport
from headwater.components.validate.rows.rules import RULES_COLUMN

PASSED, QUARANTINE = "passed", "quarantine"
"""The roles of the two datasets, as their bodies say under `role`."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Where one of the two datasets is written.

    Attributes:
      role: `PASSED` or `QUARANTINE`.
      output: the folder that the caller gave; where there is a home it holds the manifest alone.
      fingerprint: what the dataset is known by.
      settings: the parameters that shape it.
      home: its place under a `data_root`; None for none.
      is_committed: whether it is there already, made by an earlier attempt.
    """

    role: str
    output: str
    fingerprint: str
    settings: Mapping[str, Any]
    home: Home | None
    is_committed: bool

    @property
    def folder(self) -> str:
        """The folder of the shards; empty where none are to be written."""
        if self.is_committed:
            return ""
        return self.home.folder(self.role) if self.home else self.output


def target(
    role: str, output: str, home: Home | None, inputs: Mapping[str, Result], shaping: Mapping[str, Any]
) -> Target:
    """Finds the place of one of the two datasets, and claims it where it lies under a `data_root`.

    Args:
      role: `PASSED` or `QUARANTINE`.
      output: the folder that the caller gave.
      home: the span that the rows are of; the version is taken from there upwards. None outside a `data_root`.
      inputs: the results that it is made from, by role.
      shaping: the settings that shape what comes out.
    """
    settings = {**shaping, "role": role}
    known = {name: result.fingerprint for name, result in inputs.items()}
    identity = results.fingerprint("dataset", known, settings)
    if home is None:
        clear(output, role)
        return Target(role, output, identity, settings, None, False)
    home = results.claim(home, role, identity)
    is_committed = storage.exists(storage.join(home.folder(role), results.MANIFEST))
    return Target(role, output, identity, settings, home, is_committed)


def check_outputs(opened: Dataset, referred: Mapping[str, Result], passed: str, quarantine: str) -> None:
    """Refuses folders that the two datasets cannot be written to, before any row is judged."""
    if passed and passed == quarantine:
        raise HeadwaterError(f"passed and quarantine are both {passed}; give each dataset a folder of its own")
    inputs = {uri for result in (opened.result, *referred.values()) for uri in (result.folder, result.uri)}
    for role, folder in ((PASSED, passed), (QUARANTINE, quarantine)):
        if folder in inputs:
            raise HeadwaterError(f"{role}: {folder} is a dataset that this run reads; give another folder")
        if folder and storage.exists(storage.join(folder, results.MANIFEST)):
            written = results.load(folder, "dataset")
            if written.body.get("role") != role:
                raise HeadwaterError(f"{role}: {folder} already holds another dataset; give another folder")
    names = collections.Counter(opened.schema.names)
    twice = next((name for name, count in names.items() if count > 1), None)
    if (passed or quarantine) and twice is not None:
        raise HeadwaterError(f"dataset: two columns are named {twice!r}; column names must be unique")


def clear(folder: str, role: str) -> None:
    """Removes what an earlier check left: the manifest first, so that nobody takes the rest for a dataset."""
    if not storage.exists(storage.join(folder, results.MANIFEST)):
        return
    known = results.load(folder, "dataset")
    storage.delete(storage.join(folder, results.MANIFEST))
    names = decode_schema(known.body["schema"]).names
    for split, entry in known.body["splits"].items():
        for file in storage.list_files(storage.join(folder, split_folder(names, split))):
            storage.delete(file.uri)
        storage.delete(storage.join(folder, entry["index"]))


def commit(
    target: Target,
    opened: Dataset,
    plan: Plan,
    shards: Sequence[Mapping[str, Any]],
    report: RowReport,
    inputs: Mapping[str, Result],
) -> Result:
    """Writes the shard indexes, and the manifest last; what is there already is adopted."""
    role, folder, home = target.role, target.folder, target.home
    if home and target.is_committed:
        return results.bring(results.load(home.folder(role), role), target.output)
    accounts = report.accounts
    written = sum(shard["rows"] for shard in shards)
    others = accounts["quarantined"] if role == PASSED else accounts["passed"]
    if accounts["read"] != written + others:
        raise HeadwaterError(
            f"the counts of rows do not add up: {accounts['read']:,} read, {written:,} written to {role}, {others:,} "
            "not"
        )
    fields = [field for field in opened.schema if field.name != RULES_COLUMN]
    if not plan.key:
        fields.append(pa.field(ROW_ID, pa.binary(16)))
    if role == QUARANTINE:
        fields.append(pa.field(RULES_COLUMN, pa.list_(pa.string())))
    accepted = role == QUARANTINE or written > 0 or not accounts["read"]
    known = opened.result.body
    body: dict[str, Any] = {
        "name": known.get("name", ""),
        "span": known.get("span"),
        "role": role,
        "key": list(plan.key) or [ROW_ID],
        "schema": encode_schema(pa.schema(fields)),
        "columns": {field.name: str(field.type) for field in fields},
        "accepted": accepted,
        "refusal": "" if accepted else f"every one of the {accounts['read']:,} rows broke a rule",
        "accounts": {
            "read": accounts["read"],
            "written": written,
            "rejected": 0,
            "filtered": {"quarantined" if role == PASSED else "passed": others},
        },
        "rejected": {"reasons": {}, "files": []},
        "rules": _sums(report),
        "private": _private(known.get("private") or {}, target.settings["private"]),
        "findings": [],
        "lineage": {name: result.reference() for name, result in sorted(inputs.items())},
        "splits": {
            split: write_index(folder, f"_shards-{split}.parquet", [each for each in shards if each["split"] == split])
            for split in opened.splits
        },
    }
    manifest = {
        "format_version": results.FORMAT_VERSION,
        "kind": "dataset",
        "producer": results.PRODUCER,
        "fingerprint": target.fingerprint,
        "home": dataclasses.asdict(home) if home else None,
        "settings": target.settings,
        "body": body,
    }
    content = results.encode(manifest)
    if home is None:
        storage.write_bytes(storage.join(folder, results.MANIFEST), content)
        return results.load(folder, role)
    results.commit(home, role, content)
    return results.bring(results.load(folder, role), target.output)


def _private(known: Mapping[str, Any], declared: Sequence[str]) -> dict[str, Any]:
    """What the dataset said of private columns; those that the settings declare hold values as they are."""
    own = {name: {"kinds": known.get(name, {}).get("kinds", []), "action": None} for name in declared}
    return dict(sorted({**known, **own}.items()))


def _sums(report: RowReport) -> dict[str, int]:
    """How many rows broke each rule that was broken."""
    sums: dict[str, int] = {}
    for result in report.results:
        if result["broken"]:
            sums[result["rule"]] = sums.get(result["rule"], 0) + result["broken"]
    return sums
