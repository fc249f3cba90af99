"""Schemas that fit data: inferred from statistics, or an agreed one changed as far as the data asks for."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any, TypeAlias

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from headwater.components.common import distributions
from headwater.components.common import tfdv_library as tfdv
from headwater.components.common.distributions import Feature
from headwater.components.common.results import Result
from headwater.components.infer_schema.domains import fit_domains
from headwater.components.infer_schema.missing_codes import leave_out
from headwater.components.infer_schema.presence import least_fraction, missing_of
from headwater.components.infer_schema.union import unite

WAYS = ("headwater", "tfdv")
"""How to infer: as TFDV does with the domains and shares of missing values that the data bears out (see `domains` and
`presence`), or exactly as TFDV does."""

Place: TypeAlias = tuple[Result, str]
"""A result of generate-statistics and one of its splits."""

_KEPT = ("annotation", "lifecycle_stage", "in_environment", "not_in_environment")


def infer(places: Sequence[Place], way: str, max_string_domain_size: int) -> schema_pb2.Schema:
    """The schema of all rows of some splits together.

    Args:
      places: at least one.
      way: how to infer, one of `WAYS`.
      max_string_domain_size: text with more distinct values has no closed domain.

    Raises:
      HeadwaterError: a feature's types do not go together.
    """
    return _infer(_Data(places), way, max_string_domain_size)


def fit(schema: schema_pb2.Schema, places: Sequence[Place], way: str, max_string_domain_size: int) -> schema_pb2.Schema:
    """A schema changed as far as it takes to accept each of some splits.

    The changes are those of TFDV's own update, but for these: a feature whose type changed is described as the data has
    it now, and not deprecated; one that is missing more often than it may be is not optional, but bears what `presence`
    says; whole numbers that were taken for booleans get no limits, in place of the least and the
    greatest of this data; and what is new has the domains that `infer` gives it.

    Args:
      schema: the agreed one; it is not changed.
      places, way, max_string_domain_size: as for `infer`.

    Raises:
      HeadwaterError: a feature's types do not go together.
    """
    fitted, data = schema, _Data(places)
    for proto in data.protos:
        fitted = tfdv.update_schema(fitted, proto, max_string_domain_size=max_string_domain_size)
    fresh = _infer(data, way, max_string_domain_size)
    described = {feature.name: feature for feature in fresh.feature}
    domains = {domain.name: domain for domain in fresh.string_domain}
    before = {feature.name: feature for feature in schema.feature}
    for feature in fitted.feature:
        old = before.get(feature.name)
        if old is None:
            continue
        now = described.get(feature.name)
        if now is not None and old.lifecycle_stage == schema_pb2.PLANNED != now.lifecycle_stage:
            _describe_anew(feature, now, old, domains)
            feature.ClearField("lifecycle_stage")
        elif now is not None and feature.lifecycle_stage != old.lifecycle_stage:
            _describe_anew(feature, now, old, domains)
        elif old.HasField("bool_domain") and feature.HasField("int_domain"):
            feature.ClearField("int_domain")
    added = set(described) - set(before)
    if way == "headwater" and added:
        fit_domains(fitted, data.features, added)
        leave_out(fitted, data.features, data.codes, added)
    if way == "headwater":
        missing = [missing_of(proto) for proto in data.protos]
        for feature in fitted.feature:
            asked = before[feature.name].presence.min_fraction if feature.name in before else 1.0
            _fit_presence(feature, asked, [each[feature.name] for each in missing if feature.name in each])
    counts = [_values(proto) for proto in data.protos]
    for feature in fitted.feature:
        # A column that is not there at all is no longer validated, and what was agreed about it stays.
        least = min((each[feature.name] for each in counts if feature.name in each), default=None)
        if least is not None and feature.presence.min_count > least:
            # What is new was described by all splits together.
            feature.presence.min_count = least
    return fitted


def mixed(before: schema_pb2.Schema, after: schema_pb2.Schema, features: Collection[str]) -> schema_pb2.Schema:
    """One schema, with the features that are named as they are in another one that `fit` made of it."""
    made = schema_pb2.Schema()
    made.CopyFrom(before)
    new = {feature.name: feature for feature in after.feature}
    domains = {domain.name: domain for domain in after.string_domain}
    for feature in [each for each in made.feature if each.name in features]:
        feature.CopyFrom(new[feature.name])
    known = {feature.name for feature in made.feature}
    made.feature.extend(new[name] for name in sorted(features) if name in new and name not in known)
    # A domain stays as it was, unless a feature that is named has it.
    changed = {new[name].domain for name in features if name in new}
    kept = [domain for domain in before.string_domain if domain.name not in changed]
    del made.string_domain[:]
    made.string_domain.extend(kept)
    made.string_domain.extend(domains[name] for name in sorted(changed) if name in domains)
    return made


def _describe_anew(
    feature: schema_pb2.Feature,
    fresh: schema_pb2.Feature,
    old: schema_pb2.Feature,
    domains: dict[str, schema_pb2.StringDomain],
) -> None:
    feature.CopyFrom(fresh)
    if fresh.HasField("domain"):
        # Its own, since one of this name may be in the schema already.
        feature.string_domain.CopyFrom(domains[fresh.domain])
    kept = schema_pb2.Feature()
    kept.CopyFrom(old)
    for field, _ in old.ListFields():
        if field.name not in _KEPT:
            kept.ClearField(field.name)
    feature.MergeFrom(kept)


class _Data:
    """What is known of some splits, each part read once, when it is asked for."""

    def __init__(self, places: Sequence[Place]):
        self._places = places

    @functools.cached_property
    def protos(self) -> list[statistics_pb2.DatasetFeatureStatisticsList]:
        """The statistics of each split."""
        return [
            statistics_pb2.DatasetFeatureStatisticsList.FromString(result.read(f"Split-{split}/FeatureStats.pb"))
            for result, split in self._places
        ]

    @property
    def names(self) -> list[str]:
        """What errors call each split."""
        return [f"{split!r} of {result.folder}" for result, split in self._places]

    @functools.cached_property
    def features(self) -> dict[tuple[str, ...], Feature]:
        """The distributions of all rows, by path."""
        by_path: dict[tuple[str, ...], list[Any]] = {}
        for result, split in self._places:
            for path, feature in distributions.read(result.read(f"Split-{split}/State.arrow")).items():
                by_path.setdefault(path, []).append(feature)
        return {path: distributions.add(parts) for path, parts in by_path.items()}

    @property
    def codes(self) -> dict[str, list[Any]]:
        """The values by feature that most likely stand for a missing one, as the datasets' manifests say."""
        codes_of: dict[str, list[Any]] = {}
        for result, _ in self._places:
            for name, codes in (result.body["dataset"].get("about") or {}).get("missing_codes", {}).items():
                codes_of[name] = [*codes_of.get(name, []), *codes]
        return codes_of


