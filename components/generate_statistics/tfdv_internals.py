"""The one place that reaches past TFDV's public interface: its combiner's accumulators, taken apart and rebuilt.

TFDV's combiner of basic statistics keeps what it knows of a feature in objects of plain numbers and of sketches that
serialise themselves. Here those become Python values and bytes, so that a state can be stored without pickle. A test
fails when TFDV changes what is relied on.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Iterator, Sequence

import numpy as np
import pyarrow as pa

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.tfdv import tfdv  # first: it silences what the imports below would print
from headwater.components.generate_statistics import values
from headwater.components.generate_statistics.values import ValueCounts
from tensorflow_data_validation import types
from tensorflow_data_validation.arrow import arrow_util
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.generators import basic_stats_generator as basic
from tensorflow_data_validation.utils import stats_util, top_k_uniques_stats_util, variance_util
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl import sketches
from tfx_bsl.arrow import array_util
from tfx_bsl.statistics import merge_util

_UNIQUE_HASHES = values.CAPACITY
_PARTS = {
    part.__name__: part
    for part in (
        basic._PartialBasicStats,
        basic._PartialCommonStats,
        basic._PartialNumericStats,
        basic._PartialStringStats,
        basic._PartialBytesStats,
        basic._PresenceAndValencyStats,
        variance_util.MeanVarAccumulator,
    )
}


@dataclasses.dataclass
class Partial:
    """What is known of some rows.

    Attributes:
      basic: the accumulator of TFDV's basic statistics.
      counts: of text features by path: the values' counts, and TFDV's sketch of how many are distinct.
    """

    basic: Any
    counts: dict[types.FeaturePath, tuple[ValueCounts, sketches.KmvSketch]]


class Combiner:
    """TFDV's basic statistics with its default options, and counts of text values beside them."""

    def __init__(self) -> None:
        self._options = tfdv.StatsOptions()
        self._basic = stats_impl.get_generators(self._options, in_memory=True)[0]

    def measure(self, batches: Sequence[pa.RecordBatch]) -> Partial:
        """Adds up record batches whose columns are lists."""
        partials = []
        for batch in batches:
            counts = {}
            for path, leaf, _ in arrow_util.enumerate_arrays(
                batch, example_weight_map=None, enumerate_leaves_only=True
            ):
                kind = stats_util.get_feature_type_from_arrow_type(path, leaf.type)
                if kind == statistics_pb2.FeatureNameStatistics.STRING:
                    flat, _ = array_util.flatten_nested(leaf)
                    unique = sketches.KmvSketch(_UNIQUE_HASHES)
                    unique.AddValues(flat)
                    counts[path] = (values.count_values(flat), unique)
            partials.append(Partial(self._basic.add_input(self._basic.create_accumulator(), batch), counts))
        return self.merge(partials)

    def merge(self, partials: Sequence[Partial]) -> Partial:
        """Merges in the order given; the first may be changed."""
        merged = self._basic.merge_accumulators([partial.basic for partial in partials])
        parts: dict[types.FeaturePath, list[ValueCounts]] = {}
        uniques: dict[types.FeaturePath, sketches.KmvSketch] = {}
        for partial in partials:
            for path, (counted, unique) in partial.counts.items():
                parts.setdefault(path, []).append(counted)
                if path in uniques:
                    uniques[path].Merge(unique)
                else:
                    uniques[path] = unique
        return Partial(merged, {path: (values.add_counts(found), uniques[path]) for path, found in parts.items()})

    def finish(self, partial: Partial) -> statistics_pb2.DatasetFeatureStatistics:
        """The statistics, features in order of their paths."""
        texts = statistics_pb2.DatasetFeatureStatistics()
        for path, (counted, unique) in partial.counts.items():
            if not counted.table.num_rows:
                continue
            # All that tie with the last one go along: TFDV settles ties by value.
            counts = counted.table["count"]
            wanted = max(self._options.num_top_values, self._options.num_rank_histogram_buckets)
            table = counted.table
            if table.num_rows > wanted:
                table = table.slice(0, int((counts.to_numpy() >= counts[wanted - 1].as_py()).sum()))
            pairs = zip(table["value"].to_pylist(), table["count"].to_pylist())
            texts.features.append(
                top_k_uniques_stats_util.make_feature_stats_proto_topk_uniques(
                    feature_path=path,
                    num_top_values=self._options.num_top_values,
                    num_rank_histogram_buckets=self._options.num_rank_histogram_buckets,
                    num_unique=unique.Estimate(),
                    value_count_list=[top_k_uniques_stats_util.FeatureValueCount(*pair) for pair in pairs],
                )
            )
        known = self._basic.extract_output(self._basic.compact(partial.basic))
        result = merge_util.merge_dataset_feature_statistics([known, texts]).datasets[0]
        features = sorted(result.features, key=lambda feature: list(feature.path.step))
        del result.features[:]
        result.features.extend(features)
        return result

    def take_apart(self, partial: Partial) -> Iterator[tuple[tuple[str, ...], Any, list[bytes], list[bytes]]]:
        """Each feature, by path: its plain values, its sketches, and its values' counts and sketch of the distinct."""
        self._basic.compact(partial.basic)
        for path in sorted(partial.basic, key=lambda path: path.steps()):
            blobs: list[bytes] = []
            plain = _plain(partial.basic[path], blobs)
            counted = partial.counts.get(path)
            yield path.steps(), plain, blobs, [values.encode(counted[0]), counted[1].__getstate__()] if counted else []

    def rebuild(
        self, examples: int, features: Sequence[tuple[Sequence[str], Any, Sequence[bytes], Sequence[bytes]]]
    ) -> Partial:
        """The reverse of `take_apart`.

        Raises:
          HeadwaterError: the parts are not those of this TFDV.
        """
        partial = Partial(self._basic.create_accumulator(), {})
        partial.basic.num_examples = examples
        for steps, plain, blobs, counted in features:
            path = types.FeaturePath(list(steps))
            partial.basic[path] = _object(plain, blobs)
            if counted:
                partial.counts[path] = (values.decode(counted[0]), _sketch(sketches.KmvSketch, counted[1]))
        return partial


def _plain(value: Any, blobs: list[bytes]) -> Any:
    if isinstance(value, sketches.QuantilesSketch):
        blobs.append(value.__getstate__())
        return {"quantiles": len(blobs) - 1}
    kind = type(value).__name__
    if kind in _PARTS:
        slots = {slot: _plain(getattr(value, slot), blobs) for slot in type(value).__slots__ if hasattr(value, slot)}
        return {"part": kind, **slots}
    if isinstance(value, list):
        return [_plain(item, blobs) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise HeadwaterError(f"this TFDV keeps a {kind} in its statistics, which has no stored form")


def _object(value: Any, blobs: Sequence[bytes]) -> Any:
    if isinstance(value, list):
        return [_object(item, blobs) for item in value]
    if not isinstance(value, dict):
        return value
    if "quantiles" in value:
        return _sketch(sketches.QuantilesSketch, blobs[value["quantiles"]])
    kind = _PARTS.get(value["part"])
    slots = {name: item for name, item in value.items() if name != "part"}
    if kind is None or not set(slots) <= set(kind.__slots__):
        raise HeadwaterError(f"the state holds a {value['part']} of another TFDV; compute the statistics again")
    part = kind.__new__(kind)
    for name, item in slots.items():
        setattr(part, name, _object(item, blobs))
    return part


def _sketch(kind: type, content: bytes) -> Any:
    sketch = kind.__new__(kind)
    sketch.__setstate__(content)
    return sketch
