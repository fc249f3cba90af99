"""When to stop: what the last answers changed, what the next are expected to gain, and what they cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from headwater.components.common.findings import percent
from headwater.components.label.asking.estimators import Model

_DECAY = 0.5
"""Errors are taken to fall with the number of answers to the power of this, as they mostly do."""


_SHARPEST, _STEPS = 16.0, 65
_TRUST = 20
"""As many held-out rows the model's own probabilities count as."""


def sharpness(probabilities: np.ndarray, codes: np.ndarray) -> float:
    """The power to which a model's probabilities are raised to be as sure as it is right: a forest that learnt from few
    rows is right far more often than it says.

    Args:
      probabilities: of rows that the model has not learnt from.
      codes: the numbers of their classes.

    Returns:
      Where the mean probability of the classes that it gives is the share of rows that it gives the right class, shrunk to
      1 where rows are few.
    """
    if not len(codes):
        return 1.0
    right = float((probabilities.argmax(1) == codes).mean())
    own = float(probabilities.max(1).mean())
    wanted = (len(codes) * right + _TRUST * own) / (len(codes) + _TRUST)
    powers = np.geomspace(1 / _SHARPEST, _SHARPEST, _STEPS)
    reached = [float(sharpened(probabilities, power).max(1).mean()) for power in powers]
    return float(powers[np.argmin(np.abs(np.array(reached) - wanted))])


def sharpened(probabilities: np.ndarray, power: float) -> np.ndarray:
    """Probabilities raised to a power, which sum to 1 again."""
    raised = np.maximum(probabilities, 1e-6) ** power
    return raised / raised.sum(1, keepdims=True)


def hint(
    now: Model,
    before: Model | None,
    sample: np.ndarray,
    learnt: tuple[int, int],
    wanted: int,
    price: float,
    least: float,
    power: float = 1.0,
) -> dict[str, Any]:
    """What the next round is expected to gain.

    The gain of the last answers is estimated by the later model: how much likelier it holds its own classes to be than
    those of the model without these answers, on an even sample of the pool. The next gain follows by how learning curves
    decay.

    Args:
      now: fitted to all that is labelled.
      before: fitted without the answers to the last round; None where there are none, or too few without them.
      sample: vectors of an even sample of the rows that may be asked about.
      learnt: how many labelled rows `before` and `now` learnt from.
      wanted: how many rows come next.
      price: of an answer to one row by all who are asked.
      least: the accuracy for a unit of cost from which on a round is worth it.
      power: the `sharpness` of `now`.

    Returns:
      `accuracy` that the later model expects of itself: the mean probability of its classes; `changed` and `gained`, the
      shares of the pool whose class the last answers changed, and by which accuracy grew; `expected`, by which it will
      grow; `cost`; `worth_it`; None where it cannot be known.
    """
    cost = round(wanted * price, 6)
    probabilities = sharpened(now.predict(sample), power)
    accuracy = round(float(probabilities.max(1).mean()), 6) if len(sample) else None
    unknown = {"changed": None, "gained": None, "expected": None, "cost": cost, "worth_it": None}
    if before is None or not len(sample) or learnt[0] >= learnt[1]:
        return {"accuracy": accuracy, **unknown}
    own, other = probabilities.argmax(1), before.predict(sample).argmax(1)
    rows = np.arange(len(sample))
    gained = float((probabilities[rows, own] - probabilities[rows, other]).mean())
    fewer, more, next_to = learnt[0], learnt[1], learnt[1] + wanted
    slope = (more**-_DECAY - next_to**-_DECAY) / (fewer**-_DECAY - more**-_DECAY)
    expected = gained * slope
    return {
        "accuracy": accuracy,
        "changed": round(float((own != other).mean()), 6),
        "gained": round(gained, 6),
        "expected": round(expected, 6),
        "cost": cost,
        "worth_it": bool(cost == 0 or expected / cost >= least),
    }


def sentence(found: dict[str, Any], rows: int) -> str:
    """The same in words."""
    if found["expected"] is None:
        return "what the next answers gain is not known before a round is answered"
    text = (
        f"the last answers changed the class of {percent(found['changed'])} of the rows; the next {rows:,} rows are expected to "
        f"add {100 * found['expected']:.2f} points of accuracy for a cost of {found['cost']:g}"
    )
    return text if found["worth_it"] else f"{text}: less than label.ask.least_gain, so consider stopping here"
