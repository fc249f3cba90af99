"""A curation's changes, made to a schema."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.errors import HeadwaterError
from headwater.components.infer_schema.curation import PRIVATE, ZERO_MEANS_MISSING, Curation, Distances, FeatureCuration

_NUMBERS = (schema_pb2.INT, schema_pb2.FLOAT)
_TYPES = {"int": schema_pb2.INT, "float": schema_pb2.FLOAT, "text": schema_pb2.BYTES}


def apply_curation(schema: schema_pb2.Schema, curation: Curation) -> None:
    """Changes a schema in place.

    Raises:
      HeadwaterError: a feature or an environment is not in the schema, or a key does not fit a feature's type.
    """
    if curation.environments is not None:
        del schema.default_environment[:]
        schema.default_environment.extend(curation.environments)
    features = {feature.name: feature for feature in schema.feature}
    environments = known_environments(schema) | set(curation.other_environments)
    for name, changes in curation.features.items():
        where = f"curation.features.{name}"
        for key in ("in_environment", "not_in_environment"):
            for unknown in sorted(set(getattr(changes, key) or ()) - environments):
                raise HeadwaterError(
                    f"{where}.{key}: the schema has no environment {unknown!r}; it has "
                    f"{', '.join(sorted(environments)) or 'none'}; declare it under environments, or under "
                    "other_environments if it expects only the features that name it"
                )
        _apply(_known(features, name, where), changes, where)
    for name, weights in curation.weights.items():
        where = f"curation.weights.{name}"
        for key in ("feature", "weight"):
            _known(features, getattr(weights, key), f"{where}.{key}")
        weighted = schema.weighted_feature.add(name=name)
        weighted.feature.step.append(weights.feature)
        weighted.weight_feature.step.append(weights.weight)
    for name in curation.remove:
        schema.feature.remove(_known(features, name, "curation.remove"))
    constraints = schema.dataset_constraints
    if curation.min_examples is not None:
        constraints.min_examples_count = curation.min_examples
    if curation.max_examples is not None:
        constraints.max_examples_count = curation.max_examples
        if not constraints.HasField("min_examples_count"):
            # TFDV looks at the greatest number only where there is a least one.
            constraints.min_examples_count = 0
    if curation.growth is not None:
        comparator = constraints.num_examples_drift_comparator
        if curation.growth.min is not None:
            comparator.min_fraction_threshold = curation.growth.min
        if curation.growth.max is not None:
            comparator.max_fraction_threshold = curation.growth.max


def known_environments(schema: schema_pb2.Schema) -> set[str]:
    """The environments of a schema: those that expect every feature, and those that single features name."""
    return {*schema.default_environment, *(name for feature in schema.feature for name in feature.in_environment)}


def _known(features: Mapping[str, schema_pb2.Feature], name: str, where: str) -> schema_pb2.Feature:
    if name in features:
        return features[name]
    near = difflib.get_close_matches(name, features, 1)
    meant = f"did you mean {near[0]!r}? It has" if near else "it has"
    raise HeadwaterError(f"{where}: the schema has no feature {name!r}; {meant} {', '.join(features) or 'none'}")


def _apply(feature: schema_pb2.Feature, changes: FeatureCuration, where: str) -> None:
    if changes.type is not None and feature.type != _TYPES[changes.type]:
        feature.type = _TYPES[changes.type]
        # What was agreed of values of another type says nothing of these.
        if domain := feature.WhichOneof("domain_info"):
            feature.ClearField(domain)
    _set_domain(feature, changes, where)
    _set_presence(feature, changes)
    if changes.unique_min is not None or changes.unique_max is not None:
        if changes.unique_min is not None:
            feature.unique_constraints.min = changes.unique_min
        if changes.unique_max is not None:
            feature.unique_constraints.max = changes.unique_max
    for key in ("in_environment", "not_in_environment"):
        if getattr(changes, key) is not None:
            feature.ClearField(key)
            getattr(feature, key).extend(getattr(changes, key))
    for key, comparator in (("drift_threshold", "drift_comparator"), ("skew_threshold", "skew_comparator")):
        if getattr(changes, key) is not None:
            _compare(feature, getattr(feature, comparator), getattr(changes, key), f"{where}.{key}")
    _set_tags(feature, changes, where)
    if changes.deprecated is not None:
        feature.lifecycle_stage = schema_pb2.DEPRECATED if changes.deprecated else schema_pb2.PRODUCTION


def _set_domain(feature: schema_pb2.Feature, changes: FeatureCuration, where: str) -> None:
    if changes.domain is not None:
        if feature.type != schema_pb2.BYTES:
            raise HeadwaterError(f"{where}.domain: the feature is not text; numbers take min and max")
        feature.string_domain.CopyFrom(schema_pb2.StringDomain(name=feature.name, value=changes.domain))
        # What an inferred domain bears beside its values is not agreed.
        feature.ClearField("distribution_constraints")
    if changes.min_domain_mass is not None:
        feature.distribution_constraints.min_domain_mass = changes.min_domain_mass
    if changes.categorical is not None:
        if feature.type != schema_pb2.INT:
            raise HeadwaterError(f"{where}.categorical: the feature must be an integer")
        feature.int_domain.is_categorical = changes.categorical
    if changes.natural_language is not None:
        _set_language(feature, changes.natural_language, where)
    if changes.min is not None or changes.max is not None:
        _limit(feature, changes, where)


def _set_tags(feature: schema_pb2.Feature, changes: FeatureCuration, where: str) -> None:
    for tag, wanted in ((PRIVATE, changes.private), (ZERO_MEANS_MISSING, changes.zero_means_missing)):
        if wanted is not None:
            kept = [each for each in feature.annotation.tag if each != tag]
            del feature.annotation.tag[:]
            feature.annotation.tag.extend([*kept, tag] if wanted else kept)
    if changes.zero_means_missing and feature.type not in _NUMBERS:
        raise HeadwaterError(f"{where}.zero_means_missing: the feature must be numeric")


def _set_language(feature: schema_pb2.Feature, wanted: bool, where: str) -> None:
    if feature.type != schema_pb2.BYTES:
        raise HeadwaterError(f"{where}.natural_language: the feature must be text")
    if wanted:
        feature.natural_language_domain.SetInParent()
    elif feature.HasField("natural_language_domain"):
        feature.ClearField("natural_language_domain")


def _set_presence(feature: schema_pb2.Feature, changes: FeatureCuration) -> None:
    least = changes.min_fraction
    if changes.required is not None and least is None:
        least = 1.0 if changes.required else 0.0
    if least is not None:
        feature.presence.min_fraction = least
    if changes.min_count is not None:
        feature.presence.min_count = changes.min_count
    elif changes.required is not None:
        feature.presence.min_count = int(changes.required)
    valency = changes.min_values is not None or changes.max_values is not None
    # A fixed shape asks for a value in every row, whatever presence says.
    if feature.HasField("shape") and (valency or (least is not None and least < 1)):
        feature.ClearField("shape")
        feature.value_count.min = feature.value_count.max = 1
    if changes.min_values is not None:
        feature.value_count.min = changes.min_values
    if changes.max_values is not None:
        feature.value_count.max = changes.max_values


def _compare(
    feature: schema_pb2.Feature, comparator: schema_pb2.FeatureComparator, distances: float | Distances, where: str
) -> None:
    comparator.Clear()
    if isinstance(distances, float | int):
        number = feature.type in _NUMBERS
        (comparator.jensen_shannon_divergence if number else comparator.infinity_norm).threshold = distances
        return
    if distances.l_infinity is not None:
        if feature.type in _NUMBERS and not feature.int_domain.is_categorical:
            kind = schema_pb2.FeatureType.Name(feature.type)
            codes = ", or set categorical: true if its numbers are codes" if feature.type == schema_pb2.INT else ""
            raise HeadwaterError(
                f"{where}.l_infinity: the feature is {kind}, but TFDV measures L-infinity only for categories; use "
                f"jensen_shannon{codes}"
            )
        comparator.infinity_norm.threshold = distances.l_infinity
    if distances.jensen_shannon is not None:
        comparator.jensen_shannon_divergence.threshold = distances.jensen_shannon
    if distances.normalized_abs_difference is not None:
        comparator.normalized_abs_difference.threshold = distances.normalized_abs_difference


def _limit(feature: schema_pb2.Feature, changes: FeatureCuration, where: str) -> None:
    if feature.type not in _NUMBERS:
        raise HeadwaterError(f"{where}.min, max: the feature is not numeric; text takes domain")
    whole = feature.type == schema_pb2.INT
    domain = feature.int_domain if whole else feature.float_domain
    for end in ("min", "max"):
        value = getattr(changes, end)
        if value is not None:
            if whole and value != int(value):
                raise HeadwaterError(f"{where}.{end}: the feature is INT, but {value} is not an integer")
            setattr(domain, end, int(value) if whole else value)
