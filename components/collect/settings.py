"""Settings of collect, checked before any work starts."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pydantic

from headwater.components.collect.databases import DATABASES, parse_source
from headwater.components.collect.privacy.actions import parse_actions
from headwater.components.collect.shape.consistency import Format, Unit
from headwater.components.collect.shape.lookups import Lookup
from headwater.components.collect.shape.splitting import NO_SPLIT, SPLIT_GAP, HashRule, SplitRule, Splits
from headwater.components.common.acknowledging import in_force
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.project import beam_options, listed, platform, section, unmarked
from headwater.components.common.results import check_name
from headwater.components.common.settings import checked
from headwater.components.common.sources.files import Reading
from headwater.components.common.sources.types import parse_type
from headwater.components.common.times import seconds

AUTO = -1
"""The span that stands for: this content's own, if it was collected before, else one above the highest."""

DUPLICATE_KEY = "duplicate_key"
SMALL_GROUP = "small_group"
RULES = (DUPLICATE_KEY, SMALL_GROUP, NO_SPLIT, SPLIT_GAP)
"""The names of the rules that filter rows, beside those of a user's own filters."""

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)
_Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class Derived(pydantic.BaseModel):
    """A column that is made.

    Attributes:
      name: the column's name.
      expression: one scalar SQL expression over the columns, those made before it included.
    """

    model_config = _STRICT

    name: str
    expression: str


class Filter(pydantic.BaseModel):
    """A rule that rows must meet.

    Attributes:
      name: the rule's name, under which rows are counted that do not meet it.
      keep: one scalar SQL expression; rows for which it is not true are filtered.
    """

    model_config = _STRICT

    name: str
    keep: str


class ModelOutput(pydantic.BaseModel):
    """The model whose output a column is.

    Attributes:
      model: its name.
      version: its version.
    """

    model_config = _STRICT

    model: str
    version: str


class Anonymity(pydantic.BaseModel):
    """k-anonymity over quasi-identifiers: columns that together may tell a person.

    Attributes:
      columns: the quasi-identifiers, as they are after privacy's actions.
      k: how many rows must share their values.
      suppress: whether rows in smaller groups are filtered (`small_group`); else they are only counted.
    """

    model_config = _STRICT

    columns: Annotated[list[str], pydantic.Field(min_length=1)]
    k: Annotated[int, pydantic.Field(ge=2)] = 5
    suppress: bool = False


