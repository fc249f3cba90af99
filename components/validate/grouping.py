"""One finding a cause: over splits, over checks and components of one feature, and over features that move together."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from headwater.components.common.acknowledging import UPSTREAM
from headwater.components.common.findings import SEVERITIES
from headwater.components.validate.findings import (
    COMPARISON_IMPOSSIBLE,
    CONCEPT_DRIFT,
    COVARIATE_DRIFT,
    DRIFT,
    LABEL_DRIFT,
    NO_VALUES,
    RULE_BROKEN,
    SKEW,
    THIS_SPAN,
)
from headwater.components.validate.rows.rules import SCHEMA_PREFIX
from headwater.components.validate.tables import MISSING

Alike = Callable[[str, str], bool]
"""Whether two features said the same before anything changed."""

_FIRST = {LABEL_DRIFT: 0, CONCEPT_DRIFT: 1, DRIFT: 3, SKEW: 3, COVARIATE_DRIFT: 4}
_OTHERS, _BEFORE, _LAST = 2, 5, 6
_DOMAIN = ("ENUM_TYPE_", "BOOL_TYPE_", "DOMAIN_", "INT_TYPE_", "FLOAT_TYPE_")
_MISSING_SHARE = "missing_share"
_ABSENCE, _VALUES, _GONE, _SIZE = "absence", "values", "gone", "size"
_ABOUT = {
    "FEATURE_TYPE_LOW_FRACTION_PRESENT": _ABSENCE,
    "FEATURE_TYPE_LOW_NUMBER_PRESENT": _ABSENCE,
    "INVALID_FEATURE_SHAPE": _ABSENCE,
    "ZEROS_MISSING": _ABSENCE,
    _MISSING_SHARE: _ABSENCE,
    # Of those that count, collect says it of columns without values alone.
    "constant": _ABSENCE,
    "SCHEMA_MISSING_COLUMN": _GONE,
    "column_gone": _GONE,
    "volume": _SIZE,
}
"""What a finding of a kind says of its feature, or of the data as a whole."""

_DEMANDS = {"missing": _ABSENCE, "valency": _ABSENCE} | dict.fromkeys(("domain", "range", "nan", "infinite"), _VALUES)
_NOT_NULL = "is not null"
_SAME_SHARE = 0.002
_NAMED = 5


def group(
    findings: Sequence[Mapping[str, Any]], alike: Mapping[str, Alike], labels: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Puts findings of one cause together, and orders them.

    Errors come first; of one severity, changes of the label and of the concept before those of the inputs; of what moved,
    what moved most. A finding that explains others has them as `members`.

    Args:
      findings: of all checks, each with its `check`.
      alike: by kind of finding (`DRIFT`, `SKEW`), whether two features go together in the data compared with.
      labels: columns that are to be learnt.

    Returns:
      Findings with `splits`, the names of the splits that it is about; `split`, the same as text; `by_split`, where there
      are several, the message of each; and `members`: what has the same cause, as `split`, `splits`, `feature`, `kind`, `severity`,
      `message` and `effect`.
    """
    merged = _over_splits(findings)
    merged.sort(key=lambda each: _order(each, labels))
    causes: list[list[dict[str, Any]]] = []
    for each in merged:
        cause = next((one for one in causes if _explains(one[0], each, alike)), None)
        # A component before validate tells of each feature for itself, also of those that moved along.
        cause = cause or next((one for one in causes if any(_tells_again(known, each) for known in one)), None)
        if cause is None:
            causes.append([{**each, "members": []}])
            continue
        lead = cause[0]
        cause.append(each)
        lead["members"].append(_member(each))
        whole = lead["check"] == UPSTREAM
        if not whole and (each["feature"] == lead["feature"] or each["kind"] == CONCEPT_DRIFT):
            lead["splits"] = list(dict.fromkeys([*lead["splits"], *each["splits"]]))
            lead["split"] = ", ".join(lead["splits"])
    for lead, *others in causes:
        along = list(dict.fromkeys(one["feature"] for one in others if one["feature"] != lead["feature"]))
        if along and lead["kind"] in (DRIFT, SKEW):
            lead["message"] += f"; {_names(along)} moved along"
        elif along and lead["kind"] == _MISSING_SHARE:
            lead["message"] += f"; so {'is' if len(along) == 1 else 'are'} {_names(along)}"
    return [cause[0] for cause in causes]


