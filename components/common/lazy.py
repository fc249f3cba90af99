"""Packages whose public names are loaded when they are first asked for, so that importing one costs nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from headwater.components.common.importing import uncollected


def lazy(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`.

    Args:
      package: the package's `__name__`.
      names: the module of the package that has each public name.
    """

    def load(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with uncollected():
            return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    return load


class Modules(Mapping[str, Any]):
    """A registry of modules, each imported when it is asked for.

    Attributes:
      names: by the name that settings use, the module's own.
    """

    def __init__(self, names: Mapping[str, str]):
        self.names = dict(names)

    def __getitem__(self, name: str) -> Any:
        with uncollected():
            return importlib.import_module(self.names[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
