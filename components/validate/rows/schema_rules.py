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
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import value_type
from headwater.components.validate.rows.rules import SCHEMA_PREFIX

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_DAY_MILLISECONDS = 86_400_000
_NOT_VALIDATED = ("PLANNED", "ALPHA", "DEBUG_ONLY", "DEPRECATED", "DISABLED")
_NUMBER = r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"
_WHOLE = r"^\s*[-+]?[0-9]+\s*$"
_SPELLED = r"^\s*[-+]?(nan|inf|infinity)\s*$"


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
    found: list[SchemaRule] = []
    for feature in schema.feature:
        found += _of_feature(schema, feature, (), environment, severity, domains, names)
    return found


def broken_rows(rules: Sequence[tuple[int, SchemaRule]], batch: pa.RecordBatch) -> Iterator[tuple[int, np.ndarray]]:
    """The rows that break each rule.

    Args:
      rules: the rules with their numbers, those of one feature side by side.
      batch: the rows.

    Yields:
      A rule's number, and the rows that break it, int64, rising; none for a rule that all rows keep.
    """
    path, instances, spread = None, None, None
    for number, rule in rules:
        if rule.path != path:
            path, instances, spread = rule.path, _instances(batch, rule.path), None
        if instances is None:
            if rule.what == "missing":
                yield number, np.arange(batch.num_rows)
            continue
        owners, array = instances
        if rule.what == "missing":
            bad = owners[_numpy(pc.is_null(array))] if array.null_count else owners[:0]
        else:
            spread = spread or _spread(array)
            bad = owners[_bad_instances(rule, spread)]
        if len(bad):
            yield number, np.unique(bad)


@dataclasses.dataclass(frozen=True)
class _Spread:
    """A feature's values, level by level.

    Attributes:
      counts: by level, the instance of each list and its number of values.
      values: the values, none missing.
      owners: the instance of each.
    """

    counts: list[tuple[np.ndarray, np.ndarray]]
    values: pa.Array
    owners: np.ndarray


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
    if _is_required(schema, feature, environment) and feature.presence.min_fraction > 0:
        share = min(feature.presence.min_fraction, 1.0)
        text = f"{feature.name} present" if share == 1 else f"{feature.name} present in {share:.6g} of the rows"
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
    # Rounded, or a share of exactly so many rows would be told from it by its last bit.
    return (severity, 0.0) if share >= 1 else ("warning", round(1.0 - share, 12))


def _is_required(schema: schema_pb2.Schema, feature: schema_pb2.Feature, environment: str) -> bool:
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
                f"schema: feature {feature.name!r} names the domain {feature.domain!r}, and the schema has "
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


def _instances(batch: pa.RecordBatch, path: tuple[str, ...]) -> tuple[np.ndarray, pa.Array] | None:
    """A feature once for each of its parents that is there, with the parent's row; None where there is no column."""
    place = batch.schema.get_field_index(path[0])
    if place < 0:
        return None
    owners, array = np.arange(batch.num_rows), _plain(batch.column(place))
    for name in path[1:]:
        spread = _spread(array)
        owners, values = owners[spread.owners], spread.values
        if not pa.types.is_struct(values.type) or values.type.get_field_index(name) < 0:
            return owners, pa.nulls(len(owners))
        array = _plain(values.flatten()[values.type.get_field_index(name)])
    return owners, array


def _spread(array: pa.Array) -> _Spread:
    owners = np.arange(len(array))
    counts: list[tuple[np.ndarray, np.ndarray]] = []
    while True:
        array = _plain(array)
        if array.null_count:
            kept = _numpy(pc.is_valid(array))
            array, owners = array.filter(pa.array(kept)), owners[kept]
        if not _is_list(array.type):
            # A value that stands in no list is one value.
            return _Spread(counts or [(owners, np.ones(len(owners), np.int64))], array, owners)
        lengths = _numpy(pc.list_value_length(array)).astype(np.int64)
        values = array.flatten()
        list_of = np.repeat(np.arange(len(array)), lengths)
        if values.null_count:
            kept = _numpy(pc.is_valid(values))
            values, list_of = values.filter(pa.array(kept)), list_of[kept]
            lengths = np.bincount(list_of, minlength=len(array))
        counts.append((owners, lengths))
        array, owners = values, owners[list_of]


