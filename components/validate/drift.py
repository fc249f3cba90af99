"""Drift: which features can be compared with an earlier span, by which distance, and what came of it.

Text is compared by L-infinity (Chebyshev) distance and numbers by Jensen-Shannon divergence, as TFDV computes them. A
feature that the schema gives no threshold gets a default one, on a copy of the schema.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from headwater.components.common.errors import HeadwaterError
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

MOST_DISTINCT = 1000
"""TFDV compares at most so many of a text feature's values: beyond, equal distributions look far apart."""

_CONVERSION = "headwater.conversion"
_MOMENT = "since 1970-01-01"
_MEASURES = {
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "L-infinity",
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon",
    anomalies_pb2.DriftSkewInfo.Measurement.NORMALIZED_ABSOLUTE_DIFFERENCE: "normalised absolute difference",
}
_Features = dict[str, statistics_pb2.FeatureNameStatistics]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Distances that are too much where the schema sets none, both in [0, 1]."""

    categorical: float
    numeric: float

    def __post_init__(self) -> None:
        for name, value in (("categorical", self.categorical), ("numeric", self.numeric)):
            if not 0 <= value <= 1:
                raise HeadwaterError(f"drift_threshold_{name}: must be between 0 and 1; given: {value!r}")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How one split is compared with the same split of an earlier span.

    Attributes:
      schema: the schema with the thresholds that are used.
      possible: whether there is anything to compare with.
      set_by: of each compared feature, who set its threshold: "schema" or "default".
      reasons: of features that cannot be compared, and "" for the whole split: why.
      notes: of features that are not compared on purpose: why.
    """

    schema: schema_pb2.Schema
    possible: bool
    set_by: dict[str, str]
    reasons: dict[str, str]
    notes: dict[str, str]

    def impossible(self, anomalies: anomalies_pb2.Anomalies) -> dict[str, str]:
        """Why features could not be compared, those included for which TFDV gave no distance."""
        measured = {_name(info.path) for info in anomalies.drift_skew_info}
        silent = {
            name: "it has a threshold, and no distance could be measured"
            for name in self.set_by
            if name not in measured
        }
        return {**self.reasons, **(silent if self.possible else {})}

    def measures(self, anomalies: anomalies_pb2.Anomalies) -> list[dict[str, Any]]:
        """Every distance, below its threshold too, and the features that were left out on purpose."""
        found = []
        for info in anomalies.drift_skew_info:
            name = _name(info.path)
            for measurement in info.drift_measurements:
                found.append(
                    {
                        "feature": name,
                        "measure": _MEASURES.get(measurement.type, "unknown"),
                        "value": measurement.value,
                        "threshold": measurement.threshold,
                        "set_by": self.set_by.get(name, "schema"),
                        "note": "",
                    }
                )
        for name, note in self.notes.items():
            found.append({"feature": name, "measure": "", "value": None, "threshold": None, "set_by": "", "note": note})
        return sorted(found, key=lambda measure: measure["feature"])


def compare(
    current: statistics_pb2.DatasetFeatureStatisticsList,
    previous: statistics_pb2.DatasetFeatureStatisticsList | None,
    schema: schema_pb2.Schema,
    thresholds: Thresholds,
) -> Comparison:
    """Decides feature by feature.

    Args:
      current: one split's statistics.
      previous: the same split's of the earlier span, if it has that split.
      schema: the agreed schema; it is not changed.
      thresholds: for the features that it gives none.
    """
    copy = schema_pb2.Schema()
    copy.CopyFrom(schema)
    if previous is None or not previous.datasets[0].num_examples or not current.datasets[0].num_examples:
        for feature in copy.feature:
            feature.ClearField("drift_comparator")
        why = "the earlier span has no such split" if previous is None else "one side has no rows"
        return Comparison(copy, False, {}, {"": why}, {})
    now, then = _by_name(current), _by_name(previous)
    set_by, reasons, notes = {}, {}, {}
    for feature in copy.feature:
        name = feature.name
        if name not in now:
            # Its absence is the schema's to report.
            feature.ClearField("drift_comparator")
            continue
        agreed = feature.HasField("drift_comparator")
        reason = _incomparable(now[name], then.get(name))
        note = "" if agreed else _left_out(now[name], then.get(name))
        if reason or note:
            feature.ClearField("drift_comparator")
            (reasons if reason else notes)[name] = reason or note
            continue
        set_by[name] = "schema" if agreed else "default"
        if not agreed and now[name].HasField("num_stats"):
            feature.drift_comparator.jensen_shannon_divergence.threshold = thresholds.numeric
        elif not agreed:
            feature.drift_comparator.infinity_norm.threshold = thresholds.categorical
    return Comparison(copy, True, set_by, reasons, notes)


def _incomparable(now: statistics_pb2.FeatureNameStatistics, then: statistics_pb2.FeatureNameStatistics | None) -> str:
    if then is None:
        return "the earlier span has no such feature"
    # First, for a feature without values has no type of its own.
    for side, feature in (("the earlier span", then), ("this span", now)):
        if not _values(feature):
            return f"it has no values in {side}"
    if now.WhichOneof("stats") != then.WhichOneof("stats"):
        names = [statistics_pb2.FeatureNameStatistics.Type.Name(feature.type) for feature in (then, now)]
        return f"its type was {names[0]} and is {names[1]}"
    return ""


def _left_out(now: statistics_pb2.FeatureNameStatistics, then: statistics_pb2.FeatureNameStatistics) -> str:
    kind = now.WhichOneof("stats")
    if kind not in ("num_stats", "string_stats"):
        return "neither text nor a number"
    rule = next((custom.str for custom in now.custom_stats if custom.name == _CONVERSION), "")
    if _MOMENT in rule:
        return "a time moves on from span to span"
    if kind == "string_stats" and max(now.string_stats.unique, then.string_stats.unique) > MOST_DISTINCT:
        return f"more than {MOST_DISTINCT:,} distinct values"
    return ""


def _values(feature: statistics_pb2.FeatureNameStatistics) -> int:
    kind = feature.WhichOneof("stats")
    return getattr(feature, kind).common_stats.num_non_missing if kind else 0


def _by_name(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> _Features:
    features = statistics.datasets[0].features
    return {feature.path.step[0]: feature for feature in features if len(feature.path.step) == 1}


def _name(path: Any) -> str:
    return ".".join(path.step)
