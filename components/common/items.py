"""Which files the elements of a graph are about, whatever else they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Run(tuple):
    """Neighbouring files or ranges that are worked on one after the other, and could be alone."""


class Numbered(NamedTuple):
    """An item, or a run of neighbouring ones, with its number among all of its graph."""

    number: int
    item: Any


def name_of(item: Any) -> str:
    """The URI of the file that an item is about, for messages; of several the first and the last."""
    uris = [file.uri for file in _files_of(item)]
    if not uris:
        return "a part of the work"
    return uris[0] if len(halves_of(item)) < 2 or uris[0] == uris[-1] else f"{uris[0]} to {uris[-1]}"


def halves_of(item: Any) -> list[Any]:
    """Two items in place of one that is a run, or holds one: each with half of it; nothing where there are no two."""
    if isinstance(item, Run):
        half = len(item) // 2
        return [Run(item[:half]), Run(item[half:])] if half else []
    for name in getattr(item, "_fields", ()):
        if halves := halves_of(getattr(item, name)):
            return [item._replace(**{name: half}) for half in halves]
    return []


def may_abort(item: Any) -> bool:
    """Whether reading an item may end the process that reads it, as some damaged files do."""
    from headwater.components.common.sources.formats import FORMATS

    formats = (FORMATS.get(getattr(file, "format", "")) for file in _files_of(item))
    return any(format.may_abort for format in formats if format)


def _files_of(item: Any) -> Iterator[Any]:
    """What has a `uri` in an item: files and shards, alone, in tuples, or as parts of elements."""
    if isinstance(getattr(item, "uri", None), str):
        yield item
    for name in ("file", "element", "plain"):
        if hasattr(item, name):
            yield from _files_of(getattr(item, name))
    if isinstance(item, tuple):
        for part in item:
            if not isinstance(part, (str, bytes, int)):
                yield from _files_of(part)
