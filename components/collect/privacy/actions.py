"""What is done with a column that holds personal data, before anything of it is written.

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

import decimal
import hmac
import ipaddress
import math
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import checked

KEY_VARIABLE = "HEADWATER_PRIVACY_KEY"
"""The environment variable that holds the key of hashes."""

KEY_BYTES = 16
"""The key must have at least so many bytes."""

REDACTED = "[redacted]"

_HASH_CHARACTERS = 32
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"


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
            raise ValueError("'other' goes with a mapping")
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
            raise HeadwaterError(f"{where}: must be an action's name, or its settings with the key 'action'")
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
                f"private.{column}: {action.action}{way and f' with {way}'} works on {wanted}, and the column is "
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
    return plain if _is_text(plain) or isinstance(action, Truncate) else type


def apply(action: Action, column: pa.Array, secret: bytes | None = None) -> pa.Array:
    """A column after its action.

    Args:
      action: one that `check_actions` let pass for the column's type.
      column: one array.
      secret: the key, for `hash`.

    Returns:
      An array of `output_type` and of the same length; all missing for a column that is dropped.

    Raises:
      HeadwaterError: a hash without a key.
    """
    if isinstance(action, Keep):
        return column
    if isinstance(action, Drop):
        return pa.nulls(len(column))
    target = output_type(action, column.type)
    if isinstance(action, Redact) and not _is_text(target):
        return pa.nulls(len(column), target)
    # Every action is a function of the value: it is worked out once for each value that occurs.
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values, indices = encoded.dictionary, encoded.indices
    if isinstance(action, Redact):
        done = pc.if_else(values.is_valid(), pa.scalar(REDACTED), pa.scalar(None, pa.string())).cast(target)
    elif isinstance(action, Hash):
        if secret is None:
            raise HeadwaterError(f"a hash needs its key in the environment variable {KEY_VARIABLE}")
        done = _hashes(values, secret)
    elif isinstance(action, Truncate):
        done = _truncated(action, values)
    else:
        done = _generalised(action, values)
    return done.take(indices)


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
            not pa.types.is_nested(kind) and not pa.types.is_float16(kind) and not isinstance(kind, pa.ExtensionType)
        )
        return "" if single else "text, binary, numbers, dates and times"
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
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
        return (
            "" if text or pa.types.is_integer(kind) or pa.types.is_boolean(kind) else "text, whole numbers and booleans"
        )
    return ""


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _hashes(values: pa.Array, secret: bytes) -> pa.Array:
    # There is no vectorised HMAC. One call a distinct value costs about a microsecond.
    known = values.drop_null()
    keyed = b"".join(hmac.digest(secret, text, "sha256")[: _HASH_CHARACTERS // 2] for text in _texts(known))
    offsets = np.arange(len(known) + 1, dtype=np.int32) * _HASH_CHARACTERS
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(keyed.hex().encode())]
    hashes = pa.StringArray.from_buffers(len(known), buffers[1], buffers[2])
    if not values.null_count:
        return hashes
    places = np.cumsum(values.is_valid().to_numpy(zero_copy_only=False)) - 1
    return hashes.take(pa.array(places, mask=values.is_null().to_numpy(zero_copy_only=False)))


def _texts(values: pa.Array) -> list[bytes]:
    """The values' text: plain decimals without needless zeros, ISO 8601 for dates and times."""
    kind = values.type
    if pa.types.is_floating(kind):
        return [_decimal_text(value).encode() for value in values.to_pylist()]
    if pa.types.is_decimal(kind):
        return [_plain_decimal(value).encode() for value in values.to_pylist()]
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        # Zeros after the seconds are left out, so that a time hashes alike in any unit.
        text = values.cast(pa.timestamp(kind.unit) if pa.types.is_timestamp(kind) else kind).cast(pa.string())
        text = pc.replace_substring_regex(text, pattern=r"\.0+$", replacement="")
        text = pc.replace_substring_regex(text, pattern=r"(\.[0-9]*[1-9])0+$", replacement=r"\1")
        return [value.encode() for value in text.to_pylist()]
    if pa.types.is_duration(kind):
        values = values.cast(pa.int64())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        values = values.cast(pa.large_binary())
    elif (
        not pa.types.is_binary(kind) and not pa.types.is_large_binary(kind) and not pa.types.is_fixed_size_binary(kind)
    ):
        values = values.cast(pa.string()).cast(pa.binary())
    return values.to_pylist()


