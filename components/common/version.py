"""The package's version, which is also the tag of its image."""

from __future__ import annotations

import importlib.metadata
import os

VERSION = importlib.metadata.version("headwater")

IMAGE = os.environ.get("HEADWATER_IMAGE", f"headwater:{VERSION}")
"""Image that the components run in. The tag never moves: it is part of KFP's cache key. Set `HEADWATER_IMAGE` when
compiling to name your registry's."""
