"""What collect can be told, checked before any work starts."""

from __future__ import annotations

import math
from typing import Annotated

import pydantic

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import check_name
from headwater.components.common.settings import checked
from headwater.components.common.sources.types import parse_type

AUTO = -1
"""The span that stands for: this content's own, if it was collected before, else one above the highest."""

_Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class Settings(pydantic.BaseModel):
    """What shapes a dataset, other than its sources.

    Attributes:
      name: the dataset's name; one path segment.
      span: the span's number, 0 or more, or `AUTO`.
      splits: names and weights, in order; the first split trains. Weights need not add up to anything.
      key: columns that identify a row; none to have `_row_id` made.
      types: declared types by column.
      delimiter: one character that parts the values of a CSV.
      max_rejected_share: the dataset is not accepted when a larger share of its records is rejected.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = "data"
    span: Annotated[int, pydantic.Field(ge=AUTO)] = AUTO
    splits: dict[str, Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]] = {"train": 0.8, "eval": 0.2}
    key: list[str] = []
    types: dict[str, str] = {}
    delimiter: str = ","
    max_rejected_share: _Share = 0.01

    @pydantic.field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        return _valid(check_name, name)

    @pydantic.field_validator("splits")
    @classmethod
    def _splits(cls, splits: dict[str, float]) -> dict[str, float]:
        if not splits:
            raise ValueError("needs at least one split, as in {'train': 0.8, 'eval': 0.2}")
        for name in splits:
            _valid(check_name, name)
        if not math.isfinite(sum(splits.values())):
            raise ValueError("the weights are too large to add up")
        return splits

    @pydantic.field_validator("key")
    @classmethod
    def _key(cls, key: list[str]) -> list[str]:
        if len(set(key)) != len(key):
            raise ValueError("names a column twice")
        return key

    @pydantic.field_validator("types")
    @classmethod
    def _types(cls, types: dict[str, str]) -> dict[str, str]:
        for kind in types.values():
            _valid(parse_type, kind)
        return types

    @pydantic.field_validator("delimiter")
    @classmethod
    def _delimiter(cls, delimiter: str) -> str:
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
            raise ValueError("must be one ASCII character, and neither a quote nor a line end")
        return delimiter


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


def check_settings(**settings: object) -> Settings:
    """The settings, checked.

    Raises:
      HeadwaterError: names the setting, what is wrong with it and what is allowed.
    """
    return checked(Settings, settings)


def _valid(check, value):
    # pydantic gathers ValueErrors with the place they belong to.
    try:
        check(value)
    except HeadwaterError as error:
        raise ValueError(str(error)) from None
    return value
