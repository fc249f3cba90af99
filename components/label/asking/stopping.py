"""When to stop: what the last answers changed, what the next are expected to gain, and what they cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from headwater.components.common.findings import percent
from headwater.components.label.asking.estimators import Model

_DECAY = 0.5
"""Errors are taken to fall with the number of answers to the power of this, as they mostly do."""


def hint(
    now: Model,
    before: Model | None,
    sample: np.ndarray,
    learnt: tuple[int, int],
    wanted: int,
    price: float,
    least: float,
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

    Returns:
      `changed` and `gained`, the shares of the pool whose class the last answers changed, and by which accuracy grew;
      `expected`, by which it will grow; `cost`; `worth_it`; None where it cannot be known.
    """
    cost = round(wanted * price, 6)
    unknown = {"changed": None, "gained": None, "expected": None, "cost": cost, "worth_it": None}
    if before is None or not len(sample) or learnt[0] >= learnt[1]:
        return unknown
    probabilities = now.predict(sample)
    own, other = probabilities.argmax(1), before.predict(sample).argmax(1)
    rows = np.arange(len(sample))
    gained = float((probabilities[rows, own] - probabilities[rows, other]).mean())
    fewer, more, next_to = learnt[0], learnt[1], learnt[1] + wanted
    slope = (more**-_DECAY - next_to**-_DECAY) / (fewer**-_DECAY - more**-_DECAY)
    expected = gained * slope
    return {
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
