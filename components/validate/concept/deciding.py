"""Concept, covariate or both: which changes are reported, and which are explained by others.

1.  Every feature is tested by itself: did its shares change (covariate), did P(label | its bins) change (concept)?
2.  Where inputs changed, P(label | bin of one feature) may change because another feature's values changed within the
    bin (Simpson's paradox), though the label says the same of the same inputs. So the features whose concept seems to
    have changed are tested again with others held fixed, two in all: rows are compared within the bins of the model's
    score, if there is one, else of the changed feature that moves the label most; and of the one that moves it most
    where the first is fixed. What is then left of a change must be more than all others may account for at most
    (`inference.leverage`); else nothing is certain. Columns can change together and none of them by itself:
    where none did, those are held fixed whose values changed within the bins of the strongest suspect.
3.  A change in one slice shows in every feature. The feature whose bins hold it most closely is the source; its changed
    bins are left out, and the others are tested again on the rows that are left: those that are then unchanged
    only echo it.

What it cannot tell: a change of inputs that are no columns here looks like a change of the concept, and so does one
within bins where it is greater than `inference.inside` expects. A score that says nothing of the label holds nothing
fixed. When the share of a class changes and the rows within each class stay what they were (prior shift),
P(label | inputs) changes, and is reported as concept. Rows are taken for independent; those of one user or one day are not,
and p-values are then too small. Rows without a label are left out; labels that arrive late bias what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headwater.components.common.significance import benjamini_hochberg
from headwater.components.validate.concept import findings, inference
from headwater.components.validate.concept.bins import Column
from headwater.components.validate.concept.counting import Counts, Plan
from headwater.components.validate.concept.features import CLASSES_HELD, Feature, Tested
from headwater.components.validate.concept.settings import Concept
from headwater.components.validate.concept.slices import cells_of, find_slices, pairs_of, share_changed

MOST_HELD = 2
MOST_CANDIDATES = 100
MOST_OTHERS = 32
MOST_SUSPECTS = 16
MOST_SOURCES = 3
MOST_SLICES = 20

LEAST_COMPARED = 0.5
"""A feature is tested when at least this share of the current rows lies in bins that both periods have."""
# Leverage is that of one feature after another; several together, and steeper within bins, may move the label more.
_MARGIN = 2.0
# What moves the label by less than this share of the least effect need not be held fixed.
_WORTH_HOLDING = 0.1
_LEAST_EFFECT = 0.005

Count = Callable[[Plan], Counts]


def decide(
    count: Count, label: Column, features: Sequence[Feature], score: Feature | None, options: Concept
) -> dict[str, Any]:
    """What changed between two periods.

    Args:
      count: counts the rows of both periods.
      label: the classes.
      features: what is looked at.
      score: a model's, if there is one.
      options: thresholds.

    Returns:
      JSON values: `verdict`; `rows` and `unlabelled` of both periods; `label`; `features`; `slices`, those that
      changed; `effect`, the greatest change of the concept that is reported, for the history that `cadence.advise` reads;
      `findings` without their split.
    """
    every = [*([score] if score else []), *features]
    counted = count(Plan(label, ((), *(feature.columns for feature in every))))
    labels, *tables = counted.tables
    result: dict[str, Any] = {
        "verdict": "impossible",
        "rows": counted.labelled.tolist(),
        "unlabelled": counted.unlabelled.tolist(),
        "label": None,
        "features": [],
        "slices": [],
        "effect": None,
        "findings": [],
    }
    if reason := _impossible(counted, labels, label):
        result["findings"].append(findings.finding(label.name, "COMPARISON_IMPOSSIBLE", reason))
        return result
    looks = [_look(feature, table) for feature, table in zip(every, tables)]
    shifted = _shifted(looks, options)
    suspects = _suspects(looks, options)
    sources: list[Tested] = []
    slices: list[dict[str, Any]] = []
    explaining = shifted[0].table if shifted else None
    if suspects:
        classes = label.held(CLASSES_HELD)
        held, moved = _hold(count, classes, looks, suspects, shifted, score, options)
        sources, slices, explaining = _look_closer(count, classes, suspects, looks, held, moved, options)
    result["label"] = findings.describe_label(labels, label, explaining, options)
    result["features"] = [findings.describe(each) for each in looks]
    own = {column.name for each in sources for column in each.feature.columns}
    slices = [slice_ for slice_ in slices if own & set(slice_["features"])]
    result["slices"] = slices[:MOST_SLICES]
    result["effect"] = max([float(each.tests.effect[0]) for each in sources], default=0.0)
    unsettled = [each for each in looks if each.verdict == "unsettled"]
    # Columns of which none changed by itself.
    together = [each for each in looks if each.held and each.verdict in ("explained", "unsettled") and not shifted]
    verdicts = [
        *(["concept"] if sources else []),
        *(["covariate"] if shifted or together else []),
    ]
    result["verdict"] = " and ".join(verdicts) if sources or not unsettled else "unsettled"
    result["verdict"] = result["verdict"] or "unchanged"
    result["findings"] = [
        *findings.of_concept(sources, looks, slices, label),
        *findings.of_unsettled(unsettled, sources),
        *findings.of_shift(shifted, together),
        *findings.of_label(result["label"], label, options),
    ]
    return result


def _impossible(counted: Counts, labels: np.ndarray, label: Column) -> str:
    for rows, unlabelled, period in zip(counted.labelled, counted.unlabelled, ("baseline", "current data")):
        if not rows + unlabelled:
            return f"the {period} has no rows in this split, so nothing can be compared"
        if rows < inference.LEAST_ROWS:
            return f"only {rows:,} of {rows + unlabelled:,} rows of the {period} have a label {label.name!r}"
    classes = np.flatnonzero(labels.sum(axis=1))
    if len(classes) == 1:
        return f"every row of both periods has the same label: {label.name} {label.word(int(classes[0]))}"
    return ""


def _look(feature: Feature, table: np.ndarray) -> Tested:
    table = table.reshape(feature.size, *table.shape[-2:])
    return Tested(feature, table, inference.covariate(table.sum(axis=1)), inference.concept(table[:, None]))


def _shifted(looks: Sequence[Tested], options: Concept) -> list[Tested]:
    """Single columns whose shares changed, those that move the label most first."""
    singles = [each for each in looks if len(each.feature.columns) == 1]
    for each, adjusted in zip(singles, benjamini_hochberg([each.shift[2] for each in singles])):
        each.shift_adjusted = adjusted
        each.leverage = inference.leverage(each.table[None])
    shifted = [each for each in singles if each.shift_adjusted <= options.max_p and each.shift[3] >= options.min_effect]
    for each in shifted:
        column = each.feature.columns[0]
        if column.kind == "numbers":
            each.inside = inference.inside(each.table[: len(column.edges) + 1])
    return sorted(shifted, key=lambda each: (-each.leverage, -each.shift[3], each.feature.name))


def _suspects(looks: Sequence[Tested], options: Concept) -> list[Tested]:
    suspects = []
    for each in looks:
        if np.count_nonzero(each.table.sum(axis=(1, 2))) < 2:
            each.verdict = "constant"
    tested = [each for each in looks if each.verdict != "constant"]
    for each, adjusted in zip(tested, benjamini_hochberg([each.tests.p_value[0] for each in tested])):
        each.adjusted = adjusted
        if each.tests.compared[0] < LEAST_COMPARED or not each.tests.freedom[0]:
            each.verdict, each.reason = "undecided", findings.too_few(each)
        elif adjusted <= options.max_p and (
            each.tests.effect[0] >= options.min_effect or _has_slice(each.tests, looks, options)
        ):
            suspects.append(each)
    suspects.sort(key=lambda each: (-each.tests.excess, each.feature.name))
    for each in suspects[MOST_SUSPECTS:]:
        each.verdict, each.reason = "left out", f"{MOST_SUSPECTS} others changed more"
    return suspects[:MOST_SUSPECTS]


def _hold(
    count: Count,
    label: Column,
    looks: Sequence[Tested],
    suspects: Sequence[Tested],
    shifted: Sequence[Tested],
    score: Feature | None,
    options: Concept,
) -> tuple[list[Tested], dict[str, float]]:
    """What is held fixed, and the leverage that each other column then has.

    The first is the score, or the changed column that moves the label most; the next is the one that moves it most
    where the first is held fixed: by itself it may be unchanged. Where no column changed by itself, columns may have
    changed together: then the first is the one that moves the label most within the bins of the strongest suspect.
    """
    effect = max(options.min_effect, _LEAST_EFFECT)
    least = effect * _WORTH_HOLDING
    singles = [each for each in looks if len(each.feature.columns) == 1]
    # What says nothing of the label does not move it.
    singles.sort(key=lambda each: (-inference.association(each.table[..., 0]), each.feature.name))
    held: list[Tested] = []
    within = suspects[0].feature.columns[0].held()
    left = [each for each in singles if each is not suspects[0]]
    if shifted:
        held = [next((each for each in singles if each.feature == score), shifted[0])]
        left = [each for each in singles if each is not held[0]]
    left = left[:MOST_CANDIDATES]
    while True:
        fixed = tuple(each.feature.columns[0].held() for each in held) or (within,)
        tables = [(*fixed, each.feature.columns[0].held()) for each in left]
        counted = count(Plan(label, tuple(tables))).tables
        moved = [inference.leverage(table.reshape(-1, *table.shape[-3:])) for table in counted]
        order = sorted(range(len(left)), key=lambda place: (-moved[place], left[place].feature.name))[:MOST_OTHERS]
        worth = least if held else effect / _MARGIN
        if len(held) == MOST_HELD or not order or moved[order[0]] < worth:
            return held, {left[place].feature.name: moved[place] for place in order if held and moved[place] >= least}
        chosen = left[order[0]]
        # The suspect itself may be the next.
        left = [left[place] for place in order[1:]] if held else [each for each in singles if each is not chosen]
        left = left[:MOST_CANDIDATES]
        held.append(chosen)


def _look_closer(
    count: Count,
    classes: Column,
    suspects: Sequence[Tested],
    looks: Sequence[Tested],
    held: Sequence[Tested],
    moved: dict[str, float],
    options: Concept,
) -> tuple[list[Tested], list[dict[str, Any]], np.ndarray | None]:
    """Tests suspects with others held fixed, then outside of the slices that changed.

    Returns:
      The features whose concept changed, the slices that did, and the table of what is held fixed.
    """
    fixed = tuple(each.feature.columns[0].held() for each in held)
    pairs = pairs_of(suspects)
    # Two columns and two held fixed would be too many cells.
    tables = (fixed, *((*pair.columns, *_besides(fixed, pair)[:1]) for pair in pairs))
    left = list(suspects)
    sources: list[Tested] = []
    slices: list[dict[str, Any]] = []
    without: tuple[tuple[tuple[Column, ...], tuple[int, ...]], ...] = ()
    explaining: np.ndarray | None = None
    for turn in range(MOST_SOURCES):
        own = tuple((*each.feature.columns, *_besides(fixed, each.feature)) for each in left)
        counted = count(Plan(classes, own if turn else own + tables, without)).tables
        tests = [inference.concept(cells_of(table, each.feature)) for table, each in zip(counted, left)]
        changed = _judge(left, tests, looks, held, moved, sources, options)
        if turn == 0:
            explaining, *of_pairs = counted[len(left) :]
            summary = {each.feature.name for each, _ in changed}
            by_bin = [each for each in zip(left, tests, counted) if each[0].feature.name in summary]
            slices = find_slices(by_bin, list(zip(pairs, of_pairs)), classes, options)
        if not changed:
            break
        tables_of = {each.feature.name: table for each, table in zip(left, counted)}
        strongest, columns, test = _strongest(changed, tables_of, held)
        sources.append(strongest)
        without += ((columns, _changed_bins(test, options)),)
        left = [each for each, _ in changed if each is not strongest]
        if not left:
            break
    else:
        for each in left:
            each.verdict, each.reason = "left out", f"{MOST_SOURCES} others changed more"
    if not fixed or explaining is None:
        return sources, slices, None
    return sources, slices, explaining.reshape(-1, *explaining.shape[-2:])


def _judge(
    left: Sequence[Tested],
    tests: Sequence[inference.Tests],
    looks: Sequence[Tested],
    held: Sequence[Tested],
    moved: dict[str, float],
    sources: Sequence[Tested],
    options: Concept,
) -> list[tuple[Tested, inference.Tests]]:
    """Writes what is known of each suspect, and gives those whose concept changed."""
    # Those that were not tested again count as hypotheses too.
    p_values = [1.0] * (len(looks) - len(left))
    adjusted = benjamini_hochberg([*(float(test.p_value[0]) for test in tests), *p_values])
    changed = []
    for each, test, p_value in zip(left, tests, adjusted):
        names = [column.name for column in each.feature.columns]
        fixed = tuple(other.feature.name for other in held if other.feature.name not in names)
        effect = float(test.effect[0])
        # The most that may be due to others that are not held fixed.
        more = sum(value for name, value in moved.items() if name not in names)
        more += sum(other.inside for other in held if other is not each) + each.inside
        more *= _MARGIN
        in_slice = more < options.min_effect and _has_slice(test, looks, options)
        clear = p_value <= options.max_p and (effect >= options.min_effect or in_slice)
        if sources:
            if clear:
                changed.append((each, test))
            else:
                each.verdict = "echo"
                each.reason = f"it is unchanged outside the changed slices of {sources[-1].feature.name}"
            continue
        each.held = fixed
        if fixed:
            each.tests, each.adjusted = test, p_value
        if test.compared[0] < LEAST_COMPARED:
            each.verdict, each.reason = "undecided", findings.too_few(each)
        elif not clear and not fixed:
            each.verdict = "unchanged"
        elif not clear:
            each.verdict, each.reason = "explained", f"the change in {' and '.join(fixed)} explains it"
        elif more and effect < options.min_effect + more and not in_slice:
            each.verdict = "unsettled"
            others = [name for name in moved if name not in names]
            others = others or [*fixed, *names]
            said = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
            each.reason = f"other inputs changed as well: {said}"
        else:
            each.verdict = "concept"
            changed.append((each, test))
    return changed


def _has_slice(test: inference.Tests, looks: Sequence[Tested], options: Concept) -> bool:
    """Whether a bin changed clearly by itself, however small a share of the rows it has."""
    # Bonferroni over all bins of all features.
    bins = sum(each.feature.size for each in looks)
    return bool(((test.p_value[1:] * bins <= options.max_p) & (share_changed(test) >= options.min_slice_effect)).any())


def _strongest(
    changed: Sequence[tuple[Tested, inference.Tests]], tables: dict[str, np.ndarray], held: Sequence[Tested]
) -> tuple[Tested, tuple[Column, ...], inference.Tests]:
    """The feature whose bins hold the change most closely, the columns whose bins these are, and the test of each."""
    candidates = [(each, each.feature.columns, test) for each, test in changed]
    for each, _ in changed:
        # What is held fixed is looked at in the same cells; by itself it shows less of the same change.
        table, names = tables[each.feature.name], [column.name for column in each.feature.columns]
        others = [other for other in held if other.feature.name not in names]
        for axis, other in enumerate(others, start=len(names)):
            if any(other is one for one, _ in changed):
                cells = np.moveaxis(table, axis, 0).reshape(table.shape[axis], -1, *table.shape[-2:])
                candidates.append((other, (other.feature.columns[0].held(),), inference.concept(cells)))
    return max(candidates, key=lambda candidate: _concentration(candidate[2]))


def _concentration(test: inference.Tests) -> float:
    """Σ w · TV²: of features that show the same change, the greatest is the one whose bins hold it and little else."""
    return float((test.compared[1:] * np.maximum(share_changed(test), 0.0) ** 2).sum())


def _besides(fixed: Sequence[Column], feature: Feature) -> tuple[Column, ...]:
    names = {column.name for column in feature.columns}
    return tuple(column for column in fixed if column.name not in names)


def _changed_bins(test: inference.Tests, options: Concept) -> tuple[int, ...]:
    adjusted = np.array(benjamini_hochberg(test.p_value[1:].tolist()))
    own = share_changed(test)
    changed = np.flatnonzero((adjusted <= options.max_p) & (own >= options.min_effect))
    # A change that no bin shows by itself is everywhere.
    return tuple((changed if len(changed) else np.arange(len(own))).tolist())
