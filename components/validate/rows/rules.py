"""Rules that single rows are held against: what users can ask for, and what it means over a dataset's columns.

| kind | a row breaks the rule when |
| --- | --- |
| `row` | the SQL expression is false on it, or cannot be computed; missing (NULL) keeps the row, as in a CHECK |
| `unique` | its key stands in an earlier row, as an insert into a table with a UNIQUE constraint would |
| `references` | its key stands nowhere in the other dataset |
| `monotone` | its value falls below that of the row before it, in the same group and along the order |
| `outliers` | a number of it lies far from the others', or the row stands alone among them |

"Earlier" is in the order of splits, shards and rows. A row with a missing value in a key (`unique`, `references`), or
with a missing value or NaN in what is ordered (`monotone`), breaks no such rule; a missing group is a group. In a key
NaN equals NaN, and numbers are equal by value, whatever their types.

Over 400 lines, since the settings of a kind of rule, their checks and their sentences change together.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import pyarrow as pa
import pydantic

from headwater.components.common.arrow_types import is_text
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.expressions import check_expression, evaluate
from headwater.components.common.keys import value_type
from headwater.components.common.outliers import ISOLATED
from headwater.components.common.settings import PLACE, checked, whole_numbers

SCHEMA_PREFIX = "schema:"
"""Rules that a schema gives have names that begin so."""

RULES_COLUMN = "_rules"
"""The column of quarantined rows that names the rules that each broke."""

Severity = Literal["error", "warning"]

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
_Columns = Annotated[list[str], pydantic.Field(min_length=1)]
_KINDS = ("row", "unique", "references", "monotone", "outliers")
ROBUST_Z: Final = "robust_z"
ISOLATION: Final = "isolation"
"""The methods that tell outliers."""

_LIMITS = {ROBUST_Z: 8.0, ISOLATION: ISOLATED}
_LONGEST_TEXT = 120
_ORDERED = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_temporal,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


class References(pydantic.BaseModel):
    """Keys that must stand in another dataset.

    Attributes:
      columns: this dataset's columns.
      dataset: path or URI of the other: a dataset, or a plain file, folder or glob; all its splits count.
      to: the other's columns, in the same order; of the same names by default.
    """

    model_config = _STRICT

    columns: _Columns
    dataset: Annotated[str, pydantic.Field(min_length=1), PLACE]
    to: list[str] = []

    @pydantic.model_validator(mode="after")
    def _pairs(self) -> References:
        if self.to and len(self.to) != len(self.columns):
            raise ValueError(
                f"`columns` and `to` must have the same length; they have {len(self.columns)} and {len(self.to)}"
            )
        return self

    @property
    def targets(self) -> list[str]:
        """The other dataset's columns."""
        return self.to or self.columns


class Monotone(pydantic.BaseModel):
    """A column that must not fall.

    Attributes:
      column: the column.
      order: the columns that rows are ordered by; ties, and all rows where there are none, stand as in the files.
      group: the columns that tell groups apart, each with an order of its own; none for one group.
      strict: whether it must rise, so that an equal value breaks the rule too.
    """

    model_config = _STRICT

    column: str
    order: list[str] = []
    group: list[str] = []
    strict: bool = False


class Outliers(pydantic.BaseModel):
    """Rows that must not lie far from the others.

    Attributes:
      columns: columns of numbers.
      method: "robust_z": distance from the median in robust standard deviations, of each column alone, of positive and
        skewed columns by their logarithms. "isolation": how alone a row stands across the columns, by an isolation
        forest (Liu, Ting & Zhou, 2008).
      beyond: where far begins: a robust z, 8 by default, or a score of isolation in (0, 1), 0.65 by default.
      reference: path or URI of the rows to learn from, such as the training data; by default those that are judged.
      seed: of the forest.
    """

    model_config = _STRICT

    columns: _Columns
    method: Literal["robust_z", "isolation"] = ROBUST_Z
    beyond: Annotated[float, pydantic.Field(gt=0)] | None = None
    reference: Annotated[str, PLACE] = ""
    seed: Annotated[int, pydantic.Field(ge=0)] = 0

    @pydantic.model_validator(mode="after")
    def _possible(self) -> Outliers:
        if self.method == ISOLATION and self.limit >= 1:
            raise ValueError(
                f"isolation scores are below 1, so a limit of {self.limit:g} would never be exceeded; give one below 1"
            )
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns must not name the same column twice")
        return self

    @property
    def limit(self) -> float:
        """Where far begins."""
        return _LIMITS[self.method] if self.beyond is None else self.beyond