def _decimal_text(value: float) -> str:
    return _plain_decimal(decimal.Decimal(repr(value))) if math.isfinite(value) else repr(value)


def _plain_decimal(value: decimal.Decimal) -> str:
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _truncated(action: Truncate, values: pa.Array) -> pa.Array:
    if action.characters is not None:
        return pc.utf8_slice_codeunits(values, 0, action.characters)
    if action.decimals is not None:
        return pc.round(values, ndigits=action.decimals, round_mode="half_to_even").cast(values.type)
    if action.unit is not None:
        return pc.floor_temporal(values, unit=action.unit).cast(values.type)
    return _networks(values.cast(pa.string()))


def _networks(values: pa.Array) -> pa.Array:
    four = pc.match_substring_regex(values, pattern=rf"^(?:{_OCTET}\.){{3}}{_OCTET}$")
    networks = pc.replace_substring_regex(values, pattern=r"\.[0-9]+$", replacement=".0/24")
    networks = pc.if_else(four, networks, pa.scalar(None, pa.string()))
    places = np.flatnonzero(pc.match_substring(values, ":").fill_null(False).to_numpy(zero_copy_only=False))
    if len(places):
        # IPv6 has too many spellings for a pattern to give one.
        six = np.full(len(values), None, object)
        six[places] = [_network_of_six(text) for text in values.take(pa.array(places)).to_pylist()]
        networks = pc.coalesce(networks, pa.array(six, pa.string()))
    return networks


def _network_of_six(text: str) -> str | None:
    try:
        return str(ipaddress.IPv6Network((int(ipaddress.IPv6Address(text)), 48), strict=False))
    except ValueError:
        return None


def _generalised(action: Generalise, values: pa.Array) -> pa.Array:
    if action.period is not None:
        years = pc.utf8_lpad(pc.year(values).cast(pa.string()), 4, "0")
        if action.period == "year":
            return years
        return pc.binary_join_element_wise(years, pc.utf8_lpad(pc.month(values).cast(pa.string()), 2, "0"), "-")
    if action.mapping is not None:
        text = values.cast(pa.string())
        keys, classes = (
            pa.array(list(action.mapping), pa.string()),
            pa.array(list(action.mapping.values()), pa.string()),
        )
        known = pc.fill_null(classes.take(pc.index_in(text, value_set=keys)), action.other)
        return pc.if_else(text.is_valid(), known, pa.scalar(None, pa.string()))
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    numbers = pc.fill_null(values, pa.scalar(0, values.type)).to_numpy(zero_copy_only=False)
    known = values.is_valid().to_numpy(zero_copy_only=False) & ~np.isnan(numbers)
    if action.edges is not None:
        place, labels = np.searchsorted(np.array(action.edges), numbers, "right"), _edge_labels(action.edges)
    else:
        assert action.width is not None
        known &= np.isfinite(numbers)
        place, labels = _bins(np.where(known, numbers, 0), action.width)
    return pa.array(labels, pa.string()).take(pa.array(place, pa.int64(), mask=~known))


def _bins(numbers: np.ndarray, width: float) -> tuple[np.ndarray, list[str]]:
    """Each number's bin, and the bins' labels."""
    if numbers.dtype.kind in "iu" and width.is_integer() and width < 2**53:
        # In whole numbers, because floats do not tell neighbours above 2**53 apart.
        wide = np.uint64 if numbers.dtype.kind == "u" else np.int64
        width = int(width)
        bins = numbers.astype(wide) // wide(width)
    else:
        bins = np.floor(numbers.astype(np.float64) / width)
    found, place = np.unique(bins, return_inverse=True)
    # Labels are worked out in Python's numbers, which do not overflow.
    steps = [int(step) for step in found]
    return place.ravel(), [f"[{_short(step * width)}, {_short((step + 1) * width)})" for step in steps]


def _edge_labels(edges: list[float]) -> list[str]:
    texts = [_short(edge) for edge in edges]
    return [f"< {texts[0]}", *(f"[{low}, {high})" for low, high in zip(texts, texts[1:])), f">= {texts[-1]}"]


def _short(number: float) -> str:
    return str(int(number)) if isinstance(number, int) or number.is_integer() else f"{number:.12g}"
