"""validate and gate as KFP components."""

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
) -> NamedTuple("Outputs", uri=str, blessed=bool):
    """Validates statistics against a schema and against an earlier span. It succeeds whatever it finds: `gate` fails.

    Args:
        statistics: generate-statistics' output.
        schema: infer-schema's output.
        anomalies: `Split-<name>/SchemaDiff.pb` and the verdict; its metadata key `kind` is `headwater.anomalies`.
        page: Verdict, reasons and measured distances to look at.
        metrics: Numbers of findings, in all and of each check that ran, for Kubeflow's UI.
        passed: Rows that break no rule. Where the project has no rules for rows (`validate.rows`) nothing is written, the
            metadata stay empty, and a task that reads rows takes those of collect or label.
        quarantine: The other rows, with the names of the rules that each broke in `_rules`; likewise.
        dataset: URI of the rows that the statistics are of; by default the one that they name.
        project: The settings of a pipeline, as in `headwater.yaml`; validate, alerts and platform are read.

    Returns:
        uri: The anomalies' exact URI.
        blessed: Whether there is no finding of severity error.
    """
    from headwater.components.common.errors import clear_errors
    from headwater.components.common.results import copy_page
    from headwater.components.validate import check_statistics
    from headwater.components.validate.settings import from_project

    with clear_errors():
        result = check_statistics(
            statistics.path,
            schema.path,
            anomalies.path,
            dataset=dataset,
            passed=passed.path,
            quarantine=quarantine.path,
            **from_project(project),
        )
        copy_page(result, page.path)
    severities = [finding["severity"] for finding in result.body["findings"]]
    for severity in ("error", "warning"):
        metrics.log_metric(f"{severity}s", severities.count(severity))
    for check in result.body["checks"]:
        if not check["skipped"]:
            metrics.log_metric(f"{check['name']}.findings", check["errors"] + check["warnings"])
    metrics.log_metric("blessed", int(result.body["blessed"]))
    uri = result.uri if result.home else anomalies.uri
    anomalies.metadata.update(kind="headwater.anomalies", uri=uri, verdict=result.body["verdict"])
    rows = result.body.get("rows", {})
    for name, part in (("passed", passed), ("quarantine", quarantine)):
        if rows.get(name):
            part.metadata.update(kind="headwater.dataset", uri=rows[name]["uri"] if result.home else part.uri)
    return (uri, result.body["blessed"])


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def gate(anomalies: dsl.Input[dsl.Artifact], project: Dict = {}):
    """Fails, with the findings in its error, when the data must not go on.

    Args:
        anomalies: validate's output.
        project: The settings of a pipeline, as in `headwater.yaml`; `validate.fail_on` is the lowest severity that fails:
            `error`, `warning`, or `none` to let everything pass.
    """
    from headwater.components.common.errors import clear_errors
    from headwater.components.validate import enforce
    from headwater.components.validate.settings import fail_on

    with clear_errors():
        print(enforce(anomalies.path, fail_on=fail_on(project)))
