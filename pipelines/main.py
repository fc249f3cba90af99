"""The main pipeline: collect → label → generate-statistics → infer-schema → validate → gate, a straight line."""

from typing import Any, Callable, Dict, NamedTuple

from kfp import dsl

from headwater.components.collect.component import collect
from headwater.components.generate_statistics.component import generate_statistics
from headwater.components.infer_schema.component import infer_schema
from headwater.components.label.component import label
from headwater.components.validate.component import gate, validate


class Line(NamedTuple):
    """The tasks up to the verdict."""

    collect: Any
    label: Any
    generate_statistics: Any
    infer_schema: Any
    validate: Any


def to_verdict(project: Any, before: Callable[..., Any] = lambda component, **inputs: None) -> Line:
    """Adds the tasks up to the verdict to the pipeline that is being built.

    Args:
      project: the pipeline's parameter.
      before: adds the tasks that a component waits for beside those whose outputs it reads, given its name, `project` and
        the URIs of what it reads; gives the last of them, or None.
    """

    def after(task: Any, component: str, **uris: Any) -> Any:
        last = before(component, project=project, **uris)
        return task if last is None else task.after(last)

    collected = after(collect(project=project), "collect")
    labelled = label(dataset=collected.outputs["dataset"], project=project)
    after(labelled, "label", dataset=collected.outputs["uri"])
    uri = labelled.outputs["uri"]
    measured = generate_statistics(dataset=labelled.outputs["labels"], dataset_uri=uri, project=project)
    after(measured, "generate-statistics", dataset=uri)
    described = infer_schema(statistics=measured.outputs["statistics"], project=project)
    validated = validate(
        statistics=measured.outputs["statistics"],
        schema=described.outputs["schema"],
        dataset=uri,
        project=project,
    )
    after(
        validated,
        "validate",
        statistics=measured.outputs["uri"],
        schema=described.outputs["uri"],
        dataset=uri,
    )
    # These read what changes between runs with the same parameters: files, and `auto` references. What is measured has
    # the dataset's exact URI among its parameters.
    for task in (collected, labelled, described, validated):
        task.set_caching_options(False)
    return Line(collected, labelled, measured, described, validated)


def to_gate(line: Line, project: Any) -> Any:
    """Adds the gate, which is never cached: Kubeflow's cache knows of artifacts only names, and not what they say."""
    task = gate(anomalies=line.validate.outputs["anomalies"], project=project)
    return task.set_caching_options(False)


@dsl.pipeline(name="headwater", description="Bad data is stopped before it trains a model.", display_name="Headwater")
def headwater_pipeline(project: Dict = {}):
    """Collects one span of a dataset, measures it, and lets it pass or stops it.

    Args:
        project: All settings, with the sections of `headwater.yaml`: name, sources, collect, label, statistics, schema,
            validate, alerts and platform. `platform.data_root` is how this run finds the earlier ones.
    """
    to_gate(to_verdict(project), project)
