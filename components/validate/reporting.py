"""The end of a run on a cluster, whatever became of it: its page, and the alerts that a verdict would have sent."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from headwater.components.common import runs, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.pages import render
from headwater.components.common.project import name_of, platform, section
from headwater.components.common.results import check_name
from headwater.components.validate.alerts import send_alerts
from headwater.components.validate.findings import finding
from headwater.components.validate.judging import fail_on
from headwater.components.validate.settings import check_settings, from_project

STEPS = {
    "dataset": "collect",
    "labels": "label",
    "statistics": "generate-statistics",
    "schema": "infer-schema",
    "anomalies": "validate",
}
"""The task that leaves each kind of result, in order."""


class Ending(NamedTuple):
    """How a run ended.

    Attributes:
      verdict: in a sentence.
      page: the URI of the page that tells more.
      html: that page.
      left: by kind, what the run left, as `runs.recorded` gives it.
    """

    verdict: str
    page: str
    html: str
    left: Mapping[str, Any]


def report_run(project: Mapping[str, Any], run: str = "", failed: bool = False, reason: str = "") -> Ending:
    """Leaves a run's page, and calls the alerts where no verdict called them.

    Args:
      project: the settings of the pipeline; name, label, validate, alerts and platform are read.
      run: Kubeflow's id of the run; by default that of this task.
      failed: whether a task failed.
      reason: what Kubeflow says of it.

    Returns:
      The verdict, or why there is none, and the page.

    Raises:
      HeadwaterError: a setting is wrong, or there is no `data_root` or run.
    """
    run = run or os.environ.get(runs.RUN, "")
    root = platform(project).data_root
    if not root:
        raise HeadwaterError("platform.data_root: the report needs it, to find what the run left")
    if not run:
        raise HeadwaterError(f"run: the environment variable {runs.RUN} is not set; `headwater compile` sets it")
    name = _name(project)
    left = runs.recorded(root, name, run)
    entry = left.get("anomalies")
    if entry and not (failed and runs.lets_pass(entry, fail_on(project))):
        return Ending(entry["verdict"], entry["page"], storage.read_bytes(entry["page"]).decode(), left)
    if entry:
        verdict = f"Failed: a task after validate failed; the verdict was: {entry['verdict']}"
        action = "look at the log of that task; the data itself may go on"
    else:
        verdict, action = _without_verdict(left, project)
    folder = runs.folder(root, name, run)
    page = storage.join(folder, "index.html")
    html = render(
        "headwater.components.validate",
        "run.html",
        name=name,
        run=run,
        verdict=verdict,
        action=action,
        reason=reason,
        left=[(STEPS[kind], entry["uri"], entry["page"]) for kind, entry in left.items() if kind in STEPS],
        written=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
    )
    storage.write_bytes(page, html.encode())
    _alert(project, name, verdict, action, left, folder)
    return Ending(verdict, page, html, left)


def _name(project: Mapping[str, Any]) -> str:
    section(project, "platform")
    name = name_of(project)
    check_name(name)
    return name


def _without_verdict(left: Mapping[str, Any], project: Mapping[str, Any]) -> tuple[str, str]:
    """Why there is no verdict, and what to do."""
    refused = next((entry["refusal"] for entry in left.values() if entry["refusal"]), "")
    if refused:
        return f"Refused: {refused}", "look at the rejected rows, and correct the source or the settings"
    known = [kind for kind in STEPS if kind != "labels" or section(project, "label").get("steps")]
    done = [kind for kind in known if kind in left]
    failed = known[known.index(done[-1]) + 1 if done else 0]
    return (
        f"Failed: {STEPS[failed]} ended without a result, so there is no verdict",
        f"read the last line of the log of {STEPS[failed]}; after the cause is gone, run again: what is done is adopted",
    )


def _alert(
    project: Mapping[str, Any], name: str, verdict: str, action: str, left: Mapping[str, Any], folder: str
) -> None:
    settings = check_settings(from_project(project)["config"])
    if not settings.alerts:
        return
    run_failed = {**finding("", "", "RUN_FAILED", "error", verdict, action=action), "check": "run"}
    body = {
        "blessed": False,
        "verdict": verdict,
        "uri": folder,
        "dataset": name,
        "span": next((entry["span"] for entry in left.values()), None),
        "rows": 0,
        "findings": [run_failed],
        "checks": [],
        "measures": [],
        "changes": [],
        "acknowledged": [],
    }
    send_alerts(body, settings.alerts, storage.join(folder, "_alerts"))
