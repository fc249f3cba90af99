"""One form for each nested Arrow type.

Files say in many ways what is one type to us: the items of a list are named `item`, `element` or `array`, the values of a
map are required or nullable, a column is of an extension type. pyarrow takes such types for equal where it should not
(pyarrow 10 writes missing values for a map's required ones), so every column that is read is given its canonical type.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

ENCODED = pa.dictionary(pa.int32(), pa.string())
"""Text as a dictionary."""


def canonical_type(kind: pa.DataType) -> pa.DataType:
    """A type with nullable parts, the usual names of a list's and a map's parts, and storage for extension types."""
    if isinstance(kind, pa.BaseExtensionType):
        return canonical_type(kind.storage_type)
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, canonical_type(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(canonical_type(kind.key_type), canonical_type(kind.item_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(pa.field("item", canonical_type(kind.value_type)), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(pa.field("item", canonical_type(kind.value_type)))
    if pa.types.is_list(kind):
        return pa.list_(pa.field("item", canonical_type(kind.value_type)))
    return kind


def canonical_schema(schema: pa.Schema) -> pa.Schema:
    """A schema of canonical types, without metadata."""
    return pa.schema([pa.field(field.name, canonical_type(field.type)) for field in schema])


def with_type(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """An array under another name of its type: the same buffers, with the names and nullability that `kind` has.

    Args:
      array: any array.
      kind: a type that differs from the array's in names, nullability and extensions of its parts alone.
    """
    if is_same(array.type, kind):
        return array
    batch = pa.RecordBatch.from_arrays([array], ["value"])
    # A message holds buffers alone; the schema says what they are.
    return pa.ipc.read_record_batch(batch.serialize(), pa.schema([("value", kind)])).column(0)


def is_same(first: pa.DataType, second: pa.DataType) -> bool:
    """Whether two types are equal in every part; pyarrow 10 does not look at the parts of maps."""
    if isinstance(first, pa.BaseExtensionType) or isinstance(second, pa.BaseExtensionType):
        return type(first) is type(second) and first.equals(second)
    parts, others = list(_parts(first)), list(_parts(second))
    if not parts or len(parts) != len(others):
        return first.equals(second)
    return (
        first.id == second.id
        and all(
            one.name == other.name and one.nullable == other.nullable and is_same(one.type, other.type)
            for one, other in zip(parts, others)
        )
        and getattr(first, "list_size", None) == getattr(second, "list_size", None)
    )


def used_dictionary(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """A column of `ENCODED` whose dictionary has what its rows hold alone: rows that went elsewhere leave nothing here."""
    known, missing = len(column.dictionary), None
    indices = np.frombuffer(column.indices.buffers()[1], np.int32, len(column) + column.offset)[column.offset :]
    if column.null_count:
        missing = column.is_null().to_numpy(zero_copy_only=False)
        indices = np.where(missing, 0, indices)
    counts = np.bincount(indices if missing is None else indices[~missing], minlength=known)
    used = np.flatnonzero(counts)
    if len(used) == known:
        return column
    place = np.zeros(max(known, 1), np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    return pa.DictionaryArray.from_arrays(
        pa.array(place[indices], mask=missing), column.dictionary.take(pa.array(used)), safe=False
    )


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are text, by one of its names."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_utf8(values: pa.Array) -> bool:
    """Whether all values of a binary array are UTF-8."""
    try:
        values.cast(pa.large_string() if pa.types.is_large_binary(values.type) else pa.string())
        return True
    except pa.ArrowInvalid:
        return False


def _parts(kind: pa.DataType) -> Iterator[pa.Field]:
    if pa.types.is_struct(kind):
        yield from kind
    elif pa.types.is_map(kind):
        yield from (kind.key_field, kind.item_field)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield kind.value_field
