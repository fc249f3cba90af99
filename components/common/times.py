"""Durations as text, and times as whole microseconds."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from headwater.components.common.errors import HeadwaterError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def seconds(text: str) -> float:
    """A duration as `36h` or `7d` in seconds.

    Raises:
      HeadwaterError: it has another form.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise HeadwaterError(f"{text!r} is not a duration; give a number and s, min, h, d or w, for example 7d")
    return float(match[1]) * _SECONDS[match[2]]


def microseconds(column: pa.Array) -> np.ndarray:
    """Dates or timestamps as microseconds since 1970, int64; 0 where one is missing. Without a zone they are UTC."""
    import pyarrow.compute as pc

    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    column = pc.cast(column, pa.timestamp("us", column.type.tz), safe=False)
    return pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
