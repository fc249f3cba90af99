"""Slack's incoming webhook; its three special characters are escaped, so that no value can mention anybody."""

from __future__ import annotations

from typing import Any

from headwater.components.validate.alerts.channels.base import Channel, Findings, Verdict, as_json, variable
from headwater.components.validate.alerts.http import post
from headwater.components.validate.alerts.messages import lines, title
from headwater.components.validate.alerts.settings import Alert

# Slack takes 3,000 characters a block.
_BLOCK = 2900


def message(verdict: Verdict, findings: Findings) -> dict[str, Any]:
    """The message, in blocks."""

    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    head = escaped(title(verdict))
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": f"*{head}*"}}]
    part = ""
    for line in [f"• {escaped(line)}\n" for line in lines(findings)]:
        if len(part) + len(line) > _BLOCK:
            blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": part}})
            part = ""
        part += line
    if part:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": part}})
    return {"text": head, "blocks": blocks}


def send(verdict: Verdict, findings: Findings, alert: Alert, key: str) -> None:
    assert alert.url_env is not None, "the settings demand it"
    post(variable(alert.url_env), as_json(message(verdict, findings)), lambda: {"Idempotency-Key": key}, alert.timeout)


CHANNEL = Channel("slack", send, needed=("url_env",))
