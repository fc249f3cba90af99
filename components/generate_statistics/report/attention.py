"""What in a feature's statistics needs a person's eye, the most urgent first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headwater.components.common.pages import percent

MISSING = 0.05
"""Share of missing values from which a feature is named."""

DIFFERENT = 0.15
"""Distance between two splits, beyond what chance explains, from which they are said to differ."""

# The 1 % point of Kolmogorov's distribution, by which chance is judged.
_KOLMOGOROV = 1.63
_ONE_VALUE, _MANY_ZEROS, _ALL_DIFFERENT = 0.99, 0.9, 0.9
_LEAST_VALUES = 50
_FAR = 10.0
_QUANTILES = 1


@dataclasses.dataclass(frozen=True, order=True)
class Reason:
    """Why a feature needs an eye.

    Attributes:
      weight: 3 for what is likely broken, 2 for what should be looked at, 1 for what is good to know.
      text: in words.
    """

    weight: int
    text: str


def common_of(feature: Any) -> Any:
    """The `CommonStatistics` of a feature."""
    return getattr(feature, feature.WhichOneof("stats") or "string_stats").common_stats


def missing_share(feature: Any) -> float:
    """Missing values among the rows, or for what lies in a struct, among the structs; between 0 and 1."""
    common = common_of(feature)
    places = common.num_missing + common.num_non_missing
    return common.num_missing / places if places else 0.0


def deciles(feature: Any) -> Any:
    """The histogram of nearly equal weights; None when the feature has none."""
    return next((each for each in feature.num_stats.histograms if each.type == _QUANTILES and each.buckets), None)


def reasons(features: Mapping[str, Any], moment: bool) -> list[Reason]:
    """Why a feature needs an eye, the most urgent first; nothing when it looks sound.

    Args:
      features: `FeatureNameStatistics` of one feature by split, the first the one that others are compared with.
      moment: whether its numbers are dates, times or durations, for which zeros mean nothing.
    """
    by_text: dict[str, list[tuple[str, _Seen]]] = {}
    for split, feature in features.items():
        for seen in _alone(feature, moment):
            by_text.setdefault(seen.text, []).append((split, seen))
    summary = [_told(each, len(features)) for each in by_text.values()]
    return sorted([*summary, *_between(features)], key=lambda reason: -reason.weight)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """A reason of one split; with the share of values that it is about."""

    weight: int
    text: str
    share: float | None = None


def _told(each: list[tuple[str, _Seen]], splits: int) -> Reason:
    """What several splits say, once."""
    seen = [one for _, one in each]
    text = seen[0].text
    shares = [one.share for one in seen if one.share is not None]
    if shares:
        low, high = _part(min(shares)), _part(max(shares))
        text = f"{low} {text}" if low == high else f"{low} to {high} {text}"
    if len(each) < splits:
        text += f" in {_listed([split for split, _ in each])}"
    return Reason(max(one.weight for one in seen), text)


def _alone(feature: Any, moment: bool) -> list[_Seen]:
    common = common_of(feature)
    places = common.num_missing + common.num_non_missing
    if not places:
        return []
    if not common.num_non_missing:
        return [_Seen(3, "all values are missing")]
    if not common.tot_num_values:
        return [_Seen(3, "all lists are empty")]
    share, seen = common.num_missing / places, []
    if share >= MISSING:
        seen.append(_Seen(2 if share < 0.5 else 3, "missing", share))
    if feature.HasField("num_stats"):
        seen += _of_numbers(feature, common.tot_num_values, moment)
    elif feature.HasField("string_stats"):
        seen += _of_text(feature, common.tot_num_values)
    return seen


def _of_numbers(feature: Any, total: float, moment: bool) -> list[_Seen]:
    numbers = feature.num_stats
    seen: list[_Seen] = []
    if not numbers.histograms:
        return seen
    unknown = numbers.histograms[0].num_nan
    if unknown == total:
        return [_Seen(3, "all values are NaN")]
    if unknown:
        seen.append(_Seen(2, "NaN", unknown / total))
    if math.isinf(numbers.min) or math.isinf(numbers.max):
        return [*seen, _Seen(3, "infinite values")]
    if numbers.min == numbers.max:
        return [*seen, _Seen(2, "always one value")]
    if not moment and numbers.num_zeros / total >= _MANY_ZEROS:
        seen.append(_Seen(1, "zeros", numbers.num_zeros / total))
    buckets: Sequence[Any] = getattr(deciles(feature), "buckets", ())
    spread = buckets[-1].low_value - buckets[0].high_value if len(buckets) > 2 else 0.0
    if spread > 0 and total >= _LEAST_VALUES:
        if numbers.max - numbers.median > _FAR * spread:
            seen.append(_Seen(1, "values far above the rest"))
        if numbers.median - numbers.min > _FAR * spread:
            seen.append(_Seen(1, "values far below the rest"))
    return seen


def _of_text(feature: Any, total: float) -> list[_Seen]:
    texts, seen = feature.string_stats, []
    if texts.invalid_utf8_count:
        seen.append(_Seen(3, "not UTF-8", texts.invalid_utf8_count / total))
    if texts.unique == 1:
        return [*seen, _Seen(2, "always one value")]
    if texts.top_values and texts.top_values[0].frequency / total >= _ONE_VALUE:
        seen.append(_Seen(1, "nearly always one value"))
    if texts.unique >= max(_LEAST_VALUES, _ALL_DIFFERENT * total):
        seen.append(_Seen(1, "nearly every value is different"))
    return seen


def _between(features: Mapping[str, Any]) -> list[Reason]:
    """How later splits differ from the first."""
    named = [(split, feature) for split, feature in features.items() if common_of(feature).num_non_missing]
    if not named:
        return []
    (first, one), reasons = named[0], []
    for split, other in named[1:]:
        by = abs(missing_share(other) - missing_share(one))
        places = [common_of(each).num_missing + common_of(each).num_non_missing for each in (one, other)]
        if by >= MISSING + _chance(*places):
            more, less = (split, first) if missing_share(other) > missing_share(one) else (first, split)
            reasons.append(Reason(2, f"missing more often in {more} than in {less}"))
        by = _distance(one, other)
        totals = [common_of(each).tot_num_values for each in (one, other)]
        if all(totals) and by >= DIFFERENT + _chance(*totals):
            reasons.append(Reason(2, f"{split} differs from {first} by {by:.2f}"))
    return reasons


def _chance(one: float, other: float) -> float:
    return _KOLMOGOROV * math.sqrt(1 / one + 1 / other)


def _distance(one: Any, other: Any) -> float:
    """The greatest distance of the distribution functions of numbers, or of the shares of one text value."""
    if one.WhichOneof("stats") != other.WhichOneof("stats"):
        return 1.0
    if one.HasField("string_stats"):
        shares = [
            {bucket.label: bucket.sample_count / each.string_stats.common_stats.tot_num_values for bucket in buckets}
            for each, buckets in ((each, each.string_stats.rank_histogram.buckets) for each in (one, other))
        ]
        names = {*shares[0], *shares[1]}
        return max((abs(shares[0].get(name, 0.0) - shares[1].get(name, 0.0)) for name in names), default=0.0)
    both = [deciles(each) for each in (one, other)]
    if not all(both):
        return 0.0
    ends = np.unique([end for each in both for bucket in each.buckets for end in (bucket.low_value, bucket.high_value)])
    ends = ends[np.isfinite(ends)]
    if not len(ends):
        return 0.0
    return float(np.max(np.abs(upto(both[0], ends) - upto(both[1], ends))))


def upto(histogram: Any, ends: np.ndarray) -> np.ndarray:
    """The share of values that are at most each of `ends`, where they spread evenly within a bucket."""
    total, shares = 0.0, np.zeros(len(ends))
    for bucket in histogram.buckets:
        low, high, held = bucket.low_value, bucket.high_value, bucket.sample_count
        total += held
        with np.errstate(all="ignore"):
            inside = np.clip((ends / 2 - low / 2) / (high / 2 - low / 2), 0, 1) if high > low else ends >= high
        shares += held * np.nan_to_num(inside)
    return shares / (total or 1.0)


def _part(share: float) -> str:
    """A share in so few words that splits which nearly agree say the same."""
    return percent(share) if share < 0.005 else f"{share * 100:.0f} %"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
