"""TFDV's inference and validation of schemas: its C++ library, called as TFDV's own Python calls it.

That Python imports TensorFlow and Beam, which takes four seconds and half a gigabyte, and uses neither for this. Where the
library is not where it is expected, or takes other arguments, TFDV is imported as a whole.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

_PACKAGE = "tensorflow_data_validation"
_LIBRARY = f"{_PACKAGE}.pywrap.tensorflow_data_validation_extension"
_ALL_EXAMPLES = "All Examples"
_VALUES = ("num_stats", "string_stats", "bytes_stats", "struct_stats")

_Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList


def infer_schema(statistics: _Statistics, max_string_domain_size: int = 100) -> schema_pb2.Schema:
    """`tfdv.infer_schema`."""
    part = statistics_pb2.DatasetFeatureStatistics()
    part.CopyFrom(_of_all_examples(statistics))
    # Sparse and weighted features say nothing of values.
    kept = [feature for feature in part.features if any(map(feature.HasField, _VALUES))]
    del part.features[:]
    part.features.extend(kept)
    answer = _call("InferSchema", part.SerializeToString(), max_string_domain_size, True)
    if answer is None:
        return _whole().infer_schema(statistics, max_string_domain_size=max_string_domain_size)
    schema = schema_pb2.Schema.FromString(answer)
    if hasattr(schema, "generate_legacy_feature_spec"):
        schema.generate_legacy_feature_spec = False
    return schema


def update_schema(
    schema: schema_pb2.Schema, statistics: _Statistics, max_string_domain_size: int = 100
) -> schema_pb2.Schema:
    """`tfdv.update_schema`."""
    part = _of_all_examples(statistics)
    answer = _call("UpdateSchema", schema.SerializeToString(), part.SerializeToString(), max_string_domain_size)
    if answer is None:
        return _whole().update_schema(schema, statistics, max_string_domain_size=max_string_domain_size)
    return schema_pb2.Schema.FromString(answer)


def validate_statistics(
    statistics: _Statistics,
    schema: schema_pb2.Schema,
    environment: str | None = None,
    previous_statistics: _Statistics | None = None,
    serving_statistics: _Statistics | None = None,
) -> anomalies_pb2.Anomalies:
    """`tfdv.validate_statistics`."""
    if environment is not None and environment not in schema.default_environment:
        raise ValueError(f"Environment {environment} not found in the schema.")
    sides = [
        _of_all_examples(side).SerializeToString() if side is not None else b""
        for side in (previous_statistics, serving_statistics)
    ]
    answer = _call(
        "ValidateFeatureStatistics",
        _of_all_examples(statistics).SerializeToString(),
        schema.SerializeToString(),
        (environment or "").encode(),
        *sides,
        # No earlier version of this data, no features that are needed, no configuration, no differing regions.
        b"",
        b"",
        b"",
        False,
    )
    if answer is None:
        return _whole().validate_statistics(statistics, schema, environment, previous_statistics, serving_statistics)
    return anomalies_pb2.Anomalies.FromString(answer)


def _of_all_examples(statistics: _Statistics) -> statistics_pb2.DatasetFeatureStatistics:
    if len(statistics.datasets) == 1:
        return statistics.datasets[0]
    for dataset in statistics.datasets:
        if dataset.name == _ALL_EXAMPLES:
            return dataset
    raise ValueError(f"none of the {len(statistics.datasets)} slices is of {_ALL_EXAMPLES!r}")


def _call(name: str, *arguments: Any) -> bytes | None:
    """The library's answer; None where it has no such function of such arguments."""
    function = _function(name)
    try:
        return function(*arguments) if function else None
    except TypeError:
        return None


@functools.cache
def _function(name: str) -> Callable[..., bytes] | None:
    library = sys.modules.get(_LIBRARY) or _load()
    return getattr(getattr(library, "validation", None), name, None)


@functools.cache
def _load() -> ModuleType | None:
    package = importlib.util.find_spec(_PACKAGE)
    for folder in package.submodule_search_locations or () if package else ():
        for ending in importlib.machinery.EXTENSION_SUFFIXES:
            path = os.path.join(folder, *_LIBRARY.split(".")[1:]) + ending
            spec = importlib.util.spec_from_file_location(_LIBRARY, path)
            if os.path.exists(path) and spec and spec.loader:
                try:
                    library = importlib.util.module_from_spec(spec)
                    spec.loader.exec_module(library)
                except ImportError:
                    return None
                return library
    return None


def _whole() -> ModuleType:
    from headwater.components.common.tfdv import tfdv

    return tfdv
