"""What the tasks of one run on a cluster left: by kind where its result lies, and the verdict.

They lie at `<data_root>/<dataset>/runs/<run>/<kind>.json`, for the run's last task, which knows no other's outputs, and for
`headwater submit`, which follows the run from outside.
"""

from __future__ import annotations

import json
import os
from typing import Any

from headwater.components.common import storage
from headwater.components.common.findings import stopping
from headwater.components.common.results import FOLDERS, Result

RUN = "HEADWATER_RUN"
"""The environment variable that holds the id of the run; unset outside of a cluster."""


def folder(data_root: str, name: str, run: str) -> str:
    """The URI of what a run left.

    Args:
      data_root: URI of the durable home of all datasets.
      name: the dataset's.
      run: Kubeflow's id of the run.
    """
    return storage.join(storage.normalise(data_root), name, "runs", run)


def record(result: Result) -> None:
    """Notes a result for the run that this task is of; nothing outside of a run, nor without a `data_root`."""
    run = os.environ.get(RUN, "")
    if not run or not result.home:
        return
    body = result.body
    entry = {
        "uri": result.uri,
        "page": result.home.report("index" if result.kind == "anomalies" else result.kind),
        "span": result.home.span,
        "refusal": body.get("refusal", ""),
        "verdict": body.get("verdict", ""),
        "severities": sorted({each["severity"] for each in body.get("findings", ()) if "acknowledged" not in each}),
    }
    uri = storage.join(folder(result.home.data_root, result.home.name, run), f"{result.role}.json")
    storage.write_bytes(uri, (json.dumps(entry, indent=1) + "\n").encode())


def recorded(data_root: str, name: str, run: str) -> dict[str, Any]:
    """What a run left, by kind in the pipeline's order; empty where it left nothing."""
    entries = {}
    for kind in FOLDERS:
        uri = storage.join(folder(data_root, name, run), f"{kind}.json")
        if storage.exists(uri):
            entries[kind] = json.loads(storage.read_bytes(uri))
    return entries


def lets_pass(entry: dict[str, Any], fail_on: str) -> bool:
    """Whether a verdict that was recorded lets data pass.

    Args:
      entry: of `anomalies`.
      fail_on: the lowest severity that stops it: `error`, `warning` or `none`.
    """
    return not set(stopping(fail_on)) & set(entry["severities"])