def _over_splits(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One finding for the same thing in several splits: that of the split where it is most."""
    groups: dict[tuple[Any, ...], list[list[Mapping[str, Any]]]] = {}
    for each in findings:
        key = (each["check"], each["kind"], each["feature"], each["severity"], each.get("rule"))
        alike = groups.setdefault(key, [])
        # Two findings of one split are two things.
        free = next((one for one in alike if each["split"] not in [other["split"] for other in one]), None)
        if free is None:
            alike.append([each])
        else:
            free.append(each)
    return [_merged(one) for alike in groups.values() for one in alike]


def _merged(alike: list[Mapping[str, Any]]) -> dict[str, Any]:
    most = max(alike, key=lambda each: each.get("effect") or 0.0)
    splits = [each["split"] for each in alike if each["split"]]
    by_split = {"by_split": {each["split"]: each["message"] for each in alike}} if len(alike) > 1 else {}
    return {**most, "split": ", ".join(splits), "splits": splits, **by_split}


def _order(finding: Mapping[str, Any], labels: Collection[str]) -> tuple[Any, ...]:
    kind = finding["kind"]
    rank = 0 if kind == DRIFT and finding["feature"] in labels else _FIRST.get(kind, _OTHERS)
    if finding["check"] == UPSTREAM:
        rank = _BEFORE
    if kind == COMPARISON_IMPOSSIBLE and _about(finding):
        # Collect says it of all splits.
        rank = _LAST
    # A label's own drift says less than what the concept's check makes of it, a shape less than what is missing, and the
    # schema less than a rule that counted the rows.
    later = 2 if kind == "INVALID_FEATURE_SHAPE" else int(kind != RULE_BROKEN if rank else kind == DRIFT)
    return SEVERITIES.index(finding["severity"]), rank, later, -finding.get("effect", math.inf)


def _explains(lead: Mapping[str, Any], other: Mapping[str, Any], alike: Mapping[str, Alike]) -> bool:
    kinds = (lead["kind"], other["kind"])
    if lead["check"] == other["check"] == UPSTREAM and kinds[0] == kinds[1] and lead["message"] == other["message"]:
        # One finding that names several features.
        return True
    together = bool({*lead["splits"]} & {*other["splits"]}) or not (lead["splits"] or other["splits"])
    if lead["feature"] == other["feature"] and lead["feature"]:
        if kinds in ((LABEL_DRIFT, DRIFT), (DRIFT, COVARIATE_DRIFT)):
            return True
        if lead["check"] == "schema" and other["kind"] == COMPARISON_IMPOSSIBLE:
            # What the schema does not allow cannot be compared either.
            return together
        # A new value moves the shares, and so does a missing one, which also has no shape; and each breaks rules.
        same, checks = _about(lead) & _about(other), {lead["check"], other["check"]}
        # What is served has causes of its own.
        return together and bool(same) and "serving_schema" not in checks and (len(checks) == 2 or same == {_ABSENCE})
    if kinds == (CONCEPT_DRIFT, CONCEPT_DRIFT):
        # Two features of one split are two places where it changed.
        return not together
    if kinds == (_MISSING_SHARE, _MISSING_SHARE):
        return _missing_alike(lead, other)
    if kinds in ((DRIFT, DRIFT), (SKEW, SKEW)):
        return _missing_alike(lead, other) or alike.get(lead["kind"], _never)(lead["feature"], other["feature"])
    return False


def _never(one: str, other: str) -> bool:
    return False


def _tells_again(known: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a component before validate told what is known; it does not say of which splits."""
    if UPSTREAM not in (known["check"], other["check"]) or known["check"] == other["check"]:
        return False
    return known["feature"] == other["feature"] and bool(_about(known) & _about(other))


def _about(finding: Mapping[str, Any]) -> set[str]:
    """What a finding says of its feature: that values are absent, or that there are values which should not be there."""
    kind, most = finding["kind"], finding.get("most_changed")
    if kind == DRIFT and most is not None:
        return {_ABSENCE} if most["bin"] == MISSING else {_VALUES} if not most["baseline"] else set()
    if kind == RULE_BROKEN:
        name = finding.get("rule", "")
        if name.startswith(SCHEMA_PREFIX):
            return {_DEMANDS[name.rpartition(":")[2]]}
        if finding.get("rule_kind") != "row":
            return set()
        return {_VALUES, _ABSENCE} if _NOT_NULL in finding["message"].lower() else {_VALUES}
    if kind == COMPARISON_IMPOSSIBLE:
        return {_ABSENCE} if finding["message"].startswith(f"{NO_VALUES} {THIS_SPAN}") else set()
    if finding["check"] == "dataset_constraints":
        return {_SIZE}
    return {_VALUES} if kind.startswith(_DOMAIN) else {_ABOUT[kind]} if kind in _ABOUT else set()


def _missing_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two features went missing together, as those of one lookup do."""
    first, second = _missing(one), _missing(other)
    return bool(first and second) and all(abs(was - now) < _SAME_SHARE for was, now in zip(first, second))


def _missing(finding: Mapping[str, Any]) -> tuple[float, ...]:
    """The missing shares, before and now, of a finding that is about them; () for any other."""
    most = finding.get("most_changed")
    if most is not None and most["bin"] == MISSING:
        return most["baseline"], most["current"]
    return tuple(finding.get("shares") or ())


def _member(finding: Mapping[str, Any]) -> dict[str, Any]:
    names = ("split", "splits", "feature", "kind", "severity", "message")
    return {**{name: finding[name] for name in names}, "effect": finding.get("effect")}


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
