"""Labels beside the truth: counts that merge, and what they tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headwater.components.label.methods import Labels

_BINS = 10
_FLOOR = 1e-9
_DIGITS = 6


def count(labels: Labels, truth: np.ndarray) -> dict[str, Any]:
    """Counts the rows whose class is known.

    Args:
      labels: of some rows.
      truth: int8, one a row: the number of its class, or -1.

    Returns:
      `met`, [true class][label], the last label being to abstain; `loss`, the sum of −log of the probability of the
      true class over labelled rows; and `sure`, by the label's probability in tenths, [rows, right ones, sum of it].
    """
    classes = labels.probabilities.shape[1]
    known = np.flatnonzero(truth >= 0)
    own, codes = truth[known].astype(np.int64), labels.codes[known].astype(np.int64)
    met = np.bincount(own * (classes + 1) + np.where(codes < 0, classes, codes), minlength=classes * (classes + 1))
    decided = codes >= 0
    chance = labels.probabilities[known[decided]].astype(np.float64)
    picked = chance[np.arange(len(chance)), codes[decided]]
    places = np.minimum((picked * _BINS).astype(np.int64), _BINS - 1)
    right = (codes[decided] == own[decided]).astype(np.float64)
    sure = [np.bincount(places, weights, minlength=_BINS) for weights in (None, right, picked)]
    loss = -np.log(np.maximum(chance[np.arange(len(chance)), own[decided]], _FLOOR)).sum()
    return {
        "met": met.reshape(classes, classes + 1).tolist(),
        "loss": float(loss),
        "sure": np.stack(sure, 1).tolist(),
    }


def add(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The counts of both counts' rows."""
    return {name: (np.array(one[name]) + np.array(other[name])).tolist() for name in one}


def describe(counts: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """What counts tell, JSON values only: of the labelled rows of known class `accuracy` and `log_loss`; by class
    `precision` and `recall`, where to abstain is to miss; and how often labels of some probability are right."""
    met = np.array(counts["met"], np.int64)
    labelled, right = int(met[:, :-1].sum()), int(np.trace(met))
    by_class = {
        name: {
            "rows": int(met[number].sum()),
            "precision": _share(met[number, number], met[:, number].sum()),
            "recall": _share(met[number, number], met[number].sum()),
        }
        for number, name in enumerate(classes)
    }
    return {
        "rows": int(met.sum()),
        "labelled": labelled,
        "right": right,
        "accuracy": _share(right, labelled),
        "log_loss": _share(counts["loss"], labelled),
        "classes": by_class,
        "confusion": {name: dict(zip([*classes, ""], map(int, met[number]))) for number, name in enumerate(classes)},
        "calibration": [
            {"rows": int(rows), "probability": _share(chance, rows), "right": _share(good, rows)}
            for rows, good, chance in counts["sure"]
            if rows
        ],
    }


def _share(part: float, whole: float) -> float | None:
    return round(float(part / whole), _DIGITS) if whole else None
