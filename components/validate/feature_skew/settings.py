"""Settings of the comparison of training rows with serving rows."""

from __future__ import annotations

from typing import Annotated

import pydantic

from headwater.components.common.settings import PLACE

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
_NotNegative = Annotated[float, pydantic.Field(ge=0)]


class Tolerance(pydantic.BaseModel):
    """By how much two numbers may differ: absolute + relative × the training value's size.

    Attributes:
      absolute: the part of it that is the same for every value.
      relative: the part that grows with the training value, as 0.001 for 0.1 %.
    """

    model_config = _STRICT

    absolute: _NotNegative = 0.0
    relative: _NotNegative = 0.0


class FeatureSkew(pydantic.BaseModel):
    """How rows are compared.

    Attributes:
      serving: path or URI of the rows as serving saw them.
      key: the columns that tell a row; by default the training data's key.
      columns: what is compared; by default all columns of both that are not the key.
      tolerance: by column; numbers without one must be equal.
      max_share: the share of joined rows that may differ in a column before it is a finding, in [0, 1].
      examples: how many differing rows are shown of each column.
    """

    model_config = _STRICT

    serving: Annotated[str, pydantic.Field(min_length=1), PLACE]
    key: list[str] = []
    columns: list[str] = []
    tolerance: dict[str, Tolerance] = {}
    max_share: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    examples: Annotated[int, pydantic.Field(ge=0, le=100)] = 5
