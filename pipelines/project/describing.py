"""Settings in words, from the models' own docstrings: the tables of the READMEs, and the descriptions in the JSON Schema.

A README has a table between `<!-- settings: NAME -->` and `<!-- /settings -->`; `make compile` writes it anew, with those of
the components' inputs and outputs.
"""

from __future__ import annotations

import importlib
import inspect
import pathlib
import re
import types
import typing
from collections.abc import Collection, Iterator
from typing import Any

import pydantic
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from headwater.components.common.platform import Platform
from headwater.pipelines.project import ports

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_ENTRY = re.compile(r"([a-z_][\w, ]*): (.*)", re.DOTALL)
_ALIAS = re.compile(r"^\(`\w+`\) ")
_MARKS = re.compile(r"(<!-- settings: (\S+) -->\n).*?(<!-- /settings -->)", re.DOTALL)

READMES = ("README.md", *(f"components/{name}/README.md" for name in (
    "collect", "label", "generate_statistics", "infer_schema", "validate"
)))  # fmt: skip
"""Files that have tables."""


def models() -> dict[str, type[pydantic.BaseModel]]:
    """What a README's mark may name, with its model."""
    base = "headwater.components."
    collect = importlib.import_module(base + "collect.settings")
    label = importlib.import_module(base + "label.settings")
    validate = importlib.import_module(base + "validate.settings")
    return {
        "collect": collect.Section,
        "sources": collect.database_model(),
        "label": label.Section,
        **{f"label.{model.__name__}": model for model in label.step_models()},
        "label.ask": label.Ask,
        "statistics": importlib.import_module(base + "generate_statistics.settings").Settings,
        "schema": importlib.import_module(base + "infer_schema.curation").Section,
        "validate": validate.section_model(),
        "alerts": validate.Alerts,
        "platform": Platform,
    }


def descriptions(model: type[pydantic.BaseModel]) -> dict[str, str]:
    """What the docstrings of a model and of those that it extends say of each field."""
    described: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
        _, mark, listed = text.partition("\nAttributes:\n")
        for entry in re.split(r"\n(?=  \S)", listed) if mark else []:
            parts = _ENTRY.fullmatch(" ".join(entry.split()))
            if parts:
                words = _ALIAS.sub("", parts[2].rstrip(".;"))
                described.update(dict.fromkeys((name.strip() for name in parts[1].split(",")), words))
    return described


class Described(GenerateJsonSchema):
    """A JSON Schema whose properties have the docstrings' words."""

    def model_schema(self, schema: Any) -> Any:
        made = super().model_schema(schema)
        words = descriptions(schema["cls"])
        if "description" in made:
            made["description"] = made["description"].partition("\n")[0]
        for name, field in schema["cls"].model_fields.items():
            own = made.get("properties", {}).get(field.alias or name)
            if own is not None and name in words:
                own["description"] = _sentence(words[name])
        return made


def table(model: type[pydantic.BaseModel], apart: Collection[str] = ()) -> str:
    """The settings of a model and of those within it, as a table of Markdown.

    Args:
      model: the model.
      apart: settings of it whose own settings have a table of their own.
    """
    every = [
        row for row in dict.fromkeys(_rows(model, "")) if row[0].partition(".")[0] not in apart or "." not in row[0]
    ]
    rows = [f"| `{key}` | {default} | {text} |" for key, default, text in every]
    return "\n".join(["| setting | default | |", "| --- | --- | --- |", *rows, ""])


def keys_of(model: type[pydantic.BaseModel]) -> list[str]:
    """The settings of a model and of those within it, with dots between them."""
    return list(dict.fromkeys(key for key, _, _ in _rows(model, "")))


def _rows(model: type[pydantic.BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    words = descriptions(model)
    seen = set()
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        within = list(_within(field.annotation, ""))
        text = words.get(name, "")
        if not text and within:
            text = inspect.cleandoc(within[0][1].__doc__ or "").partition("\n")[0].rstrip(".")
        yield key, _default(field), _sentence(text).replace("|", "\\|")
        # A model that this one extends has the same settings, told already.
        for suffix, inner in within:
            for row in _rows(inner, f"{key}{suffix}.") if not issubclass(model, inner) else ():
                if row[0] not in seen:
                    seen.add(row[0])
                    yield row


def _within(annotation: Any, suffix: str) -> Iterator[tuple[str, type[pydantic.BaseModel]]]:
    """The models of a field, each with what leads to it: a name of a mapping, a number of a list."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield suffix, annotation
        return
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is dict:
        yield from _within(inner[1], f"{suffix}.<name>")
    elif origin is list:
        yield from _within(inner[0], f"{suffix}[]")
    elif origin in (typing.Union, types.UnionType):
        for each in inner:
            yield from _within(each, suffix)
    elif origin is typing.Annotated:
        yield from _within(inner[0], suffix)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default()
    if value is None or value in ("", [], {}, ()):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, pydantic.BaseModel):
        return ""
    if isinstance(value, dict):
        return "`" + ",".join(f"{name}={part}" for name, part in value.items()) + "`"
    return f"`{value}`"


def _sentence(text: str) -> str:
    return text.replace("\n", " ").strip()


def written(text: str) -> str:
    """A README with its tables as the models have them now."""
    known = models()

    def made(mark: re.Match[str]) -> str:
        apart = {name.removeprefix(f"{mark[2]}.") for name in known if name.startswith(f"{mark[2]}.")}
        return mark[1] + table(known[mark[2]], apart) + mark[3]

    return ports.written(_MARKS.sub(made, text))


def write(root: pathlib.Path = _ROOT) -> list[str]:
    """Writes the tables of all READMEs anew; gives those that have some."""
    changed = []
    for name in READMES:
        text = (root / name).read_text(encoding="utf-8")
        if _MARKS.search(text):
            (root / name).write_text(written(text), encoding="utf-8")
            changed.append(name)
    return changed
