"""What changed between two periods, feature by feature: every distance, and which changes are no chance.

A change is an alarm when it is significant among all features that were compared (Benjamini and Hochberg), and its
effect is above a threshold: one learnt from earlier spans, or else a least effect that is worth a look.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from headwater.components.common.distributions import Feature
from headwater.components.common.findings import percent
from headwater.components.common.significance import benjamini_hochberg
from headwater.components.validate import calendar_parts
from headwater.components.validate.by_construction import TIMES, reason
from headwater.components.validate.distances import PSI, Change, Distance, measure_all
from headwater.components.validate.findings import NO_VALUES, THIS_SPAN
from headwater.components.validate.identifiers import Turnover, measure_turnover
from headwater.components.validate.plots import Plot, plot_of
from headwater.components.validate.tables import MISSING, NAN, Table, tabulate

LEAST_ROWS = 20
"""With fewer rows on a side hardly any change of a feature is significant among several, and false alarms are (seen: on a
quarter of the pairs of 10 and 10,000 unchanged rows of 100 columns)."""

_TOO_FEW = "too few rows on one side to compare"
_LISTS = "the values of a list are not independent, so each row counts once"

Features = Mapping[tuple[str, ...], Feature]


@dataclasses.dataclass(frozen=True)
class Compared:
    """One feature of one split.

    Attributes:
      split, feature: where; nested features with dots.
      change: what was measured; None where nothing could be, or is on purpose.
      impossible: why it cannot be compared; empty when it can.
      note: why it is left out on purpose, or where what is said of chance does not hold.
      threshold: the effect that is too much.
      set_by: who set it: "learnt" from earlier spans, "default" or "settings".
      adjusted: the p-value, adjusted for all features.
      alarm: whether it is too much.
      numeric: whether its values are numbers.
      fixed: the distance that a fixed threshold is for, with its value; it then stands in place of the test.
      table: the bins that were tested.
      sides: the two distributions, the baseline's first.
      turnover: where the change is too much, of identifiers, how many are new.
      come_and_go: whether all that changed is that identifiers come and go; that is no alarm unless too many are new.
    """

    split: str
    feature: str
    change: Change | None
    impossible: str = ""
    note: str = ""
    threshold: float = 0.0
    set_by: str = ""
    adjusted: float = 1.0
    alarm: bool = False
    numeric: bool = False
    fixed: Distance | None = None
    table: Table | None = None
    sides: tuple[Feature, Feature] | None = None
    turnover: Turnover | None = None
    come_and_go: bool = False

    def plot(self) -> Plot:
        """What the page draws of a change."""
        assert self.table and self.sides and self.change, "there is a change"
        return plot_of(self.table, *self.sides, self.change.bin[0])


def compare(
    split: str,
    baseline: Features,
    current: Features,
    title: str,
    silent: Callable[[str, Feature, Feature], str] = reason,
) -> list[Compared]:
    """Measures all features of this span.

    Args:
      split: its name.
      baseline, current: the distributions.
      title: what `baseline` is, as in "the earlier span".
      silent: why a feature is not compared on purpose, by its name and both distributions; "" when it is.
    """
    compared: list[Compared] = []
    both = [path for path in sorted(current) if path in baseline]
    notes = {path: silent(".".join(path), baseline[path], current[path]) for path in both}
    times = [(baseline[path], current[path]) for path in both if notes[path] == TIMES]
    # The absence of a feature is the schema's to report.
    for path in sorted(current):
        name = ".".join(path)
        if path not in baseline:
            compared.append(Compared(split, name, None, impossible=f"{title} has no such feature"))
        elif note := notes[path] or calendar_parts.reason(path[-1], baseline[path], current[path], times):
            compared.append(Compared(split, name, None, note=note))
        else:
            compared.append(_compare(split, name, baseline[path], current[path], title))
    binned = [(place, each.table, each.sides) for place, each in enumerate(compared) if each.table and each.sides]
    changes = measure_all([table for _, table, _ in binned], [sides for *_, sides in binned])
    for (place, *_), change in zip(binned, changes):
        compared[place] = dataclasses.replace(compared[place], change=change)
    return compared


def _compare(split: str, name: str, baseline: Feature, current: Feature, title: str) -> Compared:
    """A feature with its bins, which are measured with those of others, or why it has none."""
    for side, feature in ((title, baseline), (THIS_SPAN, current)):
        if not feature.rows:
            return Compared(split, name, None, impossible=f"it has no rows in {side}")
        if feature.missing >= feature.rows:
            return Compared(split, name, None, impossible=f"{NO_VALUES} {side}")
    if _kind(baseline) != _kind(current):
        return Compared(
            split, name, None, impossible=f"it holds {_kind(current)} here and {_kind(baseline)} in {title}"
        )
    table = tabulate(baseline, current)
    if not min(table.sizes):
        return Compared(split, name, None, note=_TOO_FEW)
    lists = any(side.values > side.rows - side.missing for side in (baseline, current))
    return Compared(
        split,
        name,
        None,
        note=_LISTS if lists else "",
        numeric=baseline.numeric,
        table=table,
        sides=(baseline, current),
    )


def _kind(feature: Feature) -> str:
    if feature.numeric or feature.nan:
        return "numbers"
    return "text" if len(feature.texts) or feature.rest.any() else "neither text nor numbers"


def judge(
    compared: list[Compared],
    *,
    max_p: float,
    min_effect: float,
    learnt: Callable[[str, str], float | None] = lambda split, feature: None,
) -> list[Compared]:
    """Decides which changes are too much.

    Args:
      compared: all features of all splits.
      max_p: the share of alarms that may be false, in (0, 1).
      min_effect: the least effect that is worth a look.
      learnt: the threshold that earlier spans taught, by split and feature, if they did.
    """
    changed = [(place, each.change) for place, each in enumerate(compared) if each.change]
    adjusted = benjamini_hochberg([change.p_value for _, change in changed])
    judged = list(compared)
    for (place, change), p_value in zip(changed, adjusted.tolist()):
        each = compared[place]
        taught = learnt(each.split, each.feature)
        threshold = min_effect if taught is None else max(taught, min_effect)
        too_much = p_value <= max_p and change.effect >= threshold
        turnover = measure_turnover(*each.sides) if too_much and each.sides else None
        come_and_go = too_much and turnover is not None and turnover.frequent < threshold
        judged[place] = dataclasses.replace(
            each,
            threshold=threshold,
            set_by="default" if taught is None else "learnt",
            adjusted=p_value,
            alarm=too_much and not (come_and_go and turnover is not None and turnover.unseen <= turnover.most),
            come_and_go=come_and_go,
            turnover=turnover,
        )
    return judged


def with_threshold(each: Compared, measure: str, threshold: float) -> Compared:
    """The change with a fixed threshold for one of its distances in place of the test."""
    distances = each.change.distances if each.change else ()
    fixed = next(distance for distance in distances if distance.measure == measure)
    alarm = fixed.value > threshold
    return dataclasses.replace(
        each, alarm=alarm, come_and_go=False, threshold=threshold, set_by="settings", fixed=fixed
    )


def as_dict(each: Compared, hidden: bool = False) -> dict[str, Any]:
    """One feature's change for the manifest, less its distances, and where `hidden` less its values."""
    change = each.change
    return {
        "split": each.split,
        "feature": each.feature,
        "effect": change.effect if change else None,
        "p_value": change.p_value if change else None,
        "adjusted": each.adjusted if change else None,
        "threshold": each.threshold if change else None,
        "set_by": each.set_by,
        "alarm": each.alarm,
        "most_changed": dict(zip(("bin", "baseline", "current"), _bin(change, hidden))) if change else None,
        "impossible": each.impossible,
        "note": each.note,
    }


