"""What tables of counts say: whether P(label | bin) changed, whether the inputs did, and by how much.

A table of concept has a cell for each bin, a bin being what is held fixed, with the rows of each class in each period.

    G²       2 Σ n ln(n / expected), summed over bins: the likelihood ratio test that class and period are independent
             given the bin (Bishop, Fienberg, Holland, "Discrete Multivariate Analysis", 1975). A bin has one degree of
             freedom for each class but one; a bin with rows of one class has none. Its p-value is that of χ², each
             bin's G² divided by Williams' correction (Biometrika 63, 1976), without which many small bins together
             would look like a change.
    effect   Σ w · TV: half the sum of the classes' differences of shares in a bin, weighted by the bin's share of the
             current rows; 0.02 says that one label in fifty is another. Chance makes every difference greater than 0,
             so that not |d| is summed but what the signs from one half of the rows times the differences in the other
             half would give on average, d (2Φ(d/σ) - 1) - 2σφ(d/σ): 0 on average when nothing changed, |d| when it is
             far above its standard error σ.

χ² needs counts that are large enough: classes of a bin that can expect fewer than `LEAST_EXPECTED` rows in a period are
put together, and a bin with fewer than `LEAST_ROWS` rows in a period is left out. Bins are never put together: two of
them that the periods hold in different shares would look like a change of the concept.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import special

LEAST_EXPECTED = 5.0
LEAST_ROWS = 10


@dataclasses.dataclass(frozen=True)
class Tests:
    """A test in each of several bins, or in groups of bins.

    Attributes:
      g2, freedom: what G² and its degrees of freedom are, float64.
      p_value: of each; 1 where nothing could be tested.
      effect: of each, of all current rows, so that they add up.
      compared: the share of the current rows that lie in bins with enough rows of both periods.
    """

    g2: np.ndarray
    freedom: np.ndarray
    p_value: np.ndarray
    effect: np.ndarray
    compared: np.ndarray

    @property
    def excess(self) -> float:
        """By how much G² is more than chance gives."""
        return float((self.g2 - self.freedom).sum())


def concept(counts: np.ndarray) -> Tests:
    """Whether the label changed in each bin, and in all of them.

    Args:
      counts: rows, int64[bins, held fixed, classes, 2], the baseline's first.

    Returns:
      Tests of all rows (place 0) and of each bin (from place 1).
    """
    bins, held, classes, _ = counts.shape
    cells = counts.reshape(bins * held, classes, 2).astype(np.float64)
    sizes = cells.sum(axis=1)
    known = sizes.min(axis=1) >= LEAST_ROWS
    g2, freedom, scale, apart = np.zeros((4, len(cells)))
    merged = _without_rare(cells[known])
    g2[known], freedom[known], scale[known] = _g2(merged)
    apart[known] = total_variation(merged)
    weight = sizes[:, 1] / max(sizes[:, 1].sum(), 1.0)
    columns = [g2, freedom, g2 / np.maximum(scale, 1.0), weight * apart, weight * known]
    sums = [column.reshape(bins, held).sum(axis=1) for column in columns]
    g2, freedom, corrected, effect, compared = (np.concatenate([[column.sum()], column]) for column in sums)
    p_value = np.where(freedom > 0, special.chdtrc(np.maximum(freedom, 1), corrected), 1.0)
    return Tests(g2, freedom, p_value, effect, compared)


def covariate(counts: np.ndarray) -> tuple[float, float, float, float]:
    """Whether the shares of bins changed.

    Args:
      counts: rows, int64[bins, 2].

    Returns:
      G², its degrees of freedom, the p-value and the effect: the total variation distance less what chance gives.
    """
    # Here small bins may be put together: only their sum says whether anything changed.
    table = _without_rare(counts[None].astype(np.float64))
    if counts.sum(axis=0).min() < LEAST_ROWS:
        return 0.0, 0.0, 1.0, 0.0
    g2, freedom, scale = (float(column[0]) for column in _g2(table))
    p_value = float(special.chdtrc(freedom, g2 / max(scale, 1.0))) if freedom else 1.0
    return g2, freedom, p_value, float(total_variation(table)[0])


def total_variation(tables: np.ndarray) -> np.ndarray:
    """The total variation distance of both columns of each table, less what chance gives; float64[tables, rows, 2]."""
    sizes = tables.sum(axis=1)
    shares = tables / np.maximum(sizes, 1)[:, None, :]
    pooled = tables.sum(axis=2) / np.maximum(sizes.sum(axis=1), 1)[:, None]
    spread = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(sizes, 1)).sum(axis=1)[:, None])
    return _beyond_chance(np.abs(shares[..., 1] - shares[..., 0]), spread).sum(axis=1) / 2


def leverage(counts: np.ndarray) -> float:
    """At most by how much a feature's own change moves the shares of the label, other things held fixed.

    With p and q the shares of its bins then and now, Σ |q - p| · TV(P(label | bin), P(label)), the label's shares being
    the baseline's. Nothing cancels out, and each factor is less what chance gives.

    Args:
      counts: rows, int64[held fixed, bins, classes, 2], the baseline's first.
    """
    counts = counts.astype(np.float64)
    sizes = counts.sum(axis=2)
    both = sizes.sum(axis=1)
    known = both.min(axis=1) >= LEAST_ROWS
    counts, sizes, both = counts[known], sizes[known], both[known]
    if not len(both):
        return 0.0
    shares = sizes / both[:, None, :]
    pooled = sizes.sum(axis=2) / both.sum(axis=1)[:, None]
    spread = np.sqrt(pooled * (1 - pooled) * (1 / both).sum(axis=1)[:, None])
    moved = _beyond_chance(np.abs(shares[..., 1] - shares[..., 0]), spread)
    apart = _labels_apart(counts[..., 0])
    weight = both[:, 1] / both[:, 1].sum()
    return max(0.0, float((weight[:, None] * moved * apart).sum()))


def inside(counts: np.ndarray) -> float:
    """About how much a change of numbers within their bins moves the shares of the label.

    Across a bin the label's shares change by g, about half of what lies between its two neighbours, and the logarithm
    of the density's ratio then and now by t, likewise; an even bin's mean then moves by t / 12 of the bin, so that the
    label's shares move by t · g / 12. An outer bin has one neighbour, and counts double for having no end.

    Args:
      counts: rows of bins in rising order, int64[bins, classes, 2].
    """
    sizes = counts.sum(axis=1)
    known = sizes.min(axis=1) >= LEAST_ROWS
    counts, sizes = counts[known].astype(np.float64), sizes[known].astype(np.float64)
    if len(counts) < 2:
        return 0.0
    weight = sizes[:, 1] / sizes[:, 1].sum()
    ratio = np.log(sizes[:, 1] / sizes[:, 0])
    labels = counts[..., 0] / sizes[:, :1]
    reach = np.ones(len(ratio))
    reach[[0, -1]] = 2.0
    moved = np.abs(np.gradient(ratio)) * np.abs(np.gradient(labels, axis=0)).sum(axis=1) / 2
    return float((weight * reach * moved).sum() / 12)


def association(counts: np.ndarray) -> float:
    """How much the bins say of the label: Σ p · TV(P(label | bin), P(label)), less what chance gives.

    Args:
      counts: rows of the baseline, int64[bins, classes].
    """
    rows = counts.sum(axis=1)
    return float((rows * _labels_apart(counts[None].astype(np.float64))[0]).sum() / max(rows.sum(), 1))


def like_shares(counts: np.ndarray) -> np.ndarray:
    """The label's shares in each bin, then and now, among rows that are alike in what is held fixed.

    Args:
      counts: rows, int64[bins, held fixed, classes, 2].

    Returns:
      float64[bins, classes, 2], weighted by the current rows; 0 where no rows can be compared.
    """
    sizes = counts.sum(axis=2)
    weight = np.where(sizes.min(axis=2) >= LEAST_ROWS, sizes[..., 1], 0).astype(np.float64)
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1)
    shares = counts / np.maximum(sizes, 1)[:, :, None, :]
    return (weight[..., None, None] * shares).sum(axis=1)


def expected_labels(counts: np.ndarray) -> np.ndarray:
    """The label's shares that the inputs' change would give by itself: P(label | bin) then, the bins' shares now.

    Args:
      counts: rows, int64[bins, classes, 2]; bins that the baseline has no rows of say nothing.
    """
    baseline, current = counts[..., 0].astype(np.float64), counts[..., 1].sum(axis=1).astype(np.float64)
    rows = baseline.sum(axis=1)
    known = rows > 0
    weight = np.where(known, current, 0.0)
    if not weight.sum():
        return baseline.sum(axis=0) / max(baseline.sum(), 1.0)
    return (weight / weight.sum()) @ (baseline / np.maximum(rows, 1)[:, None])


def _labels_apart(baseline: np.ndarray) -> np.ndarray:
    """TV(P(label | bin), P(label)) less what chance gives; float64[groups, bins, classes] to float64[groups, bins]."""
    sizes = baseline.sum(axis=2)
    total = np.maximum(sizes.sum(axis=1), 1)
    labels = baseline.sum(axis=1) / total[:, None]
    apart = np.abs(baseline / np.maximum(sizes, 1)[..., None] - labels[:, None, :])
    # A bin's own rows are among those that it is held against.
    rest = 1 - sizes / total[:, None]
    spread = np.sqrt((labels * (1 - labels))[:, None, :] * (rest / np.maximum(sizes, 1))[..., None])
    return np.where(sizes > 0, _beyond_chance(apart, spread).sum(axis=2) / 2, 0.0)


def _without_rare(tables: np.ndarray) -> np.ndarray:
    """Rows of each table that can expect too little in either column put together in one row more."""
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    share = columns.min(axis=1) / np.maximum(columns.sum(axis=1), 1)
    rare = rows * share[:, None] < LEAST_EXPECTED
    rest = (tables * rare[..., None]).sum(axis=1)
    # What is still too little goes to the smallest of the others.
    little = rest.sum(axis=1) * share < LEAST_EXPECTED
    smallest = np.where(rare, np.inf, rows).argmin(axis=1)
    into = np.flatnonzero(little & ~rare.all(axis=1))
    tables = np.where(rare[..., None], 0.0, tables)
    tables[into, smallest[into]] += rest[into]
    rest[into] = 0.0
    return np.concatenate([tables, rest[:, None]], axis=1)


def _g2(tables: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """G² of each table of rows and two columns, its degrees of freedom, and Williams' correction."""
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    total = columns.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = rows[..., None] * columns[:, None, :] / total[:, None, None]
        g2 = 2 * np.where(tables > 0, special.xlogy(tables, tables / expected), 0.0).sum(axis=(1, 2))
        freedom = np.maximum((rows > 0).sum(axis=1) - 1, 0) * (columns.min(axis=1) > 0)
        by_rows = total * np.where(rows > 0, 1 / rows, 0).sum(axis=1) - 1
        by_columns = total * (1 / columns).sum(axis=1) - 1
        scale = 1 + by_rows * by_columns / (6 * total * freedom)
    return np.where(freedom > 0, np.maximum(g2, 0.0), 0.0), freedom, np.where(freedom > 0, scale, 1.0)


def _beyond_chance(apart: np.ndarray, spread: np.ndarray) -> np.ndarray:
    z = np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 0)
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return apart * special.erf(z / math.sqrt(2)) - 2 * spread * density
