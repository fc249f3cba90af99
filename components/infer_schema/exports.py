"""A schema in other words: for pyarrow, as JSON Schema, and as SQL's CREATE TABLE.

TFDV's schema knows INT, FLOAT, BYTES and STRUCT. What a column was before statistics converted it is recorded in their
manifest's `conversions`; with them a date stays a date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.errors import HeadwaterError

DIALECTS = ("duckdb", "postgres", "bigquery")

_ARROW = {schema_pb2.INT: pa.int64(), schema_pb2.FLOAT: pa.float64(), schema_pb2.BYTES: pa.string()}
_UNIT = r"\[(s|ms|us|ns)(?:, tz=([^\]]+))?\]"
_ORIGINS: tuple[tuple[str, Callable[[re.Match], pa.DataType]], ...] = (
    (r"bool", lambda _: pa.bool_()),
    (r"halffloat", lambda _: pa.float16()),
    (r"decimal(?:128)?\((\d+), (-?\d+)\)", lambda m: pa.decimal128(int(m[1]), int(m[2]))),
    (r"decimal256\((\d+), (-?\d+)\)", lambda m: pa.decimal256(int(m[1]), int(m[2]))),
    (r"date32\[day\]", lambda _: pa.date32()),
    (r"date64\[ms\]", lambda _: pa.date64()),
    (rf"timestamp{_UNIT}", lambda m: pa.timestamp(m[1], m[2])),
    (r"time32\[(s|ms)\]", lambda m: pa.time32(m[1])),
    (r"time64\[(us|ns)\]", lambda m: pa.time64(m[1])),
    (rf"duration{_UNIT}", lambda m: pa.duration(m[1])),
    (r"fixed_size_binary\[(\d+)\]", lambda m: pa.binary(int(m[1]))),
)
_SQL = {
    "duckdb": {"int": "BIGINT", "float": "DOUBLE", "text": "VARCHAR", "bool": "BOOLEAN", "date": "DATE",
               "timestamp": "TIMESTAMP", "moment": "TIMESTAMPTZ", "time": "TIME", "duration": "INTERVAL",
               "decimal": "DECIMAL({}, {})", "bytes": "BLOB"},
    "postgres": {"int": "BIGINT", "float": "DOUBLE PRECISION", "text": "TEXT", "bool": "BOOLEAN", "date": "DATE",
                 "timestamp": "TIMESTAMP", "moment": "TIMESTAMPTZ", "time": "TIME", "duration": "INTERVAL",
                 "decimal": "NUMERIC({}, {})", "bytes": "BYTEA"},
    "bigquery": {"int": "INT64", "float": "FLOAT64", "text": "STRING", "bool": "BOOL", "date": "DATE",
                 "timestamp": "DATETIME", "moment": "TIMESTAMP", "time": "TIME", "duration": "INTERVAL",
                 "decimal": "BIGNUMERIC", "bytes": "BYTES"},
}  # fmt: skip


def to_arrow(schema: schema_pb2.Schema, conversions: Mapping[str, str] | None = None) -> pa.Schema:
    """The schema for pyarrow: names, types, and whether a value may be missing.

    Args:
      schema: of infer-schema.
      conversions: how columns were converted, as a statistics' manifest has it; without them a date is a number.

    Returns:
      A field for each feature, in their order; lists where a row may hold several values.
    """
    return pa.schema([_field(feature, (conversions or {}).get(feature.name, "")) for feature in schema.feature])


def to_json_schema(schema: schema_pb2.Schema, conversions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of one row as a JSON object, without columns that the schema does not have.

    Args:
      schema, conversions: as in `to_arrow`. Moments are text: `date`, `date-time` and `time` of RFC 3339.
    """
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    properties = {}
    for feature in schema.feature:
        field = _field(feature, (conversions or {}).get(feature.name, ""))
        several = pa.types.is_list(field.type)
        described = _json_value(feature, field.type.value_type if several else field.type, domains)
        if several:
            described = {"type": "array", "items": described}
            if feature.value_count.min > 0:
                described["minItems"] = feature.value_count.min
            if feature.value_count.max > 0:
                described["maxItems"] = feature.value_count.max
        properties[feature.name] = {"anyOf": [described, {"type": "null"}]} if field.nullable else described
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": [feature.name for feature in schema.feature if _is_required(feature)],
        "additionalProperties": False,
    }


def to_sql(
    schema: schema_pb2.Schema, table: str, *, dialect: str = "duckdb", conversions: Mapping[str, str] | None = None
) -> str:
    """A CREATE TABLE statement.

    Args:
      schema, conversions: as in `to_arrow`.
      table: its name; it is quoted, dots included.
      dialect: `duckdb`, `postgres` or `bigquery`. BigQuery has no CHECK constraints, so domains and ranges are left out
        there, and a list is never NULL there.

    Raises:
      HeadwaterError: the dialect is unknown, the schema has no feature, or one holds structs.
    """
    if dialect not in DIALECTS:
        raise HeadwaterError(f"dialect: {dialect!r} is not one of {', '.join(DIALECTS)}")
    if not schema.feature:
        raise HeadwaterError("the schema has no features, but a table needs at least one column")
    quote = _backticked if dialect == "bigquery" else _quoted
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    lines = []
    for feature in schema.feature:
        field = _field(feature, (conversions or {}).get(feature.name, ""))
        several = pa.types.is_list(field.type)
        kind = _sql_type(field.type.value_type if several else field.type, dialect, feature.name)
        if several:
            kind = f"ARRAY<{kind}>" if dialect == "bigquery" else f"{kind}[]"
        line = f"  {quote(feature.name)} {kind}"
        if not field.nullable and not (several and dialect == "bigquery"):
            line += " NOT NULL"
        check = _check(feature, quote(feature.name), domains, field.type)
        if check and dialect != "bigquery" and not several:
            line += f" CHECK ({check})"
        lines.append(line)
    return f"CREATE TABLE {quote(table)} (\n" + ",\n".join(lines) + "\n);\n"


