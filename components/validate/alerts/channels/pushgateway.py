"""The state sent to Prometheus' Pushgateway, from pods, which leave no file that anybody reads."""

from __future__ import annotations

import urllib.parse

from headwater.components.validate.alerts.channels.base import Channel, Findings, Verdict, variable
from headwater.components.validate.alerts.channels.prometheus import as_text
from headwater.components.validate.alerts.http import post
from headwater.components.validate.alerts.settings import Alert


def send(verdict: Verdict, findings: Findings, alert: Alert, key: str) -> None:
    assert alert.url_env is not None, "the settings demand it"
    # A group for each dataset, so that one does not replace another's.
    name = urllib.parse.quote(verdict.get("dataset") or "data", safe="")
    url = f"{variable(alert.url_env).rstrip('/')}/metrics/job/headwater/dataset/{name}"
    post(url, as_text(verdict).encode(), lambda: {"Content-Type": "text/plain; version=0.0.4"}, alert.timeout)


CHANNEL = Channel("pushgateway", send, needed=("url_env",), claims="never")
