"""validate and gate as KFP components."""

from typing import NamedTuple

from headwater.components.common.version import IMAGE
from kfp import dsl


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def validate(
    statistics: dsl.Input[dsl.Artifact],
    schema: dsl.Input[dsl.Artifact],
    anomalies: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    baseline: str = "auto",
    environment: str = "",
    drift_threshold_categorical: float = 0.05,
    drift_threshold_numeric: float = 0.1,
) -> NamedTuple("Outputs", uri=str, blessed=bool):
    """Validates statistics against a schema and against an earlier span. It succeeds whatever it finds: `gate` fails.

    Args:
        statistics: generate-statistics' output.
        schema: infer-schema's output.
        anomalies: `Split-<name>/SchemaDiff.pb` and the verdict; its metadata key `kind` is `headwater.anomalies`.
        page: Verdict, reasons and measured distances to look at.
        metrics: Numbers of findings, for Kubeflow's UI.
        baseline: Statistics to measure drift from: a URI, `latest`, `previous`, `span:<n>`, `none`, or `auto` (the
            previous span's, if there is one).
        environment: The schema environment to validate in; empty for none.
        drift_threshold_categorical: L-infinity distance that is too much for text, where the schema sets none.
        drift_threshold_numeric: Jensen-Shannon divergence that is too much for numbers, where the schema sets none.

    Returns:
        uri: The anomalies' exact URI.
        blessed: Whether there is no finding of severity error.
    """
    from headwater.components.common.errors import clear_errors
    from headwater.components.common.results import copy_page
    from headwater.components.validate import check_statistics

    with clear_errors():
        result = check_statistics(
            statistics.path,
            schema.path,
            anomalies.path,
            baseline=baseline,
            environment=environment,
            drift_threshold_categorical=drift_threshold_categorical,
            drift_threshold_numeric=drift_threshold_numeric,
        )
        copy_page(result, page.path)
    severities = [finding["severity"] for finding in result.body["findings"]]
    for severity in ("error", "warning"):
        metrics.log_metric(f"{severity}s", severities.count(severity))
    metrics.log_metric("blessed", int(result.body["blessed"]))
    uri = result.uri if result.home else anomalies.uri
    anomalies.metadata.update(kind="headwater.anomalies", uri=uri, verdict=result.body["verdict"])
    return (uri, result.body["blessed"])


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(anomalies: dsl.Input[dsl.Artifact], fail_on: str = "error"):
    """Fails, with the findings in its error, when the data must not go on.

    Args:
        anomalies: validate's output.
        fail_on: The least severity that fails: `error`, `warning`, or `none` to let everything pass.
    """
    from headwater.components.common.errors import clear_errors
    from headwater.components.validate import enforce

    with clear_errors():
        print(enforce(anomalies.path, fail_on=fail_on))
