"""The main pipeline for a cluster: the project as its defaults, the platform on each task, and a report at its end.

With a trainer it is the guarded pipeline: what is blessed goes on to the trainer; of what is not, the quarantined rows are
measured and labelled, for those who look into them, and the gate fails.
"""

from __future__ import annotations

import concurrent.futures
import os
import tempfile
from collections.abc import Mapping
from typing import Any, Dict  # noqa: UP035  kfp reads the annotation

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.platform import COMPONENTS
from headwater.components.common.project import name_of, platform
from headwater.components.common.results import check_name
from headwater.components.validate.judging import fail_on
from headwater.pipelines.cluster.tasks import configure

_RUNTIME = ("data_root", "workers", "beam_pipeline_args")


def pipeline_name(project: Mapping[str, Any]) -> str:
    """What the pipeline of a project is called at Kubeflow."""
    name = name_of(project)
    check_name(name)
    return f"headwater-{name.lower().replace('_', '-').replace('.', '-')}"


def defaults(project: Mapping[str, Any]) -> dict[str, Any]:
    """The project as the pipeline's default: without what only the cluster reads, which must not change a cache's key."""
    given = project.get("platform") or {}
    runtime = {key: given[key] for key in _RUNTIME if key in given}
    return {**project, "platform": runtime}


def compile_project(project: Mapping[str, Any]) -> str:
    """Compiles the pipeline of a project.

    Args:
      project: all settings, checked.

    Returns:
      The YAML: the pipeline's specification, and the platform's after it; the same for the same settings.

    Raises:
      HeadwaterError: the trainer does not fit.
    """
    # kfp looks at the source of every frame on the stack for each setting of a task, and a notebook's stack is deep.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(_compiled, project).result()


def _compiled(project: Mapping[str, Any]) -> str:
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pipeline.yaml")
        compiler.Compiler().compile(build(project), path)
        with open(path, encoding="utf-8") as file:
            return file.read()


def tasks_of(project: Mapping[str, Any]) -> list[str]:
    """The names of the tasks of a project's pipeline."""
    trainer = platform(project).trainer
    named = [_trainer(trainer, project).name, "quarantine-report", "relabel"] if trainer else []
    return [*COMPONENTS, *named]


def build(project: Mapping[str, Any]) -> Any:
    """The pipeline of a project, as kfp has it."""
    from kfp import dsl

    from headwater.components.validate.component import report
    from headwater.pipelines.cluster.fanning import INPUTS, spread
    from headwater.pipelines.cluster.guarding import after_verdict, connect
    from headwater.pipelines.main import to_gate, to_verdict

    settings = platform(project)
    given = defaults(project)
    trainer = _trainer(settings.trainer, project) if settings.trainer else None
    after = after_verdict(trainer, settings) if trainer else None
    spreads = {name: spread(name, given, settings) for name in INPUTS}

    def before(component: str, **inputs: Any) -> Any:
        add = spreads[component]
        return add(**inputs) if add else None

    title = f"Headwater: {name_of(given)}"

    @dsl.pipeline(name=pipeline_name(project), display_name=title, description=_about(trainer))
    def pipeline(project: Dict = given):  # noqa: UP006
        """Collects one span of a dataset, measures it, and lets it pass or stops it.

        Args:
            project: All settings, with the sections of the project file. Change it for a single run, as to collect other
                sources or to go back to a span (`collect.span`).
        """
        ending = configure(report(project=project).set_caching_options(False), "report", settings)
        with dsl.ExitHandler(ending, name="run"):
            line = to_verdict(project, before)
            for task in line:
                configure(task, task.name, settings)
            if trainer is None:
                configure(to_gate(line, project), "gate", settings)
            else:
                connect(after, line, project)

    return pipeline


def _about(trainer: Any) -> str:
    if trainer is None:
        return "Bad data is stopped before it trains a model."
    return f"Bad data is stopped before it trains a model; good data goes on to {trainer.name}."


def _trainer(uri: str, project: Mapping[str, Any]) -> Any:
    """The component of a trainer."""
    from kfp import components

    if fail_on(project) != "error":
        raise HeadwaterError(
            "platform.trainer: a trainer gets what is blessed, which is what has no error: leave validate.fail_on at error"
        )
    try:
        text = storage.read_bytes(storage.normalise(uri)).decode()
    except (HeadwaterError, UnicodeDecodeError) as error:
        raise HeadwaterError(f"platform.trainer: {error}") from None
    try:
        return components.load_component_from_text(text)
    except Exception:  # noqa: BLE001  whatever kfp makes of a file that is not a component
        raise HeadwaterError(
            f"platform.trainer: {uri} is not a component's YAML, as kfp's compiler writes it"
        ) from None
