"""validate and gate as KFP components."""

from typing import Dict, NamedTuple

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
    config: Dict = {},
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
        config: Further settings, as README lists them.

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
            config=config,
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
