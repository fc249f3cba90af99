"""Settings of generate-statistics, by TFDV's names where TFDV has them, checked before any work starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pyarrow as pa
import pydantic

from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.expressions import check_expression
from headwater.components.common.project import beam_options, section
from headwater.components.common.settings import PLACE, checked, whole_numbers
from headwater.components.common.user_code import find_function
from headwater.components.generate_statistics.measure.conversion import measured
from headwater.components.generate_statistics.plan.custom import Custom
from headwater.components.generate_statistics.plan.privacy import Private, is_keyed
from headwater.components.generate_statistics.plan.slicing import check_sliceable
from headwater.components.generate_statistics.report.protos import Sizes
from headwater.components.generate_statistics.worst_slices.options import Options, check

PRIVATE_TAG = "headwater:private"
"""The tag of a schema's feature whose values must not be shown."""

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)
_Count = Annotated[int, pydantic.Field(ge=1)]
_Buckets = Annotated[int, pydantic.Field(ge=1, le=10_000)]


class Predicate(pydantic.BaseModel):
    """A slice of the rows for which an expression holds.

    Attributes:
      name: of the slice.
      where: one scalar SQL expression over the columns.
    """

    model_config = _STRICT
    name: Annotated[str, pydantic.Field(min_length=1)]
    where: str


class CustomStatistic(pydantic.BaseModel):
    """A user's own statistic.

    Attributes:
      function: `package.module:function`, which takes a `pyarrow.RecordBatch` and gives a number by feature and statistic,
        as in `{"name": {"capitals": 7}}`; batches are of any size.
      merge: how the numbers of several record batches become one.
    """

    model_config = _STRICT
    function: str
    merge: Literal["sum", "min", "max"] = "sum"


