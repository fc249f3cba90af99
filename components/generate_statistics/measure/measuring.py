"""Rows → state: each feature is looked at once, in all rows and in each slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics.measure import cross_features
from headwater.components.generate_statistics.measure import semantics as meaning
from headwater.components.generate_statistics.measure.conversion import rules_by_path
from headwater.components.generate_statistics.measure.features import STRING, Feature, features
from headwater.components.generate_statistics.measure.sheet import Sheet
from headwater.components.generate_statistics.plan import slicing
from headwater.components.generate_statistics.plan.custom import run_custom
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.state.state import (
    State,
    bounded,
    merge,
)


def measure(batch: pa.RecordBatch, plan: Plan) -> State:
    """The state of the rows of one batch; of no rows, too.

    Raises:
      HeadwaterError: a column's type has no rule of conversion, a weight is missing, or what a user named fails.
    """
    rules = {path: text for path, text in rules_by_path(batch.schema).items() if path[0] not in plan.skipped}
    weights = _weights(batch, plan.weight)
    ordered = sorted(features(batch, plan.skipped), key=lambda feature: feature.path)
    first, *more = slicing.group(batch, plan.slicing)
    state = _measure([None, *first], ordered, batch.num_rows, weights, plan)
    state.rules = rules
    state.labels = plan.slicing.labels
    state.pairs = cross_features.moments(ordered, plan.pairs, batch.num_rows)
    state.custom = run_custom(plan.custom, batch)
    cross_features.add_counts(state, ordered, plan.pairs, batch.num_rows)
    if plan.semantics:
        wanted = [feature for feature in ordered if feature.kind == STRING]
        state.semantics = {feature.path: meaning.observe(feature.values) for feature in wanted}
    # A row with several values of one column is in several slices at once; each layer has it in one of them.
    return merge(
        [bounded(state), *(bounded(_measure(layer, ordered, batch.num_rows, weights, plan)) for layer in more)]
    )


def _measure(
    groups: Sequence[np.ndarray | None],
    ordered: Sequence[Feature],
    rows: int,
    weights: np.ndarray | None,
    plan: Plan,
) -> State:
    sheet = Sheet(len(ordered), weights, groups)
    for place, feature in enumerate(ordered):
        sheet.add(place, feature, plan)
    slices = ["", *plan.slicing.names]
    return State(
        limits=plan.limits,
        settings=dict(plan.settings),
        slices=slices,
        examples=sum((_examples(group, rows, weights, len(slices)) for group in groups), np.zeros((len(slices), 2))),
        paths=[feature.path for feature in ordered],
        rules={},
        **sheet.tables(),
    )


def _weights(batch: pa.RecordBatch, name: str) -> np.ndarray | None:
    if not name:
        return None
    column = batch.column(batch.schema.get_field_index(name))
    numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if column.null_count or not np.isfinite(numbers).all() or (numbers < 0).any():
        raise HeadwaterError(
            f"weight_feature: column {name!r} must hold a finite number of at least 0 in every row; a value is "
            "missing, negative or not finite"
        )
    return numbers


def _examples(group: np.ndarray | None, rows: int, weights: np.ndarray | None, slices: int) -> np.ndarray:
    if group is None:
        total = np.zeros((slices, 2))
        total[0] = rows, weights.sum() if weights is not None else 0
        return total
    inside = group >= 0
    count = np.bincount(group[inside], minlength=slices)
    weight = np.bincount(group[inside], weights[inside], minlength=slices) if weights is not None else 0 * count
    return np.stack([count, weight], axis=1).astype(np.float64)
