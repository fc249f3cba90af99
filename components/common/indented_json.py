"""JSON of one value a line, as `json.dumps` gives it with an indent of 1, several times as fast.

The encoder in C knows no indent, but what stands between two values is for it to say: it writes whatever holds no further
lists or mappings, which are most of a manifest.
"""

from __future__ import annotations

import functools
import json
from typing import Any

_CONTAINERS = (dict, list, tuple)


def indented(value: Any, line: str = "\n") -> str:
    """A value as JSON.

    Args:
      value: what JSON can hold.
      line: what begins a line where the value stands.

    Raises:
      ValueError: a number is not finite.
    """
    below = line + " "
    encoder = _encoder(below)
    if not isinstance(value, _CONTAINERS) or not value:
        return encoder.encode(value)
    if not any(isinstance(each, _CONTAINERS) for each in (value.values() if isinstance(value, dict) else value)):
        parts = encoder.encode(value)[1:-1]
    elif isinstance(value, dict):
        parts = f",{below}".join(f"{_name(key)}: {indented(each, below)}" for key, each in value.items())
    else:
        parts = f",{below}".join(indented(each, below) for each in value)
    return f"{{{below}{parts}{line}}}" if isinstance(value, dict) else f"[{below}{parts}{line}]"


def _name(key: Any) -> str:
    # The encoder names keys that are no text in its own way.
    return json.encoder.encode_basestring_ascii(key) if isinstance(key, str) else json.dumps({key: 0})[1:-4]


@functools.cache
def _encoder(line: str) -> json.JSONEncoder:
    return json.JSONEncoder(separators=(f",{line}", ": "), allow_nan=False)