def _field(feature: schema_pb2.Feature, conversion: str) -> pa.Field:
    if feature.type == schema_pb2.STRUCT:
        kind: pa.DataType = pa.struct([_field(inner, "") for inner in feature.struct_domain.feature])
    else:
        kind = _origin(conversion) or (
            pa.bool_() if feature.HasField("bool_domain") and feature.type == schema_pb2.BYTES else _ARROW[feature.type]
        )
        if feature.type == schema_pb2.BYTES and feature.HasField("image_domain"):
            kind = pa.binary()
    if _is_list(feature):
        kind = pa.list_(kind)
    return pa.field(feature.name, kind, nullable=not _is_required(feature))


def _origin(conversion: str) -> pa.DataType | None:
    """The type that a rule of conversion begins with."""
    for pattern, make in _ORIGINS:
        if match := re.match(rf"(?:dictionary → its values; )?{pattern} → ", conversion):
            return make(match)
    return None


def _is_list(feature: schema_pb2.Feature) -> bool:
    if feature.HasField("shape"):
        return any(dim.size > 1 for dim in feature.shape.dim)
    # Where nothing is said, a row may hold any number of values.
    return feature.value_count.max != 1


def _is_required(feature: schema_pb2.Feature) -> bool:
    return feature.HasField("shape") or feature.presence.min_fraction == 1


def _json_value(feature: schema_pb2.Feature, kind: pa.DataType, domains: Mapping[str, list[str]]) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        inner = schema_pb2.Schema(feature=feature.struct_domain.feature)
        described = to_json_schema(inner)
        del described["$schema"]
        return described
    if pa.types.is_boolean(kind):
        return {"type": "boolean"}
    if pa.types.is_date(kind):
        return {"type": "string", "format": "date"}
    if pa.types.is_timestamp(kind):
        return {"type": "string", "format": "date-time"}
    if pa.types.is_time(kind):
        return {"type": "string", "format": "time"}
    if pa.types.is_duration(kind):
        return {"type": "number", "description": "seconds"}
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        values = _values(feature, domains)
        return {"enum": values} if values and _is_closed(feature) else {"type": "string"}
    described = {"type": "integer" if pa.types.is_integer(kind) else "number"}
    low, high = _range(feature)
    described.update({"minimum": low} if low is not None else {})
    described.update({"maximum": high} if high is not None else {})
    return described


def _values(feature: schema_pb2.Feature, domains: Mapping[str, list[str]]) -> list[str]:
    if feature.domain:
        return domains.get(feature.domain, [])
    return list(feature.string_domain.value)


def _is_closed(feature: schema_pb2.Feature) -> bool:
    constraints = feature.distribution_constraints
    return not feature.HasField("distribution_constraints") or constraints.min_domain_mass >= 1


def _range(feature: schema_pb2.Feature) -> tuple[float | None, float | None]:
    kind = feature.WhichOneof("domain_info")
    if kind == "bool_domain":
        return 0, 1
    if kind not in ("int_domain", "float_domain"):
        return None, None
    domain = getattr(feature, kind)
    return domain.min if domain.HasField("min") else None, domain.max if domain.HasField("max") else None


def _sql_type(kind: pa.DataType, dialect: str, name: str) -> str:
    names = _SQL[dialect]
    if pa.types.is_struct(kind):
        raise HeadwaterError(f"feature {name!r} holds structs; a table can only have columns of single values or lists")
    for key, fits in (
        ("bool", pa.types.is_boolean),
        ("int", pa.types.is_integer),
        ("float", pa.types.is_floating),
        ("date", pa.types.is_date),
        ("time", pa.types.is_time),
        ("duration", pa.types.is_duration),
        ("text", pa.types.is_string),
    ):
        if fits(kind):
            return names[key]
    if pa.types.is_timestamp(kind):
        return names["moment" if kind.tz else "timestamp"]
    if pa.types.is_decimal(kind):
        return names["decimal"].format(min(kind.precision, 38), kind.scale)
    return names["bytes"]


def _check(feature: schema_pb2.Feature, column: str, domains: Mapping[str, list[str]], kind: pa.DataType) -> str:
    if pa.types.is_string(kind) and (values := _values(feature, domains)) and _is_closed(feature):
        return f"{column} IN ({', '.join(map(_literal, values))})"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        low, high = _range(feature)
        parts = [f"{column} >= {low!r}"] if low is not None else []
        parts += [f"{column} <= {high!r}"] if high is not None else []
        return " AND ".join(parts)
    return ""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _backticked(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def as_text(schema: schema_pb2.Schema, form: str, table: str, conversions: Mapping[str, str] | None = None) -> str:
    """The schema in one of the forms that the command line knows: arrow, json, or a dialect of SQL.

    Raises:
      HeadwaterError: there is no such form.
    """
    if form == "arrow":
        return f"{to_arrow(schema, conversions).to_string(show_schema_metadata=False)}\n"
    if form == "json":
        return json.dumps(to_json_schema(schema, conversions), indent=1) + "\n"
    return to_sql(schema, table, dialect=form, conversions=conversions)
