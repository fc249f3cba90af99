"""Users' settings checked by pydantic, its errors put as one sentence that names the key."""

from __future__ import annotations

from typing import Any, Mapping, TypeVar

import pydantic

from headwater.components.common.errors import HeadwaterError

Model = TypeVar("Model", bound=pydantic.BaseModel)


def checked(model: type[Model], settings: Mapping[str, Any], where: str = "") -> Model:
    """The settings as the model.

    Args:
      model: what they must be.
      settings: by key.
      where: the key that they stand under, for errors.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    try:
        return model.model_validate(settings)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(part for part in (where, *map(str, first["loc"])) if part)
        if first["type"] == "extra_forbidden":
            known = ", ".join(_model_at(model, first["loc"][:-1]).model_fields)
            raise HeadwaterError(f"{key}: there is no such setting; the settings are {known}") from None
        message = first["msg"].removeprefix("Value error, ")
        raise HeadwaterError(f"{key}: {message[0].lower()}{message[1:]}; given: {first['input']!r}") from None


def _model_at(model: type[pydantic.BaseModel], path: tuple[Any, ...]) -> type[pydantic.BaseModel]:
    """The model that an error's place leads to; a mapping's keys lead on to its values."""
    for part in path:
        if part in model.model_fields:
            inner = model.model_fields[part].annotation
            inner = getattr(inner, "__args__", (inner,))[-1]
            model = inner if isinstance(inner, type) and issubclass(inner, pydantic.BaseModel) else model
    return model
