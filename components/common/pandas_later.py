"""pyarrow without pandas until somebody needs it.

When pyarrow first makes an array it imports pandas, an eighth of a second, to know pandas' objects should it be given one. In
a process that runs nothing but our own work there is none. There pyarrow is given names in place of pandas' classes, which
know no object before pandas is imported, and import it where they are asked for more, as for a time in nanoseconds.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pyarrow as pa

# What pyarrow keeps of pandas; of anything else that a version wants, it gets the real one.
_CLASSES = ("Categorical", "DataFrame", "Index", "Series")
_TYPES = ("api.extensions.ExtensionArray", "api.extensions.ExtensionDtype", "api.types.DatetimeTZDtype")


@contextlib.contextmanager
def put_off(wanted: bool = True) -> Iterator[None]:
    """Within it nobody can import pandas, but pyarrow for a time in nanoseconds; afterwards it is as if nothing had been.

    Args:
      wanted: whether to do so.
    """
    began = wanted and begin()
    try:
        yield
    finally:
        if began:
            _end()


def begin() -> bool:
    """As entering `put_off`; whether there is anything to end."""
    if "pandas" in sys.modules:
        return False
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        sys.modules["pandas"] = _Names("", {"__version__": importlib.metadata.version("pandas")})
        # Asked for the first time it imports pandas, and keeps what it gets.
        _ = pa.lib._pandas_api.have_pandas
    # Its parts in C++ try for themselves, each time until they succeed.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    return True


def _end() -> None:
    if sys.modules.get("pandas", pa) is None:
        del sys.modules["pandas"]


class _Names(ModuleType):
    """A module of pandas, of which what pyarrow keeps is known by name, and the rest is the real module's.

    Args:
      path: below pandas.
      known: what is known.
    """

    def __init__(self, path: str, known: dict[str, Any]):
        super().__init__("pandas")
        self.__dict__.update(known, _path=path)

    def __getattr__(self, name: str) -> Any:
        path = f"{self._path}.{name}".lstrip(".")
        if path in (*_CLASSES, *_TYPES):
            return _Named(name, (), {"path": path})
        if any(each.startswith(f"{path}.") for each in _TYPES):
            return _Names(path, {})
        if path == "api.types.is_extension_array_dtype":
            return lambda given: _real(path)(given)
        return getattr(_real(self._path), name)


class _Named(type):
    """A class of pandas by its name: no object is an instance before pandas is imported."""

    path: str

    def __instancecheck__(cls, instance: object) -> bool:
        return sys.modules.get("pandas") is not None and isinstance(instance, _real(cls.path))

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        return _real(cls.path)(*arguments, **named)

    def __getattr__(cls, name: str) -> Any:
        return getattr(_real(cls.path), name)


def _real(path: str) -> Any:
    _end()
    import pandas

    found: Any = pandas
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found
