"""Settings of concept drift, checked before any work starts."""

from __future__ import annotations

from typing import Annotated

import pydantic

from headwater.components.common.settings import PLACE


class Concept(pydantic.BaseModel, extra="forbid", frozen=True):
    """What is compared.

    Attributes:
      label: the column of the label: text, bools, whole numbers, or numbers that are cut at the baseline's quantiles.
      label_bins: into how many, for numbers with more than 20 possible values.
      score: a column with a model's score. Rows of one score are then compared with each other where inputs changed.
      columns: features; by default every column of both datasets that can be cut into bins and is not private.
      slices: pairs of columns that are looked at together, beside those that are found to have changed; at most 8.
      statistics: URI of the baseline's statistics, which bins are taken from; by default those beside the baseline
        under data_root.
      min_effect: a change is reported when at least this share of all labels changed, in [0, 1);
      min_slice_effect: or at least this share of the labels of one bin, in (0, 1];
      max_p: and when its p-value, adjusted over all features, is at most this, in (0, 1]: the share of false ones
        among the changes that are reported.
      span_days: days from one span to the next, above 0; with them the verdict says how fast the ground truth changes,
        and how often and from what to label. None by default: it is not reported.
      tolerated: the share of labels that may be wrong before there are new ones, in (0, 1).
    """

    label: Annotated[str, pydantic.Field(min_length=1)]
    label_bins: Annotated[int, pydantic.Field(ge=2, le=10)] = 5
    score: str = ""
    columns: list[str] = []
    slices: Annotated[
        list[Annotated[list[str], pydantic.Field(min_length=2, max_length=2)]], pydantic.Field(max_length=8)
    ] = []
    statistics: Annotated[str, PLACE] = ""
    min_effect: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.01
    min_slice_effect: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.1
    max_p: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.01
    span_days: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)] | None = None
    tolerated: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.05

    @pydantic.model_validator(mode="after")
    def _own_columns(self) -> Concept:
        if self.score == self.label:
            raise ValueError(f"score and label must be different columns; both are {self.label!r}")
        for key, names in (("columns", self.columns), *(("slices", pair) for pair in self.slices)):
            twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
            if twice:
                raise ValueError(f"{key} names {twice[0]!r} twice")
            for name in {self.label, self.score} & set(names):
                raise ValueError(f"{key} must not include {name!r}, which is the label or the score")
        return self
