"""How fast the ground truth changes, and how often it should be labelled anew.

Each entry of a history is the effect of the concept (`deciding.decide`: the share of labels that changed) between two
periods that lie some days apart. With the rate of each as effect / days, the rate of the ground truth is their median,
which one sudden change does not move, and

    days until `tolerated` of the labels are wrong = tolerated / rate.

This takes changes as going on in one direction; where the concept comes back, as with seasons, labels last longer than
it says. An effect is what is above chance, so that a truth that stands still has a rate of 0.

| the labels last | labels from |
| --- | --- |
| months (60 days and more) | curated sets, labelled by people |
| weeks (7 days and more) | direct feedback from use, and people |
| days, or hours (less than 2 days) | direct feedback from use, and weak supervision: rules and models that label |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import percent

MONTHS, WEEKS, DAYS = 60.0, 7.0, 2.0
"""Days that labels last at least, to be called so."""

LONGEST = 365.0
"""Labels are looked at again after so many days at the latest."""

_METHODS = {
    "months": ["curated sets", "people"],
    "weeks": ["direct feedback", "people"],
    "days": ["direct feedback", "weak supervision"],
    "hours": ["direct feedback", "weak supervision"],
}


def advise(history: Sequence[Mapping[str, float]], tolerated: float = 0.05) -> dict[str, Any]:
    """How fast the ground truth changes, and the labelling that fits.

    Args:
      history: of each comparison `days`, between the middles of its two periods, above 0, and `effect`, in [-1, 1].
      tolerated: the share of labels that may be wrong before there are new ones, in (0, 1).

    Returns:
      `rate_per_day`; `days`, how long labels last, None when nothing changed; `range`, the same by the quartiles of the
      rates; `speed`: "months", "weeks", "days" or "hours"; `labels_from`; `cadence_days`, between labelling and
      labelling; `comparisons`, how many there were; `reason`, a sentence.

    Raises:
      HeadwaterError: the history is empty, or an entry or `tolerated` is out of range.
    """
    if not 0 < tolerated < 1:
        raise HeadwaterError(f"tolerated: must be a share greater than 0 and less than 1; given: {tolerated!r}")
    if not history:
        raise HeadwaterError("history: there are no comparisons yet; compare at least two periods")
    rates = np.array([_rate(place, entry) for place, entry in enumerate(history)])
    slow, rate, fast = (float(each) for each in np.quantile(rates, [0.25, 0.5, 0.75]))
    days, longest, shortest = (tolerated / each if each > 0 else None for each in (rate, slow, fast))
    speed = _speed(days)
    cadence = min(days or LONGEST, LONGEST)
    if days is None:
        lasting = "most comparisons show no change in what the label means"
    else:
        lasting = f"after about {_words(days)}, {percent(tolerated)} of the labels would have changed"
    return {
        "rate_per_day": rate,
        "days": days,
        "range": [shortest, longest],
        "speed": speed,
        "labels_from": _METHODS[speed],
        "cadence_days": cadence,
        "comparisons": len(rates),
        "reason": f"{lasting}: label every {_words(cadence)}, from {' and '.join(_METHODS[speed])}"
        + ("; this is based on few comparisons" if len(rates) < 3 else ""),
    }


def _rate(place: int, entry: Mapping[str, float]) -> float:
    for key in ("days", "effect"):
        value = entry.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise HeadwaterError(f"history[{place}].{key}: must be a finite number; given: {value!r}")
    days, effect = float(entry["days"]), float(entry["effect"])
    if days <= 0:
        raise HeadwaterError(f"history[{place}].days: must be more than 0; given: {days:g}")
    if not -1 <= effect <= 1:
        raise HeadwaterError(f"history[{place}].effect: must be a share of the labels, at most 1; given: {effect:g}")
    return max(effect, 0.0) / days


def _speed(days: float | None) -> str:
    if days is None or days >= MONTHS:
        return "months"
    return "weeks" if days >= WEEKS else "days" if days >= DAYS else "hours"


def _words(days: float) -> str:
    if days >= DAYS:
        return f"{days:.0f} days"
    return f"{max(days * 24, 1):.0f} hours"
