"""What rules read, and what they give."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.collect.rules.binning import one_array
from headwater.components.common.times import seconds

if TYPE_CHECKING:
    from headwater.components.collect.settings import Settings
    from headwater.components.common.results import Result
    from headwater.components.common.sources import Notice


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows of the dataset.

    Attributes:
      table: the rows, without their splits.
      splits: the split of each row, text.
    """

    table: pa.Table
    splits: np.ndarray

    @functools.cached_property
    def columns(self) -> dict[str, pa.Array]:
        """Each column as one array, by name."""
        return {name: one_array(self.table[name]) for name in self.table.column_names}


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What rules may read of a dataset.

    Attributes:
      body: the manifest's body, with `accounts`, `lineage`, `lookups`, `profile`, `private` and `health`.
      schema: of shaped rows.
      settings: the user's.
      notices: of how the files were read.
      summary: this dataset: `span`, `rows`, `newest`, `oldest` (ISO, of the event time), `profile`, `sources`, `models`,
        `fingerprint`.
      history: the same of earlier spans, by rising span.
      earlier: the results that `history` is of.
      as_of: the time that ages are measured from.
      anonymity: what was measured of groups; None where it was not asked.
      available: the version of every span that the sources' paths name.
      sample: rows; None where the settings ask for no analysis.
    """

    body: Mapping[str, Any]
    schema: pa.Schema
    settings: Settings
    summary: Mapping[str, Any]
    as_of: datetime.datetime
    notices: Sequence[Notice] = ()
    history: Sequence[Mapping[str, Any]] = ()
    earlier: Sequence[Result] = ()
    anonymity: Mapping[str, Any] | None = None
    available: Mapping[int, int] = dataclasses.field(default_factory=dict)
    sample: Sample | None = None

    @property
    def profile(self) -> Mapping[str, Any]:
        """Exact counts of all rows (`profile.finish`)."""
        return self.summary["profile"]

    @property
    def train(self) -> str:
        """The split that trains."""
        return next(iter(self.settings.splits))

    @functools.cached_property
    def max_age(self) -> datetime.timedelta | None:
        """How old the newest event may be; None for any age."""
        return datetime.timedelta(seconds=seconds(self.settings.max_age)) if self.settings.max_age else None


class Outcome(NamedTuple):
    """What a rule gives.

    Attributes:
      findings: made by `findings.finding`.
      analysis: parts of the manifest's `analysis`, by name.
    """

    findings: list[dict[str, Any]]
    analysis: Mapping[str, Any] = {}
