"""An isolation forest (Liu, Ting & Zhou, 2008): rows that few random cuts part from all others stand alone.

All trees grow at once, level by level, and are read at once. It is scikit-learn's algorithm, whose import alone would take
longer than most samples.
"""

from __future__ import annotations

import dataclasses

import numpy as np

_CHUNK = 2048


@dataclasses.dataclass(frozen=True)
class Forest:
    """Trees as flat arrays of nodes; the first nodes are the roots.

    Attributes:
      columns: the column that each node cuts, int32.
      cuts: where; what is not above goes left. Infinite at a leaf.
      left: the node on the left, whose neighbour is that on the right; a leaf's is itself, int32.
      depths: of a leaf how deep it lies, and how much deeper its rows would on average; else 0.
      trees: how many.
      levels: how deep the deepest leaf lies.
      usual: the depth that is expected of a row, by which scores are scaled.
    """

    columns: np.ndarray
    cuts: np.ndarray
    left: np.ndarray
    depths: np.ndarray
    trees: int
    levels: int
    usual: float

    def scores(self, values: np.ndarray) -> np.ndarray:
        """How alone each row stands, in (0, 1), float64[rows]; 0.5 is usual.

        Args:
          values: float64[rows, columns], finite.
        """
        return np.concatenate(
            [self._scores(values[start : start + _CHUNK]) for start in range(0, len(values), _CHUNK)] or [np.zeros(0)]
        )

    def _scores(self, values: np.ndarray) -> np.ndarray:
        rows = len(values)
        cells = np.ascontiguousarray(values.T).ravel()
        offsets, here = self.columns * rows, np.arange(rows, dtype=np.int32)
        nodes = np.repeat(np.arange(self.trees, dtype=np.int32)[:, None], rows, axis=1)
        for _ in range(self.levels):
            above = cells.take(offsets.take(nodes) + here) > self.cuts.take(nodes)
            nodes = self.left.take(nodes) + above
        depths = self.depths.take(nodes).sum(axis=0)
        return 2.0 ** -(depths / (self.trees * self.usual)) if self.usual else np.full(rows, 0.5)


def grow(values: np.ndarray, trees: int, tree_rows: int, seed: int) -> Forest:
    """Grows a forest.

    Args:
      values: float64[rows, columns], finite, at least one row.
      trees: how many trees.
      tree_rows: how many rows each is grown on, drawn anew without replacement; all where there are fewer.
      seed: of the draws and the cuts.
    """
    random = np.random.default_rng([seed, trees])
    size = min(tree_rows, len(values))
    drawn = np.concatenate([random.choice(len(values), size, replace=False, shuffle=False) for _ in range(trees)])
    values = values[drawn]
    # Of each row the node that it is in.
    nodes = np.repeat(np.arange(trees), size)
    first, levels = 0, int(np.ceil(np.log2(max(size, 2))))
    parts: list[tuple[np.ndarray, ...]] = []
    for depth in range(levels + 1):
        values, nodes, starts = _sorted(values, nodes)
        counts = np.diff([*starts, len(nodes)])
        low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        cut = (low < high).any(axis=1) & (depth < levels)
        columns, cuts = _cuts(random, low, high)
        after = first + len(starts)
        left = np.where(cut, after + 2 * (np.cumsum(cut) - 1), first + np.arange(len(starts)))
        depths = np.where(cut, 0.0, depth + _deeper(counts))
        parts.append((np.where(cut, columns, 0), np.where(cut, cuts, np.inf), left, depths))
        place = nodes - first
        goes_on = cut[place]
        values, place = values[goes_on], place[goes_on]
        if not len(values):
            break
        above = values[np.arange(len(values)), columns[place]] > cuts[place]
        nodes, first = left[place] + above, after
    columns, cuts, left, depths = (np.concatenate(each) for each in zip(*parts))
    usual = float(_deeper(np.array([size]))[0])
    return Forest(columns.astype(np.int32), cuts, left.astype(np.int32), depths, trees, len(parts) - 1, usual)


def _sorted(values: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows by their nodes, and where each node's begin."""
    order = np.argsort(nodes, kind="stable")
    nodes = nodes[order]
    return values[order], nodes, np.flatnonzero(np.diff(nodes, prepend=-1))


def _cuts(random: np.random.Generator, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each node one of the columns that vary in it, and a cut between its lowest and its highest value."""
    columns = np.where(low < high, random.random(low.shape), -1.0).argmax(axis=1)
    here = np.arange(len(low))
    least, most = low[here, columns], high[here, columns]
    cuts = least + random.random(len(low)) * (most - least)
    # Rounding may reach the highest value, above which there is nothing.
    return columns, np.where(cuts < most, cuts, least)


def _deeper(counts: np.ndarray) -> np.ndarray:
    """How deep a row lies on average in a tree that parts so many rows."""
    with np.errstate(divide="ignore", invalid="ignore"):
        many = 2 * (np.log(counts - 1.0) + np.euler_gamma) - 2 * (counts - 1.0) / counts
    return np.where(counts <= 1, 0.0, np.where(counts == 2, 1.0, many))
