"""Values that stand for a missing one are no members of a domain: "?" is no workclass."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.distributions import Feature


def leave_out(
    schema: schema_pb2.Schema,
    features: Mapping[tuple[str, ...], Feature],
    codes: Mapping[str, Collection[Any]],
    names: Collection[str] | None = None,
) -> None:
    """Takes codes out of the domains of an inferred schema.

    The share of values that a domain must hold, `min_domain_mass`, goes down by twice what the codes have now, so that the
    data that the schema was inferred from keeps to it: that they are there is collect's to report, once.

    Args:
      schema: as inferred; changed in place.
      features: the distributions that it was inferred from, by path.
      codes: by feature, as `origins.describe` gives them.
      names: the features to look at; None for all.
    """
    shared = {domain.name: domain for domain in schema.string_domain}
    for feature in schema.feature:
        own = {str(code) for code in codes.get(feature.name, ())}
        if not own or (names is not None and feature.name not in names):
            continue
        domain = feature.string_domain if feature.HasField("string_domain") else shared.get(feature.domain)
        if domain is None or not own & set(domain.value):
            continue
        kept = [value for value in domain.value if value not in own]
        del domain.value[:]
        domain.value.extend(kept)
        measured = features.get((feature.name,))
        held = 2 * _share(measured, own) if measured is not None else 0.0
        constraints = feature.distribution_constraints
        least = constraints.min_domain_mass if constraints.HasField("min_domain_mass") else 1.0
        # Down to two digits of what is borne.
        constraints.min_domain_mass = max(0.0, math.floor((least - held) * 1e4) / 1e4)


def _share(feature: Feature, codes: Collection[str]) -> float:
    counts = dict(zip(feature.texts.to_pylist(), feature.counts.tolist()))
    total = sum(counts.values()) + float(feature.rest.sum())
    return sum(counts.get(code.encode(), 0) for code in codes) / total if total else 0.0
