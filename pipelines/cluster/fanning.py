"""Components spread over pods: before a component's own task, rounds of a task that plans and tasks that do parts.

A round is `plan → dsl.ParallelFor(part)`; the component's own task, after the last one, merges. Rounds follow from the
project: one for each pass whose cost grows with the data. What has no round, the component's own task does.
"""

# kfp reads the annotations of components and pipelines as they are, so they are no text here.
from collections.abc import Callable, Mapping
from typing import Any, Dict, List

from kfp import dsl

from headwater.components.common.platform import Platform
from headwater.components.common.version import CORE_IMAGE, TFDV_IMAGE
from headwater.components.generate_statistics.settings import check_settings
from headwater.pipelines.cluster.tasks import configure

INPUTS = {
    "collect": (),
    "label": ("dataset",),
    "generate-statistics": ("dataset",),
    "validate": ("statistics", "schema", "dataset"),
}
"""The URIs that a component's tasks get, by its name."""


def plan(
    component: str,
    rows: int,
    project: Dict = {},
    dataset: str = "",
    statistics: str = "",
    schema: str = "",
) -> List[str]:
    """Says which parts the next pass of a component has; none where it is not worth tasks of its own.

    Args:
        component: Its name.
        rows: About how many rows a part has.
        project: The settings of a pipeline, as in `headwater.yaml`.
        dataset: URI of the rows that it reads, if it does.
        statistics: URI of the statistics, likewise.
        schema: URI of the schema, likewise.
    """
    from headwater.components.common.errors import clear_errors
    from headwater.pipelines.cluster import parts

    with clear_errors():
        return parts.plan(component, project, rows, dataset=dataset, statistics=statistics, schema=schema)


def part(
    component: str,
    name: str,
    project: Dict = {},
    dataset: str = "",
    statistics: str = "",
    schema: str = "",
):
    """Does a part of a component's work, and leaves it where the component's own task finds it.

    Args:
        component: Its name.
        name: The part, as `plan` names it.
        project: The settings of a pipeline, as in `headwater.yaml`.
        dataset: URI of the rows that it reads, if it does.
        statistics: URI of the statistics, likewise.
        schema: URI of the schema, likewise.
    """
    from headwater.components.common.errors import clear_errors
    from headwater.pipelines.cluster import parts

    with clear_errors():
        parts.part(component, project, name, dataset=dataset, statistics=statistics, schema=schema)


def spread(component: str, project: Mapping[str, Any], settings: Platform) -> Callable[..., Any] | None:
    """What adds the rounds of a component to the pipeline that is being built; None where it has none.

    Args:
      component: a key of `INPUTS`.
      project: all settings, checked.
      settings: its section platform, with `fanout`.

    Returns:
      Takes the pipeline's parameter `project` and the URIs by `INPUTS`; gives the task of the last round.
    """
    count = rounds(component, project)
    if not count or settings.fanout is None:
        return None
    one = _round(component, settings)

    def add(**given: Any) -> Any:
        last = None
        for number in range(count):
            task = one(**given).set_caching_options(False)
            task.set_display_name(f"{component}-parts-{number + 1}")
            if last is not None:
                task.after(last)
            last = task
        return last

    return add


def rounds(component: str, project: Mapping[str, Any]) -> int:
    """How many passes of a component are spread."""
    own = project.get({"generate-statistics": "statistics"}.get(component, component)) or {}
    if component == "collect":
        # The files are looked through, and written; before that keys are spilled and compared, and groups counted.
        return 2 + 2 * (own.get("duplicates") == "drop") + bool(own.get("anonymity"))
    if component == "label":
        steps = own.get("steps") or []
        joined = sum(2 if step.get("method") == "direct" else 1 for step in steps)
        return joined + 1 if steps else 0
    if component == "generate-statistics":
        measuring = check_settings(own, "statistics")
        return 1 + bool(measuring.by_columns) + bool(measuring.worst_slices)
    # Over many rows a rule spills keys and compares them.
    rules = (own.get("rows") or {}).get("rules") or []
    over_many = any(set(rule) & {"unique", "monotone", "references"} for rule in rules)
    return (1 + 2 * over_many) if rules else 0


def _round(component: str, settings: Platform) -> Any:
    """A round of a component, as a pipeline of its own: what is after it waits for all of its parts."""
    assert settings.fanout, "what spreads nothing has no rounds"
    image = TFDV_IMAGE if component == "validate" else CORE_IMAGE
    planning, doing = (dsl.component(task, base_image=image, install_kfp_package=False) for task in (plan, part))
    rows, parallelism = settings.fanout.rows, settings.fanout.parallelism

    @dsl.pipeline(name=f"{component}-parts")
    def parts(project: dict, dataset: str = "", statistics: str = "", schema: str = ""):
        known = {"dataset": dataset, "statistics": statistics, "schema": schema}
        inputs = {name: known[name] for name in INPUTS[component]}
        planned = planning(component=component, rows=rows, project=project, **inputs).set_caching_options(False)
        configure(planned, component, settings)
        with dsl.ParallelFor(planned.output, parallelism=parallelism) as name:
            done = doing(component=component, name=name, project=project, **inputs).set_caching_options(False)
            configure(done, component, settings)

    return parts
