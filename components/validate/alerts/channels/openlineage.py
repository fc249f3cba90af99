"""A run event with data-quality facets for an OpenLineage server."""

from __future__ import annotations

import os
from typing import Any

from headwater.components.common.openlineage import facet, run_event
from headwater.components.validate.alerts.channels.base import Channel, Findings, Verdict, as_json, variable
from headwater.components.validate.alerts.http import post
from headwater.components.validate.alerts.settings import Alert

_MOST_ASSERTIONS = 2000


def send(verdict: Verdict, findings: Findings, alert: Alert, key: str) -> None:
    url = variable(alert.url_env or "OPENLINEAGE_URL")
    if not url.rstrip("/").endswith("/lineage"):
        url = url.rstrip("/") + "/api/v1/lineage"
    name = alert.secret_env or "OPENLINEAGE_API_KEY"
    token = variable(name) if alert.secret_env or os.environ.get(name) else ""
    body = as_json(event(verdict, alert.namespace or "headwater"))
    post(url, body, lambda: {"Authorization": f"Bearer {token}"} if token else {}, alert.timeout)


def event(verdict: Verdict, namespace: str) -> dict[str, Any]:
    """A run event with data-quality facets of the dataset; the same for every attempt but for its time."""
    assertions = []
    for finding in [one for each in verdict["findings"] for one in (each, *each.get("members", ()))]:
        own = {"column": finding["feature"]} if finding["feature"] else {}
        assertions.append({"assertion": finding["kind"], "success": False, **own})
    if not assertions:
        assertions.append({"assertion": "SCHEMA", "success": True})
    facets = {
        "dataQualityAssertions": facet(
            "1-0-1/DataQualityAssertionsDatasetFacet", assertions=assertions[:_MOST_ASSERTIONS]
        ),
        "dataQualityMetrics": facet(
            "1-0-2/DataQualityMetricsInputDatasetFacet", rowCount=verdict.get("rows", 0), columnMetrics={}
        ),
    }
    looked_at = {
        "namespace": namespace,
        "name": verdict.get("dataset") or verdict["uri"],
        "inputFacets": facets,
    }
    return run_event(
        event="COMPLETE" if verdict["blessed"] else "FAIL",
        run=verdict["uri"],
        namespace=namespace,
        job="headwater.validate",
        inputs=[looked_at],
        outputs=[],
    )


CHANNEL = Channel("openlineage", send, optional=("url_env", "secret_env", "namespace"), claims="verdict")
