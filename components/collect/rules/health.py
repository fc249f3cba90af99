"""Source health: is the data fresh, as much as expected, from the sources expected, and missing no more than before?

Each rule is derived from this dataset's exact profile and those of earlier spans, and gives findings.
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headwater.components.collect.rules.base import Evidence, Outcome
from headwater.components.collect.rules.findings import finding
from headwater.components.common.findings import percent
from headwater.components.common.significance import benjamini_hochberg

FUTURE = datetime.timedelta(days=1)
"""Events further in the future than this are a wrong clock."""

STUCK_RUN = 50
"""A run of one unchanging value that is shorter is never a finding."""

STUCK_SHARE = 0.2
"""A run is a finding when it holds more than this share of the rows, and the column is no constant."""

MISSING_EFFECT = 0.02
"""A share of missing values that moved by less is no finding, however significant."""

MISSING_RATIO = 0.1
"""Nor is one that moved by less than this part of what it was."""

FALSE_DISCOVERY = 0.001
"""The share of false ones among findings of `missing_share` (Benjamini & Hochberg, 1995)."""

_FEWEST_EXPECTED = 10
_BAND = 4.0
_MEASURED = ("double", "float", "halffloat") + tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (16, 32, 64))
_FEW_SPANS = 8


def freshness(evidence: Evidence) -> Outcome:
    return Outcome(check_freshness(evidence.summary["newest"], evidence.as_of, evidence.max_age))


def empty_sources(evidence: Evidence) -> Outcome:
    earlier = evidence.history[-1]["sources"] if evidence.history else ()
    return Outcome(check_sources(evidence.summary["sources"], earlier))


def stuck_values(evidence: Evidence) -> Outcome:
    return Outcome(check_stuck(evidence.profile))


def volume(evidence: Evidence) -> Outcome:
    rows = [(each["span"], each["rows"]) for each in evidence.history]
    here, settings = evidence.summary, evidence.settings
    return Outcome(check_volume(here["span"], here["rows"], rows, settings.season, settings.volume_tolerance))


def column_changes(evidence: Evidence) -> Outcome:
    history = evidence.history
    return Outcome(check_columns(evidence.profile, history[-1]["profile"]) if history else [])


def model_versions(evidence: Evidence) -> Outcome:
    history = evidence.history
    return Outcome(check_models(evidence.summary["models"], history[-1]["models"]) if history else [])


def refresh_interval(evidence: Evidence) -> Outcome:
    return Outcome(advise_refresh([*evidence.history, evidence.summary]) if evidence.history else [])


def check_freshness(
    newest: str | None, as_of: datetime.datetime, max_age: datetime.timedelta | None
) -> list[dict[str, Any]]:
    """`stale`: the newest event is too old, or lies in the future."""
    if newest is None:
        return []
    as_of = as_of if as_of.tzinfo else as_of.replace(tzinfo=datetime.UTC)
    age = as_of - _time(newest)
    hours = age.total_seconds() / 3600
    if max_age is not None and age > max_age:
        limit = max_age.total_seconds() / 3600
        message = f"the newest event is {hours:,.1f} hours old, more than max_age allows ({limit:,.1f} hours)"
        return [finding("stale", "error", None, message, hours, limit)]
    if -age > FUTURE:
        message = f"the newest event is {-hours:,.1f} hours in the future; a clock or a time zone may be wrong"
        return [finding("stale", "warning", None, message, hours, 0.0)]
    return []


def check_sources(sources: Sequence[Mapping[str, Any]], earlier: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`empty_source`: a source without rows while others have some."""
    had = {each["uri"].rsplit("/", 1)[-1]: each["rows"] for each in earlier}
    findings = []
    for each in sources:
        before = had.get(each["uri"].rsplit("/", 1)[-1])
        if not each["rows"] and (before or any(other["rows"] for other in sources)):
            summary = f" (it had {before:,} in the last span)" if before else ""
            findings.append(finding("empty_source", "warning", None, f"{each['uri']} has no rows{summary}", 0.0))
    return findings


