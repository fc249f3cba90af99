"""label as a KFP component."""

# KFP reads the outputs from a NamedTuple that is made in the signature.
# mypy: disable-error-code="valid-type"

from typing import Dict, NamedTuple

from kfp import dsl

from headwater.components.common.version import CORE_IMAGE


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def label(
    dataset: dsl.Input[dsl.Dataset],
    labels: dsl.Output[dsl.Dataset],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    project: Dict = {},
    as_of: str = "",
) -> NamedTuple("Outputs", uri=str):
    """Labels the rows of a dataset by one or several methods, with the evidence for each label.

    Args:
        dataset: A dataset of collect's, or plain Parquet, CSV or JSONL files.
        labels: The dataset with its labels. Its metadata: `kind` (headwater.labels), `uri`, `verdict`.
        page: Class balance, coverage, conflict, each source's accuracy, how long feedback takes, labels beside the
            truth, and rows that sources disagree on.
        metrics: Rows, coverage and classes, for Kubeflow's UI.
        project: The settings of a pipeline, as in `headwater.yaml`; label and platform are read. Without steps the
            dataset passes as it is. With `label.ask` the rows that people should label next are written as tasks.
        as_of: The time that the labels are of, ISO 8601, in place of that of the project.

    Returns:
        uri: The exact URI of the dataset that is passed on.
    """
    from headwater.components.common.artifacts import publish
    from headwater.components.common.errors import clear_errors
    from headwater.components.common.fanout import adopted
    from headwater.components.label import ask_after, label_dataset, pass_on
    from headwater.components.label.settings import from_project

    with clear_errors(), adopted("label", project, dataset.path):
        settings = from_project(project, as_of)
        steps = settings["steps"]
        result = label_dataset(dataset.path, labels.path, **settings) if steps else pass_on(dataset.path, labels.path)
        asked = ask_after(result, project)
        uri = publish(result, labels, page)
    if asked:
        metrics.log_metric("rows to ask about", asked.batch.num_rows)
    if steps:
        summary, rows = result.body["labelled"], result.body["accounts"]["written"]
        metrics.log_metric("rows", rows)
        metrics.log_metric("coverage", 1 - summary["abstained"] / rows if rows else 0.0)
        metrics.log_metric("carried", result.body["accounts"]["carried"])
        for name, count in summary["classes"].items():
            metrics.log_metric(f"rows of {name}", count)
        truth = result.body["truth"] or {}
        if truth.get("accuracy") is not None:
            metrics.log_metric("accuracy", truth["accuracy"])
    return (uri,)
