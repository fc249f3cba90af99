"""Bins of a column, from the baseline's statistics, and the bin of each value.

Numbers have the baseline's tenths as edges. Beyond the outer tenths, where a change of the inputs moves values most
within a bin, they have the edges of the histogram of equal widths as well. A number that fills a tenth by itself, and
each of fewer than `FEW` whole numbers, is a bin of its own; so are NaN and missing. Text has the baseline's most
frequent values, the others by their hash, and missing.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.hashing import hash_values

OWN_VALUES = 30
"""Values of text with bins of their own."""

OTHERS = 8
"""Bins of all other values of text, by their hash."""

FEW = 20
"""Whole numbers with bins of their own."""

HELD_VALUES = 10
"""Values of text with bins of their own where a column is held fixed; the others share one."""

MOST_CLASSES = 50
"""Classes of a label."""

_TENTHS = 10
_LEAST_ROWS = 20
_LONGEST = 256
# What TFDV shows of values that are no text, or too long.
_NOT_SHOWN = ("__BYTES_VALUE__", "__LARGE_BYTES__")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's bins. Codes count the ranges or values, then NaN or others, then missing.

    Attributes:
      name: the column's.
      kind: "numbers" with `edges`, or "text" with `values`.
      edges: rising; range i is from edges[i - 1] up to, and without, edges[i], the outer ones without an end.
      values: each with a bin of its own, as bytes.
      others: how many bins the other values of text have.
      whole: whether numbers are integers.
      boolean: whether they are bools.
      known: whether `values` are all that the baseline has.
    """

    name: str
    kind: Literal["numbers", "text"]
    edges: tuple[float, ...] = ()
    values: tuple[bytes, ...] = ()
    others: int = OTHERS
    whole: bool = False
    boolean: bool = False
    known: bool = False

    @property
    def present(self) -> int:
        """How many codes there are without the last, which is missing."""
        return len(self.edges) + 2 if self.kind == "numbers" else len(self.values) + self.others

    @property
    def size(self) -> int:
        """How many codes there are."""
        return self.present + 1

    def held(self, values: int = HELD_VALUES) -> Column:
        """The same with fewer bins: `values` of text, and one of all others."""
        if self.kind == "numbers":
            return self
        known = self.known and len(self.values) <= values
        return dataclasses.replace(self, values=self.values[:values], others=1, known=known)

    def codes(self, array: pa.Array) -> np.ndarray:
        """The bin of each value, int64."""
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_null(array.type):
            return np.full(len(array), self.size - 1)
        missing = pc.is_null(array).to_numpy(zero_copy_only=False)
        if self.kind == "numbers":
            values = _numbers(array)
            codes = np.searchsorted(np.array(self.edges), values, side="right")
            codes = np.where(np.isnan(values), len(self.edges) + 1, codes)
        else:
            texts = _texts(array)
            encoded = texts.dictionary_encode()
            distinct = encoded.dictionary
            places = pc.index_in(distinct, value_set=pa.array(self.values, pa.binary()))
            rest = (hash_values(distinct) % np.uint64(self.others)).astype(np.int64) + len(self.values)
            own = (
                np.where(pc.is_null(places), rest, pc.fill_null(places, 0)) if len(distinct) else np.zeros(1, np.int64)
            )
            codes = own[pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)]
        return np.where(missing, self.size - 1, codes).astype(np.int64)

    def word(self, code: int) -> str:
        """What a bin holds, in words that stand after the column's name: `= US`, `< 5`, `from 5 to 7`."""
        if code == self.size - 1:
            return "= (missing)"
        if self.kind == "text":
            if code < len(self.values):
                return f"= {_shown(self.values[code])}"
            rest = "unseen" if self.known else "other"
            return f"= ({rest})" if self.others == 1 else f"= ({rest} {code - len(self.values) + 1})"
        if code > len(self.edges):
            return "= (NaN)"
        low = self.edges[code - 1] if code else None
        high = self.edges[code] if code < len(self.edges) else None
        if low is not None and high == _after(low, self.whole):
            return f"= {self._number(low)}"
        if self.boolean and low is None and high == 1:
            return "= false"
        if self.boolean and high is None and low == 1:
            return "= true"
        if low is None:
            return "(any number)" if high is None else f"< {self._number(high)}"
        if not self.whole and code > 1 and low == _after(self.edges[code - 2]):
            low = self.edges[code - 2]
            return f"> {self._number(low)}" if high is None else f"above {self._number(low)} below {self._number(high)}"
        return f"≥ {self._number(low)}" if high is None else f"from {self._number(low)} to below {self._number(high)}"

    def sql(self, code: int) -> str:
        """The rows of a bin as one SQL expression, as `headwater ask --where` takes it; empty for a bin of values by hash."""
        name = '"' + self.name.replace('"', '""') + '"'
        if code == self.size - 1:
            return f"{name} IS NULL"
        if self.kind == "text":
            texts = [_quoted(value) for value in self.values]
            if code < len(texts):
                return f"CAST({name} AS VARCHAR) = {texts[code]}" if texts[code] else ""
            if self.others > 1 or not all(texts):
                return ""
            return f"CAST({name} AS VARCHAR) NOT IN ({', '.join(texts)})" if texts else f"{name} IS NOT NULL"
        value = f"CAST({name} AS TINYINT)" if self.boolean else name if self.whole else f"CAST({name} AS DOUBLE)"
        if code > len(self.edges):
            return "" if self.whole else f"isnan({value})"
        low = f"{value} >= {self._exact(self.edges[code - 1])}" if code else ""
        high = f"{value} < {self._exact(self.edges[code])}" if code < len(self.edges) else ""
        # NaN is greater than every number there.
        finite = f"NOT isnan({value})" if not high and not self.whole else ""
        return " AND ".join(filter(None, (low, high, finite))) or f"{name} IS NOT NULL"

    def _exact(self, number: float) -> str:
        return str(int(number)) if self.whole or self.boolean else f"{number!r}::DOUBLE"

    def _number(self, number: float) -> str:
        if self.boolean:
            return "true" if number else "false"
        return str(int(number)) if self.whole else f"{number:.6g}"


