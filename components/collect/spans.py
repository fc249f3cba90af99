"""Spans as TFX names them in paths: `{SPAN}`, `{YYYY}-{MM}-{DD}`, `{VERSION}`; one, the latest, or a rolling window."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import NamedTuple

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError

_MARKS = {
    "{SPAN}": r"(?P<span>\d+)",
    "{YYYY}": r"(?P<year>\d{4})",
    "{MM}": r"(?P<month>\d{2})",
    "{DD}": r"(?P<day>\d{2})",
    "{VERSION}": r"(?P<version>\d+)",
}
_EPOCH = datetime.date(1970, 1, 1)


class SpanFiles(NamedTuple):
    """Source files of one span.

    Attributes:
      span: its number; for dates the days since 1970-01-01, as TFX counts.
      version: the highest there; 0 where the path names none.
      uris: its files.
    """

    span: int
    version: int
    uris: list[str]


def has_span(uri: str) -> bool:
    """Whether a source's path tells spans."""
    return any(mark in uri for mark in _MARKS)


def coordinates(pattern: str) -> list[str]:
    """The keys of `key=value` folders whose value tells the span, as `day` of `day={YYYY}-{MM}-{DD}`."""
    folders = [folder for folder in pattern.split("/")[:-1] if has_span(folder)]
    return [folder.partition("=")[0] for folder in folders if "=" in folder]


def root_of(patterns: Sequence[str], uri: str) -> str:
    """The folder that the pattern of a file looks below."""
    roots = []
    for pattern in patterns:
        for mark in _MARKS:
            pattern = pattern.replace(mark, "*")
        roots.append(storage.fixed_part(pattern))
    return max((root for root in roots if uri.startswith(root)), key=len, default=uri)


def find_spans(pattern: str, may_be_none: bool = False) -> list[SpanFiles]:
    """All spans that a pattern's files belong to, rising, each with its highest version.

    Args:
      pattern: path or URI with `{SPAN}`, or `{YYYY}`, `{MM}` and `{DD}`, perhaps `{VERSION}`, and wildcards.
      may_be_none: whether it is no error that no file matches.

    Raises:
      HeadwaterError: the marks do not make a span, or no file matches.
    """
    _check(pattern)
    glob = storage.normalise(pattern)
    for mark in _MARKS:
        glob = glob.replace(mark, "*")
    expression = _expression(storage.normalise(pattern))
    spans: dict[int, dict[int, list[str]]] = {}
    for file in storage.expand(glob, may_be_empty=may_be_none):
        match = expression.fullmatch(file.uri)
        if match:
            parts = match.groupdict()
            span = _number(file.uri, parts)
            spans.setdefault(span, {}).setdefault(int(parts.get("version") or 0), []).append(file.uri)
    if not spans and not may_be_none:
        raise HeadwaterError(f"{pattern}: no file matches this pattern")
    return [SpanFiles(span, max(spans[span]), spans[span][max(spans[span])]) for span in sorted(spans)]


def files(source: str) -> list[str]:
    """URIs of all files of a source, of every span that it tells.

    Raises:
      HeadwaterError: there are none.
    """
    if has_span(source):
        return [uri for part in find_spans(source) for uri in part.uris]
    return [file.uri for file in storage.expand(source)]


def choose(patterns: Sequence[str], span: int, window: int) -> tuple[list[SpanFiles], dict[int, int]]:
    """The spans to collect, over all patterns.

    Args:
      patterns: sources that tell spans; each must have every chosen span.
      span: a span's number; -1 for the latest.
      window: how many spans, up to and including that one.

    Returns:
      For each chosen span, rising: its highest version over the patterns, and its files; and the version of every span
      that there is.

    Raises:
      HeadwaterError: a span is not there.
    """
    by_pattern = {pattern: {each.span: each for each in find_spans(pattern)} for pattern in patterns}
    there = sorted(set.union(*[set(spans) for spans in by_pattern.values()]))
    last = there[-1] if span < 0 else span
    if last not in there:
        raise HeadwaterError(f"span: {patterns[0]} has no span {last}; it has {_few(there)}")
    chosen = [number for number in there if number <= last][-window:]
    result = []
    for number in chosen:
        for pattern, spans in by_pattern.items():
            if number not in spans:
                raise HeadwaterError(f"span: {pattern} has no span {number}; it has {_few(sorted(spans))}")
        parts = [spans[number] for spans in by_pattern.values()]
        result.append(
            SpanFiles(number, max(part.version for part in parts), [uri for part in parts for uri in part.uris])
        )
    available = {
        number: max(spans[number].version for spans in by_pattern.values() if number in spans) for number in there
    }
    return result, available


def span_end(pattern: str, span: int) -> datetime.datetime | None:
    """The end of a span that a date names, in UTC; None where spans are bare numbers."""
    if "{DD}" not in pattern:
        return None
    day = _EPOCH + datetime.timedelta(days=span + 1)
    return datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)


def _check(pattern: str) -> None:
    dated = [mark in pattern for mark in ("{YYYY}", "{MM}", "{DD}")]
    if any(dated) and not all(dated):
        raise HeadwaterError(f"{pattern}: a date needs {{YYYY}}, {{MM}} and {{DD}}")
    if any(dated) == ("{SPAN}" in pattern):
        raise HeadwaterError(
            f"{pattern}: the path must contain the span once, as {{SPAN}} or as {{YYYY}}, {{MM}} and {{DD}}"
        )


def _expression(pattern: str) -> re.Pattern:
    parts = re.split(r"(\{SPAN\}|\{YYYY\}|\{MM\}|\{DD\}|\{VERSION\}|\*\*/|\*|\?)", pattern)
    wild = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    seen: set[str] = set()
    text = ""
    for part in parts:
        if part in _MARKS and part in seen:
            text += f"(?P={re.findall('<(.*?)>', _MARKS[part])[0]})"
        else:
            text += _MARKS.get(part) or wild.get(part) or re.escape(part)
        seen.add(part)
    return re.compile(text)


def _number(uri: str, parts: dict[str, str]) -> int:
    if "span" in parts:
        return int(parts["span"])
    try:
        day = datetime.date(int(parts["year"]), int(parts["month"]), int(parts["day"]))
    except ValueError:
        raise HeadwaterError(f"{uri}: the date in the path does not exist") from None
    return (day - _EPOCH).days


def _few(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[-5:])) + (" and earlier ones" if len(numbers) > 5 else "")
