"""One finding a cause: over splits, over checks of one feature, and over features that move together."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from headwater.components.common.findings import SEVERITIES
from headwater.components.validate.findings import (
    COMPARISON_IMPOSSIBLE,
    CONCEPT_DRIFT,
    COVARIATE_DRIFT,
    DRIFT,
    LABEL_DRIFT,
    SKEW,
)
from headwater.components.validate.tables import MISSING

Alike = Callable[[str, str], bool]
"""Whether two features said the same before anything changed."""

_FIRST = {LABEL_DRIFT: 0, CONCEPT_DRIFT: 1, DRIFT: 3, SKEW: 3, COVARIATE_DRIFT: 4}
_OTHERS = 2
_DOMAIN = ("ENUM_TYPE_", "BOOL_TYPE_", "DOMAIN_", "INT_TYPE_", "FLOAT_TYPE_")
_ABSENCE = ("FEATURE_TYPE_LOW_FRACTION_PRESENT", "FEATURE_TYPE_LOW_NUMBER_PRESENT", "INVALID_FEATURE_SHAPE")
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
    found: list[dict[str, Any]] = []
    for each in merged:
        lead = next((one for one in found if _explains(one, each, alike)), None)
        if lead is None:
            found.append({**each, "members": []})
        else:
            lead["members"].append(_member(each))
            if each["feature"] == lead["feature"] or each["kind"] == CONCEPT_DRIFT:
                lead["splits"] = list(dict.fromkeys([*lead["splits"], *each["splits"]]))
                lead["split"] = ", ".join(lead["splits"])
    for each in found:
        along = list(dict.fromkeys(one["feature"] for one in each["members"] if one["feature"] != each["feature"]))
        if along and each["kind"] in (DRIFT, SKEW):
            each["message"] += f"; {_names(along)} moved along"
    return found


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
    # A label's own drift says less than what the concept's check makes of it, and a shape less than what is missing.
    later = (kind == DRIFT and not rank) or kind == "INVALID_FEATURE_SHAPE"
    return SEVERITIES.index(finding["severity"]), rank, later, -finding.get("effect", math.inf)


def _explains(lead: Mapping[str, Any], other: Mapping[str, Any], alike: Mapping[str, Alike]) -> bool:
    kinds = (lead["kind"], other["kind"])
    together = bool({*lead["splits"]} & {*other["splits"]}) or not (lead["splits"] or other["splits"])
    if lead["feature"] == other["feature"] and lead["feature"]:
        if kinds in ((LABEL_DRIFT, DRIFT), (DRIFT, COVARIATE_DRIFT)):
            return True
        if lead["check"] == "schema" and together:
            # What the schema does not allow cannot be compared either; a new value moves the shares, and so does a missing
            # one, which also has no shape.
            return (
                other["kind"] == COMPARISON_IMPOSSIBLE
                or (other["kind"] == DRIFT and lead["kind"].startswith(_DOMAIN) and _is_new(other))
                or (lead["kind"] in _ABSENCE and (other["kind"] in _ABSENCE or _is_about(other, MISSING)))
            )
        return False
    if kinds == (CONCEPT_DRIFT, CONCEPT_DRIFT):
        # Two features of one split are two places where it changed.
        return not together
    if kinds in ((DRIFT, DRIFT), (SKEW, SKEW)):
        return _missing_alike(lead, other) or alike.get(lead["kind"], _never)(lead["feature"], other["feature"])
    return False


def _never(one: str, other: str) -> bool:
    return False


def _is_new(finding: Mapping[str, Any]) -> bool:
    most = finding.get("most_changed")
    return most is not None and not most["baseline"]


def _is_about(finding: Mapping[str, Any], bin_: str) -> bool:
    most = finding.get("most_changed")
    return finding["kind"] == DRIFT and most is not None and most["bin"] == bin_


def _missing_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two features went missing together, as those of one lookup do."""
    first, second = (each.get("most_changed") for each in (one, other))
    if first is None or second is None or (first["bin"], second["bin"]) != (MISSING, MISSING):
        return False
    return all(abs(first[name] - second[name]) < _SAME_SHARE for name in ("baseline", "current"))


def _member(finding: Mapping[str, Any]) -> dict[str, Any]:
    names = ("split", "splits", "feature", "kind", "severity", "message")
    return {**{name: finding[name] for name in names}, "effect": finding.get("effect")}


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
