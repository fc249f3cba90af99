"""Changes that people make to a schema, checked before they are applied."""

from __future__ import annotations

from typing import Annotated, Any, Mapping

import pydantic

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import checked
from tensorflow_metadata.proto.v0 import schema_pb2

_Positive = Annotated[float, pydantic.Field(gt=0, le=1)]
_NUMBERS = (schema_pb2.INT, schema_pb2.FLOAT)


class FeatureCuration(pydantic.BaseModel):
    """What is agreed about one feature.

    Attributes:
      drift_threshold: the distance from the earlier span that is an error: L-infinity for text, Jensen-Shannon
        divergence for numbers; in (0, 1].
      domain: the values that a text feature may have.
      min: the least value of a number.
      max: the greatest value of a number.
      min_fraction: the least share of rows that must have a value, in [0, 1].
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    drift_threshold: _Positive | None = None
    domain: Annotated[list[str], pydantic.Field(min_length=1)] | None = None
    min: Annotated[float, pydantic.Field(allow_inf_nan=False)] | None = None
    max: Annotated[float, pydantic.Field(allow_inf_nan=False)] | None = None
    min_fraction: Annotated[float, pydantic.Field(ge=0, le=1)] | None = None


class Curation(pydantic.BaseModel):
    """Changes to a schema, by feature."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    features: dict[str, FeatureCuration] = {}


def check_curation(curation: Mapping[str, Any]) -> Curation:
    """The curation, checked.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    return checked(Curation, curation, "curation")


def apply_curation(schema: schema_pb2.Schema, curation: Curation) -> None:
    """Changes a schema in place.

    Raises:
      HeadwaterError: a feature is not in the schema, or a key does not fit its type.
    """
    features = {feature.name: feature for feature in schema.feature}
    for name, changes in curation.features.items():
        feature = features.get(name)
        where = f"curation.features.{name}"
        if feature is None:
            raise HeadwaterError(f"{where}: the schema has no such feature; it has {', '.join(features)}")
        if changes.drift_threshold is not None:
            comparator = feature.drift_comparator
            comparator.Clear()
            measure = comparator.jensen_shannon_divergence if feature.type in _NUMBERS else comparator.infinity_norm
            measure.threshold = changes.drift_threshold
        if changes.domain is not None:
            if feature.type != schema_pb2.BYTES:
                raise HeadwaterError(f"{where}.domain: the feature is no text; numbers take min and max")
            feature.string_domain.CopyFrom(schema_pb2.StringDomain(name=name, value=changes.domain))
        if changes.min is not None or changes.max is not None:
            _limit(feature, changes, where)
        if changes.min_fraction is not None:
            feature.presence.min_fraction = changes.min_fraction
            # A fixed shape asks for a value in every row, whatever presence says.
            if changes.min_fraction < 1 and feature.HasField("shape"):
                feature.ClearField("shape")
                feature.value_count.min = feature.value_count.max = 1


def _limit(feature: schema_pb2.Feature, changes: FeatureCuration, where: str) -> None:
    if feature.type not in _NUMBERS:
        raise HeadwaterError(f"{where}.min, max: the feature is no number; text takes domain")
    if changes.min is not None and changes.max is not None and changes.min > changes.max:
        raise HeadwaterError(f"{where}: min {changes.min} is above max {changes.max}")
    whole = feature.type == schema_pb2.INT
    domain = feature.int_domain if whole else feature.float_domain
    for end in ("min", "max"):
        value = getattr(changes, end)
        if value is not None:
            if whole and value != int(value):
                raise HeadwaterError(f"{where}.{end}: the feature is INT; {value} is no whole number")
            setattr(domain, end, int(value) if whole else value)
