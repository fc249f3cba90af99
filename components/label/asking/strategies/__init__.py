"""Which rows to ask about. A new strategy is a module here, and its line in `STRATEGIES`.

A module has

- `TITLE`, what it looks for, in a few words that stand as the reason beside each row;
- `LEARNS`, what it needs: "nothing", "model" or "committee". Where too little is labelled to learn from, `clusters` takes
  the place of a strategy that learns;
- `worth(rows, space)`, how much each row is worth asking about, a float64 of which greater is more. It is called on batches
  of the pool, on any worker, and must depend on each row alone. Only the rows of greatest worth come back;
- `choose(pool, told)`, the places in the pool of the rows to ask about, the first first. The rows are to differ from each
  other as well: a batch of twenty alike is worth little more than one.

It may have `parts(settings)`, the names of the strategies that it is put together from; `choose` then gets a pool of each,
by name. And `BY_REGION`, whether the best of each region are kept, and not of all together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from headwater.components.common.lazy import Modules


class Rows(NamedTuple):
    """Rows as strategies see them.

    Attributes:
      vectors: float32, [rows, dimensions], of comparable scale.
      hashes: uint64, of the rows' keys: what breaks ties, and chance.
      probabilities: of each class, [rows, classes]; None where nothing can be learnt yet.
      members: the same of each member of the committee, [members, rows, classes]; None where there is none.
    """

    vectors: np.ndarray
    hashes: np.ndarray
    probabilities: np.ndarray | None = None
    members: np.ndarray | None = None

    def take(self, places: np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(
            self.vectors[places],
            self.hashes[places],
            None if self.probabilities is None else self.probabilities[places],
            None if self.members is None else self.members[:, places],
        )


class Space(NamedTuple):
    """What is fixed before rows are looked at.

    Attributes:
      centres: of the regions, float32, [regions, dimensions]; None where no strategy needs them.
      inner: the name of the strategy that regions run.
    """

    centres: np.ndarray | None = None
    inner: str = "margin"


class Pool(NamedTuple):
    """The rows that one strategy may choose from: those of the greatest worth.

    Attributes:
      rows: in a fixed order, the greatest worth first.
      worth: of each.
      regions: the region of each; None where the strategy has none.
      counts, sums: of each region how many rows the whole pool has, and the sum of their worth.
    """

    rows: Rows
    worth: np.ndarray
    regions: np.ndarray | None = None
    counts: np.ndarray | None = None
    sums: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Told:
    """What a choice is made with, beside the pool.

    Attributes:
      wanted: how many rows.
      labelled: the vectors of rows that are labelled or were asked about, in no order.
      classes: how many classes there are.
      shares: of a mix, by strategy.
      inner: the name of the strategy that regions run.
      seed: of whatever is drawn.
      beside: the vectors of rows that other strategies have chosen for the same batch; None where there are none.
    """

    wanted: int
    labelled: np.ndarray
    classes: int
    shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    inner: str = "margin"
    seed: int = 0
    beside: np.ndarray | None = None


STRATEGIES = Modules(
    {
        name: f"headwater.components.label.asking.strategies.{name}"
        for name in ("margin", "entropy", "clusters", "committee", "regions", "random", "mix")
    }
)
"""Every strategy by its name."""


def parts_of(name: str, shares: Mapping[str, float]) -> Sequence[str]:
    """The strategies whose pools a strategy chooses from: its own, or those that it is put together from."""
    module = STRATEGIES[name]
    return module.parts(shares) if hasattr(module, "parts") else (name,)
