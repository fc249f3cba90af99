"""What becomes of the values of a column that holds personal data, by its action."""

from __future__ import annotations

import decimal
import hmac
import ipaddress
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.collect.privacy.actions import (
    KEY_VARIABLE,
    REDACTED,
    Action,
    Drop,
    Generalise,
    Hash,
    Keep,
    Redact,
    Truncate,
    output_type,
)
from headwater.components.common.arrow_types import is_text
from headwater.components.common.errors import HeadwaterError

_HASH_CHARACTERS = 32
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"


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
    if isinstance(action, Redact) and not is_text(target):
        return pa.nulls(len(column), target)
    # Every action is a function of the value: it is worked out once for each value that occurs.
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values, indices = encoded.dictionary, encoded.indices
    if isinstance(action, Redact):
        done = pc.if_else(values.is_valid(), pa.scalar(REDACTED), pa.scalar(None, pa.string())).cast(target)
    elif isinstance(action, Hash):
        if secret is None:
            raise HeadwaterError(f"the action hash needs a key in the environment variable {KEY_VARIABLE}")
        done = _hashes(values, secret)
    elif isinstance(action, Truncate):
        done = _truncated(action, values)
    else:
        done = _generalised(action, values)
    return done.take(indices)


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
    if is_text(kind):
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
    distinct, place = np.unique(bins, return_inverse=True)
    # Labels are worked out in Python's numbers, which do not overflow.
    steps = [int(step) for step in distinct]
    return place.ravel(), [f"[{_short(step * width)}, {_short((step + 1) * width)})" for step in steps]


def _edge_labels(edges: list[float]) -> list[str]:
    texts = [_short(edge) for edge in edges]
    return [f"< {texts[0]}", *(f"[{low}, {high})" for low, high in zip(texts, texts[1:])), f">= {texts[-1]}"]


def _short(number: float) -> str:
    return str(int(number)) if isinstance(number, int) or number.is_integer() else f"{number:.12g}"
