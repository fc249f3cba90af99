"""The settings of label: a list of methods, each checked with the key named before any work starts."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Mapping, Sequence

import pydantic

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import checked, whole_numbers
from headwater.components.label.methods import METHODS, Step

MOST_CLASSES = 100


class _Common(pydantic.BaseModel):
    """What every step says, whatever its method.

    Attributes:
      method: one of the methods' names.
      classes: the names of the classes, at least two; the same in every step.
      label: the column that the dataset gains; the same in every step.
    """

    model_config = pydantic.ConfigDict(extra="ignore", strict=True)

    method: str
    classes: Annotated[list[str], pydantic.Field(min_length=2, max_length=MOST_CLASSES)]
    label: Annotated[str, pydantic.Field(min_length=1)] = "label"


def check_steps(steps: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The steps as their methods' settings.

    Raises:
      HeadwaterError: names the step and the key, what is wrong with it and what is allowed.
    """
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        raise HeadwaterError(f"steps: a list of at least one method with its settings is needed; given: {steps!r}")
    found = []
    for number, given in enumerate(steps):
        where = f"steps.{number}"
        if not isinstance(given, Mapping):
            raise HeadwaterError(f"{where}: a mapping with `method`, `classes` and more is needed; given: {given!r}")
        common = checked(_Common, whole_numbers(given), where)
        if common.method not in METHODS:
            raise HeadwaterError(
                f"{where}.method: there is no method {common.method!r}; the methods are {', '.join(METHODS)}"
            )
        twice = next((name for name in common.classes if common.classes.count(name) > 1), None)
        if twice is not None:
            raise HeadwaterError(f"{where}.classes: {twice!r} stands twice")
        if common.label.startswith("_"):
            raise HeadwaterError(f"{where}.label: {common.label!r}: names that begin with '_' are Headwater's own")
        if found and (common.classes, common.label) != (list(found[0].classes), found[0].label):
            raise HeadwaterError(f"{where}: classes and label must be those of steps.0, as there is one label column")
        rest = {name: value for name, value in whole_numbers(given).items() if name not in _Common.model_fields}
        method = METHODS[common.method]
        settings = checked(method.Settings, rest, where)
        method.check(f"{where}", settings, common.classes)
        found.append(Step(where, common.method, tuple(common.classes), common.label, settings))
    return found


def check_as_of(text: str) -> datetime.datetime | None:
    """A point in time of ISO 8601, UTC where it names no zone; None for the empty string.

    Raises:
      HeadwaterError: it is none.
    """
    if not text:
        return None
    try:
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise HeadwaterError(f"as_of: {text!r} is no time of ISO 8601, as 2026-01-31T00:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)
