"""validate, gate and report as KFP components."""

# KFP reads the outputs from a NamedTuple that is made in the signature.
# mypy: disable-error-code="valid-type"

from typing import Dict, NamedTuple

from kfp import dsl

from headwater.components.common.version import CORE_IMAGE, TFDV_IMAGE


@dsl.component(base_image=TFDV_IMAGE, install_kfp_package=False)
def validate(
    statistics: dsl.Input[dsl.Artifact],
    schema: dsl.Input[dsl.Artifact],
    anomalies: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    passed: dsl.Output[dsl.Dataset],
    quarantine: dsl.Output[dsl.Dataset],
    dataset: str = "",
    project: Dict = {},
) -> NamedTuple("Outputs", uri=str, blessed=bool, quarantined=int):
    """Validates statistics against a schema and against an earlier span. It succeeds whatever it finds: `gate` fails.

    Args:
        statistics: generate-statistics' output.
        schema: infer-schema's output.
        anomalies: `Split-<name>/SchemaDiff.pb` and the verdict. Its metadata: `kind` (headwater.anomalies), `uri`,
            `verdict`.
        page: Verdict, reasons and measured distances to look at.
        metrics: Numbers of findings, in all and of each check that ran, for Kubeflow's UI.
        passed: Rows that break no rule. Where the project has no rules for rows (`validate.rows`) nothing is written,
            the metadata stay empty, and a task that reads rows takes those of collect or label.
        quarantine: The other rows, with the names of the rules that each broke in `_rules`; likewise.
        dataset: URI of the rows that the statistics are of; by default the one that they name.
        project: The settings of a pipeline, as in `headwater.yaml`; validate, alerts and platform are read.

    Returns:
        uri: The anomalies' exact URI.
        blessed: Whether there is no finding of severity error.
        quarantined: How many rows are in quarantine.
    """
    from headwater.components.common.artifacts import publish, publish_rows
    from headwater.components.common.errors import clear_errors
    from headwater.components.common.fanout import adopted
    from headwater.components.validate import check_statistics
    from headwater.components.validate.settings import from_project

    with clear_errors(), adopted("validate", project, dataset):
        result = check_statistics(
            statistics.path,
            schema.path,
            anomalies.path,
            dataset=dataset,
            passed=passed.path,
            quarantine=quarantine.path,
            **from_project(project),
        )
        uri = publish(result, anomalies, page)
        publish_rows(passed)
        quarantined = publish_rows(quarantine)
    severities = [finding["severity"] for finding in result.body["findings"]]
    for severity in ("error", "warning"):
        metrics.log_metric(f"{severity}s", severities.count(severity))
    for check in result.body["checks"]:
        if not check["skipped"]:
            metrics.log_metric(f"{check['name']}.findings", check["errors"] + check["warnings"])
    metrics.log_metric("blessed", int(result.body["blessed"]))
    return (uri, result.body["blessed"], quarantined)


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def gate(anomalies: dsl.Input[dsl.Artifact], project: Dict = {}):
    """Fails, with the findings in its error, when the data must not go on.

    Args:
        anomalies: validate's output.
        project: The settings of a pipeline, as in `headwater.yaml`; `validate.fail_on` is the lowest severity that
            fails: `error`, `warning`, or `none` to let everything pass.
    """
    from headwater.components.common.errors import clear_errors
    from headwater.components.validate import enforce
    from headwater.components.validate.judging import fail_on

    with clear_errors():
        print(enforce(anomalies.path, fail_on=fail_on(project)))


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def report(status: dsl.PipelineTaskFinalStatus, page: dsl.Output[dsl.HTML], project: Dict = {}):
    """Leaves a run's page whatever became of the run, and calls the alerts where no verdict did; for an exit handler.

    Args:
        status: How the tasks of the exit handler ended; Kubeflow fills it, from 2.14 on.
        page: The run's overview, or why there is none. Its metadata: `kind` (headwater.page), `uri`, `verdict`.
        project: The settings of a pipeline, as in `headwater.yaml`; name, label, validate, alerts and platform are
            read.
    """
    from headwater.components.common.errors import clear_errors
    from headwater.components.validate import report_run

    with clear_errors():
        ending = report_run(project, failed=status.state == "FAILED", reason=status.error_message or "")
    with open(page.path, "w", encoding="utf-8") as file:
        file.write(ending.html)
    page.metadata.update(kind="headwater.page", uri=ending.page, verdict=ending.verdict)
    print(ending.verdict)