def _bin(change: Change, hidden: bool) -> tuple[str, float, float]:
    name, baseline, current = change.bin
    return (name if not hidden or name in (MISSING, NAN) else "(private)"), baseline, current


def sentence(each: Compared, title: str, hidden: bool = False, skew: bool = False) -> str:
    """What changed, for a person to act on.

    Args:
      each: an alarm.
      title: what it is compared with, as in "span 3".
      hidden: whether values must not be shown.
      skew: whether that is serving data, and no earlier span.
    """
    change = each.change
    if change is None:
        raise ValueError(f"{each.feature}: nothing was measured")
    if each.come_and_go and each.turnover:
        return each.turnover.sentence(title)
    moved = _moved(*_bin(change, hidden), title, skew)
    if each.fixed:
        return (
            f"{moved}; {each.fixed.measure} {each.fixed.value:.3g}{_by_chance(each.fixed)}, threshold "
            f"{each.threshold:g}, set in drift"
        )
    index = next(distance for distance in change.distances if distance.measure == PSI)
    by = ", learned from earlier spans" if each.set_by == "learnt" else ""
    return (
        f"{moved}; PSI {index.value:.3g}{_by_chance(index)}; effect {change.effect:.3g}, threshold "
        f"{each.threshold:.3g}{by}"
    )


def _by_chance(distance: Distance) -> str:
    return f" (chance alone: < {distance.chance:.2g})" if distance.chance is not None else ""


def _moved(name: str, baseline: float, current: float, title: str, skew: bool) -> str:
    """One bin's share in the baseline and now."""
    what = {MISSING: "missing", NAN: "NaN"}.get(name, repr(name))
    if skew:
        return f"{what}: {percent(baseline)} of rows in {title}, {percent(current)} here"
    return f"{what}: {percent(baseline)} → {percent(current)} of rows since {title}"
