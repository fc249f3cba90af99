"""What differs between two schemas, feature by feature and field by field."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import schema_pb2


def diff_schemas(before: schema_pb2.Schema, after: schema_pb2.Schema) -> list[dict[str, Any]]:
    """The changes from one schema to another.

    Returns:
      For each change: `feature`, `change` (added, removed, widened, narrowed or changed), `field`, and the field's
      values `before` and `after`, None where it is not set. Sorted by feature and field.
    """
    old, new = _features(before), _features(after)
    changes = []
    for name in sorted({*old, *new}):
        if name not in old or name not in new:
            change = "added" if name not in old else "removed"
            changes.append({"feature": name, "change": change, "field": "", "before": None, "after": None})
            continue
        for field in sorted({*old[name], *new[name]}):
            a, b = old[name].get(field), new[name].get(field)
            if a != b:
                changes.append(
                    {"feature": name, "change": _direction(field, a, b), "field": field, "before": a, "after": b}
                )
    return changes


def _features(schema: schema_pb2.Schema) -> dict[str, dict[str, Any]]:
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    found = {}
    for feature in schema.feature:
        fields = _flat(json_format.MessageToDict(feature, preserving_proto_field_name=True))
        fields.pop("name", None)
        # Where the values are written down does not matter, only which they are.
        if "domain" in fields:
            fields["string_domain.value"] = domains.get(fields.pop("domain"), [])
        fields.pop("string_domain.name", None)
        found[feature.name] = fields
    return found


def _flat(message: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in message.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _direction(field: str, before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list):
        if set(before) < set(after):
            return "widened"
        return "narrowed" if set(after) < set(before) else "changed"
    if field in (
        "presence.min_fraction",
        "presence.min_count",
        "value_count.min",
        "int_domain.min",
        "float_domain.min",
    ):
        return "widened" if float(after or 0) < float(before or 0) else "narrowed"
    if field in ("value_count.max", "int_domain.max", "float_domain.max"):
        if before is None or after is None:
            return "widened" if after is None else "narrowed"
        return "widened" if float(after) > float(before) else "narrowed"
    # A constraint that goes away lets more through.
    return "widened" if after is None else "changed"
