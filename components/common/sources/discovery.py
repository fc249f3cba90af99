"""Which source files there are, and of what format."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.files import COMPRESSIONS, SourceFile
from headwater.components.common.sources.formats import ENDINGS, FORMATS
from headwater.components.common.sources.hive import partitions_of

ARCHIVE = "archive"
"""The format of a zip file before it is unpacked: its members have formats of their own."""


def recognise(name: str) -> tuple[str, str] | None:
    """The names of the format and the compression that a file's name tells, or None."""
    stem, ending = os.path.splitext(name.lower())
    compression = COMPRESSIONS.get(ending, "")
    if not compression:
        stem = name.lower()
    form = ENDINGS.get(os.path.splitext(stem)[1]) or next(
        (each for each in FORMATS.values() if each.is_named(os.path.basename(stem))), None
    )
    if form is None:
        return (ARCHIVE, compression) if compression == "zip" else None
    return form.name, compression


def discover(uris: Sequence[str], left_out: Collection[str] = (), roots: Mapping[str, str] = {}) -> list[SourceFile]:
    """The files that paths, folders, globs and URIs name, sorted by URI.

    Args:
      uris: what is named.
      left_out: keys of `key=value` folders that are no columns.
      roots: by URI, the folder below which its `key=value` folders are columns; what is named by default.

    Raises:
      HeadwaterError: nothing is there, or a file is of no format that is read.
    """
    if not uris:
        raise HeadwaterError("sources: must name at least one file, folder, glob or database")
    by_uri: dict[str, SourceFile] = {}
    for uri in uris:
        files = storage.expand(uri)
        root = roots.get(uri) or storage.fixed_part(uri)
        known = []
        for file in files:
            recognised = recognise(file.uri)
            if recognised:
                name, compression = recognised
                columns = partitions_of(storage.relative(file.uri, root), left_out) if file.uri != root else ()
                known.append(SourceFile(file.uri, name, file.size, compression, partitions=columns))
        if not known:
            if [storage.normalise(uri)] == [file.uri for file in files]:
                raise HeadwaterError(
                    f"{files[0].uri}: the file's extension is not one of {', '.join(ENDINGS)}, optionally followed by "
                    f"{', '.join(COMPRESSIONS)}"
                )
            there = f"{len(files)} other files are" if files else "nothing is"
            raise HeadwaterError(f"{storage.normalise(uri)}: there is no file of a known format here; {there}")
        by_uri.update((file.uri, file) for file in known)
    return [by_uri[uri] for uri in sorted(by_uri)]
