"""Concept drift and label drift: whether what the label says of the same inputs changed between two periods.

`settings` say what is compared, `bins` cut columns, `counting` counts rows on workers, `inference` tests the counts,
`features` are what is looked at, `deciding` tells concept from covariate, `slices` where, `findings` says it, `measure`
runs it over two datasets, `cadence` says how often to label.
"""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {"measure_concept": "measure", "check_columns": "measure", "advise": "cadence", "Concept": "settings"}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