def kind_of(kind: pa.DataType) -> str:
    """What a column of this type holds: "numbers", "text", "nothing", or "" when it cannot be cut into bins."""
    while pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind):
        return "nothing"
    if (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    ):
        return "numbers"
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return "text" if any(is_kind(kind) for is_kind in text) else ""


def column(feature: statistics_pb2.FeatureNameStatistics, kind: pa.DataType) -> Column | None:
    """A feature's bins.

    Args:
      feature: its statistics.
      kind: the column's type in the baseline.

    Returns:
      The bins; None when the baseline holds no values of it.
    """
    name, boolean = feature.path.step[0], pa.types.is_boolean(kind)
    stats = feature.WhichOneof("stats")
    if stats == "num_stats" and kind_of(kind) == "numbers" and feature.num_stats.common_stats.num_non_missing:
        whole = feature.type == statistics_pb2.FeatureNameStatistics.INT
        return Column(name, "numbers", edges=_edges(feature.num_stats, whole), whole=whole, boolean=boolean)
    if stats == "string_stats" and feature.string_stats.common_stats.num_non_missing:
        # Whole numbers that a schema calls categories are counted as text; they are compared as such.
        frequent, unique = _frequent(feature.string_stats), feature.string_stats.unique
        values = tuple(value for value, rows in frequent if rows >= _LEAST_ROWS)[:OWN_VALUES]
        return Column(name, "text", values=values, known=len(values) == unique)
    return None


def classes(feature: statistics_pb2.FeatureNameStatistics, kind: pa.DataType, bins: int) -> Column | None:
    """A label's classes, the most frequent first; values that the baseline has not are one class more.

    Args:
      feature: its statistics.
      kind: the column's type in the baseline.
      bins: into how many numbers are cut that have more than `FEW` possible values.

    Returns:
      The classes; None when the baseline holds no values of it.

    Raises:
      HeadwaterError: it has more than `MOST_CLASSES` classes.
    """
    binned = column(feature, kind)
    if binned is None:
        return None
    if binned.kind == "text":
        unique = feature.string_stats.unique
        if unique > MOST_CLASSES:
            raise HeadwaterError(
                f"concept.label: column {binned.name!r} has {unique:,} classes; at most {MOST_CLASSES} can be "
                "compared; group the classes in a new column"
            )
        values = tuple(value for value, _ in _frequent(feature.string_stats))
        return dataclasses.replace(binned, values=values, others=1, known=len(values) == unique)
    if not _few(feature.num_stats, binned.whole):
        binned = dataclasses.replace(binned, edges=_quantiles(feature.num_stats, bins, binned.whole))
    return binned


