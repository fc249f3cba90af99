"""The actions on columns that hold personal data, before anything of them is written, and the key of hashes.

| action | what becomes of a value |
| --- | --- |
| `redact` | text: "[redacted]"; any other: missing |
| `hash` | 32 hexadecimal characters, the first half of HMAC-SHA-256 under the key in `HEADWATER_PRIVACY_KEY` |
| `truncate` | text to `characters`; IP addresses to their `network`; numbers to `decimals`; times to a `unit` |
| `generalise` | numbers to bins of a `width` or between `edges`; dates to a `period`; categories by a `mapping` |
| `drop` | the column goes |
| `keep` | stays as it is: someone looked at it and said so |

Missing stays missing. A value that an action cannot read (text that is no IP address) becomes missing, never itself.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pyarrow as pa
import pydantic

from headwater.components.common.arrow_types import is_text
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import checked

KEY_VARIABLE = "HEADWATER_PRIVACY_KEY"
"""The environment variable that holds the key of hashes."""

KEY_BYTES = 16
"""The key must have at least so many bytes."""

REDACTED = "[redacted]"


class _Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Redact(_Settings):
    """Text becomes "[redacted]", any other value missing."""

    action: Literal["redact"] = "redact"


class Hash(_Settings):
    """A keyed hash of the value's text: equal values stay equal, across columns and datasets with one key."""

    action: Literal["hash"] = "hash"


class Truncate(_Settings):
    """A coarser value of the same type; exactly one of the attributes is given.

    Attributes:
      characters: text keeps its first so many characters.
      network: True for IP addresses as text: to their /24 (IPv4) or /48 (IPv6) network.
      decimals: floats and decimals are rounded to so many decimals, half to even.
      unit: dates and timestamps go back to the start of it.
    """

    action: Literal["truncate"] = "truncate"
    characters: Annotated[int, pydantic.Field(ge=1)] | None = None
    network: Literal[True] | None = None
    decimals: Annotated[int, pydantic.Field(ge=0, le=15)] | None = None
    unit: Literal["second", "minute", "hour", "day", "month", "quarter", "year"] | None = None

    @pydantic.model_validator(mode="after")
    def _one(self) -> Truncate:
        return _exactly_one(self, ("characters", "network", "decimals", "unit"))


class Generalise(_Settings):
    """A class in place of the value, as text; exactly one of the attributes but `other` is given.

    Attributes:
      width: numbers fall into bins of it that begin at multiples of it: "[20, 30)".
      edges: numbers fall between these, ascending: "< 18", "[18, 65)", ">= 65".
      period: dates and timestamps become "2013-07" or "2013".
      mapping: the class of each value, by the value's text.
      other: with a mapping: the class of all other values.
    """

    action: Literal["generalise"] = "generalise"
    width: Annotated[float, pydantic.Field(gt=0)] | None = None
    edges: Annotated[list[float], pydantic.Field(min_length=1)] | None = None
    period: Literal["month", "year"] | None = None
    mapping: Annotated[dict[str, str], pydantic.Field(min_length=1)] | None = None
    other: str = "other"

    @pydantic.field_validator("edges")
    @classmethod
    def _ascending(cls, edges: list[float] | None) -> list[float] | None:
        if edges and any(low >= high for low, high in zip(edges, edges[1:])):
            raise ValueError("must ascend, as in [18, 65]")
        return edges

    @pydantic.model_validator(mode="after")
    def _one(self) -> Generalise:
        if "other" in self.model_fields_set and self.mapping is None:
            raise ValueError("'other' can only be given with 'mapping'")
        return _exactly_one(self, ("width", "edges", "period", "mapping"))


class Drop(_Settings):
    """The column goes."""

    action: Literal["drop"] = "drop"


class Keep(_Settings):
    """The column stays as it is, although it holds personal data."""

    action: Literal["keep"] = "keep"


Action = Redact | Hash | Truncate | Generalise | Drop | Keep
_ACTIONS: dict[str, type[Action]] = {
    model.model_fields["action"].default: model for model in (Redact, Hash, Truncate, Generalise, Drop, Keep)
}


class Secret(bytes):
    """A key that does not show itself when it is printed."""

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


