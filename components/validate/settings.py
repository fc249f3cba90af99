"""What validate can be told, checked before any work starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from headwater.components.common.settings import checked, whole_numbers
from headwater.components.validate.alerts.settings import Alert
from headwater.components.validate.concept.settings import Concept
from headwater.components.validate.feature_skew import FeatureSkew
from headwater.components.validate.rows.rules import RowRules

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)
_Share = Annotated[float, pydantic.Field(gt=0, lt=1)]


class Drift(pydantic.BaseModel):
    """Which changes are too much.

    Attributes:
      max_false: the share of alarms that may be false, over all features that are compared; in (0, 1).
      least_effect: the effect that is worth an eye where history has taught no other, see `distances.Change`.
      categorical: a fixed threshold for the L-infinity distance of text, in [0, 1], in place of the test.
      numeric: one for the Jensen-Shannon divergence of numbers.
      season: spans in a season, such as 7 for days of a week; learnt thresholds then know the phase.
    """

    model_config = _STRICT
    max_false: _Share = 0.01
    least_effect: Annotated[float, pydantic.Field(ge=0)] = 0.03
    categorical: Annotated[float, pydantic.Field(ge=0, le=1)] | None = None
    numeric: Annotated[float, pydantic.Field(ge=0, le=1)] | None = None
    season: Annotated[int, pydantic.Field(ge=0)] = 0


class Serving(pydantic.BaseModel):
    """What serving data looked like.

    Attributes:
      statistics: URI of its statistics.
      environment: the schema environment that it is validated in; empty for none.
    """

    model_config = _STRICT
    statistics: Annotated[str, pydantic.Field(min_length=1)]
    environment: str = ""


class Settings(pydantic.BaseModel):
    """How data is judged.

    Attributes:
      drift: which changes are too much.
      serving: data to measure skew from; none by default.
      rows: rules that single rows are held against, see `rows.rules`; the schema's demands are among them. None by
        default, and then no row is read.
      concept: label and features whose relation is compared with the baseline's, see `concept.settings`; none by
        default.
      feature_skew: serving rows that training rows are compared with by key, see `feature_skew`; none by default.
      alerts: who is told of the verdict, see `alerts.settings`; nobody by default.
    """

    model_config = _STRICT
    drift: Drift = Drift()
    serving: Serving | None = None
    rows: RowRules | None = None
    concept: Concept | None = None
    feature_skew: FeatureSkew | None = None
    alerts: list[Alert] = []


def check_settings(settings: Mapping[str, Any]) -> Settings:
    """The settings, checked.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    return checked(Settings, whole_numbers(settings), "config")
