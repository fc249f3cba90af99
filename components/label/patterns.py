"""Distinct rows of small values: votes and labels repeat, so that what is computed of each pattern serves all its rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows, in the order in which they come first.

    Args:
      rows: of one byte each value, [rows, values]; one value at least.

    Returns:
      The distinct ones, of the same dtype; and which of them each row is, int32.
    """
    content = np.ascontiguousarray(rows)
    values = pa.Array.from_buffers(pa.binary(rows.shape[1]), len(rows), [None, pa.py_buffer(content)])
    found = values.dictionary_encode()
    patterns = np.frombuffer(found.dictionary.buffers()[1] or b"", rows.dtype).reshape(-1, rows.shape[1])
    return patterns[: len(found.dictionary)], found.indices.to_numpy()
