"""A plain JSON event by POST, signed where a secret is set."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any

from headwater.components.validate.alerts.channels.base import Channel, Findings, Verdict, as_json, variable
from headwater.components.validate.alerts.http import post
from headwater.components.validate.alerts.messages import MOST, sentence
from headwater.components.validate.alerts.settings import Alert


def event(verdict: Verdict, findings: Findings) -> dict[str, Any]:
    """The event's body."""
    return {
        "event": "headwater.validation",
        "dataset": verdict.get("dataset", ""),
        "span": verdict.get("span"),
        "blessed": verdict["blessed"],
        "verdict": verdict["verdict"],
        "uri": verdict["uri"],
        "findings": [
            {**{key: finding[key] for key in ("split", "feature", "kind", "severity")}, "message": sentence(finding)}
            for finding in findings[:MOST]
        ],
        "findings_in_all": len(findings),
    }


def send(verdict: Verdict, findings: Findings, alert: Alert, key: str) -> None:
    assert alert.url_env is not None, "the settings demand it"
    body = as_json(event(verdict, findings))
    secret = variable(alert.secret_env).encode() if alert.secret_env else b""

    def headers() -> dict[str, str]:
        if not secret:
            return {"Idempotency-Key": key}
        now = str(int(time.time()))
        signature = hmac.new(secret, now.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"Idempotency-Key": key, "X-Headwater-Signature": f"t={now},v1={signature}"}

    post(variable(alert.url_env), body, headers, alert.timeout)


CHANNEL = Channel("webhook", send, needed=("url_env",), optional=("secret_env",))
