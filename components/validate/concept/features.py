"""Features: what is looked at, and what is known of each when two periods are compared."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from headwater.components.validate.concept import inference
from headwater.components.validate.concept.bins import Column

CLASSES_HELD = 9
"""Classes that are distinguished where others are held fixed; the rest is one class more."""


@dataclasses.dataclass(frozen=True)
class Feature:
    """A column, or two that are looked at together."""

    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        return " and ".join(column.name for column in self.columns)

    @property
    def size(self) -> int:
        """How many bins it has."""
        return math.prod(column.size for column in self.columns)

    def word(self, code: int) -> str:
        """A bin in words, as in `country = US and device = phone`."""
        places = np.unravel_index(code, [column.size for column in self.columns])
        return " and ".join(f"{column.name} {column.word(int(place))}" for column, place in zip(self.columns, places))

    def sql(self, code: int) -> str:
        """The rows of a bin as one SQL expression; empty where it cannot be told so."""
        places = np.unravel_index(code, [column.size for column in self.columns])
        parts = [column.sql(int(place)) for column, place in zip(self.columns, places)]
        return " AND ".join(parts) if all(parts) else ""


@dataclasses.dataclass
class Tested:
    """What is known of one feature."""

    feature: Feature
    table: np.ndarray
    shift: tuple[float, float, float, float]
    tests: inference.Tests
    shift_adjusted: float = 1.0
    adjusted: float = 1.0
    verdict: str = "unchanged"
    held: tuple[str, ...] = ()
    leverage: float = 0.0
    inside: float = 0.0
    reason: str = ""
