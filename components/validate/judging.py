"""How a verdict comes about, beside the settings of the checks: all that the gate reads of the section validate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from headwater.components.common.acknowledging import Acknowledged, Day
from headwater.components.common.project import section
from headwater.components.common.settings import PLACE, checked

STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)
"""How every model of validate's settings is configured."""


class Judging(pydantic.BaseModel):
    """How the verdict comes about, beside the settings of the checks.

    Attributes:
      baseline: statistics to measure drift from: a path or URI, `latest`, `previous`, `span:<n>`, `season:<n>` (the span
        n before), `window:<n>` (the n spans before, as one), `none`, or `auto`: the previous span's, if there is
        one. Spans that were rejected and never accepted are passed over, unless they are named by number or URI.
      environment: the schema environment to validate in; empty for none.
      fail_on: the lowest severity of a finding that fails the gate.
      acknowledged: findings that are known, and do not count until a date has passed.
      as_of: the day that their dates are compared with; by default the day of the run, UTC.
    """

    model_config = STRICT

    baseline: Annotated[str, PLACE] = "auto"
    environment: str = ""
    fail_on: Literal["error", "warning", "none"] = "error"
    acknowledged: list[Acknowledged] = []
    as_of: Day | None = None


def fail_on(project: Mapping[str, Any]) -> str:
    """The lowest severity that fails the gate.

    Raises:
      HeadwaterError: there is no such severity.
    """
    given = {"fail_on": section(project, "validate").get("fail_on", Judging.model_fields["fail_on"].default)}
    return checked(Judging, given, "validate").fail_on
