"""What differs between two schemas, feature by feature and field by field, and who can live with it.

TFDV's own diff ends the process, so this is ours. A change is *widened* when more data is accepted, *narrowed* when less
is, and *changed* when some is and some is not any more, or nobody can tell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import schema_pb2

_LEAST = ("presence.min_fraction", "presence.min_count", "value_count.min", "int_domain.min", "float_domain.min",
          "unique_constraints.min", "dataset_constraints.min_examples_count",
          "distribution_constraints.min_domain_mass")  # fmt: skip
_MOST = ("value_count.max", "int_domain.max", "float_domain.max", "unique_constraints.max",
         "dataset_constraints.max_examples_count")  # fmt: skip
_DEMANDS = ("float_domain.disallow_nan", "float_domain.disallow_inf", "shape")
# Nothing is asked for by a 0 here.
_NONE_AT_ZERO = ("presence.min_fraction", "presence.min_count", "value_count.min", "float_domain.disallow_nan",
                 "float_domain.disallow_inf")  # fmt: skip
# These judge two data sets against each other, or tell people or readers something; no data set breaks them by itself.
_OF_NO_DATA = ("annotation.", "drift_comparator.", "skew_comparator.", "dataset_constraints.num_examples",
               "tensor_representation_group", "generate_legacy_feature_spec",
               "represent_variable_length_as_ragged")  # fmt: skip
_LIFECYCLE = "lifecycle_stage"
# Features at these stages are known and not validated.
_AT_REST = ("PLANNED", "ALPHA", "DEPRECATED", "DEBUG_ONLY", "DISABLED")
_PRIVATE = "headwater:private"
_WORDS = {
    "string_domain.value": "values",
    "presence.min_fraction": "minimum share of rows with a value",
    "presence.min_count": "minimum number of rows with a value",
    "value_count.min": "minimum values per row",
    "value_count.max": "most values a row",
    "int_domain.min": "minimum value",
    "float_domain.min": "minimum value",
    "int_domain.max": "maximum value",
    "float_domain.max": "maximum value",
    "unique_constraints.min": "minimum number of distinct values",
    "unique_constraints.max": "maximum number of distinct values",
    "distribution_constraints.min_domain_mass": "minimum share of values in the domain",
    "dataset_constraints.min_examples_count": "minimum number of rows",
    "dataset_constraints.max_examples_count": "maximum number of rows",
    "float_domain.disallow_nan": "whether NaN is refused",
    "float_domain.disallow_inf": "whether infinity is refused",
}
_MOST_SHOWN = 8

_Path = tuple[str, ...]


def diff_schemas(before: schema_pb2.Schema, after: schema_pb2.Schema) -> list[dict[str, Any]]:
    """The changes from one schema to another.

    Returns:
      For each change: `feature` (what lies in a struct after a dot; empty for the schema as a whole), `change` (added,
      removed, widened, narrowed or changed), `field`, and the field's values `before` and `after`, None where it is not
      set; of private features, how many values instead. Sorted by feature and field.
    """
    old, new = _features(before), _features(after)
    private = {
        feature.name for side in (before, after) for feature in side.feature if _PRIVATE in feature.annotation.tag
    }
    changes: list[dict[str, Any]] = []
    for path in sorted({*old, *new}):
        name = ".".join(path)
        if path not in old or path not in new:
            change = "added" if path not in old else "removed"
            sides = (old, new) if change == "added" else (new, old)
            if path[:-1] not in sides[0]:
                # It came or went with what holds it.
                continue
            kept = sides[1][path]
            least = max(float(kept.get("presence.min_fraction") or 0), float(kept.get("presence.min_count") or 0))
            needed = {"required": True} if least > 0 and _LIFECYCLE not in kept else {}
            values = {"before": None, "after": needed} if change == "added" else {"before": needed, "after": None}
            changes.append({"feature": name, "change": change, "field": "", **values})
            continue
        for field, a, b in _differing(old[path], new[path]):
            change = _direction(field, a, b)
            if path and path[0] in private and field == "string_domain.value":
                a, b = _counted(a), _counted(b)
            changes.append({"feature": name, "change": change, "field": field, "before": a, "after": b})
    return changes


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    if old.get(_LIFECYCLE) != new.get(_LIFECYCLE):
        # What else is said of a feature at rest binds nobody.
        yield _LIFECYCLE, old.get(_LIFECYCLE), new.get(_LIFECYCLE)
        if old.get(_LIFECYCLE) in _AT_REST or new.get(_LIFECYCLE) in _AT_REST:
            return
    for field in sorted({*old, *new} - {_LIFECYCLE}):
        if old.get(field) != new.get(field):
            yield field, old.get(field), new.get(field)


def _counted(values: Sequence[str] | None) -> str | None:
    return None if values is None else f"{len(values)} private values"


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
        at_rest = change["field"] == _LIFECYCLE and {change["before"], change["after"]} <= {*_AT_REST}
        if at_rest or change["field"].startswith(_OF_NO_DATA):
            continue
        # A column that a schema does not know is an anomaly, and so is one that it needs and that is not there.
        breaks_backward = kind in ("narrowed", "changed", "removed") or bool(kind == "added" and change["after"])
        breaks_forward = kind in ("widened", "changed", "added") or bool(kind == "removed" and change["before"])
        backward, forward = backward and not breaks_backward, forward and not breaks_forward
        sides = [side for side, breaks in (("old", breaks_backward), ("new", breaks_forward)) if breaks]
        reasons.append(
            f"{sentence(change)}: some data that is valid under the {' and the '.join(sides)} schema is refused"
        )
    return Compatibility(backward, forward, tuple(reasons))


def sentence(change: dict[str, Any]) -> str:
    """A change in words."""
    name = change["feature"] or "the dataset"
    if change["change"] in ("added", "removed"):
        needed = " (required)" if change["before"] or change["after"] else ""
        return f"{name}: {change['change']}{needed}"
    what = _WORDS.get(change["field"], change["field"])
    before, after = change["before"], change["after"]
    if change["field"] == _LIFECYCLE and change["change"] == "widened":
        return f"{name}: no longer validated, {after.lower().replace('_', ' ')}"
    if change["field"] == _LIFECYCLE and change["change"] == "narrowed":
        return f"{name}: validated, no longer {before.lower().replace('_', ' ')}"
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


def _features(schema: schema_pb2.Schema) -> dict[_Path, dict[str, Any]]:
    """What each feature asks for, by path, by field; of the schema as a whole at the empty path."""
    whole = schema_pb2.Schema()
    whole.CopyFrom(schema)
    for name in ("feature", "string_domain"):
        whole.ClearField(name)
    fields = _flat(json_format.MessageToDict(whole, preserving_proto_field_name=True))
    if "dataset_constraints.min_examples_count" not in fields:
        # TFDV looks at the greatest number only where there is a least one.
        fields.pop("dataset_constraints.max_examples_count", None)
    for kind in ("weighted_feature", "sparse_feature"):
        fields.update({f"{kind}.{each['name']}": each for each in fields.pop(kind, ())})
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    fields_of: dict[_Path, dict[str, Any]] = {(): fields}
    _collect(schema.feature, (), domains, fields_of)
    return fields_of


def _collect(
    features: Iterable[schema_pb2.Feature],
    above: _Path,
    domains: Mapping[str, list[str]],
    fields_of: dict[_Path, dict[str, Any]],
) -> None:
    for feature in features:
        path = (*above, feature.name)
        if path in fields_of:
            # Of two with one name TFDV takes the first.
            continue
        fields_of[path] = _fields(feature, domains)
        _collect(feature.struct_domain.feature, path, domains, fields_of)


def _fields(feature: schema_pb2.Feature, domains: Mapping[str, list[str]]) -> dict[str, Any]:
    if feature.HasField("struct_domain"):
        alone = schema_pb2.Feature()
        alone.CopyFrom(feature)
        del alone.struct_domain.feature[:]
    else:
        alone = feature
    fields = _flat(json_format.MessageToDict(alone, preserving_proto_field_name=True))
    fields.pop("name", None)
    # Where the values are written down does not matter, only which they are.
    if "domain" in fields:
        fields["string_domain.value"] = domains.get(fields.pop("domain"), [])
    fields.pop("string_domain.name", None)
    mass = "distribution_constraints.min_domain_mass"
    if "string_domain.value" in fields:
        fields.pop("distribution_constraints", None)
        fields.setdefault(mass, 1.0)
    elif mass in fields:
        # TFDV accepts nothing then.
        fields["distribution_constraints"] = fields.pop(mass)
    if feature.HasField("unique_constraints"):
        # What is left out is 0, the greatest number too.
        fields.pop("unique_constraints", None)
        fields["unique_constraints.min"] = feature.unique_constraints.min
        fields["unique_constraints.max"] = feature.unique_constraints.max
    if feature.HasField("shape") and all(dim.size == 1 for dim in feature.shape.dim):
        # With a value in every row, a shape of one value says the same as these.
        del fields["shape.dim"]
        fields.update({"value_count.min": 1, "value_count.max": 1})
        if feature.presence.min_fraction != 1:
            fields["shape"] = True
    for field in _NONE_AT_ZERO:
        if not fields.get(field):
            fields.pop(field, None)
    for empty in ("presence", "value_count"):
        if fields.get(empty) == {}:
            del fields[empty]
    if fields.get(_LIFECYCLE) in ("BETA", "PRODUCTION"):
        del fields[_LIFECYCLE]
    return fields


def _flat(message: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in message.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            # Protobuf writes whole numbers of 64 bits as text.
            whole = f"{prefix}{name}" in (*_LEAST, *_MOST) and isinstance(value, str) and value.lstrip("-").isdigit()
            flat[f"{prefix}{name}"] = int(value) if whole else value
    return flat


def _direction(field: str, before: Any, after: Any) -> str:
    if field.startswith(_OF_NO_DATA):
        return "changed"
    if field == _LIFECYCLE and (before in _AT_REST) != (after in _AT_REST):
        return "widened" if after in _AT_REST else "narrowed"
    if field in _DEMANDS:
        return "widened" if after is None else "narrowed"
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
    return "changed"
