"""Which domains a schema that is inferred from data may close, and how much outside of them it must bear.

TFDV closes a domain over whatever values it saw, so that a rare one that comes the next day is an anomaly. The schema's
`min_domain_mass` is 1 less the share of new values that later data of the same distribution may have (`common.unseen`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import numpy as np
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.distributions import Feature
from headwater.components.common.unseen import LEAST_MASS, most_unseen

_FLAG_EVIDENCE = 7.0
_BOOLEANS = "bool → "

_Path = tuple[str, ...]
_Features = Mapping[_Path, Feature]


def fit_domains(schema: schema_pb2.Schema, features: _Features, names: Collection[str] | None = None) -> None:
    """Opens the domains of an inferred schema that the data does not close, and lets others bear what may come.

    Args:
      schema: as TFDV infers it; changed in place.
      features: the distributions that it was inferred from, by path.
      names: the features to look at; None for all.
    """
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    opened = set()
    for path, feature in _leaves(schema.feature):
        if names is not None and path[0] not in names:
            continue
        kind = feature.WhichOneof("domain_info")
        if kind == "bool_domain" and feature.type == schema_pb2.INT:
            if not _is_flag(features.get(path)):
                feature.ClearField("bool_domain")
        elif kind in ("domain", "string_domain", "bool_domain"):
            values = _values(feature, domains)
            mass = least_mass(features.get(path), len(values)) if _one_a_row(features, path) else None
            if mass is None:
                opened.add(feature.domain)
                feature.ClearField(kind)
                continue
            if kind == "bool_domain":
                # A boolean domain has no share that it bears.
                feature.string_domain.CopyFrom(schema_pb2.StringDomain(name=feature.name, value=sorted(values)))
            feature.distribution_constraints.min_domain_mass = mass
    kept = [
        domain
        for domain in schema.string_domain
        if domain.name not in opened or any(each.domain == domain.name for _, each in _leaves(schema.feature))
    ]
    del schema.string_domain[:]
    schema.string_domain.extend(kept)


def least_mass(feature: Feature | None, values: int) -> float | None:
    """The least share of values that a domain of all that were seen must hold in later data.

    Args:
      feature: the distribution of the values.
      values: how many the domain has.

    Returns:
      The share; None where the domain must stay open: there is one value only, not each value is counted (so that
      nobody knows how many occur once), or the share would be below `LEAST_MASS`.
    """
    if feature is None or feature.numeric or not feature.exact or values < 2 or len(feature.texts) != values:
        return None
    bound = most_unseen(feature)
    if bound > 1 - LEAST_MASS:
        return None
    # To two digits, and never less than the bound.
    unit = 10.0 ** (math.floor(math.log10(bound)) - 1)
    return round(1 - math.ceil(bound / unit - 1e-9) * unit, 12)


def _is_flag(feature: Feature | None) -> bool:
    """Whether whole numbers of which only 0 and 1 were seen are booleans.

    They are where Arrow said so. Else a count of something rare has zeros and ones as well, and sooner or later a 2: a
    Poisson count has 2 in about ones² / (2 × zeros) rows, a sum of two flags in half as many. Where so many are expected
    that they would have been seen, the numbers are no counts.
    """
    if feature is None:
        return False
    if feature.rule.startswith(_BOOLEANS):
        return True
    if not feature.numeric or feature.slack or not np.array_equal(feature.points, [0.0, 1.0]):
        return False
    zeros, ones = feature.weights
    return min(ones**2 / (4 * zeros), zeros**2 / (4 * ones)) >= _FLAG_EVIDENCE


def _one_a_row(features: _Features, path: _Path) -> bool:
    """Whether no list is on the way: values of one list depend on each other, and say less than as many rows."""
    return all(
        (part := features.get(path[:depth])) is not None and part.values <= part.rows - part.missing
        for depth in range(1, len(path) + 1)
    )


def _values(feature: schema_pb2.Feature, domains: Mapping[str, list[str]]) -> list[str]:
    if feature.HasField("bool_domain"):
        # TFDV fills in one of them alone where the data has one.
        return [value for value in (feature.bool_domain.true_value, feature.bool_domain.false_value) if value]
    return list(feature.string_domain.value) or domains.get(feature.domain, [])


def _leaves(features: Collection[schema_pb2.Feature], above: _Path = ()) -> Iterator[tuple[_Path, schema_pb2.Feature]]:
    for feature in features:
        path = (*above, feature.name)
        yield path, feature
        yield from _leaves(feature.struct_domain.feature, path)
