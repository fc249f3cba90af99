"""What may stand in a project file: one model of all sections, put together from the components' own.

It is for those who describe the settings (the JSON Schema, the tables of the READMEs) or look for paths among them;
each component checks its sections itself, by `from_project`.
"""

from __future__ import annotations

import functools
import importlib
import operator
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pydantic

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.platform import Platform
from headwater.components.common.project import SECTIONS
from headwater.components.common.settings import PLACE

REFERENCES = re.compile(r"auto|none|latest|previous|(span|season|window):\d+")
"""What may stand in the place of a path, and is none."""

_SETTINGS = (
    "headwater.components.collect.settings",
    "headwater.components.label.settings",
    "headwater.components.generate_statistics.settings",
    "headwater.components.infer_schema.curation",
    "headwater.components.validate.settings",
)


@functools.cache
def project_model() -> type[pydantic.BaseModel]:
    """The model of a project file."""
    collect, label, statistics, curation, validate = map(importlib.import_module, _SETTINGS)
    steps = functools.reduce(operator.or_, label.step_models())
    own_steps: Any = (list[Annotated[steps, pydantic.Field(discriminator="method")]], [])  # type: ignore[valid-type]
    sources: Any = list[Annotated[str, PLACE] | collect.database_model()]  # type: ignore[misc,valid-type]
    sections: dict[str, Any] = {
        "name": (str, collect.Settings.model_fields["name"].default),
        "sources": (sources, []),
        "collect": _optional("Collect", collect.Section),
        "label": _optional("Label", label.Section, steps=own_steps),
        "statistics": _optional("Statistics", statistics.Settings),
        "schema_": _optional("Schema", curation.Section, "schema"),
        "validate_": _optional("Validate", validate.section_model(), "validate"),
        "alerts": (validate.Alerts.model_fields["alerts"].annotation, []),
        "platform": _optional("Platform", Platform),
    }
    return pydantic.create_model("Project", __config__=pydantic.ConfigDict(extra="forbid"), **sections)


def _optional(name: str, base: type[pydantic.BaseModel], alias: str | None = None, **fields: Any) -> tuple[Any, Any]:
    model = pydantic.create_model(name, __base__=base, __doc__=base.__doc__, **fields)
    return (model | None, pydantic.Field(None, alias=alias))


def check(project: Mapping[str, Any]) -> None:
    """Checks all sections, each by its component.

    Raises:
      HeadwaterError: begins with the key that is wrong, says what is wrong with it and what is allowed.
    """
    for key in project:
        if key not in SECTIONS and (homes := _homes(str(key))):
            raise HeadwaterError(f"{key}: there is no such section; did you mean {homes[0]}.{key}?")
    for name in _SETTINGS:
        try:
            importlib.import_module(name).from_project(project)
        except HeadwaterError as error:
            key, _, message = str(error).partition(": ")
            homes = _homes(key.rpartition(".")[2]) if message.startswith("there is no such setting; the") else []
            if not homes:
                raise
            meant = f"there is no such setting; did you mean {homes[0]}.{key.rpartition('.')[2]}?"
            raise HeadwaterError(f"{key}: {meant}") from None


def _homes(key: str) -> list[str]:
    """The sections that have a setting of this name."""
    models = json_schema()["$defs"]
    own = {name: models.get(name.capitalize(), {}).get("properties", {}) for name in SECTIONS}
    return [name for name, settings in own.items() if key in settings]


@functools.cache
def json_schema() -> dict[str, Any]:
    """The JSON Schema of a project file, as editors take it."""
    from headwater.pipelines.project.describing import Described

    schema = project_model().model_json_schema(by_alias=True, schema_generator=Described)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Headwater's project file"}


def places(project: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The settings that are paths or URIs, each with the keys that lead to it; references are left out."""
    seen = set()
    schema = json_schema()
    for path, value in _places(schema, project, (), schema["$defs"]):
        if path not in seen and value and not REFERENCES.fullmatch(value):
            seen.add(path)
            yield path, value


def _places(
    node: Mapping[str, Any], value: Any, path: tuple[str | int, ...], models: Mapping[str, Any]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if "$ref" in node:
        node = models[node["$ref"].rpartition("/")[2]]
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _places(choice, value, path, models)
    if isinstance(value, str):
        if node.get("format") == "uri-reference":
            yield path, value
    elif isinstance(value, Mapping):
        others = node.get("additionalProperties")
        for key, part in value.items():
            inner = node.get("properties", {}).get(key, others)
            if isinstance(inner, Mapping):
                yield from _places(inner, part, (*path, key), models)
    elif isinstance(value, (list, tuple)) and "items" in node:
        for number, part in enumerate(value):
            yield from _places(node["items"], part, (*path, number), models)
