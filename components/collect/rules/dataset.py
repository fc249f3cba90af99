"""Rules on the dataset as a whole: its files, its spans, its lookups and its groups."""

from __future__ import annotations

import posixpath

from headwater.components.collect.rules.base import Evidence, Found
from headwater.components.collect.rules.findings import finding
from headwater.components.common.dataset import SPLIT, split_key


def source_notices(evidence: Evidence) -> Found:
    """What the files' readers noticed."""
    return Found([finding(each.rule, each.severity, each.column, each.message) for each in evidence.notices])


def split_column(evidence: Evidence) -> Found:
    """`split_column`: the data has a column of the name that folders of splits have."""
    key = split_key(evidence.schema.names)
    if key == SPLIT:
        return Found([])
    message = (
        f"the data has a column {SPLIT!r}, so the folders of splits are named {key}=…; rename the column (rename: "
        f"{{{SPLIT}: …}}) to have them named {SPLIT}=…"
    )
    return Found([finding("split_column", "info", SPLIT, message)])


def repeated_keys(evidence: Evidence) -> Found:
    """`repeated_key`: the declared key does not tell rows apart."""
    found = evidence.body.get("repeated_keys")
    if found is None:
        return Found([])
    key, rows = evidence.settings.key, evidence.summary["rows"]
    first, again = (
        f"row {each['row']:,} of {posixpath.basename(each['source'])}" for each in (found["first"], found["again"])
    )
    named = f"the key {key[0]!r} is" if len(key) == 1 else f"the columns {', '.join(key)} are the key, which is"
    least = "" if found["exact"] else "at least "
    message = f"{named} not unique: {least}{found['rows']:,} of {rows:,} rows repeat it, such as {again}, after {first}"
    return Found([finding("repeated_key", "warning", None, message, found["rows"] / rows, 0.0)])


def late_versions(evidence: Evidence) -> Found:
    """`late_version`: an earlier span has a newer version now than the one that was collected."""
    taken: dict[int, int] = {}
    for result in evidence.earlier:
        for number, version in result.body["lineage"].get("spans", ()):
            if number == result.body["span"]:
                taken[number] = max(version, taken.get(number, 0))
    return Found(
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


def unmatched_lookups(evidence: Evidence) -> Found:
    """`unmatched`: rows for which a lookup has no entry."""
    read = evidence.body["accounts"]["read"]
    return Found(
        [
            finding(
                "unmatched",
                "info",
                None,
                f"lookup {name!r}: {found['unmatched']:,} of {read:,} rows had no match",
                found["unmatched"] / read,
            )
            for name, found in evidence.body["lookups"].items()
            if found["unmatched"]
        ]
    )


def k_anonymity(evidence: Evidence) -> Found:
    """`k_anonymity`: groups of the same quasi-identifiers are smaller than k, and stay so."""
    measured, wanted = evidence.anonymity, evidence.settings.anonymity
    if not measured or wanted is None or measured["k"] is None or measured["k"] >= wanted.k or wanted.suppress:
        return Found([])
    message = (
        f"the columns {', '.join(wanted.columns)} form groups of as few as {measured['k']:,} rows; "
        f"{measured['rows_below']:,} rows are in groups smaller than {wanted.k}"
    )
    return Found([finding("k_anonymity", "warning", None, message, measured["k"], wanted.k)])
