"""Labels by expected cost: a missed fraud is not a false alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headwater.components.common.errors import HeadwaterError


def check(where: str, given: Mapping[str, Mapping[str, float]], classes: Sequence[str]) -> None:
    """Raises HeadwaterError unless the costs are of classes, at least 0, and nothing to be right."""
    for truth, row in given.items():
        for label, cost in row.items():
            for name in (truth, label):
                if name not in classes:
                    raise HeadwaterError(f"{where}: {name!r} is not one of the classes; they are {', '.join(classes)}")
            if cost < 0 or (truth == label and cost):
                raise HeadwaterError(
                    f"{where}.{truth}.{label}: a cost must be at least 0, and exactly 0 for the right label; given: "
                    f"{cost}"
                )


def matrix(given: Mapping[str, Mapping[str, float]], classes: Sequence[str]) -> np.ndarray | None:
    """Costs, float32, [truth, label]; None where all mistakes cost the same."""
    if not given:
        return None
    costs = 1 - np.eye(len(classes), dtype=np.float32)
    for truth, row in given.items():
        for label, cost in row.items():
            costs[classes.index(truth), classes.index(label)] = cost
    return costs


def decide(posterior: np.ndarray, given: np.ndarray | None) -> np.ndarray:
    """The label of the least expected cost, the first of equals; int8, one a row."""
    chosen = posterior.argmax(1) if given is None else (posterior @ given).argmin(1)
    return chosen.astype(np.int8)
