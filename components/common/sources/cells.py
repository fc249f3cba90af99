"""Values within nested columns, and the rows that hold a bad one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from headwater.components.common.arrow_types import is_text


def leaves(array: pa.Array) -> Iterator[pa.Array]:
    """The values of an array without nesting: of the array's own rows alone, missing ones included."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        yield from leaves(array.storage)
    elif pa.types.is_dictionary(kind):
        yield from leaves(array.dictionary.take(array.indices))
    elif pa.types.is_struct(kind):
        for part in array.flatten():
            yield from leaves(part)
    elif pa.types.is_map(kind):
        start, stop = array.offsets[0].as_py(), array.offsets[len(array)].as_py()
        yield from leaves(array.keys.slice(start, stop - start))
        yield from leaves(array.items.slice(start, stop - start))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from leaves(array.flatten())
    else:
        yield array


def find_rows(columns: Sequence[pa.Array], is_bad: Callable[[list[pa.Array]], bool]) -> np.ndarray:
    """The places of the rows for which a test holds, found by halving: few bad rows cost few tests.

    Args:
      columns: of one length.
      is_bad: whether some row of the columns is bad.

    Returns:
      Ascending, int64.
    """
    bad: list[int] = []
    parts = [(0, len(columns[0]))] if len(columns[0]) else []
    while parts:
        start, count = parts.pop()
        if not is_bad([column.slice(start, count) for column in columns]):
            continue
        if count == 1:
            bad.append(start)
            continue
        half = count // 2
        parts += [(start + half, count - half), (start, half)]
    return np.array(sorted(bad), np.int64)


def invalid_text(array: pa.Array) -> np.ndarray:
    """The places of the rows that hold text that is not UTF-8, ascending, int64."""
    if pa.types.is_dictionary(array.type) and not _has_invalid_text([array.dictionary]):
        return np.array([], np.int64)
    return find_rows([array], _has_invalid_text) if _holds_text(array.type) else np.array([], np.int64)


def _has_invalid_text(parts: list[pa.Array]) -> bool:
    for leaf in leaves(parts[0]):
        if is_text(leaf.type):
            try:
                leaf.validate(full=True)
            except pa.ArrowInvalid:
                return True
    return False


def _holds_text(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return _holds_text(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    if pa.types.is_map(kind):
        return _holds_text(kind.key_type) or _holds_text(kind.item_type)
    if pa.types.is_struct(kind):
        return any(_holds_text(field.type) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _holds_text(kind.value_type)
    return is_text(kind)
