"""Feature skew: training rows against the rows that serving saw under the same key."""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {"FeatureSkew": "settings", "measure_feature_skew": "measure"}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
