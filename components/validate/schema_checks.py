"""Statistics against the schema, and the distances that the schema has thresholds for, all as TFDV measures them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from headwater.components.common import tfdv_library as tfdv
from headwater.components.common.findings import percent
from headwater.components.validate.by_construction import EMPTY
from headwater.components.validate.findings import DRIFT, NO_VALUES, SKEW, THIS_SPAN, finding
from headwater.components.validate.tfdv_words import in_words

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
_AT_ONCE = 50
_ZERO_MEANS_MISSING = "headwater:zero-means-missing"

_Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList
_Schema: TypeAlias = schema_pb2.Schema


@dataclasses.dataclass(frozen=True)
class Conformance:
    """What TFDV reports of one split.

    Attributes:
      anomalies: its proto.
      breaches: findings: breaches of the schema by single features.
      constraints: findings: breaches of the schema's dataset_constraints.
      comparisons: findings, by "DRIFT" and "SKEW": distances above those that the schema sets, and thresholds that
        could not be applied.
      measures: those distances, below their thresholds too.
      compared: the features that have a threshold in the schema, by "DRIFT" and "SKEW".
    """

    anomalies: anomalies_pb2.Anomalies = dataclasses.field(default_factory=anomalies_pb2.Anomalies)
    breaches: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    constraints: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    comparisons: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=lambda: {DRIFT: [], SKEW: []})
    measures: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    compared: dict[str, set[str]] = dataclasses.field(default_factory=lambda: {DRIFT: set(), SKEW: set()})


def check(
    split: str,
    current: _Statistics,
    schema: _Schema,
    *,
    environment: str,
    inferred: bool,
    baseline: _Statistics | None = None,
    serving: _Statistics | None = None,
    hidden: Collection[str] = (),
) -> Conformance:
    """Checks one split.

    Args:
      split: its name.
      current: its statistics; it has rows.
      schema: the agreed one; it is not changed.
      environment: to validate in; empty for none.
      inferred: whether nobody has accepted the schema, so that a breach is no error.
      baseline: the earlier statistics, for drift.
      serving: those of serving data, for skew.
      hidden: features whose values must not be shown.
    """
    copy = _Schema()
    copy.CopyFrom(schema)
    sides = {
        DRIFT: ("drift_comparator", baseline, "the earlier span"),
        SKEW: ("skew_comparator", serving, "serving data"),
    }
    of_current = _by_name(current)
    compared: dict[str, set[str]] = {DRIFT: set(), SKEW: set()}
    comparisons: dict[str, list[dict[str, Any]]] = {DRIFT: [], SKEW: []}
    for kind, (field, other, title) in sides.items():
        known = _by_name(other) if other is not None and other.datasets[0].num_examples else {}
        for feature in copy.feature:
            if not feature.HasField(field):
                continue
            # The absence of a feature is the schema's to report, and that of a whole side the caller's.
            reason = (
                _incomparable(of_current[feature.name], known.get(feature.name), title)
                if feature.name in of_current
                else ""
            )
            comparator = getattr(feature, field)
            if (
                not reason
                and known
                and comparator.HasField("infinity_norm")
                and _has_no_categories(of_current, feature.name)
            ):
                # TFDV measures 0 of numbers, and says nothing.
                message = "its threshold is for L-infinity, which compares categories, but its values are numbers"
                comparisons[kind].append(finding(split, feature.name, "COMPARISON_IMPOSSIBLE", "warning", message))
                comparator.ClearField("infinity_norm")
                if not comparator.ListFields():
                    feature.ClearField(field)
                    continue
            if feature.name in of_current and known and not reason:
                compared[kind].add(feature.name)
                continue
            feature.ClearField(field)
            if reason and known and reason != EMPTY:
                comparisons[kind].append(finding(split, feature.name, "COMPARISON_IMPOSSIBLE", "warning", reason))
    anomalies = _validate(
        _as_needed(current, copy),
        copy,
        environment=environment or None,
        previous_statistics=_as_needed(baseline, copy) if compared[DRIFT] or (baseline and _grows(copy)) else None,
        serving_statistics=_as_needed(serving, copy) if compared[SKEW] else None,
    )
    measures = _measures(split, anomalies)
    for each in measures:
        if each["value"] > each["threshold"]:
            comparisons[each["against"]].append(_above_threshold(each))
    measured = {(each["against"], each["feature"]) for each in measures}
    for kind, names in compared.items():
        comparisons[kind] += [
            finding(split, name, "COMPARISON_IMPOSSIBLE", "warning", "it has a threshold, but no distance was measured")
            for name in sorted(names)
            if (kind, name) not in measured
        ]
    breaches = [
        *_zeros(split, current, schema, environment, inferred),
        *_breaches(split, anomalies, inferred, hidden),
    ]
    return Conformance(anomalies, breaches, _constraints(split, anomalies, inferred), comparisons, measures, compared)


def _validate(
    current: _Statistics, schema: _Schema, *, environment: str | None, **others: _Statistics | None
) -> anomalies_pb2.Anomalies:
    """TFDV's call, fifty features at a time: its time grows with the square of their number."""
    names = sorted({feature.name for feature in schema.feature} | set(_by_name(current)))
    if len(names) <= _AT_ONCE or schema.sparse_feature or schema.weighted_feature:
        return tfdv.validate_statistics(current, schema, environment=environment, **others)
    whole, rest = anomalies_pb2.Anomalies(), _Schema()
    rest.CopyFrom(schema)
    del rest.feature[:], rest.string_domain[:]
    part_of = {name: place // _AT_ONCE for place, name in enumerate(names)}
    count = part_of[names[-1]] + 1
    features = _in_parts(schema.feature, [part_of[feature.name] for feature in schema.feature], count)
    domains = {domain.name: domain for domain in schema.string_domain}
    sides = {name: _split(side, part_of, count) for name, side in others.items() if side}
    for number, own in enumerate(_split(current, part_of, count)):
        part = _Schema()
        part.CopyFrom(rest)
        part.feature.extend(features[number])
        # TFDV copies the domains of all for each.
        named = dict.fromkeys(_domains(part.feature))
        part.string_domain.extend(domains[name] for name in named if name in domains)
        others_of_part = {name: parts[number] for name, parts in sides.items()}
        anomalies = tfdv.validate_statistics(own, part, environment=environment, **others_of_part)
        if number:
            # What is said of the data as a whole is said once.
            anomalies.ClearField("dataset_anomaly_info")
        anomalies.ClearField("baseline")
        whole.MergeFrom(anomalies)
    whole.baseline.CopyFrom(schema)
    return whole


def _domains(features: Iterable[schema_pb2.Feature]) -> Iterator[str]:
    """The names of the domains that features refer to."""
    for feature in features:
        if feature.domain:
            yield feature.domain
        yield from _domains(feature.struct_domain.feature)


def _split(statistics: _Statistics, part_of: Mapping[str, int], count: int) -> list[_Statistics]:
    """Statistics in parts, each of the whole's rows and of its own features; of a feature that has no part, in none."""
    whole = statistics.datasets[0]
    parts = []
    places = [part_of.get(feature.path.step[0], -1) for feature in whole.features]
    for features in _in_parts(whole.features, places, count):
        part = _Statistics()
        dataset = part.datasets.add()
        dataset.name, dataset.num_examples = whole.name, whole.num_examples
        dataset.weighted_num_examples = whole.weighted_num_examples
        dataset.features.extend(features)
        parts.append(part)
    return parts


def _in_parts(features: Iterable[Any], places: Sequence[int], count: int) -> list[list[Any]]:
    parts: list[list[Any]] = [[] for _ in range(count)]
    for feature, place in zip(features, places):
        if place >= 0:
            parts[place].append(feature)
    return parts


def _as_needed(statistics: _Statistics, schema: _Schema) -> _Statistics:
    """The statistics of all rows without histograms that no part of the schema asks for: they are most of the bytes."""
    asked = {
        feature.name
        for feature in schema.feature
        if feature.WhichOneof("domain_info")
        or feature.HasField("drift_comparator")
        or feature.HasField("skew_comparator")
    }
    kept = _Statistics()
    kept.datasets.add().CopyFrom(statistics.datasets[0])
    for feature in kept.datasets[0].features:
        if feature.path.step[0] not in asked and feature.HasField("string_stats"):
            feature.string_stats.ClearField("rank_histogram")
    return kept


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


def _above_threshold(measure: dict[str, Any]) -> dict[str, Any]:
    moved = (
        "its distribution changed since the earlier span"
        if measure["against"] == DRIFT
        else "serving data differs from it"
    )
    return finding(
        measure["split"],
        measure["feature"],
        measure["against"],
        "error",
        f"{moved}: {measure['measure']} {measure['value']:.3g}, above the schema's threshold of "
        f"{measure['threshold']:g}",
    )


def _grows(schema: _Schema) -> bool:
    """Whether the schema says how the number of rows may change."""
    return schema.HasField("dataset_constraints") and schema.dataset_constraints.HasField(
        "num_examples_drift_comparator"
    )


def _zeros(split: str, current: _Statistics, schema: _Schema, environment: str, inferred: bool) -> list[dict[str, Any]]:
    """Features whose zeros mean that a value is missing, where too many are."""
    of_current, findings = _by_name(current), []
    for feature in schema.feature:
        measured = of_current.get(feature.name)
        if _ZERO_MEANS_MISSING not in feature.annotation.tag or measured is None or not measured.HasField("num_stats"):
            continue
        if environment and environment in feature.not_in_environment:
            continue
        common = measured.num_stats.common_stats
        places = common.num_missing + common.num_non_missing
        present = (common.num_non_missing - measured.num_stats.num_zeros) / places if places else 1.0
        least = 1.0 if feature.HasField("shape") else feature.presence.min_fraction
        if measured.num_stats.num_zeros and present < least:
            message = (
                f"zeros count as missing, so only {percent(present)} of rows have a value, where the schema requires "
                f"{percent(least)}: {measured.num_stats.num_zeros:,} zeros, {common.num_missing:,} missing"
            )
            findings.append(finding(split, feature.name, "ZEROS_MISSING", "warning" if inferred else "error", message))
    return findings


def _breaches(
    split: str, anomalies: anomalies_pb2.Anomalies, inferred: bool, hidden: Collection[str]
) -> list[dict[str, Any]]:
    findings = []
    for name in sorted(anomalies.anomaly_info):
        info = anomalies.anomaly_info[name]
        for reason in info.reason:
            kind = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
            if kind in _COMPARATORS:
                continue
            severity = "warning" if inferred or info.severity == anomalies_pb2.AnomalyInfo.WARNING else "error"
            # TFDV's descriptions quote values.
            said = (
                f"{reason.short_description}: its values are private"
                if name in hidden
                else in_words(kind, reason.short_description, reason.description)
            )
            findings.append(finding(split, name, kind, severity, said))
    return findings


def _constraints(split: str, anomalies: anomalies_pb2.Anomalies, inferred: bool) -> list[dict[str, Any]]:
    return [
        finding(
            split,
            "",
            anomalies_pb2.AnomalyInfo.Type.Name(reason.type),
            "warning" if inferred else "error",
            f"{reason.short_description}: {reason.description}",
        )
        for reason in anomalies.dataset_anomaly_info.reason
    ]


def _incomparable(
    current: statistics_pb2.FeatureNameStatistics, other: statistics_pb2.FeatureNameStatistics | None, title: str
) -> str:
    if other is None:
        return f"{title} has no such feature"
    if not _values(current) and not _values(other):
        return EMPTY
    # First, for a feature without values has no type of its own.
    for side, feature in ((title, other), (THIS_SPAN, current)):
        if not _values(feature):
            return f"{NO_VALUES} {side}"
    if current.WhichOneof("stats") != other.WhichOneof("stats"):
        names = [statistics_pb2.FeatureNameStatistics.Type.Name(feature.type) for feature in (other, current)]
        return f"its type is {names[1]} here and {names[0]} in {title}"
    return ""


def _has_no_categories(of_current: Mapping[str, statistics_pb2.FeatureNameStatistics], name: str) -> bool:
    return name in of_current and of_current[name].WhichOneof("stats") != "string_stats"


def _values(feature: statistics_pb2.FeatureNameStatistics) -> int:
    kind = feature.WhichOneof("stats")
    return getattr(feature, kind).common_stats.num_non_missing if kind else 0


def _by_name(statistics: _Statistics) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    features = statistics.datasets[0].features
    return {feature.path.step[0]: feature for feature in features if len(feature.path.step) == 1}


def _name(path: Any) -> str:
    return ".".join(path.step)
