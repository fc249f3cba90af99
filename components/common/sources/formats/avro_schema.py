"""Avro schemas as the columns that they make, and as schemas of the same encoding for fastavro."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.formats.avro_columns import (
    Node,
    build_decimal,
    build_enum,
    build_leaf,
    build_list,
    build_map,
    build_null,
    build_struct,
    build_text,
    build_time,
    build_union,
    build_view,
)
from headwater.components.common.sources.types import widen

BLOCK_BYTES = 64 << 20
"""A block that is larger, stored or unpacked, is not decoded."""

MOST_FIELDS = 20_000
"""A schema with more fields than that, nested ones and repeated types counted, is refused."""
_DEEPEST = 64
_DECIMAL_DIGITS = 38


def compile_schema(uri: str, text: bytes) -> tuple[pa.Schema, Node, tuple[Node, ...]]:
    try:
        definition = json.loads(text.decode())
        # Half of a surrogate pair is no character, and no name of a column.
        json.dumps(definition, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise HeadwaterError(f"{uri}: the schema in the Avro header is not JSON in UTF-8") from None
    compiler = _Compiler(uri)
    if not isinstance(definition, dict) or definition.get("type") not in ("record", "error"):
        raise HeadwaterError(f"{uri}: the Avro schema must be a record with named fields")
    node = compiler.compile(definition, "", "", 0)
    if not node.kind.num_fields:
        raise HeadwaterError(f"{uri}: the Avro schema's record has no fields; it needs at least one")
    return pa.schema(list(node.kind)), node, compiler.columns


class _Compiler:
    """Turns a parsed schema into nodes."""

    def __init__(self, uri: str) -> None:
        self.columns: tuple[Node, ...] = ()
        self._uri = uri
        self._named: dict[str, tuple[dict, str]] = {}
        self._open: set[str] = set()
        self._count = 0

    def compile(self, definition: Any, path: str, namespace: str, depth: int) -> Node:
        self._count += 1
        if self._count > MOST_FIELDS:
            raise HeadwaterError(f"{self._uri}: the Avro schema has more than {MOST_FIELDS:,} fields")
        if depth > _DEEPEST:
            raise self._refuse(path, f"is nested more than {_DEEPEST} levels deep")
        if isinstance(definition, list):
            return self._union(definition, path, namespace, depth)
        if isinstance(definition, str):
            return self._by_name(definition, {}, path, namespace, depth)
        if not isinstance(definition, dict):
            raise self._refuse(path, "has a type that Avro does not have")
        kind = definition.get("type")
        if kind in ("record", "error"):
            return self._record(definition, path, namespace, depth)
        if kind in ("enum", "fixed"):
            self._name(definition, path, namespace)
            return self._enum(definition, path) if kind == "enum" else self._fixed(definition, path)
        if kind == "array":
            return self._array(definition, path, namespace, depth)
        if kind == "map":
            return self._map(definition, path, namespace, depth)
        if isinstance(kind, str):
            return self._by_name(kind, definition, path, namespace, depth)
        return self.compile(kind, path, namespace, depth + 1)

    def _refuse(self, path: str, problem: str) -> HeadwaterError:
        place = f"the field {path!r}" if path else "the record"
        return HeadwaterError(f"{self._uri}: {place} of the Avro schema {problem}")

    def _by_name(self, name: str, definition: dict, path: str, namespace: str, depth: int) -> Node:
        if name in _PRIMITIVES:
            return _primitive(name, definition)
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        full = full if full in self._named else name
        if full in self._open:
            raise self._refuse(path, f"has the type {name!r}, which contains it; no column can hold a recursive type")
        if full not in self._named:
            raise self._refuse(path, f"has the type {name!r}, which is not defined")
        known, around = self._named[full]
        return self.compile(known, path, around, depth + 1)

    def _name(self, definition: dict, path: str, namespace: str) -> tuple[str, str]:
        """Records a named type; its full name and the namespace of what it holds."""
        name, own = definition.get("name"), definition.get("namespace", namespace)
        if not isinstance(name, str) or not name or not isinstance(own, str):
            raise self._refuse(path, "has a type without a name")
        full = name if "." in name or not own else f"{own}.{name}"
        if full in self._open or (full in self._named and self._named[full][0] is not definition):
            raise self._refuse(path, f"defines the type {full!r} a second time")
        self._named[full] = (definition, namespace)
        return full, full.rpartition(".")[0]

    def _record(self, definition: dict, path: str, namespace: str, depth: int) -> Node:
        full, inner = self._name(definition, path, namespace)
        fields = definition.get("fields")
        if not isinstance(fields, list) or not all(
            isinstance(field, dict) and isinstance(field.get("name"), str) and field["name"] and "type" in field
            for field in fields
        ):
            raise self._refuse(path, "is a record whose fields do not each have a name and a type")
        names = [field["name"] for field in fields]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise self._refuse(f"{path}.{twice[0]}".lstrip("."), "appears twice")
        self._open.add(full)
        nodes = tuple(
            self.compile(field["type"], f"{path}.{field['name']}".lstrip("."), inner, depth + 1) for field in fields
        )
        self._open.discard(full)
        if not depth:
            self.columns = nodes
        kind = pa.struct([pa.field(name, node.kind) for name, node in zip(names, nodes)])
        plain = self._plain_record([node.plain for node in nodes])
        return Node(kind, plain, functools.partial(build_struct, kind, nodes), sum(node.smallest for node in nodes))

    def _plain_record(self, kinds: Sequence[Any]) -> dict:
        self._count += 1
        fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(kinds)]
        return {"type": "record", "name": f"r{self._count}", "fields": fields}

    def _enum(self, definition: dict, path: str) -> Node:
        symbols = definition.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise self._refuse(path, "is an enum without symbols")
        return Node(pa.string(), "int", functools.partial(build_enum, pa.array(symbols, pa.string())), 1)

    def _fixed(self, definition: dict, path: str) -> Node:
        size = definition.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= BLOCK_BYTES:
            raise self._refuse(path, f"is fixed and needs a size from 1 to {BLOCK_BYTES:,}")
        self._count += 1
        plain = {"type": "fixed", "name": f"r{self._count}", "size": size}
        kind = _decimal(definition)
        if kind is None:
            return Node(pa.binary(size), plain, functools.partial(build_leaf, pa.binary(size)), size)
        return Node(kind, plain, functools.partial(build_decimal, kind), size)

    def _array(self, definition: dict, path: str, namespace: str, depth: int) -> Node:
        item = self.compile(definition.get("items"), f"{path}[]", namespace, depth + 1)
        if not item.smallest:
            # A few bytes could ask for any number of them.
            raise self._refuse(path, "is an array whose items hold nothing")
        kind = pa.list_(item.kind)
        return Node(kind, {"type": "array", "items": item.plain}, functools.partial(build_list, kind, item), 1)

    def _map(self, definition: dict, path: str, namespace: str, depth: int) -> Node:
        value = self.compile(definition.get("values"), f"{path}[]", namespace, depth + 1)
        kind = pa.map_(pa.string(), value.kind)
        # A map is encoded as an array of pairs; read so, a key that is no text costs its record alone.
        plain = {"type": "array", "items": self._plain_record(["bytes", value.plain])}
        return Node(kind, plain, functools.partial(build_map, kind, value), 1)

    def _union(self, definition: list, path: str, namespace: str, depth: int) -> Node:
        nodes = [self.compile(branch, path, namespace, depth + 1) for branch in definition]
        if not nodes:
            raise self._refuse(path, "is a union without types")
        smallest = 1 + min(node.smallest for node in nodes)
        full = [node for node in nodes if not pa.types.is_null(node.kind)]
        if len(full) < 2:
            only = full[0] if full else nodes[0]
            return Node(only.kind, [node.plain for node in nodes], only.build, smallest)
        kind = functools.reduce(lambda one, two: one and widen(one, two), [node.kind for node in full])
        if kind is None:
            kinds = ", ".join(str(node.kind) for node in full)
            raise self._refuse(path, f"is a union of types that no single column type can hold: {kinds}")
        # A record of one field is encoded as the field, and tells which branch it is.
        plain = [node.plain if pa.types.is_null(node.kind) else self._plain_record([node.plain]) for node in nodes]
        branches = {}
        for node, wrapped in zip(nodes, plain):
            if not pa.types.is_null(node.kind):
                wrapped["fields"][0]["name"] = wrapped["name"]
                branches[wrapped["name"]] = node
        return Node(kind, plain, functools.partial(build_union, kind, branches), smallest)


def _decimal(definition: dict) -> pa.DataType | None:
    if definition.get("logicalType") != "decimal":
        return None
    precision, scale = definition.get("precision"), definition.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int):
        return None
    # More digits than decimal128 has stay bytes.
    return pa.decimal128(precision, scale) if 0 < precision <= _DECIMAL_DIGITS and 0 <= scale <= precision else None


def _primitive(name: str, definition: dict) -> Node:
    kind, plain, build, smallest = _PRIMITIVES[name]
    logical = definition.get("logicalType")
    if name == "bytes" and (decimal := _decimal(definition)):
        return Node(decimal, plain, functools.partial(build_decimal, decimal), smallest)
    if not isinstance(logical, str) or (name, logical) not in _LOGICAL:
        return Node(kind, plain, build, smallest)
    kind_of = _LOGICAL[name, logical]
    if logical.startswith("time-"):
        a_day = 86_400 * (1_000 if name == "int" else 1_000_000)
        return Node(kind_of, plain, functools.partial(build_time, kind, kind_of, a_day), smallest)
    return Node(kind_of, plain, functools.partial(build_view, kind, kind_of), smallest)


def _leaf(kind: pa.DataType, plain: str, smallest: int) -> Node:
    return Node(kind, plain, functools.partial(build_leaf, kind), smallest)


_PRIMITIVES = {
    "null": Node(pa.null(), "null", build_null, 0),
    "boolean": _leaf(pa.bool_(), "boolean", 1),
    "int": _leaf(pa.int32(), "int", 1),
    "long": _leaf(pa.int64(), "long", 1),
    "float": _leaf(pa.float32(), "float", 4),
    "double": _leaf(pa.float64(), "double", 8),
    "bytes": _leaf(pa.binary(), "bytes", 1),
    "string": Node(pa.string(), "bytes", build_text, 1),
}
_LOGICAL = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    **{
        ("long", f"{local}timestamp-{name}"): pa.timestamp(unit, None if local else "UTC")
        for name, unit in (("millis", "ms"), ("micros", "us"), ("nanos", "ns"))
        for local in ("", "local-")
    },
}
