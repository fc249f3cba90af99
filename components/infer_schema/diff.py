"""What differs between two schemas, feature by feature and field by field, and who can live with it.

TFDV's own diff ends the process, so this is ours. A change is *widened* when more data is accepted, *narrowed* when less
is, and *changed* when some is and some is not any more, or nobody can tell.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Sequence

from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import schema_pb2

_LEAST = ("presence.min_fraction", "presence.min_count", "value_count.min", "int_domain.min", "float_domain.min",
          "unique_constraints.min", "dataset_constraints.min_examples_count",
          "distribution_constraints.min_domain_mass")  # fmt: skip
_MOST = ("value_count.max", "int_domain.max", "float_domain.max", "unique_constraints.max",
         "dataset_constraints.max_examples_count")  # fmt: skip
# These judge two data sets against each other, or tell people something; no data set breaks them by itself.
_OF_NO_DATA = ("annotation.", "drift_comparator.", "skew_comparator.", "dataset_constraints.num_examples")
_WORDS = {
    "string_domain.value": "values",
    "presence.min_fraction": "least share of rows with a value",
    "presence.min_count": "least number of rows with a value",
    "value_count.min": "least values a row",
    "value_count.max": "most values a row",
    "int_domain.min": "least value",
    "float_domain.min": "least value",
    "int_domain.max": "greatest value",
    "float_domain.max": "greatest value",
    "distribution_constraints.min_domain_mass": "least share of values in the domain",
}
_MOST_SHOWN = 8


def diff_schemas(before: schema_pb2.Schema, after: schema_pb2.Schema) -> list[dict[str, Any]]:
    """The changes from one schema to another.

    Returns:
      For each change: `feature` (empty for the schema as a whole), `change` (added, removed, widened, narrowed or
      changed), `field`, and the field's values `before` and `after`, None where it is not set. Sorted by feature and
      field.
    """
    old, new = _features(before), _features(after)
    changes = []
    for name in sorted({*old, *new}):
        if name not in old or name not in new:
            change = "added" if name not in old else "removed"
            kept = (new if change == "added" else old)[name]
            least = max(float(kept.get("presence.min_fraction") or 0), float(kept.get("presence.min_count") or 0))
            needed = {"required": True} if least > 0 else {}
            sides = {"before": None, "after": needed} if change == "added" else {"before": needed, "after": None}
            changes.append({"feature": name, "change": change, "field": "", **sides})
            continue
        for field in sorted({*old[name], *new[name]}):
            a, b = old[name].get(field), new[name].get(field)
            if a != b:
                changes.append(
                    {"feature": name, "change": _direction(field, a, b), "field": field, "before": a, "after": b}
                )
    return changes


@dataclasses.dataclass(frozen=True)
class Compatibility:
    """Who can live with a change, in the words of schema registries.

    Attributes:
      backward: data that the old schema accepts, the new one accepts too.
      forward: data that the new schema accepts, the old one accepts too.
      reasons: sentences on what breaks either.
    """

    backward: bool
    forward: bool
    reasons: tuple[str, ...]

    @property
    def name(self) -> str:
        """`full`, `backward`, `forward` or `none`."""
        if self.backward and self.forward:
            return "full"
        return "backward" if self.backward else "forward" if self.forward else "none"


def compatibility(changes: Sequence[dict[str, Any]]) -> Compatibility:
    """What changes mean for data of either schema. In doubt it is not compatible."""
    backward, forward, reasons = True, True, []
    for change in changes:
        kind = change["change"]
        if change["field"].startswith(_OF_NO_DATA):
            continue
        # A column that a schema does not know is an anomaly, and so is one that it needs and that is not there.
        breaks_backward = kind in ("narrowed", "changed", "removed") or bool(kind == "added" and change["after"])
        breaks_forward = kind in ("widened", "changed", "added") or bool(kind == "removed" and change["before"])
        backward, forward = backward and not breaks_backward, forward and not breaks_forward
        sides = [side for side, breaks in (("old", breaks_backward), ("new", breaks_forward)) if breaks]
        reasons.append(f"{sentence(change)}: some data of the {' and of the '.join(sides)} schema is refused")
    return Compatibility(backward, forward, tuple(reasons))


def sentence(change: dict[str, Any]) -> str:
    """A change in words."""
    name = change["feature"] or "the data set"
    if change["change"] in ("added", "removed"):
        needed = " (required)" if change["before"] or change["after"] else ""
        return f"{name}: {change['change']}{needed}"
    what = _WORDS.get(change["field"], change["field"])
    before, after = change["before"], change["after"]
    if isinstance(before, list) and isinstance(after, list) and all(isinstance(v, str) for v in [*before, *after]):
        parts = [
            f"{sign}{_listed(values)}"
            for sign, values in (
                ("with ", [value for value in after if value not in set(before)]),
                ("without ", [value for value in before if value not in set(after)]),
            )
            if values
        ]
        return f"{name}: {what} {change['change']}, {' and '.join(parts)}"
    return f"{name}: {what} {change['change']} from {_shown(before)} to {_shown(after)}"


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(repr(value) for value in values[:_MOST_SHOWN])
    return shown if len(values) <= _MOST_SHOWN else f"{shown} and {len(values) - _MOST_SHOWN} more"


def _shown(value: Any) -> str:
    return "none" if value is None else _listed(value) if isinstance(value, list) else str(value)


def _features(schema: schema_pb2.Schema) -> dict[str, dict[str, Any]]:
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    whole = _flat(json_format.MessageToDict(schema.dataset_constraints, preserving_proto_field_name=True))
    found: dict[str, dict[str, Any]] = {"": {f"dataset_constraints.{name}": value for name, value in whole.items()}}
    found[""]["default_environment"] = list(schema.default_environment) or None
    for feature in schema.feature:
        fields = _flat(json_format.MessageToDict(feature, preserving_proto_field_name=True))
        fields.pop("name", None)
        # Where the values are written down does not matter, only which they are.
        if "domain" in fields:
            fields["string_domain.value"] = domains.get(fields.pop("domain"), [])
        fields.pop("string_domain.name", None)
        if feature.HasField("shape") and all(dim.size == 1 for dim in feature.shape.dim):
            # A shape of one value says the same as these.
            del fields["shape.dim"]
            fields.update({"value_count.min": "1", "value_count.max": "1", "presence.min_fraction": 1.0})
        if feature.lifecycle_stage in (schema_pb2.DEPRECATED, schema_pb2.DISABLED):
            fields = {"lifecycle_stage": fields["lifecycle_stage"]}
        found[feature.name] = fields
    return found


def _flat(message: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in message.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _direction(field: str, before: Any, after: Any) -> str:
    if field.startswith(_OF_NO_DATA):
        return "changed"
    if field in (*_LEAST, *_MOST):
        if before is None or after is None:
            return "widened" if after is None else "narrowed"
        return "widened" if (float(after) < float(before)) == (field in _LEAST) else "narrowed"
    if field == "string_domain.value":
        if before is None or after is None:
            return "widened" if after is None else "narrowed"
        if set(before) < set(after):
            return "widened"
        return "narrowed" if set(after) < set(before) else "changed"
    # A constraint that goes away lets more through.
    return "widened" if after is None and field.partition(".")[0].endswith("_constraints") else "changed"
