"""Users' own checks: functions that look at what is validated, and give findings.

A function takes the `Context`, and its settings by name:

    def small(context, least):
        for split in context.splits:
            if context.rows_of(split) < least:
                yield finding(split, "", "SMALL", "error", f"{context.rows_of(split):,} rows, where {least:,} are needed")
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import SEVERITIES
from headwater.components.common.user_code import code_of, failure, find_function
from headwater.components.validate.checks.base import Check, Outcome
from headwater.components.validate.context import Context
from headwater.components.validate.judging import STRICT

_KEYS = ("split", "feature", "kind", "severity", "message")


class Custom(pydantic.BaseModel):
    """A user's check.

    Attributes:
      function: `package.module:function`, which takes what is validated (`validate.context.Context`) and the settings by
        name, and gives findings (`validate.findings.finding`); in Python the function itself does as well.
      settings: what the function is given beside it.
    """

    model_config = STRICT
    function: str
    settings: dict[str, Any] = {}

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def code(self) -> str:
        """Tells the function's code from a later one: what was validated with other code is validated anew."""
        return code_of(self.function)


def prepare(context: Context) -> None:
    for where, each in _wanted(context):
        find_function(f"{where}.function", each.function)


def run(context: Context) -> Outcome:
    if not context.settings.custom:
        return Outcome(skipped="no function: set validate.custom")
    found = []
    for where, each in _wanted(context):
        function = find_function(f"{where}.function", each.function)
        try:
            given = list(function(context, **each.settings) or ())
        except HeadwaterError:
            raise
        except Exception as error:
            # The message of a user's function may quote a row.
            raise HeadwaterError(f"{where}: {_name(each)} failed with {failure(error, function, None)}") from None
        for one in given:
            _check(where, each, one, context.splits)
        found += given
    return Outcome(findings=found)


def _wanted(context: Context) -> Iterable[tuple[str, Custom]]:
    return ((f"config.custom.{number}", each) for number, each in enumerate(context.settings.custom))


def _check(where: str, custom: Custom, one: Any, splits: Iterable[str]) -> None:
    """Raises HeadwaterError unless a function gave a finding."""
    if not isinstance(one, Mapping) or not all(isinstance(one.get(key), str) for key in _KEYS):
        raise HeadwaterError(
            f"{where}: {_name(custom)} must give findings, as headwater.components.validate.findings.finding makes them; "
            f"it gave a {type(one).__name__}"
        )
    try:
        json.dumps(one, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise HeadwaterError(
            f"{where}: {_name(custom)} gave a finding with a value that JSON cannot hold: {error}"
        ) from None
    if one["severity"] not in SEVERITIES:
        raise HeadwaterError(
            f"{where}: {_name(custom)} gave a finding of severity {one['severity']!r}; it must be one of {', '.join(SEVERITIES)}"
        )
    if one["split"] and one["split"] not in splits:
        raise HeadwaterError(
            f"{where}: {_name(custom)} gave a finding on the split {one['split']!r}; the splits are {', '.join(splits)}"
        )


def _name(custom: Custom) -> str:
    # The function of a notebook has a digest behind its name.
    return custom.function.partition("#")[0]


CHECK = Check("custom", "your own checks", run, settings={"custom": (list[Custom], [])}, prepare=prepare)
