"""Sends what a verdict says: once per finding and channel, whatever is retried, and without ever failing the run.

What is sent is claimed first, by creating an object under the verdict's folder: one for each channel and finding. Who
creates it sends it; who finds it there leaves it. A claim whose sending failed is removed, so that the next attempt
sends it. An attempt that is killed while it sends leaves its claims, and these findings are then not sent again: an
alert may get lost with the machine, and never comes twice. Prometheus' file tells a state and is written every time.
"""

from __future__ import annotations

import email.message
import hashlib
import hmac
import json
import os
import pathlib
import smtplib
import ssl
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.validate.alerts import messages
from headwater.components.validate.alerts.http import post
from headwater.components.validate.alerts.settings import Alert

_SEVERITIES = {"error": ("error",), "warning": ("error", "warning"), "always": ("error", "warning")}
_STATE = ("prometheus", "openlineage")


def send_alerts(verdict: Mapping[str, Any], alerts: Sequence[Alert], state_uri: str) -> list[dict[str, Any]]:
    """Sends a verdict to every channel.

    Args:
      verdict: the body of the anomalies' manifest, with `uri`, `dataset` (its name), `span` and `rows` beside.
      alerts: the channels.
      state_uri: folder for claims, the same for every attempt of one run.

    Returns:
      For each channel `to`, how many findings were `sent`, whether it `failed`, and the `reason`.
    """
    outcome = []
    for place, alert in enumerate(alerts):
        entry = {"to": alert.to, "sent": 0, "failed": False, "reason": ""}
        try:
            entry["sent"] = _send(verdict, alert, storage.join(state_uri, f"{place:02d}-{alert.to}"))
        except HeadwaterError as error:
            entry.update(failed=True, reason=str(error))
        except Exception as error:  # noqa: BLE001  whatever it is, the verdict stands
            entry.update(failed=True, reason=type(error).__name__)
        if entry["failed"]:
            print(f"validate: alert to {alert.to} was not sent: {entry['reason']}", file=sys.stderr, flush=True)
        outcome.append(entry)
    return outcome


def _send(verdict: Mapping[str, Any], alert: Alert, claims: str) -> int:
    if alert.to == "prometheus":
        assert alert.path is not None, "the settings demand it"
        _write(alert.path, messages.prometheus(verdict))
        return len(verdict["findings"])
    wanted = [finding for finding in verdict["findings"] if finding["severity"] in _SEVERITIES[alert.on]]
    state = alert.to in _STATE
    # What has no finding of its own, the verdict itself, is claimed as one.
    items: list[Mapping[str, Any]] = [{}] if state or (alert.on == "always" and not wanted) else wanted
    # Two attempts at once write different claims, of which one stands.
    name = storage.attempt_id().encode()
    mine = [
        (item, uri) for item in items if storage.create(uri := storage.join(claims, _fingerprint(verdict, item)), name)
    ]
    if not mine:
        return 0
    findings = verdict["findings"] if state else [item for item, _ in mine if item]
    try:
        _deliver(verdict, findings, alert, key=_together([uri for _, uri in mine]))
    except BaseException:
        for _, uri in mine:
            storage.delete(uri)
        raise
    return len(findings)


def _deliver(verdict: Mapping[str, Any], findings: Sequence[Mapping[str, Any]], alert: Alert, key: str) -> None:
    if alert.to == "email":
        _mail(*messages.email(verdict, findings), alert)
        return
    if alert.to == "openlineage":
        url = _variable(alert.url_env or "OPENLINEAGE_URL")
        if not url.rstrip("/").endswith("/lineage"):
            url = url.rstrip("/") + "/api/v1/lineage"
        event = messages.openlineage(verdict, alert.namespace or "headwater")
        name = alert.secret_env or "OPENLINEAGE_API_KEY"
        token = _variable(name) if alert.secret_env or os.environ.get(name) else ""
        post(url, _json(event), lambda: {"Authorization": f"Bearer {token}"} if token else {}, alert.timeout)
        return
    assert alert.url_env is not None, "the settings demand it"
    body = _json(messages.slack(verdict, findings) if alert.to == "slack" else messages.webhook(verdict, findings))
    secret = _variable(alert.secret_env).encode() if alert.secret_env else b""

    def headers() -> dict[str, str]:
        if not secret:
            return {"Idempotency-Key": key}
        now = str(int(time.time()))
        signature = hmac.new(secret, now.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"Idempotency-Key": key, "X-Headwater-Signature": f"t={now},v1={signature}"}

    post(_variable(alert.url_env), body, headers, alert.timeout)


def _mail(subject: str, text: str, alert: Alert) -> None:
    assert alert.host is not None and alert.recipients is not None, "the settings demand them"
    message = email.message.EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, alert.sender, ", ".join(alert.recipients)
    message.set_content(text)
    user = (_variable(alert.user_env), _variable(alert.password_env)) if alert.user_env and alert.password_env else None
    try:
        with smtplib.SMTP(alert.host, alert.port or 25, timeout=alert.timeout) as server:
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
                server.ehlo()
            elif user:
                raise HeadwaterError("the mail server offers no TLS, and a password is not sent without it")
            if user:
                server.login(*user)
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise HeadwaterError(f"the mail server did not accept it ({type(error).__name__})") from None


def _write(path: str, text: str) -> None:
    """Writes a file that a reader sees whole or not at all."""
    place = pathlib.Path(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False, suffix=".tmp") as stream:
            stream.write(text)
        os.chmod(stream.name, 0o644)
        os.replace(stream.name, place)
    except OSError as error:
        raise HeadwaterError(f"{path} cannot be written: {error.strerror}") from None


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise HeadwaterError(f"the environment variable {name} is not set")
    return value


def _fingerprint(verdict: Mapping[str, Any], finding: Mapping[str, Any]) -> str:
    parts = [
        verdict["uri"],
        *(str(finding.get(key, "")) for key in ("split", "feature", "kind", "severity", "message")),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _together(uris: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(uris)).encode()).hexdigest()[:32]


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
