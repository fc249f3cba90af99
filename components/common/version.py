"""The package's version, which is also the tag of its images."""

from __future__ import annotations

import importlib.metadata
import os

VERSION = importlib.metadata.version("headwater")

_REGISTRY = os.environ.get("HEADWATER_REGISTRY", "").rstrip("/")


def _image(name: str) -> str:
    return f"{_REGISTRY}/{name}:{VERSION}".removeprefix("/")


CORE_IMAGE = _image("headwater-core")
"""Image that components without TensorFlow run in. The tag never moves: it is part of KFP's cache key. Set
`HEADWATER_REGISTRY` when compiling to name yours."""

TFDV_IMAGE = _image("headwater-tfdv")
"""Image that components with TensorFlow Data Validation run in; it has all that the other has."""