def parse_actions(given: Mapping[str, Any]) -> dict[str, Action]:
    """The actions by column.

    Args:
      given: the action's name, or its settings with the key `action`: `{"email": "redact", "age": {"action":
        "generalise", "width": 10}}`.

    Raises:
      HeadwaterError: names the column, what is wrong and what is allowed.
    """
    actions = {}
    for column, settings in given.items():
        where = f"private.{column}"
        if isinstance(settings, str):
            settings = {"action": settings}
        if not isinstance(settings, Mapping) or "action" not in settings:
            raise HeadwaterError(f"{where}: must be the name of an action, or its settings with the key 'action'")
        name = settings["action"]
        if not isinstance(name, str) or name not in _ACTIONS:
            raise HeadwaterError(f"{where}: there is no action {name!r}; the actions are {', '.join(_ACTIONS)}")
        actions[column] = checked(_ACTIONS[name], settings, where)
    return actions


def check_actions(actions: Mapping[str, Action], schema: pa.Schema) -> None:
    """Checks the actions against the columns that they are meant for.

    Raises:
      HeadwaterError: there is no such column, or its type is none that the action works on.
    """
    for column, action in actions.items():
        if schema.get_field_index(column) < 0:
            raise HeadwaterError(f"private: there is no column {column!r}; the columns are {', '.join(schema.names)}")
        wanted = _wanted(action, _plain_type(schema.field(column).type))
        if wanted:
            way = _way(action)
            raise HeadwaterError(
                f"private.{column}: {action.action}{way and f' with {way}'} works on {wanted}, but the column is "
                f"{schema.field(column).type}"
            )


def output_type(action: Action, type: pa.DataType) -> pa.DataType:
    """The type that a column has after the action; null for one that is dropped."""
    if isinstance(action, Keep):
        return type
    if isinstance(action, Drop):
        return pa.null()
    if isinstance(action, (Hash, Generalise)):
        return pa.string()
    plain = _plain_type(type)
    if isinstance(action, Truncate) and action.network:
        return pa.string()
    return plain if is_text(plain) or isinstance(action, Truncate) else type


def read_secret(actions: Mapping[str, Action]) -> Secret | None:
    """The key of hashes, from the environment; None when no action needs one.

    Raises:
      HeadwaterError: an action needs it and it is missing or too short.
    """
    hashed = [column for column, action in actions.items() if isinstance(action, Hash)]
    if not hashed:
        return None
    secret = os.environ.get(KEY_VARIABLE, "").encode("utf-8", "surrogateescape")
    if len(secret) < KEY_BYTES:
        raise HeadwaterError(
            f"private.{hashed[0]}: hash needs a key of at least {KEY_BYTES} bytes in the environment variable "
            f"{KEY_VARIABLE}, which {'is too short' if secret else 'is not set'}"
        )
    return Secret(secret)


def key_fingerprint(secret: bytes | None) -> str:
    """16 hexadecimal characters that change with the key and do not give it away; empty without one."""
    return hmac.digest(secret, b"headwater: fingerprint of the key", "sha256").hex()[:16] if secret else ""


def _exactly_one(settings: Any, names: tuple[str, ...]) -> Any:
    if sum(getattr(settings, name) is not None for name in names) != 1:
        raise ValueError(f"needs exactly one of {', '.join(names)}")
    return settings


def _way(action: Action) -> str:
    """The attribute that says how the action is done; empty where there is one way only."""
    names = [name for name in type(action).model_fields if name not in ("action", "other")]
    return next((name for name in names if getattr(action, name) is not None), "")


def _wanted(action: Action, kind: pa.DataType) -> str:
    """The types that an action works on, if `kind` is not among them."""
    way = _way(action)
    if isinstance(action, Hash):
        single = (
            not pa.types.is_nested(kind)
            and not pa.types.is_float16(kind)
            and not isinstance(kind, pa.BaseExtensionType)
        )
        return "" if single else "text, binary, numbers, dates and times"
    text = is_text(kind)
    instant = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    real = pa.types.is_float32(kind) or pa.types.is_float64(kind) or pa.types.is_decimal(kind)
    if way in ("characters", "network"):
        return "" if text else "text"
    if way == "decimals":
        return "" if real else "floats and decimals"
    if way in ("unit", "period"):
        if pa.types.is_date(kind) and isinstance(action, Truncate) and action.unit in ("second", "minute", "hour"):
            return "timestamps"
        return "" if instant else "dates and timestamps"
    if way in ("width", "edges"):
        return "" if real or pa.types.is_integer(kind) else "numbers"
    if way == "mapping":
        return "" if text or pa.types.is_integer(kind) or pa.types.is_boolean(kind) else "text, integers and booleans"
    return ""


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
