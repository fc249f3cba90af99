"""How the values of declared columns are represented, in the dataset and in each split."""

from __future__ import annotations

import hashlib
import math
from typing import Any, Collection, Mapping

import numpy as np
import pyarrow as pa

from headwater.components.collect.health.findings import finding, rounded
from headwater.components.collect.sense.columns import plain

SMALL_SHARE, SMALL_ROWS = 0.01, 100
"""A group is small with a smaller share of the rows than this, or with fewer rows."""

MISSING = "(missing)"
"""What the group of rows without a value is called."""

MOST_GROUPS = 1_000
"""Groups of a column that are listed; the smaller ones of more are left out."""

_MOST_NAMED = 8
_SURE = 1e-6


def represent(
    groups: Mapping[str, pa.ChunkedArray], splits: Mapping[str, np.ndarray], private: Collection[str], rows: int
) -> tuple[dict[str, list[dict[str, Any]]], list[dict[str, Any]]]:
    """Rows of each group, estimated from the sample.

    Args:
      groups: the sampled values of each declared column.
      splits: row numbers of each split in the sample.
      private: columns whose values are shown as `#` and four hexadecimal digits of their SHA-256.
      rows: of the whole dataset.

    Returns:
      For each column its groups, the largest first: `value`, `sampled` rows, `rows` estimated for the whole dataset,
      their standard `error` (0 where every row was sampled), `share`, and `splits`, the share of each split's rows.
      And findings: `small_group`, and `group_missing` where a split lacks a group that it should have by chance.
    """
    result, findings = {}, []
    for name, column in groups.items():
        encoded = plain(column).dictionary_encode()
        values = encoded.dictionary.to_pylist()
        codes = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
        size = len(values) + 1
        labels = [_label(value, name in private) for value in values] + [MISSING]
        counts = np.bincount(codes, minlength=size)
        by_split = {
            split: np.bincount(codes[part], minlength=size) for split, part in sorted(splits.items()) if len(part)
        }
        order = [place for place in range(size) if counts[place]]
        order.sort(key=lambda place: (-counts[place], labels[place]))
        entries = [_entry(labels[place], int(counts[place]), len(codes), rows) for place in order]
        for place, entry in zip(order, entries):
            entry["splits"] = {split: rounded(found[place] / found.sum(), 4) for split, found in by_split.items()}
        result[name] = entries[:MOST_GROUPS]
        findings += _small(name, entries, rows)
        findings += _absent(name, [(labels[place], int(counts[place])) for place in order], entries, by_split)
    return result, findings


def _label(value: Any, is_private: bool) -> str:
    text = str(value)
    return f"#{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:4]}" if is_private else text


def _entry(label: str, count: int, sampled: int, rows: int) -> dict[str, Any]:
    share = count / sampled
    # Drawn without replacement: the error vanishes as the sample becomes the whole.
    left = max(0.0, 1 - sampled / rows)
    error = rows * math.sqrt(share * (1 - share) / max(sampled - 1, 1) * left)
    return {
        "value": label,
        "sampled": count,
        "rows": round(count / sampled * max(rows, sampled)),
        "error": rounded(error, 3),
        "share": rounded(share, 4),
    }


def _small(name: str, entries: list[dict[str, Any]], rows: int) -> list[dict[str, Any]]:
    small = [each for each in entries if each["share"] < SMALL_SHARE or each["rows"] < SMALL_ROWS][::-1]
    if not small:
        return []
    named = ", ".join(
        f"{each['value']} ({each['rows']:,}{' ± {:,.0f}'.format(each['error']) if each['error'] else ''})"
        for each in small[:_MOST_NAMED]
    )
    more = f" and {len(small) - _MOST_NAMED:,} more" if len(small) > _MOST_NAMED else ""
    is_exact = not any(each["error"] for each in small)
    message = (
        f"{name!r} has {len(small):,} of {len(entries):,} groups with less than {SMALL_SHARE:.0%} of the rows or fewer "
        f"than {SMALL_ROWS} rows{'' if is_exact else ', as estimated from a sample'}: {named}{more}"
    )
    return [finding("small_group", "warning", name, message, len(small), max(SMALL_SHARE * rows, SMALL_ROWS))]


def _absent(
    name: str, counted: list[tuple[str, int]], entries: list[dict[str, Any]], by_split: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    findings = []
    total = sum(count for _, count in counted)
    for split, found in by_split.items():
        share = found.sum() / total
        absent = [
            label
            for (label, count), entry in zip(counted, entries)
            if not entry["splits"][split] and (1 - share) ** count < _SURE
        ]
        if absent:
            named = ", ".join(absent[:_MOST_NAMED])
            more = f" and {len(absent) - _MOST_NAMED:,} more" if len(absent) > _MOST_NAMED else ""
            message = f"split {split!r} has no sampled row of {len(absent):,} groups of {name!r}: {named}{more}"
            findings.append(finding("group_missing", "warning", name, message, len(absent), 0))
    return findings
