"""Findings and verdicts as lines of text, as every channel shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST = 20
_LONGEST = 300

Findings = Sequence[Mapping[str, Any]]


def sentence(finding: Mapping[str, Any]) -> str:
    """A finding on one line, without control characters and not endless."""
    where = "/".join(part for part in (finding["split"], finding["feature"]) if part)
    text = (
        f"{finding['severity']}: {where}: {finding['message']}"
        if where
        else f"{finding['severity']}: {finding['message']}"
    )
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def title(verdict: Mapping[str, Any]) -> str:
    """The verdict on one line."""
    span = f", span {verdict['span']}" if verdict.get("span") is not None else ""
    text = f"{verdict.get('dataset') or 'data'}{span}: {verdict['verdict']}"
    return "".join(character if character.isprintable() else " " for character in text)[:_LONGEST]


def lines(findings: Findings) -> list[str]:
    """Findings line by line, and how many more there are."""
    text_lines = [sentence(finding) for finding in findings[:MOST]]
    return [*text_lines, f"… and {len(findings) - MOST} more"] if len(findings) > MOST else text_lines
