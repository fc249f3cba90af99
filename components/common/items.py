"""Which files the elements of a graph are about, whatever else they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Numbered(NamedTuple):
    """An item with its number among all of its graph."""

    number: int
    item: Any


def name_of(item: Any) -> str:
    """The URI of the file that an item is about, for messages."""
    return next((file.uri for file in _files_of(item)), "a part of the work")


def may_abort(item: Any) -> bool:
    """Whether reading an item may end the process that reads it, as some damaged files do."""
    from headwater.components.common.sources.formats import FORMATS

    formats = (FORMATS.get(getattr(file, "format", "")) for file in _files_of(item))
    return any(format.may_abort for format in formats if format)


def _files_of(item: Any) -> Iterator[Any]:
    """What has a `uri` in an item: a file or a shard, alone, in a tuple, in its `parts`, or as a part of an element."""
    if isinstance(item, Numbered):
        item = item.item
    for part in item if type(item) is tuple else getattr(item, "parts", [item]):
        holders = [part, *(getattr(part, name, None) for name in ("file", "element", "plain"))]
        holders += [getattr(getattr(part, name, None), "file", None) for name in ("element", "plain")]
        yield from (holder for holder in holders if isinstance(getattr(holder, "uri", None), str))
