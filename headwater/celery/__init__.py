"""Headwater as Celery tasks: the main pipeline, its components as a chain, and the spans that wait.

A worker needs `celery` and this package (`pip install --no-deps headwater`); the work is done by the `headwater` command of an
environment of its own, which `HEADWATER_COMMAND` names. Import it where the app is made, `import headwater.celery`, and its
tasks belong to the app. Tasks are acknowledged when they are done, and given to another worker where one is lost: what the
first has committed under the data root is adopted, so there is one dataset however often a task runs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import celery

from headwater import calling
from headwater.calling import HeadwaterFailed, NotBlessed

__all__ = ["HeadwaterFailed", "NotBlessed", "beat", "pipeline", "run", "spans", "step"]

_SECONDS = 1.0
_INPUTS = {
    "collect": (),
    "label": ("dataset",),
    "generate-statistics": ("dataset",),
    "infer-schema": ("statistics",),
    "validate": ("statistics", "schema"),
    "gate": ("anomalies",),
}
"""By component, which results before it works on."""

_OUTPUTS = {
    "collect": "dataset",
    "label": "dataset",
    "generate-statistics": "statistics",
    "infer-schema": "schema",
    "validate": "anomalies",
}


class _Task(celery.Task):
    acks_late = True
    reject_on_worker_lost = True
    track_started = True
    # These are answers, and no faults of the task.
    throws = (NotBlessed, HeadwaterFailed)

    def call(self, words: Sequence[str]) -> dict[str, Any]:
        """Runs a command; its progress is the task's state PROGRESS, with `line` and `seconds`."""
        started = told = time.monotonic()

        def show(line: str) -> None:
            nonlocal told
            if self.request.id and time.monotonic() - told >= _SECONDS:
                told = time.monotonic()
                self.update_state(state="PROGRESS", meta={"line": line, "seconds": round(told - started, 1)})

        return calling.call(words, on_line=show)


@celery.shared_task(bind=True, base=_Task, name="headwater.run")
def run(
    self: Any,
    project: str = "",
    *,
    data_root: str,
    sources: Sequence[str] = (),
    span: int | None = None,
    settings: Mapping[str, Any] | None = None,
    stop: bool = True,
) -> dict[str, Any]:
    """The main pipeline on one span.

    Args:
      project: path or URI of the project file, on the worker.
      data_root: the durable home of the results, which all workers reach.
      sources: paths or URIs in place of the project's.
      span: the number of the span.
      settings: further settings by their keys, as `collect.key`.
      stop: whether data that must not go on fails the task, and stops what follows it.

    Returns:
      `verdict`, `blessed`, `results` (URIs by kind), `findings` (counts by severity), as `calling.small` has them.

    Raises:
      NotBlessed: the data must not go on.
      HeadwaterFailed: the work could not be done.
    """
    words = calling.command_line(
        "run", sources=sources, project=project, span=span, data_root=data_root, settings=settings
    )
    told = self.call(words)
    return calling.blessed(told) if stop else calling.small(told)


@celery.shared_task(bind=True, base=_Task, name="headwater.step")
def step(
    self: Any,
    before: Mapping[str, str] | None,
    component: str,
    project: str = "",
    *,
    data_root: str,
    sources: Sequence[str] = (),
    span: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """One component, on what those before it in a chain have made.

    Args:
      before: URIs of results by kind: `dataset`, `statistics`, `schema`, `anomalies`; None for none.
      component: `collect`, `label`, `generate-statistics`, `infer-schema`, `validate` or `gate`.
      project, data_root, sources, span, settings: as `run` takes them.

    Returns:
      `before` with the URI of what this component made.

    Raises:
      NotBlessed: the data was not accepted, or the gate does not pass it.
      HeadwaterFailed: the work could not be done, or a result is missing in `before`.
    """
    made = dict(before or {})
    if component not in _INPUTS:
        raise HeadwaterFailed(
            f"component: there is no {component!r}; the components are {', '.join(_INPUTS)}", calling.FAILED
        )
    missing = [kind for kind in _INPUTS[component] if kind not in made]
    if missing:
        raise HeadwaterFailed(f"{component} works on {missing[0]}, which no task before it has made", calling.FAILED)
    with tempfile.TemporaryDirectory(prefix="headwater-") as folder:
        words = calling.command_line(
            component,
            *(made[kind] for kind in _INPUTS[component]),
            sources=sources if component == "collect" else (),
            project=project,
            span=span,
            data_root=data_root,
            output=folder if component in calling.WRITERS else "",
            settings=settings,
        )
        told = calling.blessed(self.call(words))
    if component in _OUTPUTS:
        made[_OUTPUTS[component]] = told["uri"]
    return made


def pipeline(project: str = "", *, data_root: str, label: bool = False, **given: Any) -> celery.canvas.Signature:
    """The components in their order as a chain, each a task that any worker may take.

    Args:
      project, data_root: as `run` takes them.
      label: whether the project has steps that label.
      **given: `sources`, `span` and `settings`, as `run` takes them.
    """
    components = [name for name in _INPUTS if label or name != "label"]
    shared = {"project": project, "data_root": data_root, **given}
    first, *rest = components
    return celery.chain(step.si(None, first, **shared), *(step.s(name, **shared) for name in rest))


@celery.shared_task(bind=True, base=_Task, name="headwater.spans")
def spans(self: Any, project: str = "", *, data_root: str, **given: Any) -> dict[str, Any]:
    """Runs every span that waits, in their order, also those that were missed; made for a beat schedule.

    Args:
      project, data_root: as `run` takes them; the project's sources tell spans in their paths.
      **given: `sources` and `settings`, as `run` takes them.

    Returns:
      What `run` gives of the last span; `{"spans": []}` where none waits.
    """
    sources, settings = given.get("sources", ()), given.get("settings")
    told = self.call(
        [
            *calling.command_line("spans", sources=sources, project=project, data_root=data_root, settings=settings),
            "--waiting",
        ]
    )
    waiting = [each["span"] for each in told["spans"]]
    if not waiting:
        return {"spans": []}
    # One after the other: a span is compared with the one before. One that is not blessed stops no later one.
    return self.replace(
        celery.chain(*(run.si(project, data_root=data_root, span=span, stop=False, **given) for span in waiting))
    )


def beat(every: Any, project: str = "", *, data_root: str, **given: Any) -> dict[str, Any]:
    """An entry of `app.conf.beat_schedule` that runs the spans that wait.

    Args:
      every: seconds, a timedelta or a `celery.schedules.crontab`.
      project, data_root, **given: as `spans` takes them.
    """
    entry: dict[str, Any] = {
        "task": spans.name,
        "schedule": every,
        "kwargs": {"project": project, "data_root": data_root, **given},
    }
    if isinstance(every, (int, float)):
        # A tick that no worker took in time is followed by the next one.
        entry["options"] = {"expires": every}
    return entry
