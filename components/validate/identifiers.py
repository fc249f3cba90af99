"""Columns of identifiers, as tail numbers: thousands of values, most of them rare, of which some come and others go.

Such a column drifts in every span. What a person wants to know is how many rows have values that were never seen before;
that is a warning where it is more than rare values let expect, or where the shares of frequent values moved as well. Whether a
column is one follows from the baseline alone, and which values are frequent from both sides together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headwater.components.common.distributions import Feature
from headwater.components.common.findings import percent
from headwater.components.common.unseen import LEAST_MASS, most_unseen
from headwater.components.validate.distances import measure
from headwater.components.validate.tables import MISSING, Table, matched

LEAST_VALUES = 1000
"""A column with fewer values in the baseline is no column of identifiers."""

FREQUENT = 0.01
"""The share of rows of both sides from which on a value is judged by itself."""


class Turnover(NamedTuple):
    """What changed in a column of identifiers.

    Attributes:
      unseen: the share of rows with values that the baseline never had.
      most: the greatest share that rare values let expect.
      frequent: the effect of frequent and of missing values alone.
    """

    unseen: float
    most: float
    frequent: float

    def sentence(self, title: str) -> str:
        """What is said of it; `title` is the baseline."""
        if self.unseen > self.most:
            return (
                f"{percent(self.unseen)} of rows have values that {title} never had, and not more than "
                f"{percent(self.most)} were to be expected"
            )
        return (
            f"{percent(self.unseen)} of rows have values that {title} never had; its values come and go, most are rare"
        )


def measure_turnover(baseline: Feature, current: Feature) -> Turnover | None:
    """What changed; None where the values are no identifiers or not all are counted."""
    exact = all(
        side.exact and not side.numeric and side.values <= side.rows - side.missing for side in (baseline, current)
    )
    if not exact or len(baseline.texts) < LEAST_VALUES or not len(current.texts):
        return None
    most = most_unseen(baseline)
    if most <= 1 - LEAST_MASS:
        return None
    _, columns = matched(baseline, current)
    unseen = float(columns[1][len(baseline.texts) :].sum() / columns[1].sum())
    own = columns[0] + columns[1] >= FREQUENT * (columns[0] + columns[1]).sum()
    bins = [
        np.concatenate([column[own], [column[~own].sum(), side.missing]])
        for column, side in zip(columns, (baseline, current))
    ]
    kept = bins[0] + bins[1] > 0
    names = [*map(str, range(int(own.sum()))), "others", MISSING]
    table = Table(bins[0][kept], bins[1][kept], [name for name, stays in zip(names, kept.tolist()) if stays])
    return Turnover(unseen, most, measure(table).effect)
