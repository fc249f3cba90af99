"""Changes that people make to a schema: the settings, checked before they are applied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from headwater.components.common.project import section
from headwater.components.common.settings import (
    PLACE,
    checked,
    whole_numbers,
)

PRIVATE, ZERO_MEANS_MISSING = "headwater:private", "headwater:zero-means-missing"
"""Tags of a feature's annotation, for what TFMD has no field for."""

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True)
_Share = Annotated[float, pydantic.Field(ge=0, le=1)]
_Positive = Annotated[float, pydantic.Field(gt=0, le=1)]
_Count = Annotated[int, pydantic.Field(ge=0)]
_Number = Annotated[float, pydantic.Field(allow_inf_nan=False)]


class Distances(pydantic.BaseModel):
    """Distances that are too much, by measure; at least one, each in (0, 1].

    Attributes:
      l_infinity: of text, the largest difference of a value's share.
      jensen_shannon: of numbers, the Jensen-Shannon divergence.
      normalized_abs_difference: the absolute differences of counts, relative to the total count of both sides.
    """

    model_config = _STRICT

    l_infinity: _Positive | None = None
    jensen_shannon: _Positive | None = None
    normalized_abs_difference: _Positive | None = None

    @pydantic.model_validator(mode="after")
    def _one(self) -> Distances:
        if not self.model_dump(exclude_none=True):
            raise ValueError("name a measure: l_infinity, jensen_shannon or normalized_abs_difference")
        return self


class FeatureCuration(pydantic.BaseModel):
    """What is agreed about one feature.

    Attributes:
      type: `int`, `float` or `text`.
      domain: the values that a text feature may have.
      min_domain_mass: the least share of values that must lie in the domain, in [0, 1].
      min, max: the least and the greatest value of a number.
      required: whether every row must have a value; False: none need have one.
      min_fraction: the least share of rows that must have a value, in [0, 1].
      min_count: the least number of rows that must have one.
      min_values, max_values: how many values a row that has any must and may have.
      unique_min, unique_max: how many distinct values a feature must and may have.
      in_environment, not_in_environment: environments that expect it beside the default ones, and that do not.
      drift_threshold, skew_threshold: the distance from the earlier span, and from serving data, that is an error: a
        number for L-infinity of text and Jensen-Shannon divergence of numbers, in (0, 1], or distances by measure.
      natural_language: whether a text is language and not a category.
      categorical: whether a whole number is the code of a category.
      zero_means_missing: whether a zero stands for a missing value; validate then counts it as one.
      private: whether its values must not be shown; statistics that are steered by the schema then hide them.
      deprecated: whether it is on its way out; it is then not validated.
    """

    model_config = _STRICT

    type: Literal["int", "float", "text"] | None = None
    domain: Annotated[list[str], pydantic.Field(min_length=1)] | None = None
    min_domain_mass: _Share | None = None
    min: _Number | None = None
    max: _Number | None = None
    required: bool | None = None
    min_fraction: _Share | None = None
    min_count: _Count | None = None
    min_values: _Count | None = None
    max_values: _Count | None = None
    unique_min: _Count | None = None
    unique_max: _Count | None = None
    in_environment: list[str] | None = None
    not_in_environment: list[str] | None = None
    drift_threshold: _Positive | Distances | None = None
    skew_threshold: _Positive | Distances | None = None
    natural_language: bool | None = None
    categorical: bool | None = None
    zero_means_missing: bool | None = None
    private: bool | None = None
    deprecated: bool | None = None

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> FeatureCuration:
        for low, high in (("min", "max"), ("min_values", "max_values"), ("unique_min", "unique_max")):
            one, other = getattr(self, low), getattr(self, high)
            if one is not None and other is not None and one > other:
                raise ValueError(f"{low} {one} is above {high} {other}")
        if self.required and self.min_fraction is not None and self.min_fraction < 1:
            raise ValueError(f"a required feature must be in every row, so min_fraction cannot be {self.min_fraction}")
        return self


class Growth(pydantic.BaseModel):
    """How the number of rows may change, as a ratio of now to before; at least 0.

    Attributes:
      min, max: the least and the greatest ratio.
    """

    model_config = _STRICT

    min: Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)] | None = None
    max: Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)] | None = None


class Weights(pydantic.BaseModel):
    """A feature whose values have weights.

    Attributes:
      feature: its name.
      weight: the name of the feature that holds the weights.
    """

    model_config = _STRICT

    feature: str
    weight: str


class Curation(pydantic.BaseModel):
    """Changes to a schema.

    Attributes:
      features: by feature.
      environments: the environments that expect every feature, but where a feature says otherwise.
      other_environments: further environments, which expect only the features that name them under `in_environment`.
      min_examples, max_examples: how many rows a split must and may have.
      growth: against the earlier span.
      weights: weighted features by name.
      remove: features that the schema no longer has.
    """

    model_config = _STRICT

    features: dict[str, FeatureCuration] = {}
    environments: list[str] | None = None
    other_environments: list[str] = []
    min_examples: _Count | None = None
    max_examples: _Count | None = None
    growth: Growth | None = None
    weights: dict[str, Weights] = {}
    remove: list[str] = []


class Section(Curation):
    """How the schema comes about, and changes to it.

    Attributes:
      mode: `infer` (there is no base), `frozen` (the base with these changes, never widened), `propose` (frozen, and the
        widened schema beside it for review), or `auto`: frozen where there is a base, else infer.
      base_schema: the agreed schema: a path or URI, `latest`, `previous`, `span:<n>`, `none`, or `auto`: the previous
        span's, if there is one.
      max_string_domain_size: an inferred text feature with more distinct values has no closed domain.
      infer: how a schema is inferred: `headwater`, TFDV's with the domains that the data closes, or `tfdv`, exactly TFDV's.
    """

    mode: Literal["auto", "infer", "frozen", "propose"] = "auto"
    base_schema: Annotated[str, PLACE] = "auto"
    max_string_domain_size: _Count = 100
    infer: Literal["headwater", "tfdv"] = "headwater"


def from_project(project: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `derive_schema`, less `statistics` and `output`, from the section schema.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    given = section(project, "schema")
    settings = checked(Section, given, "schema")
    return {
        "mode": settings.mode,
        "base_schema": settings.base_schema,
        "curation": {key: value for key, value in given.items() if key in Curation.model_fields},
        "max_string_domain_size": settings.max_string_domain_size,
        "infer": settings.infer,
    }


def check_curation(curation: Mapping[str, Any]) -> Curation:
    """The curation, checked.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    return checked(Curation, whole_numbers(curation), "curation")


def as_json(curation: Curation) -> dict[str, Any]:
    """A curation as a manifest holds it."""
    return json.loads(json.dumps(curation.model_dump(exclude_none=True), sort_keys=True))


def newer(curation: Curation, before: Mapping[str, Any]) -> Curation:
    """What a curation says that an earlier one, by `as_json`, did not say: of a feature all or nothing."""
    now = as_json(curation)
    of_parts = {
        part: {name: getattr(curation, part)[name] for name in now[part] if now[part][name] != _of(before, part, name)}
        for part in ("features", "weights")
    }
    same = {
        part: None
        for part in ("environments", "min_examples", "max_examples", "growth")
        if now.get(part) == before.get(part)
    }
    removed = [name for name in curation.remove if name not in before.get("remove", ())]
    return curation.model_copy(update={**of_parts, **same, "remove": removed})


def _of(before: Mapping[str, Any], part: str, name: str) -> Any:
    return before.get(part, {}).get(name)
