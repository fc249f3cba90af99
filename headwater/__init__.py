"""Headwater: components for the upstream end of machine learning. Its parts are `headwater.components` and
`headwater.pipelines`."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module 'headwater' has no attribute {name!r}")
    import importlib.metadata

    return importlib.metadata.version("headwater")
