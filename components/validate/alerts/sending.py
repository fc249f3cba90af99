"""Sends what a verdict says: once per finding and channel, whatever is retried, and without ever failing the run.

What is sent is claimed first, by creating an object under the verdict's folder: one for each channel and finding. Who
creates it sends it; who finds it there leaves it. A claim whose sending failed is removed, so that the next attempt
sends it. An attempt that is killed while it sends leaves its claims, and these findings are then not sent again: an
alert may get lost with the machine, and never comes twice. Prometheus' file tells a state and is written every time.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.validate.alerts.channels import CHANNELS
from headwater.components.validate.alerts.settings import Alert

_SEVERITIES = {"error": ("error",), "warning": ("error", "warning"), "always": ("error", "warning")}


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
    channel = CHANNELS[alert.to]
    if channel.claims == "never":
        channel.send(verdict, verdict["findings"], alert, "")
        return len(verdict["findings"])
    wanted = [finding for finding in verdict["findings"] if finding["severity"] in _SEVERITIES[alert.on]]
    state = channel.claims == "verdict"
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
        channel.send(verdict, findings, alert, _together([uri for _, uri in mine]))
    except BaseException:
        for _, uri in mine:
            storage.delete(uri)
        raise
    return len(findings)


def _fingerprint(verdict: Mapping[str, Any], finding: Mapping[str, Any]) -> str:
    parts = [
        verdict["uri"],
        *(str(finding.get(key, "")) for key in ("split", "feature", "kind", "severity", "message")),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _together(uris: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(uris)).encode()).hexdigest()[:32]
