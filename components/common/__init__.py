"""The ground floor that every component stands on: datasets, storage, Beam, errors and pages."""

from __future__ import annotations

from headwater.components.common import safe_arrow
from headwater.components.common.lazy import lazy

# Every component's package imports this one, so it is done before any module of ours reads a file.
safe_arrow.install()

_NAMES = {"HeadwaterError": "errors", "open_dataset": "dataset"}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
