"""validate: statistics against schema and earlier span → verdict, anomalies, page; gate: stops what is not blessed."""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {
    "RowReport": "rows",
    "check_rows": "rows",
    "check_statistics": "check",
    "enforce": "enforcement",
    "gate": "component",
    "measure_concept": "concept",
    "measure_feature_skew": "feature_skew",
    "report": "component",
    "report_run": "reporting",
    "validate": "component",
}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
