"""Users' own code, which is named and never unpickled."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from typing import Any

from headwater.components.common.errors import HeadwaterError


def find_function(where: str, name: str) -> Callable[..., Any]:
    """The function of a name, `package.module:function`.

    Args:
      where: the setting's name, for errors.
      name: of a function that can be imported where this runs.

    Raises:
      HeadwaterError: there is none.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise HeadwaterError(f"{where}: {name!r} is not the name of a function; write package.module:function")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise HeadwaterError(f"{where}: {name}: the module cannot be imported: {error}") from None
    except AttributeError:
        raise HeadwaterError(f"{where}: {name}: the module {module} has no {attribute!r}") from None
    if not callable(found):
        raise HeadwaterError(f"{where}: {name} is a {type(found).__name__}, not a function")
    return found


def code_of(name: str) -> str:
    """What tells a function's code from a later one: the SHA-256 of its module's file; empty where it has none.

    Args:
      name: as `find_function` takes it; it can be imported.
    """
    file = getattr(importlib.import_module(name.partition(":")[0]), "__file__", None)
    try:
        with open(file or "", "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return ""
