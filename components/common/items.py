"""Which files the elements of a graph are about, whatever else they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Numbered(NamedTuple):
    """An item with its number among all of its graph."""

    number: int
    item: Any


def name_of(item: Any) -> str:
    """The URI of the file that an item is about, for messages; of several the first and the last."""
    uris = [file.uri for file in _files_of(item)]
    if not uris:
        return "a part of the work"
    return uris[0] if len(runs_of(item)) < 2 or uris[0] == uris[-1] else f"{uris[0]} to {uris[-1]}"


def runs_of(item: Any) -> list[Any]:
    """The two halves of an item that is about several files or ranges, which can be worked on alone; else nothing."""
    if isinstance(item, Numbered):
        return runs_of(item.item)
    if hasattr(item, "halves"):
        return item.halves()
    if type(item) is tuple and len(item) > 1 and all(isinstance(part, tuple) for part in item):
        return [item[: len(item) // 2], item[len(item) // 2 :]]
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