class Settings(pydantic.BaseModel):
    """How statistics are made.

    Attributes:
      feature_allowlist: the columns that are measured; all by default.
      weight_feature: a column with each row's weight, at least 0; weighted statistics then stand beside the others.
      label_feature: a column of classes; each has statistics of its own, and the lift of every text feature's values.
      slices: each either columns, for a slice of every combination of their values, or a predicate.
      max_slices: most slices by columns and labels; the largest are measured, the rest is counted.
      sample_rate: the share of rows that are measured, in (0, 1], drawn row by row.
      seed: of the drawing.
      schema_: (`schema`) URI of a schema, a result of infer-schema or a `.pbtxt`, that steers what is measured: whole
        numbers declared categorical are counted as text, images as bytes.
      num_top_values, frequency_threshold, weighted_frequency_threshold, num_rank_histogram_buckets,
        num_values_histogram_buckets, num_histogram_buckets, num_quantiles_histogram_buckets: as in TFDV.
      max_exact_values: distinct values of a column up to which each is counted exactly; more than 256 features share
        what 256 may have, and have at least 8,192 each.
      enable_semantic_domain_stats: whether text and bytes are looked at for natural language, URLs and images.
      feature_pairs: columns that are looked at together: correlation and covariance of numbers, lift of text.
      custom_statistics: users' own.
      worst_slices: the slices where predictions cost most.
      private: more columns whose raw values must not appear, beside those that collect found personal data in.
      public: columns that are shown although collect found personal data in them.
    """

    model_config = _STRICT | pydantic.ConfigDict(populate_by_name=True)
    feature_allowlist: list[str] = []
    weight_feature: str = ""
    label_feature: str = ""
    slices: list[list[str] | Predicate] = []
    max_slices: _Count = 1000
    sample_rate: Annotated[float, pydantic.Field(gt=0, le=1)] = 1.0
    seed: int = 0
    schema_: Annotated[str, pydantic.Field(alias="schema", json_schema_extra=PLACE.json_schema_extra)] = ""
    num_top_values: Annotated[int, pydantic.Field(ge=0)] = 20
    frequency_threshold: _Count = 1
    weighted_frequency_threshold: Annotated[float, pydantic.Field(gt=0)] = 1.0
    num_rank_histogram_buckets: Annotated[int, pydantic.Field(ge=0)] = 1000
    num_values_histogram_buckets: _Buckets = 10
    num_histogram_buckets: _Buckets = 10
    num_quantiles_histogram_buckets: _Buckets = 10
    max_exact_values: Annotated[int, pydantic.Field(ge=16)] = 65_536
    enable_semantic_domain_stats: bool = False
    feature_pairs: list[Annotated[list[str], pydantic.Field(min_length=2, max_length=2)]] = []
    custom_statistics: list[CustomStatistic] = []
    worst_slices: Options | None = None
    private: list[str] = []
    public: list[str] = []

    @pydantic.field_validator("slices")
    @classmethod
    def _slices(cls, slices: list[list[str] | Predicate]) -> list[list[str] | Predicate]:
        if any(isinstance(each, list) and not each for each in slices):
            raise ValueError("a slice must name at least one column")
        names = [each.name for each in slices if isinstance(each, Predicate)]
        if len(set(names)) < len(names):
            raise ValueError("names of predicates must be unique")
        return slices

    @property
    def sizes(self) -> Sizes:
        """How much the statistics tell."""
        return Sizes(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Sizes)})

    @property
    def by_columns(self) -> list[tuple[str, ...]]:
        """The columns of each family of slices, the label's last."""
        families = [tuple(sorted(set(each))) for each in self.slices if isinstance(each, list)]
        if self.label_feature:
            families.append((self.label_feature,))
        return list(dict.fromkeys(families))

    @property
    def predicates(self) -> list[tuple[str, str]]:
        """Names and expressions."""
        return [(each.name, each.where) for each in self.slices if isinstance(each, Predicate)]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of columns, each once, in order of their names."""
        return sorted({(min(pair), max(pair)) for pair in self.feature_pairs})


@dataclasses.dataclass(frozen=True)
class Steering:
    """What a schema says of how features are measured: paths of each kind, and columns that are private."""

    categorical: frozenset[tuple[str, ...]] = frozenset()
    as_bytes: frozenset[tuple[str, ...]] = frozenset()
    private: frozenset[str] = frozenset()


def from_project(project: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `compute_statistics`, less `dataset` and `output`, from the sections statistics and platform.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    given = section(project, "statistics")
    check_settings(given, "statistics")
    return {"config": given, **beam_options(project)}


def check_settings(given: Mapping[str, Any], where: str = "config") -> Settings:
    """The settings, checked by themselves.

    Args:
      given: by name.
      where: the key that they stand under, for errors.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    if not isinstance(given, Mapping):
        raise HeadwaterError("config: must be a mapping of settings, as in {sample_rate: 0.1}")
    settings = checked(Settings, whole_numbers(given), where)
    for custom in settings.custom_statistics:
        find_function("custom_statistics", custom.function)
    return settings


def check_against(settings: Settings, schema: pa.Schema, private: Private) -> None:
    """Holds the settings against a dataset's columns.

    Raises:
      HeadwaterError: a column is missing, of a type that cannot serve, or private where its values would be shown.
    """
    known = measured(schema)

    def there(key: str, names: Sequence[str]) -> None:
        for name in names:
            if name not in known:
                raise HeadwaterError(f"{key}: there is no column {name!r}; the columns are {', '.join(known)}")

    there("feature_allowlist", settings.feature_allowlist)
    there("private", settings.private)
    there("public", settings.public)
    if settings.weight_feature:
        there("weight_feature", [settings.weight_feature])
        kind = schema.field(settings.weight_feature).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise HeadwaterError(
                f"weight_feature: column {settings.weight_feature!r} is {kind}; weights must be numbers"
            )
    for columns in settings.by_columns:
        key = "label_feature" if columns == (settings.label_feature,) else "slices"
        there(key, columns)
        for name in columns:
            check_sliceable(name, schema.field(name).type)
            if name in private.columns:
                raise HeadwaterError(
                    f"{key}: column {name!r} is private, but slices are named after its values; name it under public "
                    "if they may be shown"
                )
    for name, where in settings.predicates:
        check_expression(f"slices.{name}", where, known)
    for pair in settings.pairs:
        there("feature_pairs", pair)
        _check_pair(pair, schema, private)
    if settings.feature_allowlist:
        missing = {name for pair in settings.pairs for name in pair} - set(settings.feature_allowlist)
        if missing:
            raise HeadwaterError(f"feature_pairs: {min(missing)!r} is not in feature_allowlist")
    if settings.worst_slices:
        check(settings.worst_slices, schema)
        for name in settings.worst_slices.columns:
            if name in private.columns:
                raise HeadwaterError(
                    f"worst_slices.columns: {name!r} is private, but slices are named after its values; name it under "
                    "public if they may be shown"
                )


