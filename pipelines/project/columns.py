"""The columns that settings name, each held against those that the data has, where the data names them at its beginning."""

from __future__ import annotations

import contextlib
import csv
import difflib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from headwater.components.collect import spans
from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.labelled import shown

_HEAD_BYTES = 1 << 16
_DELIMITERS = ",;|\t"
_LISTED = 30
_LIKE = 0.65

NAMING = (
    "collect.key",
    "collect.types",
    "collect.missing",
    "collect.formats",
    "collect.units",
    "collect.rename",
    "collect.split.column",
    "collect.split.group",
    "collect.lookups.*.on",
    "collect.private",
    "collect.anonymity.columns",
    "collect.columns",
    "collect.event_time",
    "collect.model_outputs",
    "collect.label",
    "collect.groups",
    "label.steps.*.served",
    "label.steps.*.on",
    "label.steps.*.truth",
    "label.steps.*.gold",
    "label.steps.*.functions.*.keywords.column",
    "label.steps.*.functions.*.regex.column",
    "label.steps.*.functions.*.threshold.column",
    "label.steps.*.functions.*.lookup.column",
    "label.steps.*.functions.*.column.column",
    "label.steps.*.functions.*.column.confidence",
    "statistics.feature_allowlist",
    "statistics.weight_feature",
    "statistics.label_feature",
    "statistics.slices.*",
    "statistics.feature_pairs.*",
    "statistics.private",
    "statistics.public",
    "statistics.worst_slices.errors",
    "statistics.worst_slices.prediction",
    "statistics.worst_slices.label",
    "statistics.worst_slices.columns",
    "schema.features",
    "validate.acknowledged.*.feature",
    "validate.concept.label",
    "validate.concept.score",
    "validate.concept.columns",
    "validate.concept.slices.*",
    "validate.feature_skew.key",
    "validate.feature_skew.columns",
    "validate.feature_skew.tolerance",
    "validate.rows.private",
    "validate.rows.rules.*.unique",
    "validate.rows.rules.*.references.columns",
    "validate.rows.rules.*.monotone.column",
    "validate.rows.rules.*.monotone.order",
    "validate.rows.rules.*.monotone.group",
    "validate.rows.rules.*.outliers.columns",
)
"""The settings that name columns: one as text, several as a list, or as the keys of a mapping. `*` is an entry's number or
name."""

# They may be about columns that are gone, so that only what is spelt like another one is a mistake.
_MAY_BE_GONE = ("schema.features", "validate.acknowledged.*.feature")
# The columns of an input, which is not looked at.
_ELSEWHERE = {"truth": "truth_input", "gold": "gold_input"}


class Columns(NamedTuple):
    """The names that columns may have on their way.

    Attributes:
      read: of the sources.
      collected: with those that collect renames, adds and makes; an expression may name them.
      final: with what label adds.
    """

    read: list[str]
    collected: list[str]
    final: list[str]


def known_columns(settings: Mapping[str, Any]) -> Columns | None:
    """The columns of the data and of what is made of it; None where only reading tells."""
    read = _of_sources(settings)
    collect = _mapping(settings.get("collect"))
    lookups = [each for each in _mapping(collect.get("lookups")).values() if isinstance(each, Mapping)]
    if read is None or not all(each.get("columns") for each in lookups):
        return None
    rename = _mapping(collect.get("rename"))
    collected = [str(rename.get(name, name)) for name in read]
    collected += [f"{each.get('prefix', '')}{name}" for each in lookups for name in each["columns"]]
    steps = [each for each in _listed(_mapping(settings.get("label")).get("steps")) if isinstance(each, Mapping)]
    added = [name for step in steps[:1] for name in shown(str(step.get("label", "label")))]
    return Columns(read, collected, [*collected, *added])


def wrong_names(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings that name a column which is not there, each with what is wrong."""
    known = known_columns(settings)
    if known is None:
        return
    derived = [
        str(each.get("name"))
        for each in _listed(_mapping(settings.get("collect")).get("derived"))
        if isinstance(each, Mapping)
    ]
    names = list(dict.fromkeys([*known.read, *known.final, *derived]))
    for pattern in NAMING:
        for key, value, within in _at(settings, pattern.split("."), "", {}):
            if within.get(_ELSEWHERE.get(key.rpartition(".")[2], "")):
                continue
            for name in _names(value):
                # Of a struct the column counts; what begins with _ is Headwater's own.
                if not name or name.startswith("_") or name in names or name.partition(".")[0] in names:
                    continue
                near = difflib.get_close_matches(name, names, 1, _LIKE)
                if near or pattern not in _MAY_BE_GONE:
                    yield key, _problem(name, names, near)


def _problem(name: str, names: list[str], near: list[str]) -> str:
    more = ", …" if len(names) > _LISTED else ""
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no column {name!r}; the columns are {', '.join(names[:_LISTED])}{more}{hint}"


def _at(
    value: Any, path: list[str], key: str, within: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Each value that a pattern leads to, with its key and the mapping that it stands in."""
    if not path:
        yield key, value, within
        return
    first, *rest = path
    if first == "*":
        for number, part in value.items() if isinstance(value, Mapping) else enumerate(_listed(value)):
            yield from _at(part, rest, f"{key}.{number}", within)
    elif isinstance(value, Mapping) and value.get(first) is not None:
        yield from _at(value[first], rest, f"{key}.{first}".lstrip("."), value)


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    # A slice may be an expression with a name, which is no list of columns.
    if isinstance(value, Mapping) and "where" in value and "name" in value:
        return []
    return [str(name) for name in value] if isinstance(value, (list, tuple, Mapping)) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _of_sources(settings: Mapping[str, Any]) -> list[str] | None:
    """The columns of the first and the last file of each source; None where one's beginning does not name them."""
    collect = _mapping(settings.get("collect"))
    sources = _listed(settings.get("sources"))
    if not sources or not all(isinstance(each, str) and "=" not in each for each in sources):
        return None
    if any(collect.get(key) for key in ("skip_rows", "comment", "column_names", "escape")):
        return None
    names_found: dict[str, None] = {}
    for source in sources:
        # What is not there is told by itself.
        with contextlib.suppress(HeadwaterError):
            files = spans.files(source)
            for uri in dict.fromkeys((files[0], files[-1])):
                names = _of_file(uri, collect) if "=" not in uri.removeprefix(source) else None
                if names is None:
                    return None
                names_found.update(dict.fromkeys(names))
    return list(names_found) or None


def _of_file(uri: str, collect: Mapping[str, Any]) -> list[str] | None:
    with contextlib.suppress(UnicodeDecodeError, LookupError, csv.Error, OSError, ValueError):
        return _named_in(uri, collect)
    return None


def _named_in(uri: str, collect: Mapping[str, Any]) -> list[str] | None:
    if uri.lower().endswith((".parquet", ".pq")):
        import pyarrow.parquet as pq

        with storage.open_input(uri) as stream:
            return list(pq.read_schema(stream).names)
    if uri.lower().endswith((".csv", ".tsv")) and collect.get("header") is not False:
        with storage.open_input(uri) as stream:
            head = stream.read(_HEAD_BYTES).decode(collect.get("encoding") or "utf-8-sig", "ignore")
        line = head.splitlines()[0]
        delimiter = collect.get("delimiter") or max(_DELIMITERS, key=line.count)
        names = next(csv.reader([line], delimiter=delimiter))
        # A first line that could as well be a record, or lines before the table, are left to collect.
        if len(names) > 1 and len(set(names)) == len(names) and not any(_is_number(name) for name in names):
            return names
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text.strip()
    return True
