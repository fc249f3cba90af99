"""Findings that do not count: those that the settings acknowledge until a date, and those that were accepted for a span."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pydantic

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)
_Text = Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1)]


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
      kind: the finding's kind, as the manifest and the page name it.
      feature: the feature that it is about; empty for the dataset or the split as a whole.
      split: the split that it is about; None for any.
      check: the check that reports it; None for any.
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


class Acknowledgements:
    """What does not count in one run.

    A finding that does not count has severity `info`, and under `acknowledged` the severity that it would have, the
    reason, and `until` when, or `who` accepted it `when`.

    Attributes:
      entries: of the settings, each as the manifest lists it: with `expired`, and the number of `findings` it is about.
    """

    def __init__(
        self,
        entries: Sequence[Acknowledged],
        day: datetime.date,
        accepted: Mapping[str, Any] | None,
        place: tuple[int, str],
    ):
        """Makes it.

        Args:
          entries: of the settings.
          day: that an entry's `until` is compared with.
          accepted: what the schema says of how it was accepted; None for nothing.
          place: the span and the fingerprint of the statistics that are validated; findings on others were accepted for
            those alone.
        """
        self.entries = [
            {**entry.model_dump(mode="json", exclude_none=True), "expired": day > entry.until, "findings": 0}
            for entry in entries
        ]
        self._given = entries
        accepted = accepted if accepted and (accepted.get("span"), accepted.get("statistics")) == place else {}
        self._signed = {"reason": accepted.get("why"), "who": accepted.get("who"), "when": accepted.get("when")}
        self._accepted = accepted.get("findings", ())

    def settings(self) -> dict[str, Any]:
        """What of the settings shapes the verdict, for its fingerprint: not the day, but what has expired by then."""
        entries = [{name: entry[name] for name in entry if name != "findings"} for entry in self.entries]
        return {"acknowledged": entries} if entries else {}

    def of_splits(self, findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Findings of single splits: those marked that do not count because of an entry with a split, or because they
        were accepted."""
        return [self._marked(each, self._of_entry(each, True) or self._of_acceptance(each)) for each in findings]

    def of_causes(self, findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Findings of all splits, with what has the same cause: those marked that an entry without a split is about.

        What does not count stands last.
        """
        marked = [self._marked(each, self._of_entry(each, False)) for each in findings]
        return sorted(marked, key=lambda each: "acknowledged" in each)

    def _of_entry(self, finding: Mapping[str, Any], of_split: bool) -> dict[str, Any] | None:
        told = None
        for entry, given in zip(self.entries, self._given):
            if (given.split is not None) == of_split and given.names(finding):
                entry["findings"] += 1
                if not entry["expired"] and told is None:
                    told = {"reason": given.reason, "until": entry["until"]}
        return told

    def _of_acceptance(self, finding: Mapping[str, Any]) -> dict[str, Any] | None:
        place = {name: finding[name] for name in ("kind", "feature", "split", "rule") if name in finding}
        return self._signed if place in self._accepted else None

    def ended(self, finding: Mapping[str, Any]) -> str:
        """What to do about an acknowledgement of a finding that counts again; empty for none."""
        for entry, given in zip(self.entries, self._given):
            splits = [None, *finding["splits"]]
            if entry["expired"] and given.split in splits and given.names({**finding, "split": given.split}):
                return f"its acknowledgement ended on {entry['until']}: extend it under validate.acknowledged, or remove it"
        return ""

    @staticmethod
    def _marked(finding: dict[str, Any], told: dict[str, Any] | None) -> dict[str, Any]:
        if told is None or finding["severity"] == "info":
            return finding
        return {**finding, "severity": "info", "acknowledged": {"severity": finding["severity"], **told}}


def today() -> datetime.date:
    """The day of the run, UTC."""
    return datetime.datetime.now(datetime.UTC).date()