def _bad_instances(rule: SchemaRule, spread: _Spread) -> np.ndarray:
    if rule.what == "valency":
        return _of_wrong_count(rule, spread)
    values = spread.values
    if rule.what == "domain":
        return spread.owners[~_numpy(pc.is_in(_as_text(values), value_set=pa.array(rule.values, pa.large_binary())))]
    numbers, unread = _as_numbers(values, rule.whole)
    if rule.what == "nan":
        bad = np.isnan(numbers) if numbers.dtype.kind == "f" else np.zeros(len(numbers), bool)
        return spread.owners[bad & ~unread]
    if rule.what == "infinite":
        return spread.owners[np.isinf(numbers)] if numbers.dtype.kind == "f" else spread.owners[:0]
    bad = unread.copy()
    if rule.low is not None:
        bad |= numbers < rule.low
    if rule.high is not None:
        bad |= numbers > rule.high
    return spread.owners[bad]


def _of_wrong_count(rule: SchemaRule, spread: _Spread) -> np.ndarray:
    levels = spread.counts
    if rule.flat:
        present = levels[0][0]
        levels = [(present, np.bincount(spread.owners, minlength=int(present.max(initial=-1)) + 1)[present])]
    found = [np.empty(0, np.int64)]
    for (low, high), (owners, lengths) in zip(rule.counts, levels):
        bad = np.zeros(len(lengths), bool)
        if low is not None:
            bad |= lengths < low
        if high is not None:
            bad |= lengths > high
        found.append(owners[bad])
    return np.concatenate(found)


def _as_text(values: pa.Array) -> pa.Array:
    """Values as the bytes that a domain of text has, large_binary."""
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return values.cast(pa.large_string()).cast(pa.large_binary())
    if pa.types.is_fixed_size_binary(kind):
        values = values.cast(pa.binary())
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return values.cast(pa.large_binary())
    numbers, _ = _as_numbers(values, False)
    if numbers.dtype.kind == "f":
        # A whole float has the digits of the number that it is.
        plain = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
        texts = pc.if_else(
            pa.array(plain),
            pa.array(np.where(plain, numbers, 0).astype(np.int64)).cast(pa.string()),
            pa.array(numbers).cast(pa.string()),
        )
    else:
        texts = pa.array(numbers).cast(pa.string())
    return texts.cast(pa.large_string()).cast(pa.large_binary())


def _as_numbers(values: pa.Array, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values as numbers, and which of them are none."""
    kind = values.type
    unread = np.zeros(len(values), bool)
    if pa.types.is_boolean(kind):
        return _numpy(values).astype(np.int64), unread
    if pa.types.is_float16(kind):
        return _numpy(values).astype(np.float32), unread
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numpy(values), unread
    if pa.types.is_decimal(kind):
        return _numpy(values.cast(pa.float64())), unread
    if pa.types.is_temporal(kind):
        return _moments(values), unread
    text = _as_utf8(values)
    if text is None:
        return np.zeros(len(values)), ~unread
    spelled = pc.match_substring_regex(text, _WHOLE if whole else _NUMBER)
    if not whole:
        spelled = pc.or_(spelled, pc.match_substring_regex(text, _SPELLED, ignore_case=True))
    spelled = _numpy(spelled)
    plain = pc.utf8_ltrim(pc.utf8_trim_whitespace(text), "+")
    return _numpy(pc.if_else(pa.array(spelled), plain, "0").cast(pa.float64())), ~spelled


def _as_utf8(values: pa.Array) -> pa.Array | None:
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values.cast(pa.large_string())
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        try:
            return values.cast(pa.large_binary()).cast(pa.large_string())
        except pa.ArrowInvalid:
            return None
    return None


def _moments(values: pa.Array) -> np.ndarray:
    kind = values.type
    whole = _numpy(values.view(pa.int32() if kind.bit_width == 32 else pa.int64())).astype(np.int64)
    if pa.types.is_date32(kind):
        return whole
    if pa.types.is_date64(kind):
        return whole // _DAY_MILLISECONDS
    unit = str(kind).partition("[")[2].rstrip("]").partition(",")[0]
    if unit == "ns":
        return whole // 1_000
    farthest = (2**63 - 1) // _MICROSECONDS[unit]
    return whole.clip(-farthest, farthest) * _MICROSECONDS[unit]


def _plain(array: pa.Array) -> pa.Array:
    """Values as they are, whatever encodes them; a map as the list of its entries."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.cast(value_type(array.type))
    if pa.types.is_map(array.type):
        kind = array.type
        entry = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
        entries = pa.StructArray.from_arrays([array.keys, array.items], fields=list(entry))
        missing = pc.is_null(array)
        if len(array):
            bounds = pa.array(offsets, mask=np.append(_numpy(missing), False))
            array = pa.ListArray.from_arrays(bounds, entries)
        else:
            array = pa.array([], pa.list_(entry))
    return array


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _numpy(array: pa.Array) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False)
