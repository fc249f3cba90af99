"""The settings of one command: the project file, then `--set`, then the command's own flags; errors name where each is."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headwater.components.common import storage, stores
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.project import SECTIONS
from headwater.components.common.settings import parse_config
from headwater.pipelines.project import files, model

Path = tuple[str | int, ...]

_PART = re.compile(r'"([^"]*)"|([^."]+)')
_NUMBER = re.compile(r"\d+")
_OWN = {"config": "validate", "curation": "schema", "steps": "label.steps", "as_of": "label.as_of"}
"""What components call settings whose section they do not know."""


@dataclasses.dataclass(frozen=True)
class Project:
    """The settings of one command.

    Attributes:
      settings: by section.
      uri: the project file; empty for none.
      text: its text.
      set: the keys that `--set` has set, as it was written.
    """

    settings: dict[str, Any]
    uri: str = ""
    text: str = ""
    set: tuple[str, ...] = ()

    def check(self) -> None:
        """Checks all sections.

        Raises:
          HeadwaterError: names file, line and key, what is wrong and what would be right.
        """
        with self.errors():
            model.check(self.settings)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Puts file and line before an error that begins with a key of the file, or `--set` where that set the key."""
        try:
            yield
        except HeadwaterError as error:
            raise self.placed(error) from None

    def placed(self, error: HeadwaterError) -> HeadwaterError:
        """The error with its file and line before it."""
        key, _, message = str(error).partition(": ")
        if key.partition(".")[0] not in SECTIONS:
            whole = self._whole(key)
            if whole is None:
                return error
            key = whole
        if any(key == each or key.startswith(f"{each}.") for each in self.set):
            return _as(error, f"--set {key}: {message}")
        if not self.uri:
            return _as(error, f"{key}: {message}")
        line = line_of(self.text, key)[0]
        return _as(error, f"{self.uri}{f', line {line}' if line else ''}: {key}: {message}")

    def _whole(self, key: str) -> str | None:
        """The key with its section, where it is of one only: what a component says at work begins within its section."""
        if self._has(key):
            return key
        for own, section in _OWN.items():
            if key == own or key.startswith(f"{own}."):
                return section + key[len(own) :] if self._has(section + key[len(own) :]) else None
        given = [f"{section}.{key}" for section in SECTIONS if self._has(f"{section}.{key}")]
        return given[0] if len(given) == 1 else None

    def _has(self, key: str) -> bool:
        return key in self.set or bool(self.uri) and line_of(self.text, key)[1]


def load(
    given: str = "",
    sets: Sequence[str] = (),
    flags: Sequence[tuple[Path, Any]] = (),
    sources: Sequence[str] = (),
) -> Project:
    """The settings of a command.

    Args:
      given: the project file that is named; empty to look for one.
      sets: `key=value` each, the value in YAML.
      flags: paths of keys and values that flags give; a mapping is added to the one that is there.
      sources: the data, beside which a project file may lie; in place of those of the file.

    Raises:
      HeadwaterError: the file does not parse, or a key leads through something else than a mapping.
    """
    uri = files.find(sources, given)
    text = files.read(uri) if uri else ""
    settings = parse_config(uri, text) if uri else {}
    if not isinstance(settings, dict):
        raise HeadwaterError(f"{uri}: must be a mapping of sections: {', '.join(SECTIONS)}")
    if uri:
        settings = _from_here(uri, settings)
    keys = []
    for each in sets:
        path, value = _parse_set(each, settings)
        settings = files.put("--set", settings, path, value)
        keys.append(".".join(map(str, path)))
    for path, value in flags:
        if isinstance(value, Mapping):
            value = {**(files.at(settings, path) or {}), **value}
        settings = files.put(uri or "--project", settings, path, value)
    if sources:
        settings = {**settings, "sources": list(sources)}
    return Project(_ordered(settings), uri, text, tuple(keys))


def _from_here(uri: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with paths as they are from the working folder: in the file they are taken from its own folder."""
    folder = storage.normalise(uri).rpartition("/")[0]
    if folder == os.getcwd():
        return settings
    for path, value in list(model.places(settings)):
        if not stores.scheme(value) and not os.path.isabs(value) and not value.startswith("~"):
            settings = files.put(uri, settings, path, storage.join(folder, value))
    return settings


def _ordered(settings: dict[str, Any]) -> dict[str, Any]:
    """Splits as text: Kubeflow keeps no order of a mapping."""
    splits = files.at(settings, ("collect", "splits"))
    if isinstance(splits, Mapping) and splits:
        text = ",".join(f"{name}={weight}" for name, weight in splits.items())
        return files.put("", settings, ("collect", "splits"), text)
    return settings


def _parse_set(text: str, settings: Mapping[str, Any]) -> tuple[Path, Any]:
    key, mark, value = text.partition("=")
    if not mark or not key.strip():
        raise HeadwaterError(f"--set: {text!r} must be KEY=VALUE, as in validate.drift.min_effect=0.05")
    path: list[str | int] = []
    here: Any = settings
    for quoted, plain in _PART.findall(key.strip()):
        part: str | int = quoted or plain
        if isinstance(here, list) and plain and _NUMBER.fullmatch(plain):
            part = int(plain)
        path.append(part)
        here = files.at(here, (part,)) if isinstance(here, (Mapping, list)) else None
    return tuple(path), parse_config(f"--set {key}", value) if value.strip() else ""


def _as(error: HeadwaterError, message: str) -> HeadwaterError:
    placed = HeadwaterError(message)
    if hasattr(error, "code"):
        placed.code = error.code  # type: ignore[attr-defined]
    return placed


def line_of(text: str, key: str) -> tuple[int | None, bool]:
    """Where a YAML text has a key as errors write it.

    Args:
      text: the text.
      key: keys and numbers of entries, with dots between them; names may hold dots themselves.

    Returns:
      The line, from 1, of as much of it as is there, None for nothing; and whether that is all of it.
    """
    import yaml

    node, line = yaml.compose(text, yaml.SafeLoader), None
    while key and node is not None:
        if isinstance(node, yaml.MappingNode):
            candidates = [(name, inner) for name, inner in node.value if f"{key}.".startswith(f"{name.value}.")]
            if not candidates:
                break
            name, node = max(candidates, key=lambda pair: len(pair[0].value))
            line, key = name.start_mark.line + 1, key[len(name.value) + 1 :]
        elif isinstance(node, yaml.SequenceNode):
            number = _NUMBER.match(key)
            if not number or int(number[0]) >= len(node.value):
                break
            node = node.value[int(number[0])]
            # After the number may come the entry's name, as in rules.0 ('fare').row.
            line, key = node.start_mark.line + 1, key.partition(".")[2]
        else:
            break
    return line, not key