def check_stuck(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`stuck`: one value that stays unchanged for a large part of the rows, as of a sensor that hangs."""
    findings = []
    for name, column in sorted(profile["columns"].items()):
        run, rows = column["longest_run"], profile["rows"]
        # Times and codes stay the same for long by their nature; a measured number does not.
        if column["type"] not in _MEASURED or column["constant"] or run < STUCK_RUN or run <= STUCK_SHARE * rows:
            continue
        message = f"{name!r} has the same value in {run:,} consecutive rows, {percent(run / rows)} of all; a sensor may be stuck"
        findings.append(finding("stuck", "warning", name, message, run / rows, STUCK_SHARE))
    return findings


def check_volume(
    span: int, rows: int, history: Sequence[tuple[int, int]], season: int, tolerance: float
) -> list[dict[str, Any]]:
    """`volume`: more or fewer rows than earlier spans let expect.

    Expected is a robust line through the logarithms of earlier volumes (Theil, 1950; Sen, 1968) times the median ratio
    of the spans at the same place of the season. The band is 4 robust standard deviations of what the line leaves,
    wider for few spans, and at least 10 %. With fewer than eight spans, or less than two whole seasons, it is
    `tolerance` about the median, and never less than what was seen before; within the first season nothing is expected.

    Args:
      span: this span's number.
      rows: its rows.
      history: number and rows of earlier spans.
      season: its length in spans; 0 for none.
      tolerance: the share by which volume may leave the median of few spans.
    """
    known = [(number, count) for number, count in history if count > 0]
    if not known:
        return []
    if not rows:
        return [
            finding(
                "volume", "warning", None, f"there are no rows, although all {len(known)} earlier spans had some", 0.0
            )
        ]
    places = np.array([number for number, _ in known], float)
    logs = np.log([count for _, count in known])
    seasons = len(known) / season if season else 0
    if season and seasons < 1:
        # The first Sunday cannot be distinguished from a loss.
        return []
    if len(known) < _FEW_SPANS or (season and seasons < 2):
        # Too few to tell a trend or a season from noise.
        expected, band = math.exp(float(np.median(logs))), math.log1p(tolerance)
        if logs.min() <= math.log(rows) <= logs.max():
            return []
    else:
        factors, here = np.zeros(len(known)), 0.0
        if season:
            # Twice: the line is bent by the season, and the season is estimated from what the line leaves.
            for _ in range(2):
                slope, level = theil_sen(places, logs - factors)
                left = logs - (level + slope * places)
                by_place = {
                    place: float(np.median(left[places % season == place])) for place in set((places % season).tolist())
                }
                factors = np.array([by_place[place] for place in (places % season).tolist()])
            here = by_place.get(float(span % season), 0.0)
        slope, level = theil_sen(places, logs - factors)
        left = logs - factors - (level + slope * places)
        expected = math.exp(level + slope * span + here)
        # What was fitted follows its own noise: each fitted value takes away some of what is left to see.
        free = max(1.0, len(known) - 2 - (season if season else 0))
        spread = 1.4826 * float(np.median(np.abs(left - np.median(left)))) * math.sqrt(len(known) / free)
        band = max(_BAND * spread * (1 + 6 / free), math.log(1.1))
    if abs(math.log(rows / expected)) <= band:
        return []
    direction = "more" if rows > expected else "fewer"
    message = (
        f"{rows:,} rows are {direction} than expected: about {expected:,.0f}, and between "
        f"{expected / math.exp(band):,.0f} "
        f"and {expected * math.exp(band):,.0f}, from {len(known)} earlier spans"
    )
    return [finding("volume", "warning", None, message, float(rows), round(expected, 1))]


def theil_sen(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The slope and the level of a robust line: medians of the slopes of all pairs and of what they leave."""
    pairs = [(y[j] - y[i]) / (x[j] - x[i]) for i, j in itertools.combinations(range(len(x)), 2) if x[i] != x[j]]
    slope = float(np.median(pairs)) if pairs else 0.0
    return slope, float(np.median(y - slope * x))


def check_columns(profile: Mapping[str, Any], earlier: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`column_added`, `column_gone`, and `missing_share`: the share of missing values moved since the last span."""
    now, before = profile["columns"], earlier["columns"]
    findings = [
        finding("column_added", "info", name, f"{name!r} is new: the last span did not have it")
        for name in sorted(set(now) - set(before))
    ]
    findings += [
        finding("column_gone", "warning", name, f"{name!r} is gone: the last span had it")
        for name in sorted(set(before) - set(now))
    ]
    tests = []
    for name in sorted(set(now) & set(before)):
        share = now[name]["missing"] / max(profile["rows"], 1)
        was = before[name]["missing"] / max(earlier["rows"], 1)
        chance = _two_shares(now[name]["missing"], profile["rows"], before[name]["missing"], earlier["rows"])
        tests.append((name, was, share, chance))
    adjusted = benjamini_hochberg([chance for *_, chance in tests])
    for (name, was, share, _), p_value in zip(tests, adjusted):
        if p_value <= FALSE_DISCOVERY and abs(share - was) >= max(MISSING_EFFECT, MISSING_RATIO * was):
            message = f"{name!r} is missing in {percent(share)} of the rows, but was in {percent(was)} in the last span"
            action = (
                ""
                if share > was
                else "nothing to do if the last span was an exception; if not, look for what fills it now"
            )
            findings.append(finding("missing_share", "warning", name, message, share, was, action))
    return findings


def check_models(models: Mapping[str, Any], earlier: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`model_version`: a column is the output of another model, or of another version, than in the last span."""
    findings = []
    for name in sorted(set(models) | set(earlier)):
        now, was = (
            f"{each['model']} {each['version']}" if each else "no model"
            for each in (models.get(name), earlier.get(name))
        )
        if now != was:
            message = (
                f"{name!r} is the output of {now}, but was that of {was} in the last span; errors of one model "
                "compound in the next"
            )
            findings.append(finding("model_version", "warning", name, message))
    return findings


def advise_refresh(spans: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`refresh`: the interval between the newest events of successive spans, and the one that would fit better.

    Args:
      spans: at least two with event times, this one last.
    """
    timed = [each for each in spans if each["newest"] and each["oldest"]]
    if len(timed) < 3 or not spans[-1]["newest"]:
        return []
    steps = [(_time(b["newest"]) - _time(a["newest"])).total_seconds() / 3600 for a, b in zip(timed, timed[1:])]
    held = [(_time(each["newest"]) - _time(each["oldest"])).total_seconds() / 3600 for each in timed]
    observed, content = float(np.median(steps)), float(np.median(held))
    same = sum(1 for a, b in zip(spans, spans[1:]) if a["fingerprint"] == b["fingerprint"]) / (len(spans) - 1)
    idle = sum(1 for step in steps if step <= 0) / len(steps)
    if max(same, idle) >= 0.5:
        advised, why = observed * 2 or content, "most collections brought no newer events"
    elif observed > 0 and content < observed / 2:
        advised, why = content, "the events of each collection cover much less time than passes between two collections"
    else:
        return []
    if advised <= 0:
        return []
    message = (
        f"the newest events of successive collections are {observed:,.1f} hours apart; {advised:,.1f} hours would fit "
        f"better: {why}"
    )
    return [finding("refresh", "info", None, message, observed, advised)]


def _two_shares(missing: int, rows: int, before: int, earlier: int) -> float:
    """The chance of two shares that differ so much if they were one, two-sided.

    By Fisher's exact test where a cell of the table would have fewer than 10 rows, which the normal approximation of
    the z test of pooled proportions does not hold for; by that approximation elsewhere.
    scipy.stats has the test too, and takes a second to import.
    """
    total, gone = rows + earlier, missing + before
    if not rows or not earlier or gone in (0, total):
        return 1.0
    if min(rows, earlier) * min(gone, total - gone) / total >= _FEWEST_EXPECTED:
        pooled = gone / total
        deviation = math.sqrt(pooled * (1 - pooled) * (1 / rows + 1 / earlier))
        return math.erfc(abs(missing / rows - before / earlier) / deviation / math.sqrt(2))
    logs = [
        _log_choose(gone, count) + _log_choose(total - gone, rows - count) - _log_choose(total, rows)
        for count in range(max(0, gone - earlier), min(gone, rows) + 1)
    ]
    seen = logs[missing - max(0, gone - earlier)]
    # Tables as probable as the one seen count, whatever rounding makes of them.
    return min(1.0, math.fsum(math.exp(log) for log in logs if log <= seen + 1e-7))


def _log_choose(total: int, part: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(part + 1) - math.lgamma(total - part + 1)


def _time(text: str) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
