"""What is measured of rows, and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from headwater.components.generate_statistics.plan.custom import Custom
from headwater.components.generate_statistics.plan.privacy import Private
from headwater.components.generate_statistics.plan.slicing import Slicing
from headwater.components.generate_statistics.state.limits import Limits


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured, and how.

    Attributes:
      schema: the columns that are read.
      skipped: columns that are read for another's sake and have no statistics of their own.
      limits: how much is kept.
      settings: recorded in states, which merge only where they are equal.
      weight: column with each row's weight; none by default.
      categorical: paths of whole numbers that are counted as text.
      as_bytes: paths of bytes that have sizes and no top values.
      private: columns whose values must not appear.
      slicing: the slices.
      pairs: of columns that are looked at together.
      semantics: whether values are looked at for their meaning.
      custom: users' own statistics.
    """

    schema: pa.Schema
    skipped: frozenset[str] = frozenset()
    limits: Limits = Limits(65_536)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weight: str = ""
    categorical: frozenset[tuple[str, ...]] = frozenset()
    as_bytes: frozenset[tuple[str, ...]] = frozenset()
    private: Private = Private()
    slicing: Slicing = Slicing()
    pairs: tuple[tuple[str, str], ...] = ()
    semantics: bool = False
    custom: tuple[Custom, ...] = ()
