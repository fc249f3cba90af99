"""What was found of a concept, as JSON and as findings in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headwater.components.common.findings import percent
from headwater.components.validate.concept import inference
from headwater.components.validate.concept.bins import Column
from headwater.components.validate.concept.features import CLASSES_HELD, Tested
from headwater.components.validate.concept.settings import Concept
from headwater.components.validate.concept.slices import label_shares


def describe(each: Tested) -> dict[str, Any]:
    """A feature, as JSON."""
    g2, freedom, p_value, effect = each.shift
    tests = each.tests
    single = len(each.feature.columns) == 1
    return {
        "feature": each.feature.name,
        "verdict": each.verdict,
        "reason": each.reason,
        "concept": {
            "g2": float(tests.g2[0]),
            "degrees_of_freedom": int(tests.freedom[0]),
            "p_value": float(tests.p_value[0]),
            "adjusted": float(each.adjusted),
            "effect": float(tests.effect[0]),
            "compared": float(tests.compared[0]),
            "held": list(each.held),
        },
        "covariate": {
            "g2": g2,
            "degrees_of_freedom": int(freedom),
            "p_value": p_value,
            "adjusted": float(each.shift_adjusted) if single else None,
            "effect": effect,
            "leverage": each.leverage,
        },
    }


def describe_label(
    labels: np.ndarray, label: Column, explaining: np.ndarray | None, options: Concept
) -> dict[str, Any]:
    """The label, as JSON."""
    test = inference.concept(labels[None, None])
    summary: dict[str, Any] = {
        "classes": label_shares(labels / labels.sum(axis=0), label),
        "g2": float(test.g2[0]),
        "degrees_of_freedom": int(test.freedom[0]),
        "p_value": float(test.p_value[0]),
        "effect": float(test.effect[0]),
        "explained": 0.0,
    }
    if explaining is not None:
        sums = explaining.sum(axis=0).astype(np.float64)
        baseline, current = (sums / np.maximum(sums.sum(axis=0), 1)).T
        expected = inference.expected_labels(explaining)
        apart = np.abs(current - baseline).sum()
        # Where classes were put together, so they are here.
        summary["explained"] = float(np.clip(1 - np.abs(current - expected).sum() / apart, 0, 1)) if apart else 0.0
        named = label if len(expected) == len(labels) else label.held(CLASSES_HELD)
        summary["expected"] = label_shares(np.stack([baseline, expected], axis=1), named)
    summary["drifted"] = summary["p_value"] <= options.max_p and summary["effect"] >= options.min_effect
    return summary


def of_concept(
    sources: Sequence[Tested], looks: Sequence[Tested], slices: Sequence[dict[str, Any]], label: Column
) -> list[dict[str, Any]]:
    """One finding for each feature that the concept changed in."""
    findings = []
    for each in sources:
        names = {column.name for column in each.feature.columns}
        own = [slice_ for slice_ in slices if names & set(slice_["features"])]
        effect = float(each.tests.effect[0])
        where = f"; most of all where {_change(own[0], label)}" if own else ""
        aside = f", {' and '.join(each.held)} held fixed" if each.held else ""
        message = (
            f"the label {label.name!r} has changed for the same inputs: within bins of {each.feature.name}{aside}, "
            f"about {percent(effect)} of the labels changed{where}; label recent rows and retrain"
        )
        echoes = [other.feature.name for other in looks if other.verdict == "echo"]
        findings.append(
            finding(
                each.feature.name,
                "CONCEPT_DRIFT",
                message,
                effect=effect,
                p_value=float(each.adjusted),
                slices=own[:5],
                where=_where([slice_["where"] for slice_ in own[:5]]),
                echoes=echoes if each is sources[0] else [],
            )
        )
    return findings


def _where(slices: Sequence[str]) -> str:
    """The rows of several slices as one SQL expression, without slices that lie within another."""
    parts = [part for part in dict.fromkeys(slices) if part]
    outer = [
        part
        for part in parts
        if not any(part.startswith(f"{each} AND ") or part.endswith(f" AND {each}") for each in parts)
    ]
    return " OR ".join(f"({part})" for part in outer)


def _change(slice_: dict[str, Any], label: Column) -> str:
    most = max(slice_["labels"], key=lambda each: abs(each["current"] - each["baseline"]))
    return (
        f"{slice_['slice']}, where {most['class']} went from {percent(most['baseline'])} to {percent(most['current'])} "
        f"({slice_['rows'][1]:,} rows now)"
    )


def of_unsettled(unsettled: Sequence[Tested], sources: Sequence[Tested]) -> list[dict[str, Any]]:
    """That it is not known whether the concept changed, where no change is reported."""
    if not unsettled or sources:
        return []
    first = max(unsettled, key=lambda each: float(each.tests.effect[0]))
    message = (
        f"it is not known whether the concept changed: the label changed within {first.feature.name}, and "
        f"{first.reason}; set validate.concept.score to compare rows of the same score, or compare periods with similar "
        "inputs"
    )
    return [finding(first.feature.name, "COMPARISON_IMPOSSIBLE", message)]


def of_shift(shifted: Sequence[Tested], together: Sequence[Tested]) -> list[dict[str, Any]]:
    """That the inputs changed."""
    if together:
        first = together[0]
        names = sorted({first.feature.name, *first.held})
        message = (
            f"the inputs changed together, though no column did by itself: {', '.join(names)} are combined "
            "differently than before"
        )
        return [finding(first.feature.name, "COVARIATE_DRIFT", message, effects={})]
    if not shifted:
        return []
    ordered = sorted(shifted, key=lambda each: (-each.shift[3], each.feature.name))
    most, *others = [(each.feature.name, percent(each.shift[3])) for each in ordered[:5]]
    message = f"{most[0]} shifted: {most[1]} of rows moved"
    if others:
        message += f"; so did {', '.join(f'{name} ({share})' for name, share in others)}"
    if len(ordered) > 5:
        message += f" and {len(ordered) - 5} more"
    effects = {each.feature.name: each.shift[3] for each in ordered}
    return [finding(ordered[0].feature.name, "COVARIATE_DRIFT", message, effects=effects)]


def of_label(summary: dict[str, Any], label: Column, options: Concept) -> list[dict[str, Any]]:
    """That the label's shares changed."""
    if not summary["drifted"]:
        return []
    most = max(summary["classes"], key=lambda each: abs(each["current"] - each["baseline"]))
    message = (
        f"the label's distribution changed: {most['class']} went from {percent(most['baseline'])} to "
        f"{percent(most['current'])}; the change in the inputs explains {percent(summary['explained'])} of it"
    )
    return [finding(label.name, "LABEL_DRIFT", message, effect=summary["effect"], p_value=summary["p_value"])]


def too_few(each: Tested) -> str:
    """Why a feature cannot be tested."""
    if not each.tests.freedom[0]:
        return (
            f"no bin has an expected count of at least {inference.LEAST_EXPECTED:g} rows for two classes in both "
            "periods"
        )
    return (
        f"only {percent(float(each.tests.compared[0]))} of the current rows are in bins with at least "
        f"{inference.LEAST_ROWS} rows in both periods"
    )


def finding(feature: str, kind: str, message: str, **more: Any) -> dict[str, Any]:
    """A finding; all about the concept are warnings."""
    return {"feature": feature, "kind": kind, "severity": "warning", "message": message, **more}
