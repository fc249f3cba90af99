"""Feature quality: what a column can tell a model, estimated from a sample of rows before anybody trains on them.

Constant and duplicate columns, what tells the label and what leaks it, what a split holds that the training split does
not, and groups that are too small. No finding holds a value of a row.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.collect.privacy.actions import parse_actions
from headwater.components.collect.rules.base import Evidence, Outcome
from headwater.components.collect.rules.binning import bins, codes, is_number, numbers
from headwater.components.collect.rules.findings import finding
from headwater.components.common import hashing
from headwater.components.common.findings import percent

NEAR = 0.999
"""Columns of numbers whose ranks correlate more than this are near-duplicates."""

LEAK = 0.9
"""A column that by itself explains this much of the label, on rows held out, leaks it: of the rows that the commonest
class gets wrong, or of the variance of a numeric label's ranks."""

SMALL_SHARE, SMALL_ROWS = 0.01, 100
"""A group with a smaller share of the rows, or fewer of them, is small."""

_MOST_CLASSES = 50
_FEW_ROWS = 50
_WORST = 10
_OUTSIDE = 0.02
_PAIR_COLUMNS = 20
_SURE = 5.0


def constants(evidence: Evidence) -> Outcome:
    """`constant`: columns without values, or with one value alone, where they are not redacted."""
    if not evidence.sample:
        return Outcome([])
    redacted = {name for name, action in parse_actions(evidence.settings.private).items() if action.action == "redact"}
    return Outcome([each for each in find_constants(evidence.profile) if each["column"] not in redacted])


def duplicates(evidence: Evidence) -> Outcome:
    """`duplicate_column`: see `find_duplicates`."""
    if not evidence.sample:
        return Outcome([])
    constant = {each["column"] for each in find_constants(evidence.profile)}
    columns = {name: each for name, each in evidence.sample.columns.items() if name not in constant}
    pairs, findings = find_duplicates(columns)
    return Outcome(findings, {"duplicates": pairs})


def label(evidence: Evidence) -> Outcome:
    """`leak`: see `explain_label`."""
    sample, name = evidence.sample, evidence.settings.label
    if not sample:
        return Outcome([])
    if not name or name not in sample.table.column_names or sample.table.num_rows < _FEW_ROWS:
        return Outcome([], {"label": None})
    explained, findings = explain_label(sample.columns, name)
    return Outcome(findings, {"label": explained})


def coverage(evidence: Evidence) -> Outcome:
    """`coverage`: see `cover_splits`."""
    if not evidence.sample:
        return Outcome([])
    # What says the split, and the time that a split by time goes by, differ between splits by construction.
    split, event_time = evidence.settings.split.model_dump(), evidence.settings.event_time
    silent = {split.get("column"), *(split.get("group") or ()), event_time if split["by"] == "time" else None}
    columns = {name: each for name, each in evidence.sample.columns.items() if name not in silent}
    covered, findings = cover_splits(columns, evidence.sample.splits, evidence.train)
    return Outcome(findings, {"coverage": covered})


def representation(evidence: Evidence) -> Outcome:
    """`small_group`: see `represent_groups`."""
    if not evidence.sample:
        return Outcome([])
    columns, splits = evidence.sample.columns, evidence.sample.splits
    private, rows = set(evidence.body["private"]), evidence.profile["rows"]
    groups, findings = represent_groups(columns, splits, evidence.settings.groups, private, rows)
    return Outcome(findings, {"representation": groups})


