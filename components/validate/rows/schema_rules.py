"""A schema's demands on single values, as rules that rows are held against: `schema:<feature>:<what>`.

| what | a row breaks the rule when the feature |
| --- | --- |
| `missing` | is missing in it, though the schema wants it in every row (of the environment) |
| `domain` | has a value outside the schema's domain |
| `range` | has a number below `min` or above `max`; NaN is neither |
| `nan`, `infinite` | has a value that the float domain disallows |
| `valency` | has too few or too many values, at any level of nesting |

A feature that may be missing from a share of rows, or whose domain may be left by a share (`min_fraction`,
`min_domain_mass`), has no single row to blame: its rule is a warning with that share as tolerance. Values are compared
as TFDV sees them: booleans as 0 and 1, dates as days, times as microseconds, numbers in a domain of text as their
digits, text in a domain of numbers as the number it spells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import percent
from headwater.components.validate.rows.rules import SCHEMA_PREFIX

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

_NOT_VALIDATED = ("PLANNED", "ALPHA", "DEBUG_ONLY", "DEPRECATED", "DISABLED")


@dataclasses.dataclass(frozen=True)
class SchemaRule:
    """One demand of a schema.

    Attributes:
      path: the feature: a column, and what it holds.
      what: the kind of demand.
      text: the demand in words.
      severity: "error" or "warning".
      tolerance: the share of rows that may break it.
      values: of `domain`, the values that are allowed, as text.
      low, high: of `range`, the bounds, where there are any.
      whole: of `range`, whether text must spell a whole number.
      counts: of `valency`, the least and the most values by level; None where there is no bound.
      flat: whether `counts` is of the values of all levels together, as a shape has it.
    """

    path: tuple[str, ...]
    what: str
    text: str
    severity: str
    tolerance: float = 0.0
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    whole: bool = False
    counts: tuple[tuple[int | None, int | None], ...] = ()
    flat: bool = False

    @property
    def name(self) -> str:
        """Its name among all rules."""
        return f"{SCHEMA_PREFIX}{self.feature}:{self.what}"

    @property
    def feature(self) -> str:
        """The feature's name."""
        return ".".join(self.path)


def rules_of(schema: schema_pb2.Schema, environment: str, severity: str, columns: pa.Schema) -> list[SchemaRule]:
    """The rules that a schema gives.

    Args:
      schema: the schema.
      environment: one of its environments; empty for none.
      severity: "error" or "warning", of rules that each row must keep.
      columns: the dataset's columns; a feature that is none of them has the rule `missing` alone.

    Raises:
      HeadwaterError: the schema knows no such environment, or names a domain that it does not have.
    """
    known = {*schema.default_environment}
    for feature in schema.feature:
        known |= {*feature.in_environment, *feature.not_in_environment}
    if environment and environment not in known:
        raise HeadwaterError(
            f"environment: the schema has no environment {environment!r}; it has {', '.join(sorted(known)) or 'none'}"
        )
    domains = {domain.name: domain for domain in schema.string_domain}
    names = set(columns.names)
    rules: list[SchemaRule] = []
    for feature in schema.feature:
        rules += _of_feature(schema, feature, (), environment, severity, domains, names)
    return rules


