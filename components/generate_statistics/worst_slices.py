"""The slices of the data where errors cost most: a second pass over a split, with bins taken from its statistics.

A slice is one bin of a column (`country = US`, `18 ≤ age < 25`) or a conjunction of two. Its rows' mean cost is held
against that of the other rows by Welch's t-test (Biometrika 34, 1947) and by one that takes its spread from all rows,
both one-sided; what is said of many slices at once is held down by Benjamini and Hochberg's rule (J. R. Stat. Soc. B
57, 1995). The idea is that of SliceFinder (Chung et al., ICDE 2019): few conditions, many rows, a large and significant
effect.

The order of work: `check` the options against the schema, take `bins` from the finished statistics of all rows of a
split, `measure` its parts with them, `merge`, then `rank`.

A column can be sliced by when no row has more than one value of it, and not all rows lie in one of its bins. The
batches that are measured hold what the statistics saw: where private values were hidden before, they are hidden here.

A state is an Arrow IPC file with one row a cell and the columns `rows` (int64), `cost` and `squares` (float64): the
number of rows that have a cost, and the sums of their costs and of the costs' squares, costs taken less
`Bins.reference`. Cells stand in this order: all rows; each column's bins; each pair's bins, row by row. Its schema's
metadata holds `headwater.worst_slices` (version of the format, "1"), `bins` (what they were measured with, a SHA-256),
`without_cost` (rows left out) and `classes` (JSON: how many rows hold each class that the costs name).
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic
from scipy.special import stdtr
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common.dataset import OWN_PREFIX
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.significance import benjamini_hochberg
from headwater.components.generate_statistics.conversion import RULE, to_lists

VERSION = "1"

MOST_COLUMNS = 200
"""Columns sliced by when none are named."""

MOST_PAIRED = 32
"""Columns that conjunctions are made of: 496 pairs at most."""

MOST_VALUES = 50
"""Values of a column of text that have a bin of their own; the others share one."""

MOST_PAIRED_VALUES = 15
"""The same within conjunctions."""

CLEARLY = 0.25
"""Share of a slice's excess cost that settles what is told of a conjunction and the slices that it is made of."""

_FEW_INTEGERS = 20
_DECILES = 10
_LONGEST = 256
_CHUNK = 65_536
_LARGEST = 1e150
_ROUNDING = 1e-12
_PRIVATE = "headwater.private"
# Labels that TFDV gives to values that it does not show.
_NOT_SHOWN = ("__BYTES_VALUE__", "__LARGE_BYTES__")

Feature: TypeAlias = statistics_pb2.FeatureNameStatistics