class Rule(pydantic.BaseModel):
    """One rule: exactly one of `row`, `unique`, `references`, `monotone` and `outliers` says which.

    Attributes:
      name: what it is called in findings and in `_rules`.
      severity: "error": rows that break it are quarantined. "warning": they are counted.
      tolerance: the share of a split's rows, in [0, 1], that may break it before that is a finding.
      row: one scalar SQL expression over a row. Missing (NULL) keeps the row, as a CHECK constraint does: say
        `x IS NOT NULL AND x > 0` to refuse it. What cannot be computed, as a cast of "x" to a number, breaks the rule.
      unique: columns whose values together must stand in one row only.
      references: keys that must stand in another dataset.
      monotone: a column that must not fall.
      outliers: columns in which rows must not lie far from the others.
    """

    model_config = _STRICT

    name: Annotated[str, pydantic.Field(min_length=1)]
    severity: Severity = "error"
    tolerance: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    row: Annotated[str, pydantic.Field(min_length=1)] | None = None
    unique: _Columns | None = None
    references: References | None = None
    monotone: Monotone | None = None
    outliers: Outliers | None = None

    @pydantic.model_validator(mode="after")
    def _one_kind(self) -> Rule:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a rule must have exactly one of {', '.join(_KINDS)}; this one has {', '.join(given) or 'none'}"
            )
        if self.name.startswith(SCHEMA_PREFIX):
            raise ValueError(
                f"the name {self.name!r} begins with {SCHEMA_PREFIX!r}, which is reserved for rules that come from a "
                "schema"
            )
        return self

    @property
    def kind(self) -> str:
        """Which of the five it is."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    @property
    def text(self) -> str:
        """What it asks, in a few words."""
        if self.row is not None:
            plain = " ".join(self.row.split())
            return plain if len(plain) <= _LONGEST_TEXT else plain[: _LONGEST_TEXT - 1] + "…"
        if self.unique is not None:
            return f"unique {_listed(self.unique)}"
        if self.references is not None:
            return (
                f"{_listed(self.references.columns)} in {_listed(self.references.targets)} of {self.references.dataset}"
            )
        if self.outliers is not None:
            named = _listed(self.outliers.columns)
            if self.outliers.method == ISOLATION:
                return f"{named} isolated by at most {self.outliers.limit:g}"
            return f"{named} within {self.outliers.limit:g} robust standard deviations"
        asked = self.monotone
        assert asked is not None, "a rule says exactly one of these"
        along = f" along {_listed(asked.order)}" if asked.order else ""
        within = f" within {_listed(asked.group)}" if asked.group else ""
        return f"{asked.column} {'rising' if asked.strict else 'not falling'}{along}{within}"


class RowRules(pydantic.BaseModel):
    """What rows are held against, beside a schema.

    Attributes:
      rules: the rules; the order of `_rules`.
      schema_severity: of the rules that the schema gives.
      private: columns whose values must not be shown, beside those that the dataset itself calls private.
    """

    model_config = _STRICT

    rules: list[Rule] = []
    schema_severity: Severity = "error"
    private: list[str] = []

    @pydantic.field_validator("rules")
    @classmethod
    def _names(cls, rules: list[Rule]) -> list[Rule]:
        names = [rule.name for rule in rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules are named {name!r}; names of rules must be unique")
        return rules


def check_row_rules(config: Mapping[str, Any]) -> RowRules:
    """Settings as rules.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    if not isinstance(config, Mapping):
        raise HeadwaterError(f"config: must be a mapping with the key `rules`; given: {config!r}")
    try:
        return checked(RowRules, whole_numbers(config))
    except HeadwaterError as error:
        given = whole_numbers(config).get("rules")
        raise HeadwaterError(_without_values(str(error), given)) from None


def check_columns(rules: RowRules, schema: pa.Schema) -> dict[str, list[str]]:
    """Holds rules against a dataset's columns.

    Args:
      rules: the rules.
      schema: the dataset's columns with their types.

    Returns:
      The columns that each rule reads, by its name. Of an expression all that it names, and perhaps more.

    Raises:
      HeadwaterError: names the rule, and the column that is not there, with the nearest that is; an expression that is
        refused, is not true or false, or names no column; a type that has no order.
    """
    for name in rules.private:
        require_column("private", name, schema)
    columns_of = {}
    for place, rule in enumerate(rules.rules):
        where = f"rules.{place} ({rule.name!r}): {rule.kind}"
        if rule.row is not None:
            columns_of[rule.name] = _columns_of(where, rule.row, schema)
            continue
        if rule.unique is not None:
            names = rule.unique
        elif rule.references is not None:
            names = rule.references.columns
        elif rule.outliers is not None:
            names = rule.outliers.columns
        else:
            asked = rule.monotone
            assert asked is not None, "a rule says exactly one of these"
            names = [asked.column, *asked.order, *asked.group]
        for name in names:
            require_column(where, name, schema)
        if rule.outliers is not None:
            require_numbers(where, names, schema)
        if rule.monotone is not None:
            for name in [rule.monotone.column, *rule.monotone.order]:
                _require_order(where, name, schema.field(name).type)
        columns_of[rule.name] = list(dict.fromkeys(names))
    return columns_of


