"""What the page draws of a compared feature: the very bins that were tested, as shares, with ticks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from headwater.components.common import charts
from headwater.components.common.charts import Bin, Ticks
from headwater.components.common.distributions import Feature
from headwater.components.common.pages import Unit, unit_of, visible
from headwater.components.validate.tables import Table

MOST_ROWS = 8
"""So many categories are drawn one by one at most, those that moved most."""

_WIDTH, _HEIGHT = 420, 90
_LONGEST = 80


@dataclasses.dataclass(frozen=True)
class Plot:
    """The tested bins of one feature, the baseline first.

    Attributes:
      bins: of numbers all, in order; of text those that moved most, and then one for the others.
      others: how many bins of text that last one stands for; 0 where it stands for itself.
      ticks: of both sides; NaN for text.
      marked: the bin that changed most against chance.
      unit: how numbers are read.
    """

    bins: tuple[Bin, ...]
    ticks: tuple[Ticks, Ticks]
    marked: str
    unit: Unit
    others: int = 0


def plot_of(table: Table, baseline: Feature, current: Feature, marked: str) -> Plot:
    """What is drawn of a table that was tested.

    Args:
      table: the bins.
      baseline, current: both distributions.
      marked: name of the bin that changed most.
    """
    unit = unit_of(current.rule)
    ticks = (_ticks(baseline), _ticks(current))
    shares = np.stack(table.shares, axis=1)
    bounds = np.full((len(shares), 2), math.nan) if table.bounds is None else table.bounds
    if np.isnan(bounds).all():
        return Plot(_most_moved(table.names, shares), ticks, _shown(marked), unit, max(0, len(shares) - MOST_ROWS))
    bins, at = [], ""
    for name, own, (low, high) in zip(table.names, shares.tolist(), bounds.tolist()):
        words = name if math.isnan(low) else _range(low, high, unit)
        at = words if name == marked else at
        bins.append(Bin(words, tuple(own), low, high))
    return Plot(tuple(bins), ticks, at, unit)


def chart(name: str, plot: Plot, sides: Sequence[str]) -> dict[str, Any] | None:
    """The chart of a feature for the macro `chart`."""
    drawn = charts.steps(
        name,
        plot.bins,
        sides,
        plot.ticks,
        read=plot.unit.read,
        marked=plot.marked,
        width=_WIDTH,
        height=_HEIGHT,
    )
    others = f"{plot.others:,} other bins"
    return drawn or charts.rows(name, plot.bins, sides, marked=plot.marked, most_rows=MOST_ROWS, others=others)


def _most_moved(names: Sequence[str], shares: np.ndarray) -> tuple[Bin, ...]:
    # By name among equals, so that pages are the same.
    moved = np.abs(shares[:, 0] - shares[:, 1]).tolist()
    order = sorted(range(len(names)), key=lambda place: (-moved[place], names[place]))
    kept, left = order[:MOST_ROWS], order[MOST_ROWS:]
    bins = [Bin(_shown(names[place]), tuple(shares[place].tolist())) for place in kept]
    if left:
        bins.append(Bin("", tuple(shares[left].sum(axis=0).tolist())))
    return tuple(bins)


def _shown(name: str) -> str:
    return visible(name, _LONGEST) if name else "(empty)"


def _range(low: float, high: float, unit: Unit) -> str:
    if low == high:
        return unit.read(low)
    if math.isinf(low):
        return f"below {unit.read(high)}"
    if low == high:
        return unit.read(low)
    return f"above {unit.read(low)}" if math.isinf(high) else f"{unit.read(low)} to {unit.read(high)}"


def _ticks(feature: Feature) -> Ticks:
    if not feature.numeric or not len(feature.points):
        return Ticks(math.nan, math.nan, math.nan)
    upto = np.cumsum(feature.weights)
    median = feature.points[min(int(np.searchsorted(upto, upto[-1] / 2)), len(upto) - 1)]
    return Ticks(feature.low, float(median), feature.high)
