"""Users' own code: named in settings, or handed over as a function in this very process; never unpickled from outside.

A function that has no name to import it by, as one of a notebook, travels to this process's own workers and nowhere else.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from typing import Any

from headwater.components.common.errors import HeadwaterError

_LONGEST = 200
_QUOTED = re.compile(r"""(['"])(.*?)\1""", re.DOTALL)

# What was handed over, by the name that stands for it in settings.
_given: dict[str, Callable[..., Any]] = {}


def named(value: Any) -> Any:
    """Settings with a name in the place of each function; the same settings where there is none.

    The name tells the function's code, so that a later version of it is another setting.
    """
    if isinstance(value, Mapping):
        return {key: named(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [named(each) for each in value]
    return _name(value) if callable(value) and not isinstance(value, type) else value


def packed() -> bytes:
    """The functions that were handed over, for workers that this process starts; empty where there are none."""
    if not _given:
        return b""
    import cloudpickle

    return cloudpickle.dumps(_given)


def unpack(content: bytes) -> None:
    """Takes over what the process that started this one packed."""
    if content:
        import cloudpickle

        _given.update(cloudpickle.loads(content))


def find_function(where: str, name: str) -> Callable[..., Any]:
    """The function of a name, `package.module:function`.

    Args:
      where: the setting's name, for errors.
      name: of a function that can be imported where this runs, or that was handed over.

    Raises:
      HeadwaterError: there is none.
    """
    if name in _given:
        return _given[name]
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise HeadwaterError(f"{where}: {name!r} is not the name of a function; write package.module:function")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise HeadwaterError(f"{where}: {name}: the module cannot be imported: {error}") from None
    except AttributeError:
        raise HeadwaterError(f"{where}: {name}: the module {module} has no {attribute!r}") from None
    if not callable(function):
        raise HeadwaterError(f"{where}: {name} is a {type(function).__name__}, not a function")
    return function


def code_of(name: str) -> str:
    """What tells a function's code from a later one: the SHA-256 of its module's file; empty where it has none.

    Args:
      name: as `find_function` takes it; it can be imported, or was handed over.
    """
    if name in _given:
        return _digest(_given[name])
    file = getattr(importlib.import_module(name.partition(":")[0]), "__file__", None)
    try:
        with open(file or "", "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return ""


def failure(error: BaseException, function: Callable[..., Any], row: Mapping[str, Any] | None) -> str:
    """What a user's function failed with: the error, its message and the line, without values of the data.

    Args:
      error: what it raised.
      function: the function, or an object that holds it.
      row: the values that it failed on, by column; None where they are not known, and the message is left out.
    """
    code = _code(function)
    file = code.co_filename if code else ""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file]
    # A cell's file is a temporary one that nobody knows.
    name = "the cell" if "ipykernel_" in file else os.path.basename(file)
    place = f" ({name}, line {own[-1].lineno})" if own else ""
    text = _without_values(str(error), row, _words(code)) if row is not None else ""
    return f"{type(error).__name__}{f': {text}' if text else ''}{place}"


def _without_values(message: str, row: Mapping[str, Any], words: Collection[str]) -> str:
    for column, value in sorted(row.items(), key=lambda each: -len(str(each[1]))):
        if str(value):
            message = re.sub(rf"(?<!\w){re.escape(str(value))}(?!\w)", f"<{column}>".replace("\\", r"\\"), message)
    known = {*words, *row, *(f"<{column}>" for column in row)}
    # What else is quoted may be a part of a value.
    message = _QUOTED.sub(lambda match: match[0] if match[2] in known else f"{match[1]}…{match[1]}", message)
    message = " ".join(message.split())
    return message if len(message) <= _LONGEST else message[:_LONGEST] + "…"


def _words(code: Any) -> set[str]:
    """The names and texts that stand in a function's code."""
    if code is None:
        return set()
    inner = [each for each in code.co_consts if inspect.iscode(each)]
    own = {each for each in code.co_consts if isinstance(each, str)}
    return own.union(code.co_names, code.co_varnames, *map(_words, inner))


def _name(function: Callable[..., Any]) -> str:
    module = getattr(function, "__module__", None) or "__main__"
    name = getattr(function, "__qualname__", None) or type(function).__name__
    if module != "__main__" and getattr(sys.modules.get(module), name, None) is function:
        return f"{module}:{name}"
    name_given = f"{module}:{name}#{_digest(function)[:16]}"
    _given[name_given] = function
    return name_given


def _digest(function: Callable[..., Any]) -> str:
    """Of the function's code, and of the plain values that it closes over."""
    code = _code(function)
    inner = getattr(function, "__closure__", None) or ()
    bound = [cell.cell_contents for cell in inner] + list(getattr(function, "__defaults__", None) or ())
    plain = [value for value in bound if isinstance(value, (str, bytes, int, float, bool, type(None)))]
    return hashlib.sha256(repr([_content(code), plain, type(function).__name__]).encode()).hexdigest()


def _content(code: Any) -> Any:
    if code is None:
        return None
    consts = [_content(each) if inspect.iscode(each) else repr(each) for each in code.co_consts]
    return [code.co_code.hex(), consts, code.co_names, code.co_varnames]


def _code(function: Callable[..., Any]) -> Any:
    """The code of a function, or of the one that an object holds, as Snorkel's do; None where there is none."""
    held = [function, *(vars(function).values() if hasattr(function, "__dict__") else ())]
    return next((each.__code__ for each in held if inspect.isfunction(each)), None)
