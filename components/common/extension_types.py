"""Arrow extension types: none may name code, and each is read as the type that it is stored in.

`arrow.py_extension_type` holds a pickle, which pyarrow before 14.0.1 loads from any Parquet or Arrow file
(CVE-2023-47248). `forbid_pickles` makes that type unknown to pyarrow, so that its columns are read as they are stored.
`components.common` calls it when it is imported, and so before any other module of ours.
"""

from __future__ import annotations

import atexit

import pyarrow as pa

PICKLED = "arrow.py_extension_type"
"""The name of the extension types that a pickle describes."""

_NAME, _METADATA = b"ARROW:extension:name", b"ARROW:extension:metadata"


def forbid_pickles() -> None:
    """Makes this process unable to load an extension type from a pickle, whatever it reads."""
    if not hasattr(pa, "PyExtensionType"):
        # pyarrow 21 and later know no such types.
        return
    # Beam imports it as well; its first import registers a type that raises, so it has to come before.
    import pyarrow_hotfix  # noqa: F401

    try:
        pa.unregister_extension_type(PICKLED)
    except KeyError:
        return
    atexit.unregister(pa.lib._unregister_py_extension_types)
    atexit.register(_unregister_types)


class _Placeholder(pa.ExtensionType):
    """A type by the name of the pickled ones that holds nothing and loads nothing."""

    def __init__(self) -> None:
        super().__init__(pa.null(), PICKLED)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> pa.DataType:
        raise ValueError(f"{PICKLED} is not read")


def _unregister_types() -> None:
    """pyarrow's own work at the end of a process: types of Python, as pandas registers some, must go before Python does.

    Its function expects the pickled type to be there, and stops when it is not; the process would then end in a
    segmentation fault.
    """
    pa.register_extension_type(_Placeholder())
    pa.lib._unregister_py_extension_types()


def named(schema: pa.Schema) -> list[tuple[str, str]]:
    """The extension types of a schema, at any depth, known to pyarrow or not, each as (column, extension's name)."""
    return list(dict.fromkeys((field.name, name) for field in schema for name in _names(field)))


def storage_schema(schema: pa.Schema) -> pa.Schema:
    """A schema with the storage of each extension type, and without the metadata that would make it again."""
    return pa.schema([_storage_field(field) for field in schema], schema.metadata)


def storage_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows with each extension type replaced by its storage; no value is copied."""
    if not named(batch.schema):
        return batch
    schema = storage_schema(batch.schema)
    columns = [_storage_array(column, field.type) for column, field in zip(batch.columns, schema)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _names(field: pa.Field) -> list[str]:
    if isinstance(field.type, pa.BaseExtensionType):
        return [str(field.type.extension_name), *_names(pa.field("", field.type.storage_type))]
    own = (field.metadata or {}).get(_NAME)
    names = [] if own is None else [own.decode(errors="replace")]
    return [*names, *(name for child in _children(field.type) for name in _names(child))]


def _children(kind: pa.DataType) -> list[pa.Field]:
    if pa.types.is_map(kind):
        return [kind.key_field, kind.item_field]
    if pa.types.is_struct(kind):
        return [kind[place] for place in range(kind.num_fields)]
    if pa.types.is_dictionary(kind):
        return [pa.field("", kind.value_type)]
    return [kind.value_field] if hasattr(kind, "value_field") else []


def _storage_field(field: pa.Field) -> pa.Field:
    if not _names(field):
        return field
    metadata = {key: value for key, value in (field.metadata or {}).items() if key not in (_NAME, _METADATA)}
    return pa.field(field.name, _storage_type(field.type), field.nullable, metadata or None)


def _storage_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _storage_type(kind.storage_type)
    children = [_storage_field(child) for child in _children(kind)]
    if pa.types.is_struct(kind):
        return pa.struct(children)
    if pa.types.is_map(kind):
        return pa.map_(*children, keys_sorted=getattr(kind, "keys_sorted", False))
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, children[0].type, kind.ordered)
    if pa.types.is_large_list(kind):
        return pa.large_list(children[0])
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(children[0], kind.list_size)
    return pa.list_(children[0]) if pa.types.is_list(kind) else kind


def _storage_array(array: pa.Array, kind: pa.DataType) -> pa.Array:
    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array if array.type.equals(kind) else array.cast(kind)
