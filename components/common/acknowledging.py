"""Findings that somebody knows, and that do not count until a date: entries of the project, and what they are about."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import pydantic

from headwater.components.common.project import section
from headwater.components.common.settings import checked

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)
_Text = Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1)]

UPSTREAM = "upstream"
"""The check of findings that components before validate made."""


def _as_day(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return datetime.date.fromisoformat(value)
        except ValueError:
            raise ValueError("must be a date; example: 2026-12-31") from None
    return value


Day = Annotated[datetime.date, pydantic.BeforeValidator(_as_day)]
"""A date, which YAML and JSON write as text."""


class Acknowledged(pydantic.BaseModel):
    """A finding that is known, and does not count for the verdict until a date has passed.

    Attributes:
      kind: the finding's kind, as the manifest and the page name it; of collect's and label's, its rule.
      feature: the feature that it is about; empty for the dataset or the split as a whole.
      split: the split that it is about; None for any.
      check: the check that reports it, `upstream` for what collect and label found; None for any.
      rule: the rule on rows that it is about; None for any.
      reason: why it does not count.
      until: the last day on which it does not.
    """

    model_config = _STRICT

    kind: _Text
    feature: str
    split: str | None = None
    check: str | None = None
    rule: str | None = None
    reason: _Text
    until: Day

    def names(self, finding: Mapping[str, Any]) -> bool:
        """Whether it is about a finding, which has its `check`."""
        asked = {name: getattr(self, name) for name in ("kind", "feature", "split", "check", "rule")}
        return all(value is None or finding.get(name) == value for name, value in asked.items())

    def told(self) -> dict[str, str]:
        """What a finding says that it does not count for this."""
        return {"reason": self.reason, "until": self.until.isoformat()}


class _Entries(pydantic.BaseModel):
    model_config = _STRICT

    acknowledged: list[Acknowledged] = []
    as_of: Day | None = None


def today() -> datetime.date:
    """The day of the run, UTC."""
    return datetime.datetime.now(datetime.UTC).date()


def in_force(project: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The argument `acknowledged` of what runs before validate: the entries of a project's section validate that have not
    expired; nothing where there are none.

    Raises:
      HeadwaterError: names the entry, what is wrong with it and what is allowed.
    """
    given = section(project, "validate")
    entries = checked(_Entries, {key: given[key] for key in _Entries.model_fields if key in given}, "validate")
    day = entries.as_of or today()
    entries_given = [
        each.model_dump(mode="json", exclude_none=True) for each in entries.acknowledged if day <= each.until
    ]
    return {"acknowledged": entries_given} if entries_given else {}


def check_entries(acknowledged: Sequence[Mapping[str, Any]]) -> list[Acknowledged]:
    """Entries, checked.

    Raises:
      HeadwaterError: names the entry, what is wrong with it and what is allowed.
    """
    return checked(_Entries, {"acknowledged": list(acknowledged)}).acknowledged


def marked(finding: Mapping[str, Any], told: Mapping[str, Any] | None) -> dict[str, Any]:
    """A finding that does not count: with severity `info`, and under `acknowledged` the severity that it would have and
    `told`. The finding itself where it counts, or has that severity anyway."""
    if told is None or finding["severity"] == "info":
        return dict(finding)
    return {**finding, "severity": "info", "acknowledged": {"severity": finding["severity"], **told}}


def mark_upstream(findings: Iterable[Mapping[str, Any]], entries: Sequence[Acknowledged]) -> list[dict[str, Any]]:
    """Findings of collect or label, those marked that an entry is about."""
    findings_marked = []
    for finding in findings:
        entry = next((entry for entry in entries if entry.names(placed(finding))), None)
        findings_marked.append(marked(finding, entry.told() if entry else None))
    return findings_marked


def placed(finding: Mapping[str, Any]) -> dict[str, str]:
    """What a finding of collect or label is about, in validate's words."""
    return {"kind": finding["rule"], "feature": finding.get("column") or "", "split": "", "check": UPSTREAM}