def find_duplicates(columns: Mapping[str, pa.Array]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Columns that say the same: equal values, one ranked as the other, or one a recoding of the other.

    Returns:
      Pairs of `columns` with `kind` ("equal", "near") and `measure`; and a finding for each.
    """
    names = list(columns)
    digests: dict[tuple[int, ...], str] = {}
    pairs: list[tuple[str, str, str, float]] = []
    rest = []
    for name in names:
        hashes = hashing.hash_values(columns[name])
        same = digests.setdefault(
            (int(np.add.reduce(hashing.mix(hashes + np.arange(len(hashes), dtype=np.uint64)))),), name
        )
        if same != name:
            pairs.append((same, name, "equal", 1.0))
        else:
            rest.append(name)
    ranked = [name for name in rest if is_number(columns[name].type) and _varies(columns[name])]
    if len(ranked) > 1:
        ranks = np.stack([_ranks(numbers(columns[name])) for name in ranked])
        with np.errstate(invalid="ignore"):
            alike = np.abs(np.corrcoef(ranks))
        for one, two in zip(*np.where(np.triu(alike, 1) >= NEAR)):
            pairs.append((ranked[one], ranked[two], "near", float(alike[one, two])))
    # Whole numbers of few values are categories too: a code may recode a name.
    named = [
        name
        for name in rest
        if not is_number(columns[name].type)
        or (pa.types.is_integer(columns[name].type) and len(pc.unique(columns[name])) <= _MOST_CLASSES)
    ]
    recoded = {name: codes(columns[name]) for name in named}
    sizes = {name: len(np.unique(hashes)) for name, hashes in recoded.items()}
    for one, two in itertools.combinations(named, 2):
        # Unique ids tell every column; only categories can be recodings of each other.
        if sizes[one] == sizes[two] and 1 < sizes[one] <= len(recoded[one]) // 4:
            both = len(np.unique(recoded[one] * (sizes[two] + 2) + recoded[two]))
            if both == sizes[one]:
                pairs.append((one, two, "near", 1.0))
    findings = [
        finding(
            "duplicate_column",
            "warning" if kind == "equal" else "info",
            two,
            f"{two!r} {'equals' if kind == 'equal' else 'is almost determined by'} {one!r} in the sampled rows",
            round(measure, 4),
            NEAR,
        )
        for one, two, kind, measure in pairs
    ]
    return [
        {"columns": [one, two], "kind": kind, "measure": round(measure, 4)} for one, two, kind, measure in pairs
    ], findings


def explain_label(columns: Mapping[str, pa.Array], label: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What each column tells of the label, and columns that tell too much.

    Mutual information of bins, in bits, less its bias (Miller, 1955; Madow's correction), as a share of the label's
    entropy. A leak is a column that by itself tells the label of the half of the rows that its lookup did not see.
    """
    target = columns[label]
    classes = codes(target) if not is_number(target.type) or len(pc.unique(target)) <= _MOST_CLASSES else None
    binned = classes if classes is not None else bins(target)
    entropy = _entropy(binned)
    # Every second row by hash, so that neighbours do not stand on both sides.
    seen = (hashing.hash_rows(list(columns.values())) >> np.uint64(7)) % np.uint64(2) == 0
    measured: list[dict[str, Any]] = []
    findings: list[dict[str, Any]] = []
    for name, column in columns.items():
        if name == label:
            continue
        binned_column = bins(column)
        information = max(0.0, mutual_information(binned_column, binned))
        share = min(1.0, information / entropy) if entropy else None
        score = _held_out(codes(column) if not is_number(column.type) else binned_column, classes, target, seen)
        measured.append(
            {
                "column": name,
                "bits": round(information, 6),
                "normalised": share and round(share, 6),
                "held_out": score and round(score, 4),
            }
        )
        if score is not None and score >= LEAK:
            message = (
                f"{name!r} predicts the label {label!r} almost perfectly (held-out score {score:.3f}): possible leakage"
            )
            findings.append(finding("leak", "warning", name, message, round(score, 4), LEAK))
    measured.sort(key=lambda each: (-(each["normalised"] or 0), each["column"]))
    return {"column": label, "entropy": round(entropy, 6), "columns": measured}, findings


def mutual_information(one: np.ndarray, two: np.ndarray) -> float:
    """Mutual information of two discrete columns in bits, less its bias (Miller, 1955): (r − 1)(c − 1) / 2n nats."""
    first, second = np.unique(one, return_inverse=True)[1], np.unique(two, return_inverse=True)[1]
    rows, columns = int(first.max()) + 1, int(second.max()) + 1
    joint = np.bincount(first * columns + second, minlength=rows * columns).reshape(rows, columns) / len(first)
    expected = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    present = joint > 0
    plain = float((joint[present] * np.log2(joint[present] / expected[present])).sum())
    return plain - (rows - 1) * (columns - 1) / (2 * len(first) * np.log(2))


def cover_splits(
    columns: Mapping[str, pa.Array], splits: np.ndarray, train: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How far the training split covers the others.

    A row is outside where a number lies beyond the training rows' range, or a category is one that they do not have. What
    chance alone gives is estimated by the same measure of the training rows' second half against the first, and taken off.
    """
    training = splits == train
    others = sorted(set(splits[~training]))
    if not others or training.sum() < _FEW_ROWS:
        return {}, []
    halves = np.flatnonzero(training)
    first, second = np.zeros(len(splits), bool), np.zeros(len(splits), bool)
    first[halves[::2]], second[halves[1::2]] = True, True
    # Columns of ids have new values in every row, whatever the split.
    telling = {name: each for name, each in columns.items() if not _is_id(each)}
    binned = {name: bins(each, training) for name, each in telling.items()}
    halved = {name: bins(each, first) for name, each in telling.items()}
    result, findings = {}, []
    for split in others:
        here = splits == split
        if here.sum() < _FEW_ROWS:
            continue
        worst: list[dict[str, Any]] = []
        anywhere = np.zeros(int(here.sum()), bool)
        filled = empty = 0
        for name, codes_of in binned.items():
            outside = codes_of[here] <= -3
            excess, sure = _excess(outside, halved[name][second] <= -3)
            anywhere |= outside
            mine = set(np.unique(codes_of[here]).tolist())
            filled += len(mine)
            empty += len(mine - set(np.unique(codes_of[training]).tolist()))
            worst.append({"column": name, "rows_outside": round(excess, 6)})
            if excess > _OUTSIDE and sure:
                message = f"{percent(excess)} of {split!r} are outside the values of {name!r} in {train!r}"
                findings.append(finding("coverage", "warning", name, message, round(excess, 4), _OUTSIDE))
        worst.sort(key=lambda each: (-each["rows_outside"], each["column"]))
        # Both against one half of the training rows: what the other half lacks there is chance.
        coarse = {
            name: codes_of // 2 if is_number(telling[name].type) else codes_of for name, codes_of in halved.items()
        }
        pairs = _worst_pairs(coarse, here, first, second)
        for pair in pairs[:3]:
            if pair["rows_outside"] > _OUTSIDE and pair["sure"]:
                one, two = pair["columns"]
                message = (
                    f"{percent(pair['rows_outside'])} of {split!r} have a combination of {one!r} and {two!r} that "
                    f"{train!r} does not have"
                )
                findings.append(finding("coverage", "warning", one, message, pair["rows_outside"], _OUTSIDE))
        result[split] = {
            "rows_outside": round(float(anywhere.mean()), 6),
            "bins_outside": round(empty / max(filled, 1), 6),
            "columns": worst[:_WORST],
            "pairs": pairs,
        }
    return result, findings


def represent_groups(
    columns: Mapping[str, pa.Array], splits: np.ndarray, groups: Sequence[str], private: Collection[str], rows: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How many rows each group has, scaled from the sample to all rows.

    Returns:
      For each column its groups, the largest first: `value`, estimated `rows`, `share`, and `splits` that have any; and a
      finding for each small one and for each that a split lacks.
    """
    result, findings = {}, []
    for name in groups:
        column = columns[name]
        texts = pc.fill_null(column.cast(pa.string()), "(missing)")
        counts = pc.value_counts(texts)
        pairs = sorted(
            zip(counts.field(1).to_pylist(), counts.field(0).to_pylist()), key=lambda pair: (-pair[0], pair[1])
        )
        listed = []
        for count, value in pairs:
            shown = f"#{int(hashing.hash_values(pa.array([value]))[0]):016x}"[:9] if name in private else value
            share = count / len(column)
            there = (
                sorted(set(splits[pc.equal(texts, value).to_numpy(zero_copy_only=False)])) if len(pairs) <= 200 else []
            )
            listed.append({"value": shown, "rows": round(share * rows), "share": round(share, 6), "splits": there})
            lacking = sorted(set(splits) - set(there)) if there else []
            if share < SMALL_SHARE or share * rows < SMALL_ROWS:
                message = f"group {shown!r} of {name!r} has about {share * rows:,.0f} rows ({percent(share)})"
                findings.append(finding("small_group", "info", name, message, round(share, 6), SMALL_SHARE))
            elif lacking:
                message = f"group {shown!r} of {name!r} is not in {', '.join(lacking)}"
                findings.append(finding("small_group", "warning", name, message, 0.0, SMALL_SHARE))
        result[name] = listed
    return result, findings[:50]


def find_constants(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Columns without values, or with one value alone."""
    findings = []
    for name, column in sorted(profile["columns"].items()):
        if profile["rows"] and column["missing"] == profile["rows"]:
            findings.append(finding("constant", "warning", name, f"{name!r} has no values"))
        elif column["constant"] and profile["rows"] > 1:
            findings.append(
                finding("constant", "info", name, f"{name!r} has one value in all {profile['rows']:,} rows")
            )
    return findings


def _worst_pairs(
    binned: Mapping[str, np.ndarray], here: np.ndarray, first: np.ndarray, second: np.ndarray
) -> list[dict[str, Any]]:
    """The pairs of columns whose combinations a split has most that the training rows never have, beyond chance."""
    names = sorted(name for name, each in binned.items() if len(np.unique(each)) > 1)[:_PAIR_COLUMNS]
    pairs: list[dict[str, Any]] = []
    for one, two in itertools.combinations(names, 2):
        cells = binned[one] * 1000 + binned[two]
        known = np.unique(cells[first])
        excess, sure = _excess(~np.isin(cells[here], known), ~np.isin(cells[second], known))
        pairs.append({"columns": [one, two], "rows_outside": round(excess, 6), "sure": sure})
    pairs.sort(key=lambda each: (-each["rows_outside"], each["columns"]))
    return pairs[:_WORST]


def _excess(outside: np.ndarray, chance: np.ndarray) -> tuple[float, bool]:
    """How much larger one share is than another, and whether by more than five standard errors."""
    pooled = (outside.sum() + chance.sum()) / (len(outside) + len(chance))
    error = float(np.sqrt(pooled * (1 - pooled) * (1 / len(outside) + 1 / len(chance))))
    excess = max(0.0, float(outside.mean() - chance.mean()))
    return excess, excess > _SURE * error


def _held_out(codes_of: np.ndarray, classes: np.ndarray | None, target: pa.Array, seen: np.ndarray) -> float | None:
    """How well a lookup from a column's bins, made on one half, tells the label of the other; None where it says
    nothing."""
    places = np.unique(codes_of, return_inverse=True)[1]
    most = int(places.max()) + 1
    if classes is not None:
        labels = np.unique(classes, return_inverse=True)[1]
        kinds = int(labels.max()) + 1
        majority = np.bincount(labels).max() / len(labels)
        if kinds < 2:
            return None
        table = np.zeros((most, kinds))
        np.add.at(table, (places[seen], labels[seen]), 1)
        known = table.sum(1) > 0
        guess = np.where(known, table.argmax(1), np.bincount(labels[seen]).argmax())
        # How much of what the commonest class alone gets wrong the column gets right.
        right = float((guess[places[~seen]] == labels[~seen]).mean())
        return 1 - (1 - right) / (1 - majority)
    # By rank, so that a heavy tail does not hide what tells all other rows.
    values = numbers(target)
    fine = ~np.isnan(values)
    values = np.where(fine, _ranks(values), np.nan)
    train, test = seen & fine, ~seen & fine
    if test.sum() < _FEW_ROWS or not values[test].var():
        return None
    sums = np.bincount(places[train], values[train], most)
    counts = np.bincount(places[train], minlength=most)
    guess = np.where(counts > 0, sums / np.maximum(counts, 1), values[train].mean())
    left = ((values[test] - guess[places[test]]) ** 2).mean()
    return float(1 - left / values[test].var())


def _entropy(coded: np.ndarray) -> float:
    shares = np.unique(coded, return_counts=True)[1] / len(coded)
    return float(-(shares * np.log2(shares)).sum())


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, ties at their middle, missing values below all."""
    _, inverse, counts = np.unique(np.where(np.isnan(values), -np.inf, values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - counts / 2.0)[inverse]


def _varies(column: pa.Array) -> bool:
    return len(pc.unique(column)) > 2


def _is_id(column: pa.Array) -> bool:
    return not is_number(column.type) and len(np.unique(codes(column))) > len(column) // 2
