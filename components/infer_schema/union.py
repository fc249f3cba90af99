"""Several statistics as one: what a schema is inferred from, as if their rows had been measured together.

TFDV's own way, to infer from the first and to update with the others, deprecates every feature that one of them lacks,
or that is whole numbers in one and not in another; nobody would validate those again.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common.errors import HeadwaterError

_Name: TypeAlias = statistics_pb2.FeatureNameStatistics
_Path = tuple[str, ...]


def unite(
    protos: Sequence[statistics_pb2.DatasetFeatureStatisticsList], places: Sequence[str]
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics of all rows together, as far as inferring a schema asks for them.

    Args:
      protos: at least one; of each its first data set counts, all rows.
      places: what to call each in an error.

    Returns:
      One alone as it is. Of several: counts, valencies, extremes and values; no moments and no histograms of numbers.

    Raises:
      HeadwaterError: a feature's types, or the depths of its lists, do not go together; whole numbers and others do.
    """
    if len(protos) == 1:
        return protos[0]
    united = statistics_pb2.DatasetFeatureStatisticsList()
    whole = united.datasets.add(num_examples=sum(proto.datasets[0].num_examples for proto in protos))
    parts = [{_path(feature): feature for feature in proto.datasets[0].features} for proto in protos]
    rows = [proto.datasets[0].num_examples for proto in protos]
    for path in dict.fromkeys(path for part in parts for path in part):
        own = [part.get(path) for part in parts]
        absent = sum(_places(part, path, count) for part, count, each in zip(parts, rows, own) if each is None)
        present = [(place, each) for place, each in zip(places, own) if each is not None]
        # What has no values has no type either.
        held = [(place, each) for place, each in present if _common(each).num_non_missing] or present[:1]
        made = _shaped(".".join(path), held, whole.features.add())
        _add_common(_common(made), [_common(each) for _, each in present], [_common(each) for _, each in held], absent)
        _add_values(made, [each for _, each in held])
    return united


def _path(feature: _Name) -> _Path:
    return tuple(feature.path.step) or (feature.name,)


def _common(feature: _Name) -> statistics_pb2.CommonStatistics:
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def _places(part: dict[_Path, _Name], path: _Path, rows: int) -> int:
    """Where a feature that a part lacks could have stood: in its rows, or in the structs that would hold it."""
    if len(path) == 1:
        return rows
    return _common(part[path[:-1]]).tot_num_values if path[:-1] in part else 0


def _shaped(name: str, held: Sequence[tuple[str, _Name]], made: _Name) -> _Name:
    """Fills `made` with one of them whose type holds the values of all."""
    types = {each.type for _, each in held}
    for kind, less in ((_Name.FLOAT, _Name.INT), (_Name.BYTES, _Name.STRING)):
        if types == {kind, less}:
            types = {kind}
    depths = {len(_common(each).presence_and_valency_stats) for _, each in held}
    if len(types) > 1 or len(depths) > 1:
        place, first = held[0]
        at, other = next((at, each) for at, each in held if _differs(each, first))
        raise HeadwaterError(
            f"{name}: it is {_words(first)} in {place} but {_words(other)} in {at}, and no schema fits both; give it "
            "one type with collect's `types`, or leave out one of the statistics"
        )
    fitting = [each for _, each in held if each.type in types]
    # Whole numbers that one took for codes of a category, and another for numbers, are numbers.
    made.CopyFrom(next((each for each in fitting if each.WhichOneof("stats") == "num_stats"), fitting[0]))
    del made.custom_stats[:]
    made.custom_stats.extend(
        stat for stat in held[0][1].custom_stats if all(stat in each.custom_stats for _, each in held)
    )
    return made


def _differs(one: _Name, other: _Name) -> bool:
    numbers = {_Name.INT, _Name.FLOAT}
    alike = one.type == other.type or {one.type, other.type} in (numbers, {_Name.STRING, _Name.BYTES})
    return not alike or len(_common(one).presence_and_valency_stats) != len(_common(other).presence_and_valency_stats)


def _words(feature: _Name) -> str:
    depth = len(_common(feature).presence_and_valency_stats)
    return f"{_Name.Type.Name(feature.type)}{f' in lists {depth} levels deep' if depth else ''}"


def _add_common(made: Any, present: Sequence[Any], held: Sequence[Any], absent: int) -> None:
    for target, all_of, with_values, missing in _levels(made, present, held, absent):
        target.num_missing = sum(each.num_missing for each in all_of) + missing
        for name in ("num_non_missing", "tot_num_values"):
            setattr(target, name, sum(getattr(each, name) for each in with_values))
        target.min_num_values = min(each.min_num_values for each in with_values)
        target.max_num_values = max(each.max_num_values for each in with_values)


def _levels(made: Any, present: Sequence[Any], held: Sequence[Any], absent: int) -> Iterator[tuple[Any, Any, Any, int]]:
    yield made, present, held, absent
    for level, target in enumerate(made.presence_and_valency_stats):
        deep = [each.presence_and_valency_stats[level] for each in held]
        # One without any value may not know how deep its lists are; all of its rows are missing at the first level.
        flat = [each for each in present if len(each.presence_and_valency_stats) <= level] if level == 0 else []
        more = [
            each.presence_and_valency_stats[level] for each in present if len(each.presence_and_valency_stats) > level
        ]
        yield target, [*more, *flat], deep, absent if level == 0 else 0


def _add_values(made: _Name, held: Sequence[_Name]) -> None:
    kind = made.WhichOneof("stats")
    alike = [getattr(each, kind) for each in held if each.WhichOneof("stats") == kind]
    if kind == "num_stats":
        made.num_stats.min = min(each.min for each in alike)
        made.num_stats.max = max(each.max for each in alike)
        del made.num_stats.histograms[:]
    elif kind == "string_stats":
        counts: collections.Counter[str] = collections.Counter()
        for each in alike:
            for bucket in each.rank_histogram.buckets:
                counts[bucket.label] += bucket.sample_count
        stats = made.string_stats
        stats.unique = max(len(counts), *(each.unique for each in alike))
        stats.invalid_utf8_count = sum(each.invalid_utf8_count for each in alike)
        del stats.top_values[:]
        stats.ClearField("rank_histogram")
        for rank, (label, count) in enumerate(sorted(counts.items(), key=lambda item: (-item[1], item[0]))):
            stats.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=label, sample_count=count)
