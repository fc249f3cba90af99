"""Columns that hold personal data, found or declared, and one finding for all of a kind that nothing is done with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from headwater.components.collect.privacy import detect
from headwater.components.collect.rules.findings import finding
from headwater.components.collect.settings import Settings
from headwater.components.collect.write.shards import Outcome

PERSONAL = "personal_data"
"""The rule of these findings."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NO_TEXT = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])


def find_personal(
    outcome: Outcome, schema: pa.Schema, state: Mapping[str, Mapping[str, Any]], settings: Settings
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The columns that hold personal data, found or declared; and a finding for each that nothing is done with."""
    private: dict[str, Any] = {}
    findings = []
    for field in schema:
        counts = outcome.counts["personal"].get(field.name, {})
        present = state[field.name]["rows"] - state[field.name]["missing"] if field.name in state else 0
        others = [name for name in schema.names if name != field.name]
        judged = detect.judge(field.name, field.type, counts, present, others)
        action = settings.private.get(field.name)
        action = action["action"] if isinstance(action, Mapping) else action
        if action == "keep" or not (judged or action):
            continue
        private[field.name] = {"kinds": [each["kind"] for each in judged], "action": action}
        paths = [] if action else detect.private_paths(field.name, field.type, counts, judged)
        if paths:
            private[field.name]["paths"] = paths
        if judged and not action:
            kinds = ", ".join(each["kind"] for each in judged)
            personal = finding(PERSONAL, "warning", field.name, f"({kinds})", judged[0]["share"])
            findings.append({**personal, "columns": [field.name]})
    return private, findings


def put_together(findings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Findings, those of columns with the same kinds of personal data as one, which has all of them as its `columns`.

    Args:
      findings: of all rules, each column's own, after those that do not count were marked.
    """
    others: list[dict[str, Any]] = []
    alike: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in findings:
        if each["rule"] != PERSONAL:
            others.append(dict(each))
            continue
        key = (each["message"], json.dumps(each.get("acknowledged")))
        alike.setdefault(key, []).append(each)
    return [*others, *map(_one, alike.values())]


def _one(alike: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns = [each["column"] for each in alike]
    many = len(columns) > 1
    names = ", ".join(map(repr, columns))
    setting = ", ".join(f"{_key(name)}: keep" for name in columns)
    return {
        **alike[0],
        "columns": columns,
        "value": max(each["value"] for each in alike),
        "message": f"{names} {'look' if many else 'looks'} like personal data {alike[0]['message']} but "
        f"{'have' if many else 'has'} no action",
        "action": f"add private: {{{setting}}} to collect's settings if {'they' if many else 'it'} may stay as "
        f"{'they are' if many else 'it is'}; if not, write redact, hash or drop in place of keep",
    }


def _key(name: str) -> str:
    """A column as a key of YAML."""
    return name if _PLAIN.fullmatch(name) and name.lower() not in _NO_TEXT else json.dumps(name, ensure_ascii=False)
