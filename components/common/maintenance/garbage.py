"""What can go from a `data_root`: what dead attempts left, and what retention lets go.

The root is listed twice, page by page, so that memory stays flat: once to learn of each folder how young its youngest
file is, and once to tell its files. Files are listed before manifests are read, so what a manifest names that is
committed meanwhile is known. Nothing is garbage in a folder without a manifest while any of its files is young: an
attempt that lives writes. Ages are by the store's own clock, measured by a marker that is written to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from headwater.components.common import results, storage
from headwater.components.common.dataset_index import carried_splits, other_files, shard_index
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.maintenance.layout import KINDS, REPORTS, Place, Version, folder_of, note_of, place_of
from headwater.components.common.stores import local

MIN_AGE = 86_400.0
"""Seconds that a file must be old, by default, before it can be garbage."""

DEAD, TEMPORARY, SCRATCH, RETENTION = "dead attempt", "temporary file", "scratch", "retention"
NOTE = "note of a dataset that is gone"
"""Why a file can go."""

_CLAIM = "_claim.json"
# Of alerts; and of labels copies of datasets, which have manifests of their own.
_OWN_FOLDERS = ("_alerts/", "_base/", "_base-")


@dataclasses.dataclass(frozen=True)
class Retention:
    """What is kept; a version goes when any of these lets it go.

    Attributes:
      keep_spans: the latest so many spans of each dataset.
      keep_versions: the latest so many versions of each span.
      older_than: seconds since a version was last written to.
    """

    keep_spans: int | None = None
    keep_versions: int | None = None
    older_than: float | None = None


class Garbage(NamedTuple):
    """A file that can go.

    Attributes:
      uri: the file.
      bytes: its size.
      reason: one of `DEAD`, `TEMPORARY`, `SCRATCH`, `RETENTION` and `NOTE`.
    """

    uri: str
    bytes: int
    reason: str


def find_garbage(data_root: str, *, retention: Retention = Retention(), min_age: float = MIN_AGE) -> Iterator[Garbage]:
    """What can go, nothing removed.

    Args:
      data_root: path or URI.
      retention: what is kept; everything by default.
      min_age: seconds; nothing that was written later goes, whatever the reason.

    Yields:
      The files; of a version that retention lets go its manifests first, so that no reader finds half of it.

    Raises:
      HeadwaterError: a setting is out of range, or the root cannot be read or written to.
    """
    _check(retention, min_age)
    root = storage.normalise(data_root)
    now = _now(root)
    folders = _youngest(root)
    gone = _let_go(folders, retention, now, min_age)
    gone -= _read_by_labels(root, folders, gone)
    for version in sorted(gone):
        yield from _whole(root, version)
    known: tuple[Place | None, set[str] | None] = (None, None)
    for file in storage.walk(root):
        path = storage.relative(file.uri, root)
        if now - file.modified >= min_age and _notes_nothing(root, path, gone):
            yield Garbage(file.uri, file.size, NOTE)
            continue
        place = place_of(path)
        if place is None or place.version in gone:
            continue
        here = place._replace(path="")
        if place.folder == REPORTS and place.version is not None:
            continue
        if now - file.modified < min_age:
            continue
        if place.version is None:
            if now - folders.get(here, now) >= min_age:
                yield Garbage(file.uri, file.size, SCRATCH)
            continue
        if place.path.rpartition("/")[2].startswith(local.TEMPORARY):
            yield Garbage(file.uri, file.size, TEMPORARY)
            continue
        if known[0] != here:
            # Read after its files were listed, so that it names what was committed meanwhile.
            known = (here, _named(folder_of(root, here), KINDS[place.folder]))
        if known[1] is None:
            if now - folders.get(here, now) >= min_age:
                yield Garbage(file.uri, file.size, DEAD)
        elif place.path not in known[1] and not place.path.startswith(_OWN_FOLDERS):
            yield Garbage(file.uri, file.size, DEAD)


def remove_garbage(
    data_root: str, *, retention: Retention = Retention(), min_age: float = MIN_AGE
) -> Iterator[Garbage]:
    """Removes what can go, as `find_garbage` tells it, and yields each file once it is gone.

    A folder without a manifest is looked at once more right before the first of its files is removed, and so is what a note is of.
    """
    root = storage.normalise(data_root)
    folder, spared = "", False
    for file in find_garbage(root, retention=retention, min_age=min_age):
        if file.reason == NOTE and not _notes_nothing(root, storage.relative(file.uri, root)):
            continue
        if file.reason == DEAD:
            place = place_of(storage.relative(file.uri, root))
            # Only files of known places are dead.
            assert place is not None
            here = folder_of(root, place._replace(path=""))
            if here != folder:
                named = _named(here, KINDS[place.folder])
                folder = here
                spared = named is None and _is_alive(here, _now(root), min_age)
            if spared or (named is not None and place.path in named):
                continue
        storage.delete(file.uri)
        yield file


def _check(retention: Retention, min_age: float) -> None:
    if min_age < 0:
        raise HeadwaterError(f"min-age: must be at least 0 s; given: {min_age:g}")
    for name in ("keep_spans", "keep_versions"):
        value = getattr(retention, name)
        if value is not None and value < 1:
            raise HeadwaterError(f"{name.replace('_', '-')}: must be at least 1; given: {value}")
    if retention.older_than is not None and retention.older_than <= 0:
        raise HeadwaterError(f"older-than: must be more than 0; given: {retention.older_than:g}")


def _now(root: str) -> float:
    """The time by the clock that dates the store's files."""
    marker = storage.join(root, "_scratch", f"_now-{storage.attempt_id()}")
    storage.write_bytes(marker, b"")
    try:
        return next(file.modified for file in storage.walk(storage.join(root, "_scratch")) if file.uri == marker)
    finally:
        storage.delete(marker)


