"""Kubernetes' own forms of values: quantities, names of images and objects, labels; as pydantic's types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.times import seconds

_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_MEMORY = re.compile(rf"(\d+)({'|'.join(filter(None, _BYTES))})?")
_CPU = re.compile(r"(\d+(?:\.\d+)?)(m)?")
_IMAGE = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?"
)
_REGISTRY = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*/?")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL_KEY = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?")
_LABEL = re.compile(r"(?:[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?)?")
_SECRET_KEY = re.compile(r"[\w.-]{1,253}")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")


def memory_bytes(text: str) -> int:
    """A Kubernetes quantity of memory, as 512Mi or 4Gi, in bytes.

    Raises:
      ValueError: it has another form.
    """
    match = _MEMORY.fullmatch(text)
    if not match:
        raise ValueError("must be an integer with Mi, Gi or Ti, as 512Mi or 4Gi")
    return int(match[1]) * _BYTES[match[2] or ""]


def cpu_cores(text: str) -> float:
    """A Kubernetes quantity of CPU, as 2, 0.5 or 500m, in cores.

    Raises:
      ValueError: it has another form.
    """
    match = _CPU.fullmatch(text)
    if not match or float(match[1]) == 0:
        raise ValueError("must be a number of cores or of thousandths, as 2, 0.5 or 500m")
    return float(match[1]) / (1000 if match[2] else 1)


def _cpu(value: Any) -> Any:
    # YAML reads 2 and 0.5 as numbers.
    text = f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if isinstance(text, str):
        cpu_cores(text)
    return text


def _memory(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        memory_bytes(value)
    return value


def _duration(text: Any) -> Any:
    if isinstance(text, int) and not isinstance(text, bool):
        raise ValueError(f"needs a unit, as {text}m")
    if not isinstance(text, str):
        return text
    try:
        duration = seconds(text)
    except HeadwaterError as error:
        raise ValueError(str(error)) from None
    if duration < 1:
        raise ValueError("must be at least 1s")
    return text


def _image(text: str) -> str:
    match = _IMAGE.fullmatch(text)
    if not match:
        raise ValueError("is not the name of an image; it must be like registry.example.com/team/headwater:0.2.0")
    if not match["digest"] and match["tag"] in (None, "latest"):
        raise ValueError("needs a tag that never moves, as :0.2.0, or a digest: the tag is part of the cache's key")
    return text


def _registry(text: str) -> str:
    if not _REGISTRY.fullmatch(text):
        raise ValueError(
            "is not a registry's address; it must be like registry.example.com/team, without https:// and tag"
        )
    return text.rstrip("/")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("is not the name of a Kubernetes object; use lower-case letters, digits, '-' and '.'")
    return text


def _secrets(value: Any) -> Any:
    for name, keys in value.items() if isinstance(value, Mapping) else ():
        if not _NAME.fullmatch(str(name)):
            raise ValueError(f"{name!r} is not the name of a secret; use lower-case letters, digits, '-' and '.'")
        if not isinstance(keys, Mapping) or not keys:
            raise ValueError(
                f"the secret {name!r} needs its keys, each with the environment variable that it fills, as in "
                "{accesskey: AWS_ACCESS_KEY_ID}"
            )
        for key, variable in keys.items():
            if not _SECRET_KEY.fullmatch(str(key)):
                raise ValueError(
                    f"the secret {name!r} cannot have a key {key!r}; use letters, digits, '-', '_' and '.'"
                )
            if not isinstance(variable, str) or not _VARIABLE.fullmatch(variable):
                raise ValueError(
                    f"the key {key!r} of the secret {name!r} needs the name of an environment variable, as "
                    f"AWS_ACCESS_KEY_ID, not {variable!r}"
                )
    return value


def _secret_files(value: Any) -> Any:
    for name, folder in value.items() if isinstance(value, Mapping) else ():
        if not _NAME.fullmatch(str(name)):
            raise ValueError(f"{name!r} is not the name of a secret; use lower-case letters, digits, '-' and '.'")
        if not isinstance(folder, str) or not folder.startswith("/") or folder.rstrip("/") in ("", "/tmp"):
            raise ValueError(f"the secret {name!r} needs a folder of its own, as /etc/gcs, not {folder!r}")
    return value


def _environment(value: Any) -> Any:
    for name in value if isinstance(value, Mapping) else ():
        if not _VARIABLE.fullmatch(str(name)):
            raise ValueError(f"{name!r} is not the name of an environment variable")
    return value


def _labels(value: Any) -> Any:
    for key, text in value.items() if isinstance(value, Mapping) else ():
        if not _LABEL_KEY.fullmatch(str(key)):
            raise ValueError(f"{key!r} is not the key of a label; it must be like team or example.com/team")
        if isinstance(text, str) and not _LABEL.fullmatch(text):
            raise ValueError(f"{key}: {text!r} is not the value of a label; use letters, digits, '-', '_' and '.'")
    return value


def _annotations(value: Any) -> Any:
    for key in value if isinstance(value, Mapping) else ():
        if not _LABEL_KEY.fullmatch(str(key)):
            raise ValueError(f"{key!r} is not the key of an annotation; it must be like example.com/owner")
    return value


Cpu = Annotated[str, pydantic.BeforeValidator(_cpu)]
Memory = Annotated[str, pydantic.BeforeValidator(_memory)]
Duration = Annotated[str, pydantic.BeforeValidator(_duration)]
Image = Annotated[str, pydantic.AfterValidator(_image)]
Name = Annotated[str, pydantic.AfterValidator(_name)]
Labels = Annotated[dict[str, str], pydantic.BeforeValidator(_labels)]
Annotations = Annotated[dict[str, str], pydantic.BeforeValidator(_annotations)]
Registry = Annotated[str, pydantic.AfterValidator(_registry)]
Secrets = Annotated[dict[str, dict[str, str]], pydantic.BeforeValidator(_secrets)]
SecretFiles = Annotated[dict[str, str], pydantic.BeforeValidator(_secret_files)]
Environment = Annotated[dict[str, str], pydantic.BeforeValidator(_environment)]
