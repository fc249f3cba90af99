"""Rules on the dataset as a whole: its files, its spans, its lookups and its groups."""

from __future__ import annotations

import posixpath

from headwater.components.collect.rules.base import Evidence, Outcome
from headwater.components.collect.rules.findings import finding
from headwater.components.common.dataset import SPLIT, split_key


def source_notices(evidence: Evidence) -> Outcome:
    """What the files' readers noticed."""
    return Outcome([finding(each.rule, each.severity, each.column, each.message) for each in evidence.notices])


def split_column(evidence: Evidence) -> Outcome:
    """`split_column`: the data has a column of the name that folders of splits have."""
    key = split_key(evidence.schema.names)
    if key == SPLIT:
        return Outcome([])
    message = (
        f"the data has a column {SPLIT!r}, so the folders of splits are named {key}=…; rename the column (rename: "
        f"{{{SPLIT}: …}}) to have them named {SPLIT}=…"
    )
    return Outcome([finding("split_column", "info", SPLIT, message)])


def repeated_keys(evidence: Evidence) -> Outcome:
    """`repeated_key`: the declared key does not tell rows apart."""
    repeated = evidence.body.get("repeated_keys")
    if repeated is None:
        return Outcome([])
    key, rows = evidence.settings.key, evidence.summary["rows"]
    first, again = (
        f"row {each['row']:,} of {posixpath.basename(each['source'])}"
        for each in (repeated["first"], repeated["again"])
    )
    named = f"the key {key[0]!r} is" if len(key) == 1 else f"the columns {', '.join(key)} are the key, which is"
    least = "" if repeated["exact"] else "at least "
    message = (
        f"{named} not unique: {least}{repeated['rows']:,} of {rows:,} rows repeat it, such as {again}, after {first}"
    )
    return Outcome([finding("repeated_key", "warning", None, message, repeated["rows"] / rows, 0.0)])


def late_versions(evidence: Evidence) -> Outcome:
    """`late_version`: an earlier span has a newer version now than the one that was collected."""
    taken: dict[int, int] = {}
    for result in evidence.earlier:
        for number, version in result.body["lineage"].get("spans", ()):
            if number == result.body["span"]:
                taken[number] = max(version, taken.get(number, 0))
    return Outcome(
        [
            finding(
                "late_version",
                "warning",
                None,
                f"span {number} was collected as version {version} and has version {evidence.available[number]} now; "
                f"collect it again with span {number}",
                float(evidence.available[number]),
                float(version),
            )
            for number, version in sorted(taken.items())
            if number != evidence.summary["span"] and evidence.available.get(number, 0) > version
        ]
    )


def unmatched_lookups(evidence: Evidence) -> Outcome:
    """`unmatched`: rows for which a lookup has no entry."""
    read = evidence.body["accounts"]["read"]
    return Outcome(
        [
            finding(
                "unmatched",
                "info",
                None,
                f"lookup {name!r}: {joined['unmatched']:,} of {read:,} rows had no match",
                joined["unmatched"] / read,
            )
            for name, joined in evidence.body["lookups"].items()
            if joined["unmatched"]
        ]
    )


def k_anonymity(evidence: Evidence) -> Outcome:
    """`k_anonymity`: groups of the same quasi-identifiers are smaller than k, and stay so."""
    measured, wanted = evidence.anonymity, evidence.settings.anonymity
    if not measured or wanted is None or measured["k"] is None or measured["k"] >= wanted.k or wanted.suppress:
        return Outcome([])
    message = (
        f"the columns {', '.join(wanted.columns)} form groups of as few as {measured['k']:,} rows; "
        f"{measured['rows_below']:,} rows are in groups smaller than {wanted.k}"
    )
    return Outcome([finding("k_anonymity", "warning", None, message, measured["k"], wanted.k)])