def _youngest(root: str) -> dict[Place, float]:
    """When each folder was last written to."""
    youngest: dict[Place, float] = {}
    for file in storage.walk(root):
        place = place_of(storage.relative(file.uri, root))
        if place is not None:
            here = place._replace(path="")
            youngest[here] = max(youngest.get(here, file.modified), file.modified)
    return youngest


def _let_go(folders: Mapping[Place, float], retention: Retention, now: float, min_age: float) -> set[Version]:
    written: dict[Version, float] = {}
    for place in folders:
        if place.version is not None:
            written[place.version] = max(written.get(place.version, 0.0), folders[place])
    spans: dict[str, set[int]] = {}
    versions: dict[tuple[str, int], set[int]] = {}
    for name, span, version in written:
        spans.setdefault(name, set()).add(span)
        versions.setdefault((name, span), set()).add(version)
    gone = set()
    for each, last in written.items():
        kept_spans = sorted(spans[each.name])[-(retention.keep_spans or len(written)) :]
        kept_versions = sorted(versions[each.name, each.span])[-(retention.keep_versions or len(written)) :]
        old = retention.older_than is not None and now - last > retention.older_than
        if now - last >= min_age and (each.span not in kept_spans or each.version not in kept_versions or old):
            gone.add(each)
    return gone


def _read_by_labels(root: str, folders: Mapping[Place, float], gone: set[Version]) -> set[Version]:
    """The versions whose shards the labels of a version that stays are read with."""
    versions: set[Version] = set()
    for place in folders:
        folder = folder_of(root, place)
        if place.folder != results.FOLDERS["labels"] or place.version in gone or not gone:
            continue
        if storage.exists(storage.join(folder, results.MANIFEST)):
            for base in results.load(folder, "labels").body["bases"]:
                if base["uri"].startswith(f"{root}/"):
                    read = place_of(storage.join(storage.relative(base["uri"], root), results.MANIFEST))
                    if read is not None and read.version is not None:
                        versions.add(read.version)
    return versions


def _whole(root: str, version: Version) -> Iterator[Garbage]:
    folder = folder_of(root, Place(version, "", ""))
    rest = []
    for file in storage.walk(folder):
        if file.uri.endswith(f"/{results.MANIFEST}"):
            yield Garbage(file.uri, file.size, RETENTION)
        else:
            rest.append(Garbage(file.uri, file.size, RETENTION))
    yield from rest


def _named(folder: str, kind: str) -> set[str] | None:
    """The paths that a folder's manifest names, itself among them; None where nothing is committed."""
    if not storage.exists(storage.join(folder, results.MANIFEST)):
        return None
    result = results.load(folder, kind)
    named = {results.MANIFEST, _CLAIM, *result.manifest.get("files", {})}
    if result.kind not in ("dataset", "labels"):
        return named
    body = result.body
    named |= {body["page"]} if "page" in body else set()
    named |= {file["path"] for file in other_files(result)}
    for carried, splits in ((False, body["splits"]), (True, carried_splits(result))):
        for split, entry in splits.items():
            named.add(entry["index"])
            named |= {shard["path"] for shard in shard_index(result, split, carried=carried)}
    return named


def _notes_nothing(root: str, path: str, gone: Collection[Version] = ()) -> bool:
    """Whether a file says where a dataset lies that is not there, or goes."""
    note = note_of(path)
    if not note:
        return False
    home = results.noted(root, *note)
    return home is None or Version(home.name, home.span, home.version) in gone


def _is_alive(folder: str, now: float, min_age: float) -> bool:
    return any(now - file.modified < min_age for file in storage.walk(folder))
