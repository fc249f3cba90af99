"""Keeps pyarrow from running code that a file carries (CVE-2023-47248).

A Parquet or Arrow file may name the extension type `arrow.py_extension_type`, whose metadata is a pickle. pyarrow before
14.0.1 unpickles it as soon as it reads the schema. Here that type is unknown to pyarrow, so that such a column is read as
its storage type, as a column of any other unknown extension type is.
"""

from __future__ import annotations

import atexit
import importlib.metadata

_SAFE = (14, 0, 1)
_TYPE = "arrow.py_extension_type"


def install() -> None:
    """Makes this process safe, whatever was imported before and whatever is imported after."""
    numbers = importlib.metadata.version("pyarrow").split(".")[:3]
    if tuple(int("".join(filter(str.isdigit, number)) or 0) for number in numbers) >= _SAFE:
        return
    import pyarrow

    # Beam imports it as well, sooner or later. It registers a type that refuses with a traceback, once; after that
    # nothing registers the unsafe type again.
    import pyarrow_hotfix  # noqa: F401

    pyarrow.unregister_extension_type(_TYPE)
    # pyarrow would do the same at the end of the process, and complain that it is done.
    atexit.unregister(pyarrow.lib._unregister_py_extension_types)
