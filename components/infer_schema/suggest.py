"""What a person might agree on, with the evidence for it. Nothing of it is applied by itself."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.distributions import Feature
from headwater.components.common.findings import percent

MOST_CLOSED = 100
"""Values that a domain which looks closed has at most."""

_FEW_ROWS = 100
_CHANCE_OF_ANOTHER = 0.001
_MOST_CATEGORIES = 20
_ROWS_A_CATEGORY = 50
_LEAST_ZEROS, _GAP = 0.01, 0.2
# Moments between 2001 and 2066 by the unit that they are counted in.
_EPOCHS = [("seconds", 1e9, 3e9), ("milliseconds", 1e12, 3e12), ("microseconds", 1e15, 3e15)]
# With the marks that a person writes: 20200101 may be any number.
_DATES: list[tuple[str, str, Callable[[str], Any]]] = [
    ("a date", r"\d{4}-\d\d-\d\d", datetime.date.fromisoformat),
    ("a timestamp", r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d.*", datetime.datetime.fromisoformat),
    ("a time of day", r"\d\d:\d\d.*", datetime.time.fromisoformat),
]


def suggest(
    features: Mapping[tuple[str, ...], Feature], schema: schema_pb2.Schema, private: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Suggestions for the features of a schema.

    Args:
      features: their distributions.
      schema: as it is agreed; what it says already is not suggested again.
      private: columns whose values must not be shown.

    Returns:
      For each: `feature`, `what`, `evidence` in words, `confidence` (high, medium or low), and the `curation` of the
      feature that would apply it, empty where something else would, which `what` then says.
    """
    known = {feature.name: feature for feature in schema.feature}
    suggestions = []
    for path, feature in sorted(features.items()):
        if len(path) > 1 or path[0] not in known or feature.rows - feature.missing < _FEW_ROWS:
            continue
        summary = _private(path[0], known[path[0]]) if path[0] in private else _of(feature, known[path[0]])
        suggestions += [
            {"feature": path[0], "what": what, "evidence": evidence, "confidence": confidence, "curation": curation}
            for what, evidence, confidence, curation in summary
        ]
    return suggestions


_Told = Iterator[tuple[str, str, str, dict[str, Any]]]


def _private(name: str, agreed: schema_pb2.Feature) -> _Told:
    if "headwater:private" not in agreed.annotation.tag:
        yield (
            "private",
            "collect found personal data in it, or its settings name it as private",
            "high",
            {"private": True},
        )


def _of(feature: Feature, agreed: schema_pb2.Feature) -> _Told:
    # What was a date or a flag before its conversion is known.
    if feature.rule:
        return
    if feature.numeric:
        yield from _of_numbers(feature, agreed)
    elif len(feature.texts):
        yield from _of_text(feature, agreed)


def _of_text(feature: Feature, agreed: schema_pb2.Feature) -> _Told:
    rows, distinct = feature.counts.sum(), len(feature.texts)
    once = int((feature.counts == 1).sum())
    closed = agreed.WhichOneof("domain_info") in ("domain", "string_domain")
    if feature.exact and distinct == rows == feature.rows:
        yield (
            "a key: add the rule `unique` to validate's rows",
            f"{distinct:,} rows, all different, none missing",
            "high",
            {"unique_min": distinct} if not agreed.HasField("unique_constraints") else {},
        )
        return
    sample = [text.decode(errors="replace") for text in feature.texts[: min(distinct, 200)].to_pylist()]
    for what, pattern, parse in _DATES:
        if all(re.fullmatch(pattern, text) and _parses(parse, text) for text in sample):
            yield (
                f"{what}: declare its type in collect's `types`",
                f"{len(sample):,} of {len(sample):,} values are",
                "high",
                {},
            )
            return
    # The chance that the next row brings a new value, by Good and Turing (Good, 1953), at least that of one more.
    another = (once + 1) / rows
    if feature.exact and distinct <= MOST_CLOSED and another <= _CHANCE_OF_ANOTHER and not closed:
        values = sorted(text.decode(errors="replace") for text in feature.texts.to_pylist())
        yield (
            "a closed domain",
            f"{distinct:,} values in {rows:,} rows, {once:,} of them once: a new one in at most {percent(another)} of rows",
            "high" if not once else "medium",
            {"domain": values},
        )
    elif closed and once and another > _CHANCE_OF_ANOTHER and not agreed.HasField("distribution_constraints"):
        yield (
            "an open domain",
            f"{once:,} of {distinct:,} values occur once: about {percent(another)} of new rows will have a new one",
            "medium",
            {"min_domain_mass": float(np.floor((1 - 3 * another) * 100) / 100) if another < 0.3 else 0.0},
        )


def _of_numbers(feature: Feature, agreed: schema_pb2.Feature) -> _Told:
    whole = agreed.type == schema_pb2.INT
    rows, points, weights = feature.weights.sum(), feature.points, feature.weights
    for unit, low, high in _EPOCHS:
        if whole and low <= feature.low and feature.high <= high:
            yield (
                f"a time, in {unit} since 1970: derive it in collect",
                f"all of {rows:,.0f} values are between {feature.low:.0f} and {feature.high:.0f}",
                "medium",
                {},
            )
            return
    categorical = agreed.HasField("int_domain") and agreed.int_domain.is_categorical
    few = whole and not feature.slack and 2 < len(points) <= _MOST_CATEGORIES and not categorical
    if few and rows >= _ROWS_A_CATEGORY * len(points) and len(points) <= feature.high - feature.low + 1:
        yield (
            "a category with integers as codes",
            f"{len(points)} different numbers in {rows:,.0f} rows",
            "low",
            {"categorical": True},
        )
        return
    limits = agreed.float_domain
    if not whole and feature.low >= 0 and feature.high <= 1 and len(points) > 20 and not limits.HasField("max"):
        yield "a probability or share", f"all of {rows:,.0f} values are between 0 and 1", "medium", {"min": 0, "max": 1}
        return
    zeros = float(weights[points == 0].sum())
    above = points[points > 0]
    tagged = "headwater:zero-means-missing" in agreed.annotation.tag
    if feature.low == 0 and zeros >= _LEAST_ZEROS * rows and len(above) > 10 and not tagged:
        middle = float(above[np.searchsorted(np.cumsum(weights[points > 0]), weights[points > 0].sum() / 2)])
        if above[0] >= _GAP * middle:
            yield (
                "zero means missing",
                f"{percent(zeros / rows)} of values are 0, and none is between 0 and {above[0]:.4g}",
                "medium",
                {"zero_means_missing": True},
            )
            return
    domain = agreed.int_domain if whole else agreed.float_domain
    if feature.low >= 0 and not domain.HasField("min") and len(points) > 2 and not categorical:
        yield "never below 0", f"the smallest of {rows:,.0f} values is {feature.low:.4g}", "medium", {"min": 0}


def _parses(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
        return True
    except ValueError:
        return False
