"""The text of a project file: where it is found, how it is read, and how it is amended with its comments kept."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from headwater.components.common import storage, stores
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import parse_config

NAME = "headwater.yaml"
"""What a project file is called."""

NONE = "none"
"""What `--project` says to use no file although there is one."""

_WILD = "*?[{"
_INDENT = 2


def find(sources: Sequence[str] = (), given: str = "") -> str:
    """The project file to use: the one that is named, or that of the working folder, or the one beside the data.

    Args:
      sources: paths or URIs of the data.
      given: what `--project` says; `NONE` for no file.

    Returns:
      Its path or URI; empty for none.

    Raises:
      HeadwaterError: the named file does not exist, or several sources have different ones beside them.
    """
    if given == NONE:
        return ""
    if given:
        if not storage.exists(storage.normalise(given)):
            raise HeadwaterError(f"--project: {given}: there is no such file; `headwater init` writes one")
        return given
    if os.path.exists(NAME):
        return NAME
    beside = {place for source in sources if (place := _beside(source))}
    if len(beside) > 1:
        raise HeadwaterError(
            f"--project: there are several project files beside the data, {' and '.join(sorted(beside))}; name one"
        )
    return next(iter(beside), "")


def _beside(source: str) -> str:
    """The project file in a source's folder, or in the source if it is a folder; empty for none. Of this machine only:
    a store is not asked for what nobody named."""
    if stores.scheme(source):
        return ""
    parts = source.split(os.sep)
    wild = next((place for place, part in enumerate(parts) if set(part) & set(_WILD)), None)
    folder = os.sep.join(parts[:wild]) if wild is not None else source
    folder = folder if os.path.isdir(folder) else os.path.dirname(source if wild is None else folder)
    place = os.path.join(folder, NAME)
    return place if os.path.isfile(place) else ""


def read(uri: str) -> str:
    """The text of a file.

    Raises:
      HeadwaterError: it cannot be read, or is no text.
    """
    try:
        return storage.read_bytes(storage.normalise(uri)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HeadwaterError(f"{uri}: is not UTF-8 text: byte {error.start} cannot be decoded") from None


def amend(uri: str, path: Sequence[str | int], value: Any) -> None:
    """Sets one setting in a project file, which is made if there is none. Comments outside of the setting stay.

    Args:
      uri: path or URI of the file.
      path: the keys that lead to the setting, as in ("schema", "features", "age", "max").
      value: of JSON's types.

    Raises:
      HeadwaterError: the file does not parse, or has another kind of value on the way.
    """
    text = read(uri) if storage.exists(storage.normalise(uri)) else ""
    _write(uri, _amended(uri, text, tuple(path), value))


def append(uri: str, path: Sequence[str | int], entry: Any) -> None:
    """Adds an entry to a list in a project file, as `amend` does."""
    text = read(uri) if storage.exists(storage.normalise(uri)) else ""
    listed = at(parse_config(uri, text), path)
    if listed is not None and not isinstance(listed, list):
        raise HeadwaterError(f"{uri}: {'.'.join(map(str, path))}: must be a list")
    _write(uri, _amended(uri, text, (*path, len(listed or [])), entry))


def _write(uri: str, text: str) -> None:
    storage.write_bytes(storage.normalise(uri), text.encode())


def at(value: Any, path: Sequence[str | int]) -> Any:
    """What a path of keys leads to; None where it leads nowhere."""
    for part in path:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def put(uri: str, settings: dict[str, Any], path: Sequence[str | int], value: Any) -> dict[str, Any]:
    """A copy of settings with one of them set; what is missing on the way is made.

    Raises:
      HeadwaterError: something else than a mapping or a list is on the way.
    """
    result = copy.deepcopy(settings)
    here: Any = result
    for place, part in enumerate(path):
        where = ".".join(map(str, path[:place])) or "the file"
        last = place == len(path) - 1
        if isinstance(part, int):
            if not isinstance(here, list) or part > len(here):
                raise HeadwaterError(f"{uri}: {where}: has no entry {part}")
            here.extend([None] * (part + 1 - len(here)))
        elif not isinstance(here, dict):
            raise HeadwaterError(f"{uri}: {where}: must be a mapping to hold {part!r}")
        if last:
            here[part] = value
        else:
            inner = here[part] if isinstance(part, int) else here.get(part)
            here[part] = ([] if isinstance(path[place + 1], int) else {}) if inner is None else inner
            here = here[part]
    return result


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


def _amended(uri: str, text: str, path: tuple[str | int, ...], value: Any) -> str:
    import yaml

    wanted = put(uri, parse_config(uri, text), path, value)
    edit = _edit(text, yaml.compose(text, yaml.SafeLoader), path, value, wanted)
    result = text[: edit.start] + edit.text + text[edit.end :]
    try:
        done = parse_config(uri, result) == wanted
    except HeadwaterError:
        # An anchor that others lean on, for one, is gone.
        done = False
    if not done:
        raise HeadwaterError(
            f"{uri}: {'.'.join(map(str, path))} cannot be set without rewriting the file; set it by hand to "
            f"{_flow(value)}"
        )
    return result


def _edit(text: str, node: Any, path: tuple[str | int, ...], value: Any, wanted: Any) -> _Edit:
    """The edit that sets the value: at the deepest place on the path that is there."""
    import yaml

    if node is None:
        end = len(text)
        return _Edit(end, end, _line_end(text) + _block({path[0]: wanted[path[0]]}, 0))
    for place, part in enumerate(path):
        # What stands in braces, or is empty, is written anew as a whole.
        if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
            return _replaced(text, node, at(wanted, path[:place]))
        within = node.value
        if isinstance(node, yaml.MappingNode):
            inner = next((inner for key, inner in within if key.value == str(part)), None)
            column = within[0][0].start_mark.column
            entry: Any = {part: at(wanted, path[: place + 1])}
        else:
            inner = within[part] if isinstance(part, int) and part < len(within) else None
            # The column is that of the items' text, two after their dashes.
            column = text.rfind("-", 0, within[0].start_mark.index) - _line_start(text, within[0].start_mark.index)
            entry = [at(wanted, path[: place + 1])]
        if inner is None:
            end = _end_of(text, node)
            return _Edit(end, end, ("" if text[:end].endswith("\n") else "\n") + _block(entry, column))
        node = inner
    return _replaced(text, node, value)


def _replaced(text: str, node: Any, value: Any) -> _Edit:
    start, end = node.start_mark.index, _last(node).end_mark.index
    separator = " " if start == end and not text[:start].endswith((" ", "\n")) else ""
    if text[start:end].startswith(("|", ">")) or text[start:end].endswith("\n"):
        return _Edit(start, end, separator + _flow(value) + "\n")
    return _Edit(start, end, separator + _flow(value))


def _last(node: Any) -> Any:
    """The last leaf of a block, since PyYAML takes the comments after it for part of the block."""
    import yaml

    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    return node


def _end_of(text: str, node: Any) -> int:
    end = _last(node).end_mark.index
    if text[:end].endswith("\n"):
        return end
    line_end = text.find("\n", end)
    return len(text) if line_end < 0 else line_end + 1


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str) -> str:
    return "" if not text or text.endswith("\n") else "\n"


def _block(value: Any, column: int) -> str:
    import yaml

    lines = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110, indent=_INDENT).splitlines()
    return "".join(" " * column + line + "\n" for line in lines)


def _flow(value: Any) -> str:
    import yaml

    if value is None:
        return "null"
    dumped = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return dumped.removesuffix("\n").removesuffix("\n...").rstrip("\n")
