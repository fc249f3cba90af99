"""Sets of referenced keys that are small enough to be held whole by each worker."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common import storage
from headwater.components.common.dataset import read_element
from headwater.components.common.keys import KEY, as_key, hash_keys
from headwater.components.validate.rows.spills import column_of, only


class KeySet(NamedTuple):
    """A referenced dataset's keys, held whole.

    Attributes:
      number: the rule's.
      columns: the columns whose keys must be in it.
      uri: URI of the sorted keys.
    """

    number: int
    columns: tuple[str, ...]
    uri: str


def not_in_set(keys: KeySet, batch: pa.RecordBatch) -> np.ndarray:
    """The rows of a batch whose key is not in a set, int64, rising."""
    held = _load_set(keys.uri)
    columns = [as_key(column_of(batch, name)) for name in keys.columns]
    rows, records = hash_keys(columns)
    first = held["first"]
    place = np.searchsorted(first, records["first"])
    present = np.zeros(len(records), bool)
    alike = place < len(first)
    while alike.any():
        candidates = np.minimum(place, max(len(first) - 1, 0))
        alike &= first[candidates] == records["first"]
        present |= alike & (held["second"][candidates] == records["second"])
        place += 1
        alike &= ~present & (place < len(first))
    return rows[~present]


def release_sets() -> None:
    """Lets go of the key sets that this process holds."""
    _load_set.cache_clear()


def hold(
    number: int,
    columns: Sequence[str],
    schema: pa.Schema,
    elements: Sequence[Any],
    folder: str,
    beam: Mapping[str, Any],
) -> str:
    """Writes the distinct keys that a rule refers to, sorted; gives their URI."""
    from headwater.components.common.beam import map_merge

    content = map_merge(
        "validate: referenced keys",
        elements,
        functools.partial(_distinct, only(schema, columns), columns),
        _merge_distinct,
        sizes=[element.rows for element in elements],
        **beam,
    )
    uri = storage.join(folder, f"set-{number:04d}")
    storage.write_bytes(uri, content)
    return uri


def _distinct(schema: pa.Schema, columns: Sequence[str], element: Any) -> bytes:
    return _merge_distinct(
        [
            hash_keys([as_key(column_of(batch, name)) for name in columns])[1].tobytes()
            for batch in read_element(element, schema)
        ]
    )


def _merge_distinct(contents: list[bytes]) -> bytes:
    keys = np.frombuffer(b"".join(contents), KEY)
    keys = keys[np.lexsort((keys["second"], keys["first"]))]
    if not len(keys):
        return b""
    new = (keys["first"][1:] != keys["first"][:-1]) | (keys["second"][1:] != keys["second"][:-1])
    return keys[np.concatenate([[True], new])].tobytes()


@functools.lru_cache(maxsize=64)
def _load_set(uri: str) -> dict[str, np.ndarray]:
    content = np.frombuffer(storage.read_bytes(uri), KEY)
    # Apart they lie close together in memory, and are searched faster.
    return {name: np.ascontiguousarray(content[name]) for name in ("first", "second")}
