"""The options of worst slices: what an error costs and which slices are looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa
import pydantic

from headwater.components.common.dataset import OWN_PREFIX
from headwater.components.common.errors import HeadwaterError

MOST_COLUMNS = 200
"""Columns sliced by when none are named."""


class Options(pydantic.BaseModel, extra="forbid", frozen=True):
    """What an error costs, and which slices are looked at.

    Attributes:
      errors: a column of numbers or bools: the cost of each row.
      prediction, label: two columns of classes, instead of `errors`: a row costs 1 when they differ, else 0.
      costs: by label, then by prediction, what a row costs instead. A pair that is not named costs 1 or 0 as above.
        Numbers are named as in "1", bools "true" and "false". A cost below 0 is a gain.
      columns: to slice by, 200 at most. By default every column that can be, other than those above and
        private ones: text and numbers in turn, those first whose bins spread the rows most evenly.
      depth: 2 looks at conjunctions of two columns as well, of the first 32 columns.
      min_rows: rows with a cost that a slice has at least.
      top: slices listed at most.
      max_p: adjusted p-value of a listed slice at most, in (0, 1].
    """

    errors: str = ""
    prediction: str = ""
    label: str = ""
    costs: dict[str, dict[str, pydantic.FiniteFloat]] = {}
    columns: list[str] = pydantic.Field([], max_length=MOST_COLUMNS)
    depth: Literal[1, 2] = 2
    min_rows: int = pydantic.Field(100, ge=2)
    top: int = pydantic.Field(20, ge=1)
    max_p: float = pydantic.Field(0.05, gt=0, le=1)

    @pydantic.field_validator("costs", mode="before")
    @classmethod
    def _name_classes(cls, costs: Any) -> Any:
        # YAML reads 1 and true as a number and a bool.
        if not isinstance(costs, dict):
            return costs
        return {
            _class_name(label): {_class_name(key): cost for key, cost in row.items()} if isinstance(row, dict) else row
            for label, row in costs.items()
        }

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Options:
        if self.errors and (self.prediction or self.label):
            raise ValueError("give either errors, or prediction and label, not both")
        if not self.errors and not (self.prediction and self.label):
            raise ValueError("give errors (a column with the cost of each row), or both prediction and label")
        if self.prediction and self.prediction == self.label:
            raise ValueError("prediction and label must be different columns")
        if self.costs and self.errors:
            raise ValueError("costs can only be given with prediction and label; errors are already costs")
        twice = [name for name in dict.fromkeys(self.columns) if self.columns.count(name) > 1]
        if twice:
            raise ValueError(f"columns must not name {twice[0]!r} twice")
        return self

    @property
    def classes(self) -> list[str]:
        """The classes that `costs` names, sorted."""
        return sorted({name for label, row in self.costs.items() for name in (label, *row)})


def check(options: Options, schema: pa.Schema) -> None:
    """Holds the options against a dataset's columns.

    Raises:
      HeadwaterError: a column is missing or of a type that cannot serve, or the costs name what is no class.
    """
    for key in ("errors", "prediction", "label"):
        if name := getattr(options, key):
            _field(schema, key, name)
    for name in options.columns:
        if name == options.errors:
            raise HeadwaterError(f"worst_slices.columns: {name!r} holds the costs; name other columns")
        _field(schema, "columns", name)
        if (kind := kind_of(schema, name)) == "lists or structs":
            raise HeadwaterError(f"worst_slices.columns: {name!r} holds {kind}, which cannot be sliced by")
    if options.errors:
        kind = kind_of(schema, options.errors)
        if kind not in ("numbers", "bools", "nothing"):
            raise HeadwaterError(
                f"worst_slices.errors: column {options.errors!r} holds {kind}; a cost must be a number or a boolean"
            )
        return
    kinds = {key: kind_of(schema, getattr(options, key)) for key in ("label", "prediction")}
    for key, kind in kinds.items():
        if kind == "lists or structs":
            raise HeadwaterError(
                f"worst_slices.{key}: column {getattr(options, key)!r} holds {kind}; it must have one class per row"
            )
    known = {kind for kind in kinds.values() if kind != "nothing"}
    if len(known) > 1 and known != {"numbers", "bools"}:
        raise HeadwaterError(
            f"worst_slices: label {options.label!r} holds {kinds['label']} and prediction {options.prediction!r} "
            f"{kinds['prediction']}, which are never equal; give both the same type"
        )
    for name in options.classes:
        class_value(name, known, options)


def _field(schema: pa.Schema, key: str, name: str) -> None:
    if schema.get_field_index(name) < 0 or name.startswith(OWN_PREFIX):
        known = [each for each in schema.names if not each.startswith(OWN_PREFIX)]
        raise HeadwaterError(f"worst_slices.{key}: there is no column {name!r}; the columns are {listed(known)}")


def kind_of(schema: pa.Schema, name: str) -> str:
    """What a column holds, in a word or two."""
    kind = schema.field(name).type
    while isinstance(kind, pa.BaseExtensionType) or pa.types.is_dictionary(kind):
        kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        # A list of one value a row serves as that value; `measure` sees to it.
        return kind_of(pa.schema([pa.field(name, kind.value_type)]), name)
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return "lists or structs"
    if pa.types.is_boolean(kind):
        return "bools"
    if pa.types.is_temporal(kind):
        return "numbers" if pa.types.is_duration(kind) else "moments"
    if pa.types.is_null(kind):
        return "nothing"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers"
    return "text"


def _class_name(key: Any) -> Any:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int) or isinstance(key, float) and key.is_integer():
        return str(int(key))
    return key


def class_value(name: str, kinds: set[str], options: Options) -> Any:
    """A class of the costs as the columns hold it.

    Raises:
      HeadwaterError: the columns hold numbers, and this is none.
    """
    if kinds <= {"text"}:
        return name.encode()
    if "bools" in kinds and name.lower() in ("true", "false"):
        return int(name.lower() == "true")
    if re.fullmatch(r"[+-]?\d{1,18}", name):
        return int(name)
    allowed = "whole numbers, true or false" if "bools" in kinds else "whole numbers"
    raise HeadwaterError(
        f"worst_slices.costs: {name!r} cannot be a class of {options.label!r} and {options.prediction!r}, which hold "
        f"{' and '.join(sorted(kinds))}; classes must be {allowed}"
    )


def listed(names: Sequence[str]) -> str:
    """Names in words, the first of very many."""
    shown = ", ".join(map(repr, names[:20]))
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
