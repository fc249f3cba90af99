"""A run on a cluster as it goes on: its tasks' states, then its verdict, as `headwater run` would end."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from headwater.components.common import runs
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.platform import COMPONENTS
from headwater.components.common.project import name_of, platform
from headwater.components.validate.judging import fail_on
from headwater.pipelines.closing import DONE, FAILED, NOT_BLESSED
from headwater.pipelines.cluster.api import Away, Kubeflow

_ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
_PATIENCE = 300.0
"""So many seconds a server may be away while a run is followed."""

_QUIET = 300.0
"""After so many seconds without news a line says where to look."""


@dataclasses.dataclass(frozen=True)
class End:
    """How a run ended.

    Attributes:
      state: Kubeflow's word for it.
      code: the exit code: `DONE`, `NOT_BLESSED` or `FAILED`.
      verdict: in a sentence.
      tasks: the state of each task.
      left: by kind what the run left, as `runs.recorded` gives it; empty where it cannot be read from here.
      note: why it cannot; empty where it can.
    """

    state: str
    code: int
    verdict: str
    tasks: Mapping[str, str]
    left: Mapping[str, Any]
    note: str = ""


def follow(
    server: Kubeflow, run: str, names: Collection[str], every: float, tell: Callable[[str], None] | None = None
) -> Any:
    """Waits for the end of a run; gives it as the API has it.

    Args:
      server: where it runs.
      run: its id.
      names: the tasks that are told of.
      every: seconds between two looks.
      tell: takes each line of progress; by default it goes to stderr.

    Raises:
      HeadwaterError: the server is away for long, or knows no such run.
    """
    tell = tell or _to_stderr
    known: dict[str, str] = {}
    away = quiet = time.monotonic()
    hinted = False
    while True:
        try:
            current = server.run(run)
        except Away as error:
            if time.monotonic() - away > _PATIENCE:
                raise HeadwaterError(f"{error}; the run goes on: `headwater runs {run}` follows it again") from None
            time.sleep(every)
            continue
        away = time.monotonic()
        for name, state in states(current, names).items():
            if known.get(name) != state:
                known[name], quiet, hinted = state, away, False
                tell(f"{name}: {state.lower()}")
        if current.state in _ENDED:
            return current
        if not hinted and away - quiet > _QUIET:
            hinted = True
            tell(
                "no news for 5 minutes; a pod that cannot start (an image or a secret that is not there, no node with "
                f"room) says why: kubectl describe pod -l pipeline/runid={run}"
            )
        time.sleep(every)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def states(run: Any, names: Collection[str] = COMPONENTS) -> dict[str, str]:
    """The state of each task that has one, in the order in which they began."""
    details = (run.run_details.task_details if run.run_details else None) or []
    began = sorted(details, key=lambda each: (each.create_time is None, str(each.create_time)))
    return {each.display_name: each.state for each in began if each.display_name in names and each.state}


def conclude(run: Any, project: Mapping[str, Any], names: Collection[str] = COMPONENTS) -> End:
    """How a run ended: by what it left under the project's `data_root`, else by its tasks' states.

    Args:
      run: as the API has it.
      project: the settings that it ran with.
      names: its tasks.
    """
    root, name = platform(project).data_root, name_of(project)
    left: Mapping[str, Any] = {}
    note = ""
    if root:
        try:
            left = runs.recorded(root, name, run.run_id)
        except HeadwaterError as error:
            note = f"what the run left cannot be read from here: {error}"
    tasks = states(run, names)
    refused = next((entry["refusal"] for entry in left.values() if entry["refusal"]), "")
    if "anomalies" in left:
        entry = left["anomalies"]
        passed = runs.lets_pass(entry, fail_on(project))
        code = FAILED if passed and run.state != "SUCCEEDED" else DONE if passed else NOT_BLESSED
        return End(run.state, code, entry["verdict"], tasks, left, note)
    if refused:
        return End(run.state, NOT_BLESSED, f"Refused: {refused}", tasks, left, note)
    if run.state == "SUCCEEDED":
        return End(run.state, DONE, "Passed", tasks, left, note)
    if tasks.get("gate") == "FAILED":
        return End(run.state, NOT_BLESSED, "Rejected: the gate failed", tasks, left, note)
    failed = [task for task, state in tasks.items() if state == "FAILED"]
    words = f"{failed[0]} failed" if failed else f"the run {'was canceled' if run.state == 'CANCELED' else 'failed'}"
    reason = _reason(run)
    return End(run.state, FAILED, f"Failed: {words}{f': {reason}' if reason else ''}", tasks, left, note)


def _reason(run: Any) -> str:
    """What Kubeflow says of the failure, on one line."""
    details = (run.run_details.task_details if run.run_details else None) or []
    errors = [each.error for each in details if each.state == "FAILED" and each.error] + [run.error]
    text = next((error.message for error in errors if error and error.message), "")
    return " ".join(text.split())[:300]
