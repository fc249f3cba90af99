"""validate's settings, put together from those of its checks."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pydantic

from headwater.components.common.settings import checked, whole_numbers
from headwater.components.validate import checks
from headwater.components.validate.acknowledging import Acknowledged, Day
from headwater.components.validate.alerts.settings import Alert


def check_settings(settings: Mapping[str, Any]) -> Any:
    """Checks settings before any work starts.

    Args:
      settings: by name, as the checks in `checks.CHECKS` define them; `alerts`, see `alerts.settings`; `acknowledged` and
        `as_of`, see `acknowledging`.

    Returns:
      A pydantic model with an attribute for each setting.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    return checked(_model(checks.CHECKS), whole_numbers(settings), "config")


@functools.cache
def _model(known: tuple[checks.Check, ...]) -> type[pydantic.BaseModel]:
    fields: dict[str, Any] = {name: field for check in known for name, field in check.settings.items()}
    return pydantic.create_model(
        "Settings",
        __config__=checks.base.STRICT,
        **fields,
        acknowledged=(list[Acknowledged], []),
        as_of=(Day | None, None),
        alerts=(list[Alert], []),
    )
