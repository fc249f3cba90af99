"""The folders below a `data_root`, recognised by their names."""

from __future__ import annotations

import re
from typing import NamedTuple

from headwater.components.common import results, storage

_PLACE = re.compile(r"(?P<name>[^/]+)/span=(?P<span>\d+)/version=(?P<version>\d+)/(?P<folder>[^/]+)/(?P<path>.+)")
_SCRATCH = re.compile(r"_scratch/[^/]+")
_NOTE = re.compile(r"([^/]+)/_made/([0-9a-f]{64})\.json")
KINDS = {folder: kind for kind, folder in results.FOLDERS.items()}
REPORTS = "reports"


class Version(NamedTuple):
    """One version of a span of a dataset."""

    name: str
    span: int
    version: int


class Place(NamedTuple):
    """Where a file lies.

    Attributes:
      version: the version that it belongs to; None for scratch.
      folder: the folder below the version, as `results.FOLDERS` names it, or "reports"; of scratch, its own.
      path: its path in the folder.
    """

    version: Version | None
    folder: str
    path: str


def place_of(path: str) -> Place | None:
    """The place of a file by its path below the root; None for what is not Headwater's."""
    match = _PLACE.fullmatch(path)
    if match:
        if match["folder"] not in KINDS and match["folder"] != REPORTS:
            return None
        version = Version(match["name"], int(match["span"]), int(match["version"]))
        return Place(version, match["folder"], match["path"])
    scratch = _SCRATCH.match(path)
    return Place(None, scratch[0], path[len(scratch[0]) :].lstrip("/")) if scratch else None


def note_of(path: str) -> tuple[str, str] | None:
    """The dataset and the fingerprint that a file notes the place of, by its path below the root; None where it is no note."""
    match = _NOTE.fullmatch(path)
    return (match[1], match[2]) if match else None


def folder_of(root: str, place: Place) -> str:
    """The URI of a place's folder."""
    if place.version is None:
        return storage.join(root, place.folder)
    name, span, version = place.version
    return storage.join(root, name, f"span={span}", f"version={version}", place.folder)