def _infer(data: _Data, way: str, max_string_domain_size: int) -> schema_pb2.Schema:
    united = unite(data.protos, data.names)
    schema = tfdv.infer_schema(united, max_string_domain_size=max_string_domain_size)
    if way == "headwater":
        fit_domains(schema, data.features)
        missing = missing_of(united)
        for feature in schema.feature:
            _fit_presence(feature, 1.0, [missing[feature.name]])
        leave_out(schema, data.features, data.codes)
        _plan_empty(schema, united)
    return schema


def _fit_presence(feature: schema_pb2.Feature, asked: float, missing: Sequence[tuple[int, int]]) -> None:
    """Where a split has fewer values than was asked for, asks for the share that the splits bear out."""
    if all(rows - absent >= asked * rows for absent, rows in missing):
        return
    shares = [least_fraction(*each) for each in missing if each[0]]
    known = [share for share in shares if share is not None]
    feature.presence.ClearField("min_fraction")
    if len(known) == len(shares):
        feature.presence.min_fraction = min(known)


def _plan_empty(schema: schema_pb2.Schema, united: statistics_pb2.DatasetFeatureStatisticsList) -> None:
    """Features without any value are *planned*, TFDV's word for what is not validated yet: nothing tells their type."""
    values = _values(united)
    for feature in schema.feature:
        if not values.get(feature.name):
            feature.lifecycle_stage = schema_pb2.PLANNED


def _values(proto: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, int]:
    """How many rows have a value, by feature."""
    return {
        each.path.step[0]: getattr(each, each.WhichOneof("stats")).common_stats.num_non_missing
        for each in proto.datasets[0].features
        if len(each.path.step) == 1
    }