def _few(stats: statistics_pb2.NumericStatistics, whole: bool) -> bool:
    return whole and stats.max - stats.min < FEW


def _edges(stats: statistics_pb2.NumericStatistics, whole: bool) -> tuple[float, ...]:
    if _few(stats, whole):
        return tuple(float(edge) for edge in range(int(stats.min), int(stats.max) + 2))
    tenths = _quantiles(stats, _TENTHS, whole)
    if len(tenths) < 2:
        return tenths
    equal = next((each for each in stats.histograms if each.type == statistics_pb2.Histogram.STANDARD), None)
    tails = [bucket.low_value for bucket in (equal.buckets[1:] if equal else ())]
    tails = [edge for edge in tails if math.isfinite(edge) and not tenths[0] <= edge <= tenths[-1]]
    return tuple(sorted({*tenths, *(map(math.ceil, tails) if whole else tails)}))


def _quantiles(stats: statistics_pb2.NumericStatistics, parts: int, whole: bool) -> tuple[float, ...]:
    """Edges of about equally many rows; a number that fills a part by itself is between two of them."""
    histogram = next((each for each in stats.histograms if each.type == statistics_pb2.Histogram.QUANTILES), None)
    buckets = list(histogram.buckets) if histogram else []
    if stats.min == stats.max and math.isfinite(stats.min):
        return (stats.min, _after(stats.min, whole))
    if not buckets:
        return ()
    bounds = np.array([buckets[0].low_value, *(bucket.high_value for bucket in buckets)])
    reached = np.cumsum([0.0, *(bucket.sample_count for bucket in buckets)])
    wanted = np.linspace(0, reached[-1], parts + 1)
    # A number that fills a tenth is as many bounds as make a tenth, and one more.
    numbers, times = np.unique(bounds, return_counts=True)
    full = numbers[np.isfinite(numbers) & (times > max(1, len(buckets) // _TENTHS))]
    after = [_after(number, whole) for number in full.tolist()]
    bounds = bounds[np.unique(np.abs(reached[None, :] - wanted[:, None]).argmin(axis=1))]
    inner = np.unique(bounds[np.isfinite(bounds)])[1:-1]
    return tuple(np.unique(np.concatenate([inner, full, after])).tolist())


def _after(number: float, whole: bool = False) -> float:
    """The edge that parts a number from those above it."""
    if whole:
        return number + 1
    # Some libraries make processors take the numbers next to 0 for 0.
    return float(np.finfo(float).tiny) if number == 0 else math.nextafter(number, math.inf)


def _frequent(stats: statistics_pb2.StringStatistics) -> list[tuple[bytes, float]]:
    """The values that are shown, the most frequent first."""
    ranks = [(bucket.label, bucket.sample_count) for bucket in stats.rank_histogram.buckets]
    tops = [(each.value, each.frequency) for each in stats.top_values]
    shown = ranks if len(ranks) > len(tops) else tops
    return [
        (value.encode(), rows) for value, rows in shown if value not in _NOT_SHOWN and len(value.encode()) <= _LONGEST
    ]


def _numbers(array: pa.Array) -> np.ndarray:
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    values = array.to_numpy(zero_copy_only=False)
    return values.astype(np.float64)


def _texts(array: pa.Array) -> pa.Array:
    if kind_of(array.type) == "numbers":
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.int8())
        array = array.cast(pa.string())
    return array if pa.types.is_binary(array.type) else array.cast(pa.binary())


def _quoted(value: bytes) -> str:
    """A text as SQL writes it; empty for bytes that are no text."""
    try:
        return "'" + value.decode().replace("'", "''") + "'"
    except UnicodeDecodeError:
        return ""


def _shown(value: bytes) -> str:
    """A plain word as it is, anything else in quotation marks."""
    text = value.decode(errors="backslashreplace")
    return text if re.fullmatch(r"[\w.:/+@#%-]+", text) else json.dumps(text, ensure_ascii=not text.isprintable())
