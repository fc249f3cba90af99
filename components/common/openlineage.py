"""The envelope of OpenLineage's events, as its specification 2-0-2 has it."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from typing import Any

from headwater.components.common.version import VERSION

PRODUCER = f"https://github.com/headwater/headwater/tree/{VERSION}"
SPEC = "https://openlineage.io/spec"


def run_event(
    *,
    event: str,
    run: str,
    namespace: str,
    job: str,
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, Any]],
    facets: dict[str, Any] | None = None,
    time: datetime.datetime | None = None,
) -> dict[str, Any]:
    """A run event.

    Args:
      event: "COMPLETE" or "FAIL".
      run: what identifies the run; the same text is the same run.
      namespace, job: of the job.
      inputs, outputs: datasets.
      facets: of the run.
      time: when it ended; now by default.
    """
    return {
        "eventType": event,
        "eventTime": (time or datetime.datetime.now(datetime.UTC)).isoformat(),
        "producer": PRODUCER,
        "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/definitions/RunEvent",
        "run": {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, run)), **({"facets": facets} if facets else {})},
        "job": {"namespace": namespace, "name": job},
        "inputs": list(inputs),
        "outputs": list(outputs),
    }


def facet(name: str, **values: Any) -> dict[str, Any]:
    """A facet by the name of its schema, as in `1-0-1/DatasetVersionDatasetFacet`."""
    return {"_producer": PRODUCER, "_schemaURL": f"{SPEC}/facets/{name}.json", **values}
