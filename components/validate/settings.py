"""validate's settings, put together from those of its checks."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pydantic

from headwater.components.common.acknowledging import Acknowledged, Day
from headwater.components.common.project import beam_options, listed, section
from headwater.components.common.settings import checked, whole_numbers
from headwater.components.validate import checks
from headwater.components.validate.alerts.settings import Alert
from headwater.components.validate.judging import STRICT, Judging


def check_settings(settings: Mapping[str, Any]) -> Any:
    """Checks settings before any work starts.

    Args:
      settings: by name, as the checks in `checks.CHECKS` define them; `acknowledged` and `as_of`, as `Judging` has them; and
        `alerts`, see `alerts.settings`.

    Returns:
      A pydantic model with an attribute for each setting.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    return checked(_model(checks.CHECKS), whole_numbers(settings), "config")


class Alerts(pydantic.BaseModel):
    """Where verdicts are sent.

    Attributes:
      alerts: channels; none by default.
    """

    model_config = STRICT

    alerts: list[Alert] = []


def from_project(project: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `check_statistics` that are settings, from the sections validate, alerts and platform.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    given = section(project, "validate")
    settings = checked(section_model(), given, "validate")
    alerts = listed(project, "alerts")
    checked(Alerts, {"alerts": alerts})
    own = {key: value for key, value in given.items() if key not in ("baseline", "environment", "fail_on")}
    return {
        "baseline": settings.baseline,
        "environment": settings.environment,
        "config": {**own, "alerts": alerts} if alerts else own,
        **beam_options(project),
    }


def section_model() -> type[Judging]:
    """The model of the section validate."""
    return _section(checks.CHECKS)


@functools.cache
def _section(known: tuple[checks.Check, ...]) -> type[Judging]:
    return pydantic.create_model("Section", __base__=Judging, __doc__=Judging.__doc__, **_fields(known))


def _fields(known: tuple[checks.Check, ...]) -> dict[str, Any]:
    return {name: field for check in known for name, field in check.settings.items()}


@functools.cache
def _model(known: tuple[checks.Check, ...]) -> type[pydantic.BaseModel]:
    return pydantic.create_model(
        "Settings",
        __config__=STRICT,
        **_fields(known),
        acknowledged=(list[Acknowledged], []),
        as_of=(Day | None, None),
        alerts=(list[Alert], []),
    )