class Section(pydantic.BaseModel):
    """What shapes a dataset, other than its sources and name. The order of the fields from `missing` on is that of the work.

    Attributes:
      span: the span's number, 0 or more, or `AUTO`.
      window: how many spans that paths tell are taken together, up to and including `span`.
      splits: names and weights, in order; the first split trains. Weights need not add up to anything.
      split: how rows are split: by a hash (the default), by a column, or by time.
      key: columns that identify a row; none to have `_row_id` made.
      duplicates: "keep", or "drop" to keep the first row of each key and count the others (`duplicate_key`).
      types: declared types by source column.
      delimiter: field separator of a CSV, one character, detected by default; a `.tsv` has tabs when it is given.
      quote: one character around values of a CSV that hold delimiters or line ends; empty for none; detected by default.
      escape: one character that makes the next one part of the value; empty for none; detected by default.
      comment: one character that begins lines of a CSV which are no records; empty for none.
      skip_rows: how many lines of a CSV come before its header or first record; detected by default.
      header: whether a CSV has a header; detected by default.
      decimal: the character before the fraction of numbers in a CSV.
      thousands: the character between groups of three digits of numbers in a CSV; empty for none.
      encoding: of CSV and JSONL, as Python names encodings.
      column_names: the columns of CSV files without a header.
      union: whether files of different tables, as of customers and of orders, are taken as one table with the columns of all.
      missing: by source column, values that stand for a missing one.
      formats: by source column, how its text is read.
      units: by source column, the unit it is in and the one wanted.
      rename: new names by source column.
      lookups: smaller sources to join, by name.
      derived: columns made by SQL expressions, in order.
      filters: rules that rows must meet, in order.
      private: what is done with columns that hold personal data, by column.
      anonymity: quasi-identifiers and the size of the groups that they must make.
      columns: the columns to keep, in order; all by default.
      max_rejected_share: the dataset is not accepted when a larger share of its records is rejected.
      event_time: the column that tells when a row happened.
      max_age: the oldest that the newest event may be, as in `36h`.
      as_of: the time that ages are measured from, ISO; by default the span's end where a date names it, else now.
      season: after how many spans volume repeats itself, as 7 for daily spans; 0 for none.
      volume_tolerance: the share by which volume may leave what few earlier spans let expect.
      model_outputs: by column, the model whose output it is.
      label: the column that is to be learnt.
      groups: columns whose values should all be represented.
      analyse: whether rows are looked at for feature sense, outliers and a page's charts.
    """

    model_config = _STRICT

    span: Annotated[int, pydantic.Field(ge=AUTO)] = AUTO
    window: Annotated[int, pydantic.Field(ge=1)] = 1
    splits: Splits = {"train": 0.8, "eval": 0.2}
    split: SplitRule = HashRule()
    key: list[str] = []
    duplicates: Literal["keep", "drop"] = "keep"
    types: dict[str, str] = {}
    delimiter: str = ""
    quote: str | None = None
    escape: str | None = None
    comment: str = ""
    skip_rows: Annotated[int, pydantic.Field(ge=0)] | None = None
    header: bool | None = None
    decimal: str = "."
    thousands: str = ""
    encoding: str = "utf-8"
    column_names: list[str] = []
    union: bool = False
    missing: dict[str, list[str | float | int | bool]] = {}
    formats: dict[str, Format] = {}
    units: dict[str, Unit] = {}
    rename: dict[str, str] = {}
    lookups: dict[str, Lookup] = {}
    derived: list[Derived] = []
    filters: list[Filter] = []
    private: dict[str, Any] = {}
    anonymity: Anonymity | None = None
    columns: list[str] = []
    max_rejected_share: _Share = 0.01
    event_time: str = ""
    max_age: str = ""
    as_of: str = ""
    season: Annotated[int, pydantic.Field(ge=0)] = 0
    volume_tolerance: Annotated[float, pydantic.Field(gt=0)] = 0.5
    model_outputs: dict[str, ModelOutput] = {}
    label: str = ""
    groups: list[str] = []
    analyse: bool = True

    @pydantic.field_validator("splits")
    @classmethod
    def _splits(cls, splits: dict[str, float]) -> dict[str, float]:
        if not splits:
            raise ValueError("needs at least one split, as in {'train': 0.8, 'eval': 0.2}")
        for name in splits:
            _valid(check_name, name)
        if not math.isfinite(sum(splits.values())):
            raise ValueError("the weights are too large to add up")
        return splits

    @pydantic.field_validator("key")
    @classmethod
    def _key(cls, key: list[str]) -> list[str]:
        if len(set(key)) != len(key):
            raise ValueError("names a column twice")
        return key

    @pydantic.field_validator("types")
    @classmethod
    def _types(cls, types: dict[str, str]) -> dict[str, str]:
        for kind in types.values():
            _valid(parse_type, kind)
        return types

    @pydantic.field_validator("delimiter", "quote", "escape", "comment", "decimal", "thousands")
    @classmethod
    def _character(cls, character: str | None, info: pydantic.ValidationInfo) -> str | None:
        if character is None or (not character and info.field_name != "decimal"):
            return character
        if len(character) != 1 or not character.isascii() or character in "\r\n\0":
            raise ValueError("must be one ASCII character other than a line end")
        if character == '"' and info.field_name != "quote":
            raise ValueError("must not be a quote")
        if info.field_name in ("decimal", "thousands") and character.isalnum():
            raise ValueError("must not be a letter or a digit")
        return character

    @pydantic.field_validator("encoding")
    @classmethod
    def _encoding(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
        except LookupError:
            raise ValueError(
                "there is no such encoding; use one of Python's names, such as utf-8, latin-1, cp1252 or utf-16"
            ) from None
        return encoding

    @pydantic.field_validator("column_names", "columns", "groups")
    @classmethod
    def _once(cls, names: list[str]) -> list[str]:
        if len(set(names)) != len(names):
            raise ValueError("names a column twice")
        return names

    @pydantic.field_validator("derived", "filters")
    @classmethod
    def _named_once(cls, parts: list[Any]) -> list[Any]:
        names = [part.name for part in parts]
        if len(set(names)) != len(names):
            raise ValueError("must not give the same name twice")
        for name in names:
            if name.startswith("_"):
                raise ValueError(f"{name!r} begins with '_', which is reserved for Headwater")
            if name in RULES:
                raise ValueError(f"{name!r} is the name of a built-in rule; give another name")
        return parts

    @pydantic.field_validator("private")
    @classmethod
    def _private(cls, private: dict[str, Any]) -> dict[str, Any]:
        _valid(parse_actions, private)
        return private

    @pydantic.field_validator("max_age")
    @classmethod
    def _age(cls, text: str) -> str:
        if text:
            _valid(seconds, text)
        return text

    @pydantic.field_validator("as_of")
    @classmethod
    def _time(cls, text: str) -> str:
        if text:
            datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        return text

    @pydantic.model_validator(mode="after")
    def _together(self) -> Section:
        if self.duplicates == "drop" and not self.key:
            raise ValueError("duplicates: set key too, as duplicates are rows with the same key")
        if self.max_age and not self.event_time:
            raise ValueError("max_age: set event_time too, as ages are computed from it")
        given = [(name, getattr(self, name)) for name in ("delimiter", "quote", "escape", "comment")]
        given += [("decimal", self.decimal), ("thousands", self.thousands)]
        for number, (name, character) in enumerate(given):
            for other, same in given[:number]:
                # A value in quotes may hold the delimiter, so 1,5 may be a number beside a comma between values.
                if character and character == same and not (other == "delimiter" and name in ("decimal", "thousands")):
                    raise ValueError(f"{name} and {other} are both {character!r}; they must be different characters")
        if self.header and self.column_names:
            raise ValueError("column_names is for files without a header, but header is true")
        clashes = sorted(set(self.types) & set(self.formats))
        if clashes:
            raise ValueError(f"types: {clashes[0]!r} also has a format; set its type there, under formats")
        return self

    @property
    def reading(self) -> Reading:
        """How text is read."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(Reading)}
        return Reading(**{**fields, "column_names": tuple(self.column_names)})


class Settings(Section):
    """What shapes a dataset, and its name.

    Attributes:
      name: the dataset's name; one path segment.
    """

    name: str = "data"

    @pydantic.field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        return _valid(check_name, name)


@functools.cache
def database_model() -> type[pydantic.BaseModel]:
    """The model of a source that is a database: exactly one of the registry's kinds, with its settings."""
    kinds: dict[str, Any] = {name: (kind | None, None) for name, kind in DATABASES.items()}
    text = "A source that is a database; exactly one of the kinds is given."
    return pydantic.create_model("Database", __config__=_STRICT, __doc__=text, **kinds)


def from_project(project: Mapping[str, Any], sources: Sequence[str] = ()) -> dict[str, Any]:
    """The arguments of `collect_dataset`, less `output`, from the sections name, sources, collect and platform.

    Args:
      project: the settings of a pipeline.
      sources: paths and URIs in place of those of the project.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    given = section(project, "collect")
    splits = given.get("splits")
    if isinstance(splits, Mapping) and len(splits) > 1:
        raise HeadwaterError(
            "collect.splits: write it as text, as in train=0.8,eval=0.2: the first split trains, and Kubeflow keeps no "
            "order of a mapping"
        )
    checked(Section, given, "collect")
    name = unmarked(project.get("name", Settings.model_fields["name"].default))
    checked(Settings, {"name": name})
    sources_given = listed({**project, "sources": list(sources)} if sources else project, "sources")
    for place, each in enumerate(sources_given):
        if isinstance(each, Mapping):
            parse_source(each, f"sources.{place}")
        elif not isinstance(each, str) or not each:
            raise HeadwaterError(f"sources.{place}: must be a path or URI, or a mapping `postgres` or `bigquery`")
    return {
        "source": [each for each in sources_given if isinstance(each, str)],
        "databases": [each for each in sources_given if isinstance(each, Mapping)],
        "name": name,
        **given,
        **in_force(project),
        "data_root": platform(project).data_root,
        **beam_options(project),
    }


def check_settings(**settings: object) -> Settings:
    """The settings, checked.

    Raises:
      HeadwaterError: names the setting, what is wrong with it and what is allowed.
    """
    return checked(Settings, settings)


def _valid(check, value):
    # pydantic gathers ValueErrors with the place they belong to.
    try:
        check(value)
    except HeadwaterError as error:
        raise ValueError(str(error)) from None
    return value
