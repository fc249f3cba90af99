"""What earlier runs measured, and what is to be expected of this one.

Every run's verdict holds its distances, so the verdicts under `data_root` are the history.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headwater.components.common import results
from headwater.components.common.results import Home

LEAST = 8
"""From so many earlier effects on, a threshold is learnt."""

DEVIATIONS = 4.0
"""A learnt threshold lies so many robust standard deviations above what is expected."""

MOST = 60
"""So many earlier spans are read at most, the latest."""

_TO_SIGMA = 1.4826


@dataclasses.dataclass(frozen=True)
class Past:
    """An earlier run.

    Attributes:
      span: its span.
      blessed: its verdict.
      effects: by split and feature.
      alarms: the splits and features among them that were alarms.
      concept: of labels that were compared: how many spans apart the two periods lie, and the effect.
      thresholds: of those effects, by split and feature.
      version: the version of the verdict.
      verdict: in words.
    """

    span: int
    blessed: bool
    effects: dict[tuple[str, str], float]
    alarms: frozenset[tuple[str, str]]
    concept: tuple[int, float] | None = None
    thresholds: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    version: int = 1
    verdict: str = ""


def read(home: Home | None) -> list[Past]:
    """The latest version of each earlier span's verdict, in order; nothing without a `data_root`."""
    if home is None:
        return []
    past = []
    for other in results.before(home, "anomalies", MOST):
        body = results.load(other.folder("anomalies"), "anomalies").body
        effects, alarms, thresholds = {}, set(), {}
        for change in body.get("changes", []):
            key = (change["split"], change["feature"])
            if change["effect"] is not None:
                effects[key] = change["effect"]
                thresholds[key] = change["threshold"]
            if change["alarm"]:
                alarms.add(key)
        concept = concept_of(body.get("concept"))
        told = (effects, frozenset(alarms), concept, thresholds, other.version, body["verdict"])
        past.append(Past(other.span, body["blessed"], *told))
    return past


def concept_of(summary: Mapping[str, Any] | None) -> tuple[int, float] | None:
    """How many spans apart a verdict's two periods of labels lie, and the effect over its splits; None for none."""
    if not summary or not summary["spans_apart"]:
        return None
    effects = [split["effect"] for split in summary["splits"].values() if split and split["effect"] is not None]
    return (summary["spans_apart"], max(effects)) if effects else None


def learn(past: Sequence[Past], key: tuple[str, str], span: int, season: int = 0) -> float | None:
    """The effect above which this span's is unusual, by what came before.

    A straight line through the earlier effects by the median of all slopes (Theil, 1950; Sen, 1968), the median of what
    the same phase of earlier seasons had beside it, and `DEVIATIONS` times the median absolute deviation of the rest.

    Args:
      past: earlier runs.
      key: split and feature.
      span: this one's number.
      season: spans in a season, such as 7 for days of a week; 0 for none.

    Returns:
      The threshold, at least 0; None while fewer than `LEAST` effects are known, or fewer than two seasons.
    """
    known = [(run.span, run.effects[key]) for run in past if key in run.effects]
    if len(known) < max(LEAST, 2 * season):
        return None
    at, effects = (np.array(column, float) for column in zip(*known))
    i, j = np.triu_indices(len(at), 1)
    # A season apart, so that the season itself is no slope.
    apart = at[j] - at[i]
    kept = apart % season == 0 if season else np.ones(len(i), bool)
    slopes = (effects[j] - effects[i])[kept] / apart[kept]
    slope = float(np.median(slopes)) if len(slopes) else 0.0
    level = float(np.median(effects - slope * at))
    rest = effects - slope * at - level
    phase = 0.0
    if season:
        offsets = np.zeros(len(at))
        for each in range(season):
            same = at % season == each
            if same.any():
                offsets[same] = np.median(rest[same])
        here = at % season == span % season
        phase = float(np.median(rest[here])) if here.any() else 0.0
        rest = rest - offsets
    spread = _TO_SIGMA * float(np.median(np.abs(rest)))
    return max(0.0, level + slope * span + phase + DEVIATIONS * spread)
