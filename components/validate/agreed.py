"""Statistics against the schema, and the distances that the schema agrees on, all as TFDV finds them."""

from __future__ import annotations

import dataclasses
from typing import Any

from headwater.components.common.tfdv import tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

_MEASURES = {
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "L-infinity",
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon",
    anomalies_pb2.DriftSkewInfo.Measurement.NORMALIZED_ABSOLUTE_DIFFERENCE: "normalised absolute difference",
}
_COMPARATORS = (
    "COMPARATOR_L_INFTY_HIGH",
    "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH",
    "COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH",
)
DRIFT, SKEW = "DRIFT", "SKEW"

_Statistics = statistics_pb2.DatasetFeatureStatisticsList
_Schema = schema_pb2.Schema


@dataclasses.dataclass(frozen=True)
class Agreed:
    """What TFDV says of one split.

    Attributes:
      anomalies: its proto.
      findings: breaches of the schema, and distances above those that it agrees on.
      measures: those distances, below their thresholds too.
      compared: the features that have an agreed distance, by "DRIFT" and "SKEW".
    """

    anomalies: anomalies_pb2.Anomalies
    findings: list[dict[str, Any]]
    measures: list[dict[str, Any]]
    compared: dict[str, set[str]]


def finding(split: str, feature: str, kind: str, severity: str, message: str, **more: Any) -> dict[str, Any]:
    """One finding of a verdict."""
    return {"split": split, "feature": feature, "kind": kind, "severity": severity, "message": message.strip(), **more}


def check(
    split: str,
    current: _Statistics,
    schema: _Schema,
    *,
    environment: str,
    inferred: bool,
    previous: _Statistics | None = None,
    serving: _Statistics | None = None,
) -> Agreed:
    """Checks one split.

    Args:
      split: its name.
      current: its statistics; it has rows.
      schema: the agreed one; it is not changed.
      environment: to validate in; empty for none.
      inferred: whether the schema was inferred from this very data, so that a breach is no error.
      previous: the earlier statistics, for drift.
      serving: those of serving data, for skew.
    """
    copy = _Schema()
    copy.CopyFrom(schema)
    sides = {
        DRIFT: ("drift_comparator", previous, "the earlier span"),
        SKEW: ("skew_comparator", serving, "serving data"),
    }
    now = _by_name(current)
    compared: dict[str, set[str]] = {DRIFT: set(), SKEW: set()}
    findings = []
    for kind, (field, other, title) in sides.items():
        known = _by_name(other) if other is not None and other.datasets[0].num_examples else {}
        for feature in copy.feature:
            if not feature.HasField(field):
                continue
            # The absence of a feature is the schema's to report, and that of a whole side the caller's.
            reason = _incomparable(now[feature.name], known.get(feature.name), title) if feature.name in now else ""
            if feature.name in now and known and not reason:
                compared[kind].add(feature.name)
                continue
            feature.ClearField(field)
            if reason and known:
                findings.append(finding(split, feature.name, "COMPARISON_IMPOSSIBLE", "warning", reason))
    anomalies = tfdv.validate_statistics(
        current,
        copy,
        environment=environment or None,
        previous_statistics=previous if compared[DRIFT] else None,
        serving_statistics=serving if compared[SKEW] else None,
    )
    measures = _measures(split, anomalies)
    findings += [*_breaches(split, anomalies, inferred), *(_beyond(each) for each in measures if _is_beyond(each))]
    measured = {(each["against"], each["feature"]) for each in measures}
    for kind, names in compared.items():
        findings += [
            finding(split, name, "COMPARISON_IMPOSSIBLE", "warning", "it has a threshold, and no distance was measured")
            for name in sorted(names)
            if (kind, name) not in measured
        ]
    return Agreed(anomalies, findings, measures, compared)


def _measures(split: str, anomalies: anomalies_pb2.Anomalies) -> list[dict[str, Any]]:
    return [
        {
            "split": split,
            "feature": _name(info.path),
            "against": kind,
            "measure": _MEASURES.get(measurement.type, "unknown"),
            "value": measurement.value,
            "chance": None,
            "p_value": None,
            "threshold": measurement.threshold,
            "set_by": "schema",
        }
        for info in anomalies.drift_skew_info
        for kind, measurements in ((DRIFT, info.drift_measurements), (SKEW, info.skew_measurements))
        for measurement in measurements
    ]


def _is_beyond(measure: dict[str, Any]) -> bool:
    return measure["value"] > measure["threshold"]


def _beyond(measure: dict[str, Any]) -> dict[str, Any]:
    moved = "it moved away from the earlier span" if measure["against"] == DRIFT else "serving data differs from it"
    return finding(
        measure["split"],
        measure["feature"],
        measure["against"],
        "error",
        f"{moved}: {measure['measure']} {measure['value']:.3g}, more than the agreed {measure['threshold']:g}",
    )


def _breaches(split: str, anomalies: anomalies_pb2.Anomalies, inferred: bool) -> list[dict[str, Any]]:
    found = []
    for name in sorted(anomalies.anomaly_info):
        info = anomalies.anomaly_info[name]
        for reason in info.reason:
            kind = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
            if kind in _COMPARATORS:
                continue
            severity = "warning" if inferred or info.severity == anomalies_pb2.AnomalyInfo.WARNING else "error"
            found.append(finding(split, name, kind, severity, f"{reason.short_description}: {reason.description}"))
    for reason in anomalies.dataset_anomaly_info.reason:
        kind = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
        severity = "warning" if inferred else "error"
        found.append(finding(split, "", kind, severity, f"{reason.short_description}: {reason.description}"))
    return found


def _incomparable(
    now: statistics_pb2.FeatureNameStatistics, then: statistics_pb2.FeatureNameStatistics | None, title: str
) -> str:
    if then is None:
        return f"{title} has no such feature"
    # First, for a feature without values has no type of its own.
    for side, feature in ((title, then), ("this span", now)):
        if not _values(feature):
            return f"it has no values in {side}"
    if now.WhichOneof("stats") != then.WhichOneof("stats"):
        names = [statistics_pb2.FeatureNameStatistics.Type.Name(feature.type) for feature in (then, now)]
        return f"its type is {names[1]}, and {names[0]} in {title}"
    return ""


def _values(feature: statistics_pb2.FeatureNameStatistics) -> int:
    kind = feature.WhichOneof("stats")
    return getattr(feature, kind).common_stats.num_non_missing if kind else 0


def _by_name(statistics: _Statistics) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    features = statistics.datasets[0].features
    return {feature.path.step[0]: feature for feature in features if len(feature.path.step) == 1}


def _name(path: Any) -> str:
    return ".".join(path.step)