def _of_feature(
    schema: schema_pb2.Schema,
    feature: schema_pb2.Feature,
    above: tuple[str, ...],
    environment: str,
    severity: str,
    domains: dict[str, Any],
    columns: set[str],
) -> Iterator[SchemaRule]:
    stage = (
        feature.DESCRIPTOR.fields_by_name["lifecycle_stage"].enum_type.values_by_number[feature.lifecycle_stage].name
    )
    if feature.deprecated or stage in _NOT_VALIDATED:
        return
    path = (*above, feature.name)
    if in_environment(schema, feature, environment) and feature.presence.min_fraction > 0:
        share = min(feature.presence.min_fraction, 1.0)
        text = f"{feature.name} present" if share == 1 else f"{feature.name} present in {percent(share)} of the rows"
        yield SchemaRule(path, "missing", text, *_graded(severity, share))
    if path[0] not in columns:
        return
    allowed = _allowed_values(feature, domains)
    if allowed:
        share = 1.0
        if feature.HasField("distribution_constraints"):
            share = min(feature.distribution_constraints.min_domain_mass, 1.0)
        text = f"{feature.name} in its domain of {len(allowed):,} values"
        yield SchemaRule(path, "domain", text, *_graded(severity, share), values=allowed)
    yield from _of_numbers(path, feature, severity)
    counts = _counts(feature)
    if any(least or most is not None for least, most in counts):
        text = f"{feature.name} with {' of '.join(_range_text(*pair) for pair in counts)} values"
        yield SchemaRule(path, "valency", text, severity, counts=counts, flat=feature.HasField("shape"))
    for child in feature.struct_domain.feature:
        yield from _of_feature(schema, child, path, environment, severity, domains, columns)


def _graded(severity: str, share: float) -> tuple[str, float]:
    # Rounded, or a share of exactly so many rows would differ from it by its last bit.
    return (severity, 0.0) if share >= 1 else ("warning", round(1.0 - share, 12))


def in_environment(schema: schema_pb2.Schema, feature: schema_pb2.Feature, environment: str) -> bool:
    """Whether an environment expects a feature; without one every feature is expected."""
    if not environment or environment in feature.in_environment:
        return True
    return environment in schema.default_environment and environment not in feature.not_in_environment


def _allowed_values(feature: schema_pb2.Feature, domains: dict[str, Any]) -> tuple[str, ...]:
    if feature.HasField("bool_domain"):
        if feature.type == feature.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_name["BYTES"].number:
            return feature.bool_domain.true_value, feature.bool_domain.false_value
        return "0", "1"
    if feature.HasField("domain"):
        if feature.domain not in domains:
            raise HeadwaterError(
                f"schema: feature {feature.name!r} refers to the domain {feature.domain!r}, but the schema has "
                f"{', '.join(domains) or 'none'}"
            )
        return tuple(domains[feature.domain].value)
    return tuple(feature.string_domain.value)


def _of_numbers(path: tuple[str, ...], feature: schema_pb2.Feature, severity: str) -> Iterator[SchemaRule]:
    whole = feature.HasField("int_domain")
    domain = feature.int_domain if whole else feature.float_domain
    low = domain.min if domain.HasField("min") else None
    high = domain.max if domain.HasField("max") else None
    if low is not None or high is not None:
        text = f"{feature.name} {_range_text(low, high)}"
        yield SchemaRule(path, "range", text, severity, low=low, high=high, whole=whole)
    if not whole and domain.disallow_nan:
        yield SchemaRule(path, "nan", f"{feature.name} not NaN", severity)
    if not whole and domain.disallow_inf:
        yield SchemaRule(path, "infinite", f"{feature.name} finite", severity)


def _counts(feature: schema_pb2.Feature) -> tuple[tuple[int | None, int | None], ...]:
    def bounds(count: Any) -> tuple[int | None, int | None]:
        return (count.min if count.HasField("min") else None, count.max if count.HasField("max") else None)

    if feature.HasField("value_counts"):
        return tuple(bounds(count) for count in feature.value_counts.value_count)
    if feature.HasField("value_count"):
        return (bounds(feature.value_count),)
    if feature.HasField("shape"):
        size = int(np.prod([dimension.size for dimension in feature.shape.dim], dtype=np.int64))
        return ((size, size),)
    return ()


def _range_text(low: float | None, high: float | None) -> str:
    if low is not None and low == high:
        return f"{low:,}"
    parts = [f"at least {low:,}" if low is not None else "", f"at most {high:,}" if high is not None else ""]
    return " and ".join(part for part in parts if part) or "any number"
