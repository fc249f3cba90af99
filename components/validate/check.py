"""validate: statistics against a schema, and against an earlier span, split by split."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from google.protobuf import text_format
from headwater.components.common import results
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.components.common.tfdv import tfdv
from headwater.components.validate.drift import Thresholds, compare
from headwater.components.validate.page import render_page
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

FILE = "Split-{split}/SchemaDiff.pb"

_Statistics = statistics_pb2.DatasetFeatureStatisticsList
_DRIFT = (
    "COMPARATOR_L_INFTY_HIGH",
    "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH",
    "COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH",
)


def check_statistics(
    statistics: str,
    schema: str,
    output: str,
    *,
    baseline: str = "auto",
    environment: str = "",
    drift_threshold_categorical: float = 0.05,
    drift_threshold_numeric: float = 0.1,
) -> Result:
    """Validates each split's statistics; succeeds whatever it finds.

    A finding is an error where it breaks what was agreed: a schema that was there before this data, a threshold that
    the schema sets. It is a warning where it breaks what was guessed: a schema inferred from this very data, a default
    threshold.

    Args:
      statistics: path or URI of a result of generate-statistics.
      schema: path or URI of a result of infer-schema.
      output: folder for the result.
      baseline: statistics to measure drift from: a reference as in `results.find`.
      environment: the schema environment to validate in; empty for none.
      drift_threshold_categorical: L-infinity distance, in [0, 1], that is too much for text where the schema sets none.
      drift_threshold_numeric: Jensen-Shannon divergence, in [0, 1], that is too much for numbers where the schema sets
        none.

    Returns:
      The anomalies: TFDV's proto for each split, from the schema with the thresholds that were used; its body says
      `blessed`, the `verdict`, its `findings` and all `measures`.

    Raises:
      HeadwaterError: a setting is wrong, or a result is missing, altered or unreadable.
    """
    thresholds = Thresholds(drift_threshold_categorical, drift_threshold_numeric)
    measured, described = results.load(statistics, "statistics"), results.load(schema, "schema")
    agreed = _parse(described)
    if environment and environment not in agreed.default_environment:
        known = ", ".join(agreed.default_environment) or "none"
        raise HeadwaterError(f"environment: the schema has no environment {environment!r}; it has {known}")
    earlier = results.find(baseline, "statistics", measured.home)
    files: dict[str, bytes] = {}
    findings: list[dict[str, Any]] = []
    measures: list[dict[str, Any]] = []
    pairs: dict[str, tuple[_Statistics, _Statistics | None]] = {}
    for split in measured.body["splits"]:
        current = _read(measured, split)
        previous = _read(earlier, split) if earlier and split in earlier.body["splits"] else None
        pairs[split] = (current, previous)
        comparison = compare(current, previous, agreed, thresholds)
        anomalies = anomalies_pb2.Anomalies()
        if not current.datasets[0].num_examples:
            findings.append(
                _finding(split, "", "EMPTY_SPLIT", "warning", "the split has no rows; nothing was validated")
            )
        else:
            anomalies = tfdv.validate_statistics(
                current,
                comparison.schema,
                environment=environment or None,
                previous_statistics=previous if comparison.possible else None,
            )
            findings += _schema_findings(split, anomalies, inferred=described.body["inferred"])
            findings += _drift_findings(split, comparison.measures(anomalies))
        if earlier:
            findings += [
                _finding(split, name, "COMPARISON_IMPOSSIBLE", "warning", reason)
                for name, reason in comparison.impossible(anomalies).items()
            ]
            measures += [{"split": split, **measure} for measure in comparison.measures(anomalies)]
        files[FILE.format(split=split)] = anomalies.SerializeToString(deterministic=True)
    findings.sort(key=lambda finding: finding["severity"])
    body = {
        "blessed": not any(finding["severity"] == "error" for finding in findings),
        "baseline": earlier.reference() if earlier else None,
        "schema": described.reference(),
        "findings": findings,
        "measures": measures,
    }
    body["verdict"] = _verdict(body, inferred=described.body["inferred"])
    inputs = {"statistics": measured, "schema": described, **({"baseline": earlier} if earlier else {})}
    return results.save(
        "anomalies",
        output,
        files=files,
        body=body,
        inputs=inputs,
        settings={
            "environment": environment,
            "drift_threshold_categorical": drift_threshold_categorical,
            "drift_threshold_numeric": drift_threshold_numeric,
        },
        home=measured.home,
        page=render_page(body, measured, pairs),
    )


def _schema_findings(split: str, anomalies: anomalies_pb2.Anomalies, *, inferred: bool) -> list[dict[str, Any]]:
    found = []
    for name in sorted(anomalies.anomaly_info):
        info = anomalies.anomaly_info[name]
        for reason in info.reason:
            kind = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
            if kind in _DRIFT:
                continue
            severity = "warning" if inferred or info.severity == anomalies_pb2.AnomalyInfo.WARNING else "error"
            found.append(_finding(split, name, kind, severity, f"{reason.short_description}: {reason.description}"))
    for reason in anomalies.dataset_anomaly_info.reason:
        kind = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
        severity = "warning" if inferred else "error"
        found.append(_finding(split, "", kind, severity, f"{reason.short_description}: {reason.description}"))
    return found


def _drift_findings(split: str, measures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        _finding(
            split,
            measure["feature"],
            "DRIFT",
            "error" if measure["set_by"] == "schema" else "warning",
            f"it moved away from the earlier span: {measure['measure']} {measure['value']:.3g}, more than "
            f"{'the agreed' if measure['set_by'] == 'schema' else 'the default'} {measure['threshold']:g}",
        )
        for measure in measures
        if measure["value"] is not None and measure["value"] > measure["threshold"]
    ]


def _finding(split: str, feature: str, kind: str, severity: str, message: str) -> dict[str, Any]:
    return {"split": split, "feature": feature, "kind": kind, "severity": severity, "message": message.strip()}


def _verdict(body: Mapping[str, Any], *, inferred: bool) -> str:
    severities = [finding["severity"] for finding in body["findings"]]
    counts = [
        f"{severities.count(level)} {level}{'s' if severities.count(level) > 1 else ''}"
        for level in ("error", "warning")
    ]
    found = ", ".join(text for text in counts if not text.startswith("0 "))
    parts = ["blessed" if body["blessed"] else "NOT blessed", found or "nothing found"]
    if not body["baseline"]:
        parts.append("no baseline: there is no earlier span to compare with")
    if inferred:
        parts.append("the schema was inferred from this very data")
    return f"{parts[0]}: {'; '.join(parts[1:])}"


def _read(result: Result, split: str) -> _Statistics:
    return _Statistics.FromString(result.read(f"Split-{split}/FeatureStats.pb"))


def _parse(described: Result) -> schema_pb2.Schema:
    try:
        return text_format.Parse(described.read("schema.pbtxt").decode(), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise HeadwaterError(f"{described.folder}/schema.pbtxt: not a schema: {error}") from None
