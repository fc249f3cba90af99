"""Which split a row belongs to: by a hash, by a column's value, or by time with a gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from headwater.components.common import hashing
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.times import microseconds, seconds

NO_SPLIT = "no_split"
"""The rule that filters rows whose column names no split."""

SPLIT_GAP = "split_gap"
"""The rule that filters rows that lie in the gap after a cut in time."""


def parse_splits(text: str) -> dict[str, float]:
    """Splits as text, `train=0.8,eval=0.2`: the form for places that do not keep a mapping's order, as KFP's parameters.

    Raises:
      HeadwaterError: the text has another form.
    """
    splits: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        try:
            number = float(weight)
        except ValueError:
            raise HeadwaterError(f"splits: {part.strip()!r} should be NAME=WEIGHT, as in train=0.8,eval=0.2") from None
        if name in splits:
            raise HeadwaterError(f"splits: {name!r} is named twice")
        splits[name] = number
    return splits


def _split_weights(given: Any) -> Any:
    try:
        return parse_splits(given) if isinstance(given, str) else given
    except HeadwaterError as error:
        raise ValueError(str(error).removeprefix("splits: ")) from None


Splits = Annotated[
    dict[str, Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]],
    pydantic.BeforeValidator(_split_weights),
    pydantic.WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "number"}}]}
    ),
]
"""Names and weights of splits, in order; also as text."""


class HashRule(pydantic.BaseModel):
    """By a hash of the key, of all values where there is no key, or of the group.

    Attributes:
      group: columns whose equal values must stay in one split, as the user's id.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    by: Literal["hash"] = "hash"
    group: list[str] = []


class ColumnRule(pydantic.BaseModel):
    """By the value of a column.

    Attributes:
      column: the column.
      values: the values of each split, as text; by default a split's own name. Other rows are filtered: `no_split`.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    by: Literal["column"]
    column: str
    values: dict[str, list[str]] = {}


class TimeRule(pydantic.BaseModel):
    """By time: splits in their order, each from one cut to the next.

    Attributes:
      column: of dates or timestamps; a row without one is filtered: `no_split`.
      cuts: one fewer than there are splits, rising, as ISO dates or times (UTC where the column has a zone).
      gap: rows this long after a cut belong to no split (`split_gap`), so that what overlaps in time leaks nothing.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    by: Literal["time"]
    column: str
    cuts: list[str]
    gap: str = "0s"

    @pydantic.model_validator(mode="after")
    def _sense(self) -> TimeRule:
        try:
            seconds(self.gap)
            cuts = [np.datetime64(cut, "us") for cut in self.cuts]
        except HeadwaterError as error:
            raise ValueError(str(error)) from None
        except ValueError as error:
            raise ValueError(f"cuts must be ISO dates or times, for example 2013-07-01: {error}") from None
        if any(later <= earlier for earlier, later in zip(cuts, cuts[1:])):
            raise ValueError("cuts must be in ascending order")
        return self


SplitRule = Annotated[HashRule | ColumnRule | TimeRule, pydantic.Field(discriminator="by")]


def check_rule(rule: SplitRule, splits: Sequence[str], schema: pa.Schema) -> None:
    """Refuses a rule that does not go with the splits or the columns.

    Raises:
      HeadwaterError: names what does not.
    """
    columns = rule.group if isinstance(rule, HashRule) else [rule.column]
    for name in columns:
        if name not in schema.names:
            raise HeadwaterError(f"split: there is no column {name!r}; the columns are {', '.join(schema.names)}")
    if isinstance(rule, ColumnRule):
        for name in rule.values:
            if name not in splits:
                raise HeadwaterError(f"split.values: {name!r} is not one of the splits; they are {', '.join(splits)}")
        given = [value for name in splits for value in rule.values.get(name, [name])]
        if len(set(given)) < len(given):
            raise HeadwaterError("split.values: a value is given for two splits")
    if isinstance(rule, TimeRule):
        if len(rule.cuts) != len(splits) - 1:
            raise HeadwaterError(
                f"split.cuts: {len(splits)} splits need {len(splits) - 1} cuts, but {len(rule.cuts)} are given"
            )
        kind = schema.field(rule.column).type
        if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            raise HeadwaterError(f"split.column: {rule.column!r} is {kind}; a split by time needs dates or timestamps")


def assign(
    rule: SplitRule,
    splits: Sequence[tuple[str, float]],
    batch: pa.RecordBatch,
    hashes: np.ndarray,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The split of each row.

    Args:
      rule: checked by `check_rule`.
      splits: names and weights, in order; weights count for a split by hash alone.
      batch: the rows.
      hashes: uint64, one a row: of the key, or of all values.

    Returns:
      The split's position, int64, one a row, -1 for none; and by the rule that filters them, which rows have none.
    """
    if isinstance(rule, HashRule):
        if rule.group:
            hashes = hashing.hash_rows([batch.column(batch.schema.get_field_index(name)) for name in rule.group])
        return by_hash(hashes, [weight for _, weight in splits]), {}
    column = batch.column(batch.schema.get_field_index(rule.column))
    if isinstance(rule, ColumnRule):
        values = [(value, place) for place, (name, _) in enumerate(splits) for value in rule.values.get(name, [name])]
        texts = column.cast(pa.string()) if not pa.types.is_string(column.type) else column
        at = pc.index_in(texts, pa.array([value for value, _ in values]))
        places = np.array([place for _, place in values] + [-1])
        assigned = places[pc.fill_null(at, len(values)).to_numpy(zero_copy_only=False)]
        return assigned, {NO_SPLIT: assigned < 0}
    times = microseconds(column)
    missing = pc.is_null(column).to_numpy(zero_copy_only=False)
    cuts = np.array([np.datetime64(cut, "us") for cut in rule.cuts], "datetime64[us]").astype(np.int64)
    assigned = np.searchsorted(cuts, times, side="right")
    since = times - np.concatenate([[np.iinfo(np.int64).min // 2], cuts])[assigned]
    gap = (assigned > 0) & (since < seconds(rule.gap) * 1e6) & ~missing
    assigned[gap | missing] = -1
    return assigned, {NO_SPLIT: missing, SPLIT_GAP: gap}


def by_hash(hashes: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """The split of each row: a function of its hash alone, so that other rows' coming and going moves none.

    Args:
      hashes: uint64, one a row.
      weights: of the splits, in order.

    Returns:
      The split's position, int64, one a row.
    """
    edges = np.cumsum(weights) / np.sum(weights)
    return np.minimum(np.searchsorted(edges, hashing.shares(hashes), side="right"), len(weights) - 1)