def check_reference(where: str, rule: References, ours: pa.Schema, theirs: pa.Schema) -> None:
    """Holds the columns that a rule refers to against the other dataset's.

    Raises:
      HeadwaterError: a column is not there, or the values of the two can never be equal.
    """
    for name, target in zip(rule.columns, rule.targets):
        require_column(f"{where}.to", target, theirs)
        one, two = _comparable(ours.field(name).type), _comparable(theirs.field(target).type)
        if one != two:
            raise HeadwaterError(
                f"{where}: column {name!r} is {ours.field(name).type}, but {target!r} of {rule.dataset} is "
                f"{theirs.field(target).type}; such values are never equal, so give both columns the same type"
            )


def require_numbers(where: str, names: Sequence[str], schema: pa.Schema) -> None:
    """Refuses columns that are not there, or whose values have no distance.

    Raises:
      HeadwaterError: it names the column.
    """
    for name in names:
        require_column(where, name, schema)
        kind = schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise HeadwaterError(f"{where}: column {name!r} is {kind}; outliers need columns of numbers")


def require_column(where: str, name: str, schema: pa.Schema) -> None:
    """Refuses a column that is not there, or is there twice.

    Raises:
      HeadwaterError: it names the nearest column.
    """
    if name not in schema.names:
        raise HeadwaterError(f"{where}: there is no column {name!r}{_nearest(name, schema.names)}")
    if schema.names.count(name) > 1:
        raise HeadwaterError(f"{where}: there are two columns named {name!r}; column names must be unique")


def _columns_of(where: str, expression: str, schema: pa.Schema) -> list[str]:
    try:
        names = check_expression(where, expression, schema.names)
    except HeadwaterError as error:
        unknown = re.search(r"there is no column '(.*)'; the columns are ", str(error))
        if unknown:
            raise HeadwaterError(
                f"{where}: there is no column {unknown[1]!r}{_nearest(unknown[1], schema.names)}"
            ) from None
        raise
    if not names:
        raise HeadwaterError(f"{where}: {expression!r} does not refer to any column; a rule must test a row's values")
    empty = pa.RecordBatch.from_arrays(
        [pa.array([], schema.field(name).type) for name in names],
        schema=pa.schema([schema.field(name) for name in names]),
    )
    kind = evaluate(where, expression, empty)[0].type
    if not pa.types.is_boolean(kind):
        raise HeadwaterError(
            f"{where}: {expression!r} is of type {kind}; a rule must be true or false, as in fare >= 0"
        )
    return names


def _require_order(where: str, name: str, kind: pa.DataType) -> None:
    if not any(ordered(value_type(kind)) for ordered in _ORDERED):
        raise HeadwaterError(
            f"{where}: column {name!r} is {kind}, which cannot be ordered; give numbers, text or times"
        )


def _comparable(kind: pa.DataType) -> object:
    """Equal for types whose equal values hash alike."""
    kind = value_type(kind)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    if is_text(kind):
        return "text"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "bytes"
    return kind


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1, 0.6) or difflib.get_close_matches(
        name.lower(), [other for other in names if other.lower() == name.lower()], 1, 0
    )
    if near:
        return f"; did you mean {near[0]!r}?"
    shown = ", ".join(names[:20])
    return f"; the columns are {shown}{', …' if len(names) > 20 else ''}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def _without_values(message: str, given: Any) -> str:
    """An error about the list of rules without the list itself, and with the name of the rule it is about."""
    place = re.match(r"rules\.(\d+)", message)
    if place and isinstance(given, list) and int(place[1]) < len(given):
        rule = given[int(place[1])]
        name = rule.get("name") if isinstance(rule, Mapping) else None
        message = f"rules.{place[1]}{f' ({name!r})' if name else ''}{message[place.end() :]}"
    return (
        message if len(message) < 600 else message[: message.rfind("; given: ")] if "; given: " in message else message
    )
