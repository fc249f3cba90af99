"""Users' settings: read from YAML, and checked by pydantic, its errors put as one sentence that names the key."""

from __future__ import annotations

import difflib
import os
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pydantic

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError

Model = TypeVar("Model", bound=pydantic.BaseModel)

MOST_LISTED = 12
"""How many of a model's settings an error lists, where none is like the wrong one."""

_LIKE = 0.65

PLACE = pydantic.Field(json_schema_extra={"format": "uri-reference"})
"""Marks a setting that is a path or a URI: in a project file a path is taken from the file's folder."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 4


def checked(model: type[Model], settings: Mapping[str, Any], where: str = "") -> Model:
    """The settings as the model.

    Args:
      model: what they must be.
      settings: by key; a result or a `pathlib.Path` stands for its URI or path.
      where: the key that they stand under, for errors.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    settings = _with_paths(settings)
    try:
        return model.model_validate(settings)
    except pydantic.ValidationError as error:
        first, place = _first(error, settings)
        key = ".".join(part for part in (where, *map(str, place)) if part)
        if first["type"] == "extra_forbidden":
            known = settings_of(_model_at(model, place[:-1]))
            problem = HeadwaterError(f"{key}: there is no such setting{meant(str(place[-1]), known)}")
        else:
            message = first["msg"].removeprefix("Value error, ")
            message = f"{message[0].lower()}{message[1:]}"
            # Where several settings do not go together, all of them are the input.
            if not isinstance(first["input"], Mapping):
                message = f"{message}; given: {_SHORT.repr(first['input'])}"
            problem = HeadwaterError(f"{key}: {message}" if key else message)
        raise problem from None


def _with_paths(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {key: _with_paths(each) for key, each in value.items()}
    return [_with_paths(each) for each in value] if isinstance(value, list) else value


def _first(error: pydantic.ValidationError, settings: Any) -> tuple[Mapping[str, Any], tuple[Any, ...]]:
    """The first error and where it is; of a value that may be of several kinds, the one of the kind that it looks
    like."""
    errors = [(each, _place(each["loc"], settings)) for each in error.errors()]
    first, place = errors[0]
    if first["type"] == "missing":
        # A wrong key beside it is most often the one that is missing.
        first, place = next(
            (
                (each, other)
                for each, other in errors
                if each["type"] == "extra_forbidden" and other[:-1] == place[: len(other) - 1]
            ),
            errors[0],
        )
    own = [(each, other) for each, other in errors if other[: len(place)] == place]
    # Models come last among the kinds, and only a mapping looks like one.
    return own[-1] if isinstance(first["input"], Mapping) and len(own) > 1 else (first, place)


def _place(loc: Sequence[Any], value: Any) -> tuple[Any, ...]:
    """The path of keys, without the names of kinds that pydantic puts in between."""
    kept = []
    for number, part in enumerate(loc):
        if isinstance(value, Mapping) and part in value or isinstance(value, (list, tuple)) and isinstance(part, int):
            value = value[part] if not isinstance(value, (list, tuple)) or part < len(value) else None
        elif (
            number < len(loc) - 1
            or not isinstance(value, Mapping)
            or part not in value
            and not str(part).isidentifier()
        ):
            continue
        kept.append(part)
    return tuple(kept)


def settings_of(model: type[pydantic.BaseModel]) -> list[str]:
    """The names of a model's settings, as users write them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def meant(key: str, known: Sequence[str], kind: str = "settings") -> str:
    """What a wrong key may have been meant for, as the rest of a sentence."""
    near = difflib.get_close_matches(key, known, 1, _LIKE)
    if near:
        return f"; did you mean {near[0]!r}?"
    more = ", …" if len(known) > MOST_LISTED else ""
    return f"; the {kind} are {', '.join(known[:MOST_LISTED])}{more}"


def read_config(uri: str) -> dict[str, Any]:
    """The settings of a YAML (or JSON) file.

    Raises:
      HeadwaterError: the file does not parse; names the line.
    """
    try:
        text = storage.read_bytes(storage.normalise(uri)).decode()
    except UnicodeDecodeError as error:
        raise HeadwaterError(f"{uri}: is not valid YAML: {error}") from None
    return parse_config(uri, text)


def parse_config(uri: str, text: str) -> Any:
    """The settings of a YAML (or JSON) text.

    Args:
      uri: where it is from, for errors.
      text: the text.

    Raises:
      HeadwaterError: the text does not parse, or a key is given twice; names the line.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.2's core: `on` is a word, and so is the country code `no`; a date is the text that it is written as."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            lines: dict[Any, int] = {}
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                    continue
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise HeadwaterError(
                        f"{uri}, line {line}: the key {key.value!r} is given twice; line {lines[key.value]} has it too"
                    )
                lines[key.value] = line
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in parsed if tag.rpartition(":")[2] not in ("bool", "timestamp")]
        for first, parsed in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), ["t", "f"])
    try:
        parsed = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f", line {place.line + 1}" if place else ""
        raise HeadwaterError(f"{uri}{where}: is not valid YAML: {getattr(error, 'problem', None) or error}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise HeadwaterError(f"{uri}: is not valid YAML: {error}") from None
    return {} if parsed is None else parsed


def whole_numbers(value: Any) -> Any:
    """Floats that are whole as integers: KFP knows no others. A field that wants a float takes an integer too."""
    if isinstance(value, Mapping):
        return {name: whole_numbers(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [whole_numbers(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _model_at(model: type[pydantic.BaseModel], path: tuple[Any, ...]) -> type[pydantic.BaseModel]:
    """The model that an error's place leads to; a mapping's keys lead on to its values."""
    for part in path:
        if part in model.model_fields:
            model = next(_models_in(model.model_fields[part].annotation), model)
    return model


def _models_in(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    """The models of a field: its own, or those that it is a list, a mapping or a choice of."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)
