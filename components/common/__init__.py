"""The ground floor that every component stands on: datasets, storage, Beam, errors and pages."""

from __future__ import annotations

from headwater.components.common.machine import fit_threads

# ruff: noqa: E402 – numpy, which pyarrow imports, asks for the number of threads once.
fit_threads()

from headwater.components.common.extension_types import forbid_pickles
from headwater.components.common.lazy import lazy
from headwater.components.common.leaving import wait_for_threads_at_exit

_NAMES = {"HeadwaterError": "errors", "open_dataset": "dataset"}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)

# Whatever of ours a process imports, it comes by here before pyarrow reads anything.
forbid_pickles()
wait_for_threads_at_exit()
