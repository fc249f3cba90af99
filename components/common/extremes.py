"""The least and the most of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def extremes(column: pa.Array | pa.ChunkedArray) -> tuple[Any, Any]:
    """The least and the most of a column of numbers, beside missing values and NaN; None twice where there is no other."""
    if not pa.types.is_floating(column.type):
        ends = pc.min_max(column).as_py()
        return ends["min"], ends["max"]
    # Arrow's kernel calls a function for each real.
    chunks = [column] if isinstance(column, pa.Array) else column.chunks
    return extremes_of(np.concatenate([chunk.to_numpy(zero_copy_only=False) for chunk in chunks] or [np.zeros(0)]))


def extremes_of(values: np.ndarray) -> tuple[Any, Any]:
    """As `extremes`, of reals; missing ones are NaN."""
    if not len(values):
        return None, None
    least, most = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    # Of zeros any may be found: none has a sign.
    return (None, None) if least != least else (least + 0.0, most + 0.0)
