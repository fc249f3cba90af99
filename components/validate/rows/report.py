"""What was found of rules over rows: by rule and split, as findings, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import percent
from headwater.components.common.results import Result
from headwater.components.validate.findings import RULE_BROKEN
from headwater.components.validate.rows.judging import PRIVATE, Judged

_SHOWN_CHARACTERS = 40


@dataclasses.dataclass(frozen=True)
class RowReport:
    """What came of holding rows against rules.

    Attributes:
      rules: each rule's `name`, `severity`, `tolerance`, `kind` and `text`.
      results: by rule and split: `rule`, `split`, `rows` (checked), `broken`, `share` (of the rows), `first_seen` (the
        first shard with such a row, or None) and up to 5 `examples`: `shard`, `row` (its number there, from 1), `key`
        and the `values` that the rule is about, both by column, private ones hidden.
      findings: of each rule that is broken by more than its tolerance in a split.
      accounts: `read`, `passed` and `quarantined` rows, and the same by split under `splits`.
      passed: the dataset of rows that broke no rule of severity "error", where one was asked for.
      quarantine: the dataset of the others, where one was asked for.
    """

    rules: list[dict[str, Any]]
    results: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    accounts: dict[str, Any]
    passed: Result | None = None
    quarantine: Result | None = None

    @property
    def body(self) -> dict[str, Any]:
        """All of it as JSON values, for a manifest."""
        return {
            "rules": self.rules,
            "results": self.results,
            "findings": self.findings,
            "accounts": self.accounts,
            "passed": self.passed.reference() if self.passed else None,
            "quarantine": self.quarantine.reference() if self.quarantine else None,
        }


def make_report(
    rules: Sequence[Judged], rows: Mapping[str, int], state: Mapping[str, Any], unjudged: Mapping[int, str]
) -> RowReport:
    """The report of what `judging.merge` gave.

    Args:
      rules: all rules.
      rows: how many rows each split has, in the order of splits.
      state: what was found.
      unjudged: of rules that no row could be held against, by number, why.

    Raises:
      HeadwaterError: not every row was judged.
    """
    nothing = {"rows": 0, "bad": 0, "rules": {}}
    splits = {split: state["splits"].get(split, nothing) for split in rows}
    results = [
        _result(rule, split, counts["rows"], counts["rules"].get(str(number)))
        for number, rule in enumerate(rules)
        for split, counts in splits.items()
    ]
    for split, counts in splits.items():
        if counts["rows"] != rows[split]:
            raise HeadwaterError(
                f"the counts of rows do not add up: split {split!r} has {rows[split]:,} rows, but {counts['rows']:,} "
                "were read"
            )
    by_split = {
        split: {"read": counts["rows"], "passed": counts["rows"] - counts["bad"], "quarantined": counts["bad"]}
        for split, counts in splits.items()
    }
    accounts: dict[str, Any] = {
        name: sum(part[name] for part in by_split.values()) for name in ("read", "passed", "quarantined")
    }
    judged = {rule.name: rule for rule in rules}
    findings = [
        _finding(judged[result["rule"]], result)
        for result in results
        if result["rows"] and result["broken"] / result["rows"] > judged[result["rule"]].tolerance
    ]
    findings += [_unjudged(rules[number], reason) for number, reason in unjudged.items()]
    findings.sort(key=lambda finding: finding["severity"])
    summary = [
        {
            "name": rule.name,
            "severity": rule.severity,
            "tolerance": rule.tolerance,
            "kind": rule.kind,
            "text": rule.text,
        }
        for rule in rules
    ]
    return RowReport(summary, results, findings, {**accounts, "splits": by_split})


def _result(rule: Judged, split: str, rows: int, noted: Mapping[str, Any] | None) -> dict[str, Any]:
    broken = noted["broken"] if noted else 0
    return {
        "rule": rule.name,
        "split": split,
        "rows": rows,
        "broken": broken,
        "share": broken / rows if rows else 0.0,
        "first_seen": noted["first"] if noted else None,
        "examples": list(noted["examples"]) if noted else [],
    }


def _finding(rule: Judged, result: Mapping[str, Any]) -> dict[str, Any]:
    tolerated = f", above the tolerance of {percent(rule.tolerance)}" if rule.tolerance else ""
    message = (
        f"rule {rule.name!r}: {rule.text} is broken by {result['broken']:,} of {result['rows']:,} rows "
        f"({percent(result['share'])}){tolerated}, first seen in {result['first_seen']}{_such_as(rule, result)}"
    )
    return {
        "split": result["split"],
        "feature": rule.feature,
        "kind": RULE_BROKEN,
        "severity": rule.severity,
        "message": message,
        "rule_kind": rule.kind,
        **{name: result[name] for name in ("rule", "rows", "broken", "share", "first_seen", "examples")},
    }


def _unjudged(rule: Judged, reason: str) -> dict[str, Any]:
    return {
        "split": "",
        "feature": rule.feature,
        "kind": "RULE_NOT_JUDGED",
        "severity": "warning",
        "message": f"rule {rule.name!r}: {rule.text} was not checked on any row: {reason}",
        "rule": rule.name,
    }


def _such_as(rule: Judged, result: Mapping[str, Any]) -> str:
    """A value that a schema does not allow, where it may be shown."""
    if rule.kind != "schema":
        return ""
    values = [value for example in result["examples"] for value in example["values"].values()]
    shown = next((value for value in values if value is not None and value != PRIVATE), None)
    if shown is None:
        return ""
    return f", such as {shown[:_SHOWN_CHARACTERS]!r}" if isinstance(shown, str) else f", such as {shown!r}"
