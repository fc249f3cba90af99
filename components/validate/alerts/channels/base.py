"""What a channel is, and what channels share."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headwater.components.common.errors import HeadwaterError

if TYPE_CHECKING:
    from headwater.components.validate.alerts.settings import Alert

Verdict = Mapping[str, Any]
Findings = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Channel:
    """One way to send a verdict.

    Attributes:
      name: what `to` calls it.
      send: sends a verdict and the findings that are new, under the alert's settings; the text is a key that is the same
        whenever the same is sent again. Raises HeadwaterError when it is not taken.
      needed: settings that it cannot do without.
      optional: other settings that it takes.
      claims: whether each finding is sent once (`findings`), the state once (`verdict`), or every time (`never`).
      endings: by setting, how its value must end.
    """

    name: str
    send: Callable[[Verdict, Findings, Alert, str], None]
    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    claims: str = "findings"
    endings: Mapping[str, str] = dataclasses.field(default_factory=dict)


def variable(name: str) -> str:
    """The value of an environment variable that has to be set."""
    value = os.environ.get(name, "")
    if not value:
        raise HeadwaterError(f"the environment variable {name} is not set")
    return value


def as_json(value: Any) -> bytes:
    """JSON as UTF-8."""
    return json.dumps(value, ensure_ascii=False).encode()