class Options(pydantic.BaseModel, extra="forbid", frozen=True):
    """What an error costs, and which slices are looked at.

    Attributes:
      errors: a column of numbers or bools: the cost of each row.
      prediction, label: two columns of classes, instead of `errors`: a row costs 1 when they differ, else 0.
      costs: by label, then by prediction, what a row costs instead. A pair that is not named costs 1 or 0 as above.
        Numbers are named as in "1", bools "true" and "false". A cost below 0 is a gain.
      columns: to slice by, `MOST_COLUMNS` at most. By default every column that can be, other than those above and
        private ones: text and numbers in turn, those first whose bins spread the rows most evenly.
      depth: 2 looks at conjunctions of two columns as well, of the first `MOST_PAIRED` columns.
      min_rows: rows with a cost that a slice has at least.
      top: slices listed at most.
      max_p: adjusted p-value of a listed slice at most, in (0, 1].
    """

    errors: str = ""
    prediction: str = ""
    label: str = ""
    costs: dict[str, dict[str, pydantic.FiniteFloat]] = {}
    columns: list[str] = pydantic.Field([], max_length=MOST_COLUMNS)
    depth: Literal[1, 2] = 2
    min_rows: int = pydantic.Field(100, ge=2)
    top: int = pydantic.Field(20, ge=1)
    max_p: float = pydantic.Field(0.05, gt=0, le=1)

    @pydantic.field_validator("costs", mode="before")
    @classmethod
    def _name_classes(cls, costs: Any) -> Any:
        # YAML reads 1 and true as a number and a bool.
        if not isinstance(costs, dict):
            return costs
        return {
            _class_name(label): {_class_name(key): cost for key, cost in row.items()} if isinstance(row, dict) else row
            for label, row in costs.items()
        }

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Options:
        if self.errors and (self.prediction or self.label):
            raise ValueError("give either errors, or prediction and label, not both")
        if not self.errors and not (self.prediction and self.label):
            raise ValueError("give errors (a column with the cost of each row), or both prediction and label")
        if self.prediction and self.prediction == self.label:
            raise ValueError("prediction and label name the same column")
        if self.costs and self.errors:
            raise ValueError("costs go with prediction and label; errors are costs already")
        twice = [name for name in dict.fromkeys(self.columns) if self.columns.count(name) > 1]
        if twice:
            raise ValueError(f"columns names {twice[0]!r} twice")
        return self

    @property
    def classes(self) -> list[str]:
        """The classes that `costs` names, sorted."""
        return sorted({name for label, row in self.costs.items() for name in (label, *row)})


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's bins. Codes count the values or ranges, then the rest (other values, or NaN), then missing.

    Attributes:
      name: the column's.
      kind: "text" or "integers" with `values`; "ranges" with `edges`.
      values: bytes or int, each a bin.
      edges: rising; range i is from edges[i - 1] up to, and without, edges[i], the outer ones without an end.
      rule: how values were converted, in words; empty when they were taken as they are.
      whole: whether numbers are integers.
    """

    name: str
    kind: Literal["text", "integers", "ranges"]
    values: tuple[Any, ...] = ()
    edges: tuple[float, ...] = ()
    rule: str = ""
    whole: bool = False

    @property
    def rest(self) -> int:
        """Code of other values, or of NaN."""
        return len(self.edges) + 1 if self.kind == "ranges" else len(self.values)

    @property
    def size(self) -> int:
        """How many codes there are."""
        return self.rest + 2

    @property
    def paired_rest(self) -> int:
        """As `rest`, within pairs."""
        return self.rest if self.kind == "ranges" else min(self.rest, MOST_PAIRED_VALUES)

    @property
    def paired_size(self) -> int:
        """As `size`, within pairs."""
        return self.paired_rest + 2

    def unpaired(self, codes: np.ndarray) -> np.ndarray:
        """Codes within pairs as codes of the column; the rest is another rest, and no slice of a pair."""
        return np.where(codes < self.paired_rest, codes, codes - self.paired_rest + self.rest)


@dataclasses.dataclass(frozen=True)
class Bins:
    """What a split is sliced by; small, and can be pickled.

    Attributes:
      columns: in order of their use.
      pairs: places in `columns` of each conjunction's two.
      reference: subtracted from each cost, so that sums of squares keep their digits.
      left_out: columns that could be sliced by and were too many.
    """

    columns: tuple[Column, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()
    reference: float = 0.0
    left_out: tuple[str, ...] = ()

    def fingerprint(self, options: Options) -> str:
        """A SHA-256 that two states share when their cells mean the same."""
        said = [options.errors, options.prediction, options.label, options.costs]
        return hashlib.sha256(repr((self.columns, self.pairs, self.reference, said)).encode()).hexdigest()


def check(options: Options, schema: pa.Schema) -> None:
    """Holds the options against a dataset's columns.

    Raises:
      HeadwaterError: a column is missing or of a type that cannot serve, or the costs name what is no class.
    """
    for key in ("errors", "prediction", "label"):
        if name := getattr(options, key):
            _field(schema, key, name)
    for name in options.columns:
        if name == options.errors:
            raise HeadwaterError(f"worst_slices.columns: {name!r} holds the costs; slices are made of other columns")
        _field(schema, "columns", name)
        if (kind := _kind(schema, name)) == "lists or structs":
            raise HeadwaterError(f"worst_slices.columns: {name!r} holds {kind}, which cannot be sliced by")
    if options.errors:
        kind = _kind(schema, options.errors)
        if kind not in ("numbers", "bools", "nothing"):
            raise HeadwaterError(
                f"worst_slices.errors: column {options.errors!r} holds {kind}; a cost is a number or a bool"
            )
        return
    kinds = {key: _kind(schema, getattr(options, key)) for key in ("label", "prediction")}
    for key, kind in kinds.items():
        if kind == "lists or structs":
            raise HeadwaterError(f"worst_slices.{key}: column {getattr(options, key)!r} holds {kind}; give one class")
    known = {kind for kind in kinds.values() if kind != "nothing"}
    if len(known) > 1 and known != {"numbers", "bools"}:
        raise HeadwaterError(
            f"worst_slices: label {options.label!r} holds {kinds['label']} and prediction {options.prediction!r} "
            f"{kinds['prediction']}, which are never equal; give both one type"
        )
    for name in options.classes:
        _class_value(name, known, options)


def bins(dataset: statistics_pb2.DatasetFeatureStatistics, options: Options) -> Bins:
    """Bins from the finished statistics of all rows of a split.

    Text has its most frequent values, those that at least `min_rows` rows hold; numbers have ranges with about a tenth
    of the rows each, a number that fills a tenth being a bin of its own; integers of few values have one each. Other
    values, NaN and missing are bins too.

    Raises:
      HeadwaterError: a column that the options name cannot be sliced by.
    """
    features = {feature.path.step[0]: feature for feature in dataset.features if len(feature.path.step) == 1}
    found = []
    unwanted = {options.errors, options.prediction, options.label}
    for name in options.columns or sorted(set(features) - unwanted):
        feature = features.get(name, Feature())
        if not options.columns and _custom(feature, _PRIVATE):
            continue
        if _common(feature).max_num_values <= 1:
            found += _binned(feature, options.min_rows)
        elif options.columns:
            raise HeadwaterError(
                f"worst_slices.columns: {name!r} has rows with more than one value, which belong to no one slice"
            )
    columns = [column for _, column in found] if options.columns else _in_turn(found)
    kept = columns if options.columns else columns[:MOST_COLUMNS]
    pairs = itertools.combinations(range(min(len(kept), MOST_PAIRED)), 2) if options.depth == 2 else ()
    mean = features[options.errors].num_stats.mean if options.errors in features else 0.0
    return Bins(
        tuple(kept),
        tuple(pairs),
        mean if math.isfinite(mean) else 0.0,
        tuple(column.name for column in columns[len(kept) :]),
    )


def measure(batches: Sequence[pa.RecordBatch], bins: Bins, options: Options) -> bytes:
    """The state of some rows. Rows without a cost (missing, NaN, 1e150 or more) are counted and left out.

    Args:
      batches: whole rows; none for the state of no rows.
      bins: of the split.
      options: those that the bins were made with.

    Raises:
      HeadwaterError: as `check`; a column of the slices, a label, a prediction or a cost with more than one value in a
        row; classes that are numbers with fractions.
    """
    state = _State.empty(bins, options)
    for batch in batches:
        check(options, batch.schema)
        for start in range(0, batch.num_rows, _CHUNK):
            _add(state, batch.slice(start, _CHUNK), bins, options)
    return _encode(state)


def merge(states: Sequence[bytes]) -> bytes:
    """The state of all the rows that `states` stand for, added in their order.

    Raises:
      HeadwaterError: there is no state, or they were measured with different bins or costs.
    """
    if not states:
        raise HeadwaterError("there are no states of slices to merge")
    merged, *others = [_decode(state) for state in states]
    for other in others:
        if other.bins != merged.bins:
            raise HeadwaterError("states of slices that were measured with different bins or costs cannot be merged")
        merged.rows += other.rows
        merged.cost += other.cost
        merged.squares += other.squares
        merged.classes += other.classes
        merged.without_cost += other.without_cost
    return _encode(merged)


def unseen_classes(states: Sequence[bytes], options: Options) -> list[str]:
    """The classes that `costs` names and that no row of these states holds, sorted: likely misspelt.

    A span may well lack a rare class, so that this is worth a warning; a matrix that names no class of the data at all
    is an error.

    Raises:
      HeadwaterError: there are rows, and none holds a class that the costs name.
    """
    found = [_decode(state) for state in states]
    if not options.classes or not found:
        return []
    seen = sum((state.classes for state in found), np.zeros(len(options.classes), np.int64))
    if any(state.rows[0] for state in found) and not seen.any():
        raise HeadwaterError(
            f"worst_slices.costs: none of the classes {_listed(options.classes)} occurs in column {options.label!r} or "
            f"{options.prediction!r}; name the classes as the columns hold them"
        )
    return [name for name, count in zip(options.classes, seen) if not count]


def totals(state: bytes, bins: Bins) -> dict[str, Any]:
    """What was looked at: `rows` that have a cost, rows `without_cost`, their `mean_cost` (None of no rows)."""
    found = _decode(state)
    rows = int(found.rows[0])
    mean = float(found.cost[0] / rows + bins.reference) if rows else None
    return {"rows": rows, "without_cost": found.without_cost, "mean_cost": mean}


def rank(state: bytes, bins: Bins, options: Options) -> list[dict[str, Any]]:
    """The slices that cost most more than other rows do.

    A slice's excess cost is its rows times the difference of its mean cost and that of the other rows. Listed are
    slices of at least `min_rows` rows with a positive excess and an adjusted p-value of at most `max_p`, the greatest
    excess first, and

    - a conjunction only when it is clearly worse than each of the two slices that it is made of: its p-value is the
      greatest of three comparisons, against all other rows and against the rest of either slice (an intersection-union
      test: Berger, Technometrics 24, 1982), and its mean lies above either's by at least `CLEARLY` times that slice's
      own difference;
    - a slice of one column only when no listed conjunction explains it: without the conjunction's rows it is still
      significantly worse, and keeps at least `CLEARLY` of its excess.

    Returns:
      For each slice: `slice`, in words; `rows`; `share` of the rows that have a cost; `mean_cost`; `rest_cost`, the
      mean of all other rows; `excess_cost`; `effect`, the difference of the two means in standard deviations of all
      rows' costs; `p_value`, adjusted over all slices that have enough rows.

    Raises:
      HeadwaterError: the state was measured with other bins or costs.
    """
    found = _decode(state)
    if found.bins != bins.fingerprint(options):
        raise HeadwaterError("the state of slices was measured with other bins or costs; measure again")
    total = _Sums(found.rows[:1].astype(float), found.cost[:1], found.squares[:1])
    spread = math.sqrt(total.variance[0]) if total.rows[0] > 1 else 0.0
    if not spread:
        return []
    single, double = _candidates(found, bins, options.min_rows)
    p_single = _worse(single.sums, total - single.sums)
    others = (total - double.sums, *(parent - double.sums for parent in double.parents))
    p_double = np.max([_worse(double.sums, other) for other in others], axis=0)
    p_values = benjamini_hochberg(np.concatenate([p_single, p_double]))
    p_single, p_double = np.split(p_values, [len(p_single)])
    listed_double = (p_double <= options.max_p) & _clear(double, total)
    listed_single = p_single <= options.max_p
    listed_single &= ~_explained(single, double.where(listed_double), total, options.max_p)
    slices = [
        _described(bins, group, place, total, spread, float(p[place]))
        for group, listed, p in ((single, listed_single, p_single), (double, listed_double, p_double))
        for place in np.flatnonzero(listed).tolist()
    ]
    slices = [each for each in slices if each["excess_cost"] > 0]
    return sorted(slices, key=lambda each: (-each["excess_cost"], each["slice"]))[: options.top]


# Options against the schema.


def _field(schema: pa.Schema, key: str, name: str) -> None:
    if schema.get_field_index(name) < 0 or name.startswith(OWN_PREFIX):
        known = [each for each in schema.names if not each.startswith(OWN_PREFIX)]
        raise HeadwaterError(f"worst_slices.{key}: there is no column {name!r}; the columns are {_listed(known)}")


def _kind(schema: pa.Schema, name: str) -> str:
    kind = schema.field(name).type
    while isinstance(kind, pa.ExtensionType) or pa.types.is_dictionary(kind):
        kind = kind.storage_type if isinstance(kind, pa.ExtensionType) else kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        # A list of one value a row serves as that value; `measure` sees to it.
        return _kind(pa.schema([pa.field(name, kind.value_type)]), name)
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return "lists or structs"
    if pa.types.is_boolean(kind):
        return "bools"
    if pa.types.is_temporal(kind):
        return "numbers" if pa.types.is_duration(kind) else "moments"
    if pa.types.is_null(kind):
        return "nothing"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers"
    return "text"


def _class_name(key: Any) -> Any:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int) or isinstance(key, float) and key.is_integer():
        return str(int(key))
    return key


def _class_value(name: str, kinds: set[str], options: Options) -> Any:
    """A class of the costs as the columns hold it.

    Raises:
      HeadwaterError: the columns hold numbers, and this is none.
    """
    if kinds <= {"text"}:
        return name.encode()
    if "bools" in kinds and name.lower() in ("true", "false"):
        return int(name.lower() == "true")
    if re.fullmatch(r"[+-]?\d{1,18}", name):
        return int(name)
    allowed = "whole numbers, true or false" if "bools" in kinds else "whole numbers"
    raise HeadwaterError(
        f"worst_slices.costs: {name!r} is no class of {options.label!r} and {options.prediction!r}, which hold "
        f"{' and '.join(sorted(kinds))}; classes are {allowed}"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:20]))
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


# Bins from statistics.


def _common(feature: Feature) -> statistics_pb2.CommonStatistics:
    kind = feature.WhichOneof("stats")
    return getattr(feature, kind).common_stats if kind else statistics_pb2.CommonStatistics()


def _custom(feature: Feature, name: str) -> str:
    return next((each.str for each in feature.custom_stats if each.name == name), "")


def _binned(feature: Feature, min_rows: int) -> list[tuple[float, Column]]:
    """A column and how evenly its bins spread its rows (the shares' entropy); nothing when one bin holds them all."""
    common, kind = _common(feature), feature.WhichOneof("stats")
    name, said = feature.path.step[0], _custom(feature, RULE)
    whole = feature.type == Feature.INT
    missing = common.num_missing
    if kind == "string_stats":
        ranks = [(bucket.label, bucket.sample_count) for bucket in feature.string_stats.rank_histogram.buckets]
        tops = [(value.value, value.frequency) for value in feature.string_stats.top_values]
        shown = [
            pair
            for pair in (ranks if len(ranks) > len(tops) else tops)
            if pair[0] not in _NOT_SHOWN and pair[1] >= min_rows and len(pair[0].encode()) <= _LONGEST
        ][:MOST_VALUES]
        values = tuple(int(value) if whole else value.encode() for value, _ in shown)
        column = Column(name, "integers" if whole else "text", values=values, rule=said, whole=whole)
        counts = [count for _, count in shown]
        counts.append(max(common.num_non_missing - sum(counts), 0))
    elif kind == "num_stats":
        edges, counts = _edges(feature.num_stats, whole)
        column = Column(name, "ranges", edges=edges, rule=said, whole=whole)
        counts.append(sum(histogram.num_nan for histogram in feature.num_stats.histograms[:1]))
    else:
        return []
    shares = np.array([*counts, missing], float)
    shares = shares[shares > 0] / max(shares.sum(), 1)
    return [(float(-(shares * np.log(shares)).sum()), column)] if len(shares) > 1 else []


def _edges(stats: statistics_pb2.NumericStatistics, whole: bool) -> tuple[tuple[float, ...], list[float]]:
    """Edges of ranges, and about how many rows each holds."""
    lowest, highest = stats.min, stats.max
    if lowest == highest:
        return (), [float(stats.common_stats.num_non_missing)]
    if whole and highest - lowest < _FEW_INTEGERS:
        edges = tuple(float(edge) for edge in np.arange(int(lowest), int(highest) + 2))
        return edges, [stats.common_stats.num_non_missing / (len(edges) - 1)] * (len(edges) - 1)
    quantiles = next((each for each in stats.histograms if each.type == statistics_pb2.Histogram.QUANTILES), None)
    buckets = list(quantiles.buckets) if quantiles else []
    if not buckets:
        return (), [float(stats.common_stats.num_non_missing)]
    bounds = np.array([buckets[0].low_value, *(bucket.high_value for bucket in buckets)])
    reached = np.cumsum([0.0, *(bucket.sample_count for bucket in buckets)])
    # The bound nearest to each tenth of the rows; all of them when there are fewer.
    places = np.abs(reached[None, :] - np.linspace(0, reached[-1], _DECILES + 1)[:, None]).argmin(axis=1)
    bounds = bounds[np.unique(places)]
    bounds = bounds[np.isfinite(bounds)]
    full = np.unique(bounds[1:][bounds[1:] == bounds[:-1]])
    bounds = np.unique(bounds)
    inner = bounds if whole else _rounded(bounds, full)
    edges = np.unique(np.concatenate([inner[1:-1], full, full + 1 if whole else np.nextafter(full, np.inf)]))
    return tuple(edges.tolist()), [reached[-1] / (len(edges) + 1)] * (len(edges) + 1)


def _rounded(bounds: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Rising bounds with as few digits as move none by more than a twentieth of the way to the next one."""
    gaps = np.diff(bounds)
    near = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps)) / 20
    shorter = [
        next(short for digits in range(1, 18) if abs((short := float(f"{bound:.{digits}g}")) - bound) <= most)
        for bound, most in zip(bounds.tolist(), near.tolist())
    ]
    return np.where(np.isin(bounds, exact), bounds, shorter)


def _in_turn(found: Sequence[tuple[float, Column]]) -> list[Column]:
    """Columns of values and of ranges in turn, each kind by falling entropy, then name."""
    ordered = [column for _, column in sorted(found, key=lambda each: (-each[0], each[1].name))]
    kinds = [[column for column in ordered if (column.kind == "ranges") == ranges] for ranges in (False, True)]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*kinds))
    return [column for column in turns if column is not None]


# States.


@dataclasses.dataclass
class _State:
    bins: str
    rows: np.ndarray
    cost: np.ndarray
    squares: np.ndarray
    classes: np.ndarray
    without_cost: int = 0

    @classmethod
    def empty(cls, bins: Bins, options: Options) -> _State:
        size = 1 + sum(column.size for column in bins.columns)
        size += sum(bins.columns[a].paired_size * bins.columns[b].paired_size for a, b in bins.pairs)
        return cls(
            bins.fingerprint(options),
            np.zeros(size, np.int64),
            np.zeros(size),
            np.zeros(size),
            np.zeros(len(options.classes), np.int64),
        )


def _encode(state: _State) -> bytes:
    metadata = {
        "headwater.worst_slices": VERSION,
        "bins": state.bins,
        "without_cost": str(state.without_cost),
        "classes": json.dumps(state.classes.tolist()),
    }
    table = pa.table({"rows": state.rows, "cost": state.cost, "squares": state.squares})
    table = table.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    # Most cells of pairs are empty.
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _decode(content: bytes) -> _State:
    try:
        table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
    except (pa.ArrowInvalid, OSError):
        raise HeadwaterError("this is no state of slices: it is not an Arrow file") from None
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    version = metadata.get("headwater.worst_slices", "unknown")
    if version != VERSION:
        raise HeadwaterError(f"this state of slices has format {version!r}; this Headwater reads {VERSION!r}")
    rows, cost, squares = (table[name].to_numpy().copy() for name in ("rows", "cost", "squares"))
    return _State(
        metadata["bins"],
        rows,
        cost,
        squares,
        np.array(json.loads(metadata["classes"]), np.int64),
        int(metadata["without_cost"]),
    )


def _add(state: _State, batch: pa.RecordBatch, bins: Bins, options: Options) -> None:
    wanted = dict.fromkeys([options.errors, options.prediction, options.label, *(each.name for each in bins.columns)])
    wanted.pop("", None)
    places = {name: batch.schema.get_field_index(name) for name in wanted}
    for name, place in places.items():
        if place < 0:
            raise HeadwaterError(f"worst_slices: the data lack the column {name!r}, which their statistics have")
    lists = to_lists(pa.RecordBatch.from_arrays([batch.column(place) for place in places.values()], list(places)))
    values = {name: _values(lists.column(place), name) for place, name in enumerate(lists.schema.names)}
    costs = _costs(values, state, batch.schema, options)
    known = np.abs(costs) < _LARGEST
    state.without_cost += int(len(known) - known.sum())
    costs = costs[known] - bins.reference
    squares = costs * costs
    codes = [_codes(column, *values[column.name])[known] for column in bins.columns]
    _count(state, 0, 1, np.zeros(len(costs), np.int64), costs, squares)
    start = 1
    for column, code in zip(bins.columns, codes):
        _count(state, start, column.size, code, costs, squares)
        start += column.size
    paired = [
        np.where(code < column.rest, np.minimum(code, column.paired_rest), code - column.rest + column.paired_rest)
        for column, code in zip(bins.columns[:MOST_PAIRED], codes if bins.pairs else ())
    ]
    for a, b in bins.pairs:
        width = bins.columns[b].paired_size
        size = bins.columns[a].paired_size * width
        _count(state, start, size, paired[a] * width + paired[b], costs, squares)
        start += size


def _count(state: _State, start: int, size: int, codes: np.ndarray, costs: np.ndarray, squares: np.ndarray) -> None:
    cells = slice(start, start + size)
    state.rows[cells] += np.bincount(codes, minlength=size)
    state.cost[cells] += np.bincount(codes, costs, minlength=size)
    state.squares[cells] += np.bincount(codes, squares, minlength=size)


def _values(lists: pa.Array, name: str) -> tuple[np.ndarray, pa.Array]:
    """Which rows have a value, and those values.

    Raises:
      HeadwaterError: a row has more than one.
    """
    if pa.types.is_null(lists.type):
        return np.zeros(len(lists), bool), pa.nulls(0)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    if lengths.max(initial=0) > 1:
        raise HeadwaterError(f"worst_slices: column {name!r} has a row with more than one value; one is needed")
    return lengths == 1, lists.flatten()


def _codes(column: Column, present: np.ndarray, values: pa.Array) -> np.ndarray:
    codes = np.full(len(present), column.size - 1, np.int64)
    if pa.types.is_null(values.type):
        return codes
    if column.kind == "ranges":
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
        found = np.searchsorted(np.array(column.edges), numbers, side="right")
        codes[present] = np.where(np.isnan(numbers), column.rest, found)
        return codes
    kind = pa.large_binary() if column.kind == "text" else pa.int64()
    found = pc.index_in(values.cast(kind), value_set=pa.array(column.values, kind))
    codes[present] = pc.fill_null(found, column.rest).to_numpy(zero_copy_only=False)
    return codes


def _costs(
    values: dict[str, tuple[np.ndarray, pa.Array]], state: _State, schema: pa.Schema, options: Options
) -> np.ndarray:
    """The cost of each row, NaN where it has none; counts the rows that hold each class that costs name."""
    if options.errors:
        present, given = values[options.errors]
        costs = np.full(len(present), np.nan)
        if not pa.types.is_null(given.type):
            costs[present] = given.to_numpy(zero_copy_only=False)
        return costs
    kinds = {_kind(schema, name) for name in (options.label, options.prediction)} - {"nothing"}
    kind = pa.large_binary() if kinds <= {"text"} else pa.int64()
    sides = [_classes(*values[getattr(options, key)], kind, key) for key in ("label", "prediction")]
    costs = np.where(_filled(pc.equal(*sides), True), 0.0, 1.0)
    costs[_filled(pc.or_(*(pc.is_null(side) for side in sides)), True)] = np.nan
    if not options.costs:
        return costs
    named = pa.array([_class_value(name, kinds, options) for name in options.classes], kind)
    # Each side's place among the named classes, and one place more for all others.
    size = len(named) + 1
    places = [_filled(pc.index_in(side, value_set=named), len(named)) for side in sides]
    for place in places:
        state.classes += np.bincount(place, minlength=size)[:-1]
    table = np.full((size, size), np.nan)
    position = {name: place for place, name in enumerate(options.classes)}
    for label, row in options.costs.items():
        for prediction, cost in row.items():
            table[position[label], position[prediction]] = cost
    given = table[places[0], places[1]]
    return np.where(np.isnan(given), costs, given)


def _classes(present: np.ndarray, values: pa.Array, kind: pa.DataType, key: str) -> pa.Array:
    """The class of each row, missing where it has none.

    Raises:
      HeadwaterError: classes are numbers with fractions.
    """
    if pa.types.is_null(values.type):
        return pa.nulls(len(present), kind)
    if pa.types.is_floating(values.type):
        numbers = values.to_numpy(zero_copy_only=False)
        finite = np.isfinite(numbers)
        numbers = np.where(finite, numbers, 0).astype(np.float64)
        if (numbers != np.floor(numbers)).any() or (np.abs(numbers) >= 2**53).any():
            raise HeadwaterError(
                f"worst_slices.{key}: the column holds numbers that are no classes, such as scores; compare classes, "
                "or give the cost of each row as errors"
            )
        values = pa.array(numbers.astype(np.int64), mask=~finite)
    places = pa.array(np.cumsum(present) - 1, mask=~present)
    return values.cast(kind, safe=False).take(places)


def _filled(array: pa.Array, missing: Any) -> np.ndarray:
    return pc.fill_null(array, missing).to_numpy(zero_copy_only=False)


# Slices from states.


@dataclasses.dataclass(frozen=True)
class _Sums:
    """Rows, costs and squared costs of several groups of rows."""

    rows: np.ndarray
    cost: np.ndarray
    squares: np.ndarray

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(self.rows + other.rows, self.cost + other.cost, self.squares + other.squares)

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(self.rows - other.rows, self.cost - other.cost, self.squares - other.squares)

    def __getitem__(self, key: Any) -> _Sums:
        return _Sums(self.rows[key], self.cost[key], self.squares[key])

    @property
    def mean(self) -> np.ndarray:
        return self.cost / np.maximum(self.rows, 1)

    @property
    def variance(self) -> np.ndarray:
        """Unbiased; what is no more than rounding is 0."""
        square = self.squares / np.maximum(self.rows, 1)
        biased = square - self.mean**2
        return np.where(biased > _ROUNDING * square, biased, 0) * self.rows / np.maximum(self.rows - 1, 1)


@dataclasses.dataclass(frozen=True)
class _Group:
    """Slices of one depth that have enough rows.

    Attributes:
      sums: of each slice.
      parts: (slices, depth, 2): the columns that a slice is made of, by their places, and their codes.
      parents: of a conjunction, the sums of the two slices that it is made of.
    """

    sums: _Sums
    parts: np.ndarray
    parents: tuple[_Sums, ...] = ()

    def where(self, kept: np.ndarray) -> _Group:
        return _Group(self.sums[kept], self.parts[kept], tuple(parent[kept] for parent in self.parents))


def _candidates(state: _State, bins: Bins, min_rows: int) -> tuple[_Group, _Group]:
    sums = _Sums(state.rows.astype(float), state.cost, state.squares)
    singles, doubles, start = [_none(1)], [_none(2)], 1
    for place, column in enumerate(bins.columns):
        cells = sums[start : start + column.size]
        parts = np.stack([np.full(column.size, place), np.arange(column.size)], axis=-1)
        singles.append(_Group(cells, parts[:, None, :]).where(cells.rows >= min_rows))
        start += column.size
    for a, b in bins.pairs:
        first, second = bins.columns[a], bins.columns[b]
        shape = first.paired_size, second.paired_size
        size = shape[0] * shape[1]
        cells = sums[start : start + size]
        i, j = (part.ravel() for part in np.indices(shape))
        table = [each.reshape(shape) for each in (cells.rows, cells.cost, cells.squares)]
        parents = _Sums(*(each.sum(axis=1) for each in table))[i], _Sums(*(each.sum(axis=0) for each in table))[j]
        parts = np.stack(
            [
                np.stack([np.full(size, a), first.unpaired(i)], axis=-1),
                np.stack([np.full(size, b), second.unpaired(j)], axis=-1),
            ],
            axis=1,
        )
        # Other values than the most frequent are others within pairs than by themselves, and no slice there.
        kept = cells.rows >= min_rows
        for column, codes in ((first, i), (second, j)):
            if column.kind != "ranges":
                kept &= codes != column.paired_rest
        doubles.append(_Group(cells, parts, parents).where(kept))
        start += size
    return _joined(singles), _joined(doubles)


def _none(depth: int) -> _Group:
    nothing = _Sums(np.empty(0), np.empty(0), np.empty(0))
    return _Group(nothing, np.empty((0, depth, 2), np.int64), (nothing, nothing)[: 2 * (depth - 1)])


def _joined(groups: Sequence[_Group]) -> _Group:
    def sums(parts: Sequence[_Sums]) -> _Sums:
        return _Sums(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "cost", "squares")))

    return _Group(
        sums([group.sums for group in groups]),
        np.concatenate([group.parts for group in groups]),
        tuple(sums(parents) for parents in zip(*(group.parents for group in groups))),
    )


def _worse(slices: _Sums, others: _Sums) -> np.ndarray:
    """One-sided p-values that the slices' mean cost is no higher than the others', the greater of two tests'.

    Welch's test takes the spread of each side from its own rows, and so finds 100 rows surprising that all cost 1 where
    99 % of the others do. The other test takes it from all rows, as if they had been dealt to the two sides by chance
    (the moments of a permutation test: Pitman, Biometrika 29, 1937); it finds a few rare costs surprising. Where rows
    differ by chance alone the two seldom agree.
    """
    both = slices + others
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(both.variance * (1 / slices.rows + 1 / np.maximum(others.rows, 1)))
        dealt = np.where(error > 0, stdtr(both.rows - 2, -(slices.mean - others.mean) / error), 1.0)
    return np.maximum(_welch(slices, others), np.where(both.rows > 2, dealt, 1.0))


def _welch(slices: _Sums, others: _Sums) -> np.ndarray:
    a, b = slices.variance / slices.rows, others.variance / np.maximum(others.rows, 1)
    difference = slices.mean - others.mean
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / np.sqrt(a + b)
        freedom = (a + b) ** 2 / (a**2 / (slices.rows - 1) + b**2 / np.maximum(others.rows - 1, 1))
        p = stdtr(freedom, -t)
    # Where neither side varies, the means alone decide, unless they differ by rounding.
    size = np.sqrt(slices.squares / slices.rows) + np.sqrt(others.squares / np.maximum(others.rows, 1))
    p = np.where(a + b > 0, p, np.where(difference > 1e-9 * size, 0.0, 1.0))
    return np.where(others.rows >= 2, p, 1.0)


def _clear(double: _Group, total: _Sums) -> np.ndarray:
    """Whether conjunctions lie above each of their parents by `CLEARLY` times the parent's own difference."""
    clear = np.ones(len(double.sums.rows), bool)
    for parent in double.parents:
        own = parent.mean - (total - parent).mean
        clear &= double.sums.mean - parent.mean >= CLEARLY * np.maximum(own, 0)
    return clear


def _explained(single: _Group, listed: _Group, total: _Sums, max_p: float) -> np.ndarray:
    """Whether a slice of one column is worse only by a listed conjunction."""
    explained = np.zeros(len(single.sums.rows), bool)
    place_of = {tuple(part): place for place, part in enumerate(single.parts[:, 0].tolist())}
    for side, parents in enumerate(listed.parents):
        others = total - parents
        left = parents - listed.sums
        enough = left.rows >= 2
        excess = parents.rows * (parents.mean - others.mean)
        kept = left.rows * (left.mean - others.mean)
        stays = enough & (kept >= CLEARLY * excess)
        stays[enough] &= _worse(left[enough], others[enough]) <= max_p
        for part in listed.parts[~stays, side].tolist():
            explained[place_of[tuple(part)]] = True
    return explained


def _described(bins: Bins, group: _Group, place: int, total: _Sums, spread: float, p_value: float) -> dict[str, Any]:
    own = group.sums[place : place + 1]
    # By name: a slice has the same words in every split.
    parts = sorted(
        ((bins.columns[column], code) for column, code in group.parts[place].tolist()), key=lambda part: part[0].name
    )
    rows, mean, rest = int(own.rows[0]), float(own.mean[0]), float((total - own).mean[0])
    return {
        "slice": " and ".join(_said(column, code) for column, code in parts),
        "rows": rows,
        "share": rows / float(total.rows[0]),
        "mean_cost": mean + bins.reference,
        "rest_cost": rest + bins.reference,
        "excess_cost": rows * (mean - rest),
        "effect": (mean - rest) / spread,
        "p_value": p_value,
    }


# Slices in words.


def _said(column: Column, code: int) -> str:
    if code == column.size - 1:
        return f"{column.name} = (missing)"
    if code == column.rest:
        return f"{column.name} = {'(NaN)' if column.kind == 'ranges' else '(other)'}"
    if column.kind == "text":
        return f"{column.name} = {_text(column.values[code])}"
    if column.kind == "integers":
        return f"{column.name} = {_number(column, column.values[code])}"
    low = column.edges[code - 1] if code else None
    high = column.edges[code] if code < len(column.edges) else None
    if low is not None and high == _next(column, low):
        return f"{column.name} = {_number(column, low)}"
    if low is None:
        # A column with one number for all has no edges.
        return f"{column.name} = (any number)" if high is None else f"{column.name} < {_number(column, high)}"
    sign = "≤"
    if not column.whole and code > 1 and low == _next(column, column.edges[code - 2]):
        low, sign = column.edges[code - 2], "<"
    if high is None:
        return f"{column.name} {'≥' if sign == '≤' else '>'} {_number(column, low)}"
    return f"{_number(column, low)} {sign} {column.name} < {_number(column, high)}"


def _next(column: Column, number: float) -> float:
    return number + 1 if column.whole else math.nextafter(number, math.inf)


def _text(value: bytes) -> str:
    """A value that is a plain word as it is, others in quotation marks."""
    text = value.decode(errors="backslashreplace")
    return text if re.fullmatch(r"[\w.:/+@#%-]+", text) else json.dumps(text, ensure_ascii=not text.isprintable())


def _number(column: Column, number: float) -> str:
    """A number as its column's values were before their conversion."""
    if "bool → INT" in column.rule:
        return "true" if number == 1 else "false" if number == 0 else str(int(number))
    if "since 1970-01-01" in column.rule:
        unit = "D" if "days since" in column.rule else "us"
        moment = str(np.datetime64(max(min(int(number), 2**63 - 1), 1 - 2**63), unit))
        moment = moment.removesuffix(".000000").removesuffix("T00:00:00")
        return moment + ("Z" if "UTC" in column.rule and "T" in moment else "")
    if "since midnight" in column.rule:
        return str(np.datetime64(int(number), "us")).partition("T")[2].removesuffix(".000000")
    if "INT, microseconds" in column.rule:
        return f"{number / 1e6:.12g} s"
    if column.whole:
        return str(int(number))
    # As few digits as tell it from its neighbours; of a column of single precision, those of single precision.
    single = np.float32(number) if abs(number) < 1e38 else None
    return (str(single) if single == number else repr(number)).removesuffix(".0")
