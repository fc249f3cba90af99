"""Findings that do not count: those that the settings acknowledge until a date, and those that were accepted for a span."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headwater.components.common.acknowledging import Acknowledged, marked

_NEAR = 3
"""So many findings are named at most that an entry may have meant."""


class Acknowledgements:
    """What does not count in one run.

    A finding that does not count has severity `info`, and under `acknowledged` the severity that it would have, the
    reason, and `until` when, or `who` accepted it `when`.

    Attributes:
      entries: of the settings, each as the manifest lists it: with `expired`, the number of `findings` it is about, and
        a `note` where it has no effect.
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
        self.entries: list[dict[str, Any]] = [
            {**entry.model_dump(mode="json", exclude_none=True), "expired": day > entry.until, "findings": 0}
            for entry in entries
        ]
        self._given = entries
        accepted = accepted if accepted and (accepted.get("span"), accepted.get("statistics")) == place else {}
        self._signed = {"reason": accepted.get("why"), "who": accepted.get("who"), "when": accepted.get("when")}
        self._accepted = accepted.get("findings", ())

    def settings(self) -> dict[str, Any]:
        """What of the settings shapes the verdict, for its fingerprint: not the day, but what has expired by then."""
        entries = [{name: entry[name] for name in entry if name not in ("findings", "note")} for entry in self.entries]
        return {"acknowledged": entries} if entries else {}

    def of_splits(self, findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Findings of single splits: those marked that do not count because of an entry with a split, or because they
        were accepted."""
        return [marked(each, self._of_entry(each, True) or self._of_acceptance(each)) for each in findings]

    def of_causes(self, findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Findings of all splits, with what has the same cause: those marked that an entry without a split is about.

        What does not count stands last. Entries that change nothing get a `note`.
        """
        marked_findings = [marked(each, self._of_entry(each, False)) for each in findings]
        for number, (entry, given) in enumerate(zip(self.entries, self._given), 1):
            if note := _note(entry, given, marked_findings):
                entry["note"] = f"acknowledged entry {number} ({_name(given.feature)}, {given.kind}) {note}"
        return sorted(marked_findings, key=lambda each: "acknowledged" in each)

    def _of_entry(self, finding: Mapping[str, Any], of_split: bool) -> dict[str, Any] | None:
        told = None
        for entry, given in zip(self.entries, self._given):
            if (given.split is not None) == of_split and given.names(finding):
                entry["findings"] += 1
                if not entry["expired"] and told is None:
                    told = given.told()
        return told

    def _of_acceptance(self, finding: Mapping[str, Any]) -> dict[str, Any] | None:
        place = {name: finding[name] for name in ("kind", "feature", "split", "rule") if name in finding}
        return self._signed if place in self._accepted else None


def _note(entry: Mapping[str, Any], given: Acknowledged, findings: Sequence[Mapping[str, Any]]) -> str:
    """Why an entry has no effect, and what to do; empty where it has one."""
    counted = entry["findings"]
    if entry["expired"]:
        if counted:
            counts = "the finding counts" if counted == 1 else f"the {counted} findings count"
            return f"ended on {entry['until']}, so {counts} again; correct the cause, or set a later until"
        return f"ended on {entry['until']} and matches nothing; remove it"
    if counted:
        return ""
    lead = next((lead for lead in findings for each in lead["members"] if _is_about(given, each)), None)
    if lead is not None:
        if lead["severity"] == "info":
            return ""
        name = f"{_name(lead['feature'])}, {lead['kind']}"
        return f"is about a detail of the finding ({name}), which has the same cause and counts; acknowledge that one"
    near = _near(given, findings)
    correct = f", or correct it: there is {' and '.join(near)}" if near else ", or correct its kind and feature"
    return f"matched nothing: no such finding in this run; remove it{correct}"


def _is_about(given: Acknowledged, member: Mapping[str, Any]) -> bool:
    return (given.kind, given.feature) == (member["kind"], member["feature"]) and (
        given.split is None or given.split in member["splits"]
    )


def _near(given: Acknowledged, findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The findings that an entry may have meant: those on its feature, and those of its kind on a feature of like
    name."""
    features = [each["feature"] for each in findings]
    like = {given.feature, *difflib.get_close_matches(given.feature, features, _NEAR)}
    folded = given.feature.casefold()
    near = [each for each in findings if each["feature"] in like or each["feature"].casefold() == folded]
    near.sort(key=lambda each: (each["feature"] != given.feature, each["kind"].casefold() != given.kind.casefold()))
    return list(dict.fromkeys(_described(each) for each in near))[:_NEAR]


def _described(finding: Mapping[str, Any]) -> str:
    splits: Iterator[str] = (f", split {split}" for split in finding["splits"][:1])
    rule = f", rule {finding['rule']!r}" if finding.get("rule") else ""
    return f"({_name(finding['feature'])}, {finding['kind']}{rule}{next(splits, '') if len(finding['splits']) == 1 else ''})"


def _name(feature: str) -> str:
    return f"feature {feature!r}" if feature else "the whole dataset"