def _check_pair(pair: Sequence[str], schema: pa.Schema, private: Private) -> None:
    numbers, texts = ([check_kind(schema.field(name).type) for name in pair] for check_kind in (_is_number, _is_text))
    if pair[0] == pair[1] or not (all(numbers) or all(texts)):
        raise HeadwaterError(
            f"feature_pairs: {pair[0]!r} and {pair[1]!r} must be two columns, both of numbers or both of text"
        )
    if all(texts) and private.columns & set(pair):
        raise HeadwaterError(
            f"feature_pairs: the values of {pair[0]!r} and {pair[1]!r} would be shown, but one of them is private"
        )


def find_private(settings: Settings, marked: Mapping[str, Any]) -> Private:
    """The columns whose values must not appear.

    Args:
      settings: checked.
      marked: columns that collect found personal data in, with what was done to them.
    """
    # What collect hashed, redacted or generalised may be shown.
    kept = {name for name, entry in marked.items() if (entry.get("action") or "keep") == "keep"}
    columns = (kept - set(settings.public)) | set(settings.private)
    paths = {
        (name, *path.split("."))
        for name in columns - set(settings.private)
        for path in marked.get(name, {}).get("paths", ())
    }
    return Private(frozenset(columns), bool(columns) and is_keyed(), frozenset(paths))


def steer(uri: str) -> Steering:
    """What a schema says.

    Args:
      uri: a result of infer-schema or a `.pbtxt`; empty for no schema.

    Raises:
      HeadwaterError: there is no schema there.
    """
    if not uri:
        return Steering()
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    place = storage.normalise(uri)
    if storage.exists(storage.join(place, results.MANIFEST)):
        place = results.load(place, "schema").locate("schema.pbtxt")
    elif not place.endswith(".pbtxt"):
        place = storage.join(place, "schema.pbtxt")
    try:
        schema = text_format.Parse(storage.read_bytes(place).decode(), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise HeadwaterError(f"schema: {place} is not a schema: {error}") from None
    categorical: set[tuple[str, ...]] = set()
    as_bytes: set[tuple[str, ...]] = set()

    def walk(features: Any, above: tuple[str, ...]) -> None:
        for feature in features:
            path = (*above, feature.name)
            if feature.HasField("int_domain") and feature.int_domain.is_categorical:
                categorical.add(path)
            if feature.HasField("bool_domain") and feature.type == schema_pb2.INT:
                categorical.add(path)
            if feature.HasField("image_domain"):
                as_bytes.add(path)
            walk(feature.struct_domain.feature, path)

    walk(schema.feature, ())
    private = frozenset(feature.name for feature in schema.feature if PRIVATE_TAG in feature.annotation.tag)
    return Steering(frozenset(categorical), frozenset(as_bytes), private)


def customs(settings: Settings) -> tuple[Custom, ...]:
    """Users' own statistics."""
    return tuple(Custom(each.function, each.merge) for each in settings.custom_statistics)


def _is_number(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return any(
        is_kind(kind)
        for is_kind in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    ) or pa.types.is_temporal(kind)


def _is_text(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        is_kind(kind)
        for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    )
