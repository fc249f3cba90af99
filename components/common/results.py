"""What a component leaves behind: a folder of files with a `_manifest.json`, and its place under `data_root`.

Every result (a dataset, statistics, a schema, anomalies) is a folder whose `_manifest.json` is written last:
the result exists when its manifest does. With a `data_root` it lies there, and the manifest alone is passed on;
without one all files are. Under `data_root` the folders lie at

    <data_root>/<dataset>/span=<n>/version=<v>/{data,labels,statistics,schema,passed,quarantine,anomalies,reports}/

Beside the spans, `_made/<fingerprint>.json` says where the dataset of a fingerprint lies.

A version's folder of a kind belongs to the fingerprint that claims it first (`_claim.json`, created
conditionally). An attempt with the same fingerprint writes the same content there, or adopts what is
committed; one with another fingerprint, or with other files for the same one before anything is committed, moves to
the next version, so nobody overwrites anybody.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from headwater.components.common import fanout, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.indented_json import indented
from headwater.components.common.notebook import Shown
from headwater.components.common.version import VERSION

FORMAT_VERSION = "2.0"
MANIFEST = "_manifest.json"
PRODUCER = f"headwater {VERSION}"

FOLDERS = {
    "dataset": "data",
    "labels": "labels",
    "statistics": "statistics",
    "schema": "schema",
    "passed": "passed",
    "quarantine": "quarantine",
    "anomalies": "anomalies",
}
"""The folder of each kind of result below `version=<v>`. `passed` and `quarantine` are datasets, told apart by `role`."""

DATA_ROOT = ".headwater"
"""Where the command line keeps results by default."""


_CLAIM = "_claim.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclasses.dataclass(frozen=True)
class Home:
    """A dataset's span and version under `data_root`.

    Attributes:
      data_root: URI of the durable home of all datasets.
      name: the dataset's name, one path segment.
      span: the span's number, from 0.
      version: the version within the span, from 1.
    """

    data_root: str
    name: str
    span: int
    version: int

    def folder(self, kind: str) -> str:
        """URI of the folder of `kind` (a key of `FOLDERS`) here."""
        return storage.join(self._version_folder(), FOLDERS[kind])

    def report(self, kind: str) -> str:
        """URI of the page of `kind` here; "index" is the run's overview."""
        return storage.join(self._version_folder(), "reports", f"{kind}.html")

    def _version_folder(self) -> str:
        return storage.join(self.data_root, self.name, f"span={self.span}", f"version={self.version}")


@dataclasses.dataclass(frozen=True, repr=False)
class Result(Shown):
    """A committed result.

    Attributes:
      folder: URI of the folder this was read from or written to.
      manifest: the parsed manifest.
      sha256: SHA-256 of the manifest's bytes; it covers the files, whose checksums the manifest holds.
    """

    folder: str
    manifest: Mapping[str, Any]
    sha256: str

    @property
    def kind(self) -> str:
        return self.manifest["kind"]

    @property
    def role(self) -> str:
        """The key of `FOLDERS` that it stands under: its kind, or what validate made of a dataset's rows."""
        return self.body.get("role") or self.kind

    @property
    def fingerprint(self) -> str:
        """Identifies the content by what it was made from, wherever it lies."""
        return self.manifest["fingerprint"]

    @property
    def body(self) -> Mapping[str, Any]:
        """What is particular to the kind."""
        return self.manifest["body"]

    @property
    def home(self) -> Home | None:
        """Its place under a `data_root`, if it has one."""
        home = self.manifest.get("home")
        return Home(**home) if home else None

    @property
    def uri(self) -> str:
        """The exact URI to refer to it by: under `data_root` where it has a home, else its folder."""
        return self.home.folder(self.role) if self.home else self.folder

    @property
    def page(self) -> str:
        """The path of its page, relative to the folder; empty where it has none."""
        listed = "page.html" in self.manifest.get("files", {})
        return self.body.get("page") or ("page.html" if listed else "")

    def files(self) -> list[str]:
        """The paths of its files, relative to the folder."""
        return sorted(self.manifest["files"])

    def read(self, path: str) -> bytes:
        """The content of one of its files, its checksum verified.

        Raises:
          HeadwaterError: the file is missing, altered, or not part of this result.
        """
        if path not in self.manifest["files"]:
            raise HeadwaterError(
                f"{self.folder}: this {self.kind} has no file {path}; it has {', '.join(self.files())}"
            )
        uri = self.locate(path)
        try:
            content = storage.read_bytes(uri)
        except HeadwaterError as error:
            if "no such file" in str(error):
                raise HeadwaterError(
                    f"{error}; this {self.kind} was removed or moved: run again with caching off"
                ) from None
            raise
        check(uri, content, self.manifest["files"][path]["sha256"])
        return content

    def locate(self, path: str) -> str:
        """The URI of one of its files: beside the manifest, or at its home where the manifest alone was passed on."""
        here = storage.join(self.folder, path)
        return here if self.folder == self.uri or storage.exists(here) else storage.join(self.uri, path)

    def reference(self) -> dict[str, Any]:
        """The exact URI and checksums that a later result records as its input, and the files of plain input."""
        summary = {"uri": self.uri, "sha256": self.sha256, "fingerprint": self.fingerprint}
        return summary if "format_version" in self.manifest else {**summary, "sources": self.body["lineage"]["sources"]}


def check(uri: str, content: bytes, expected: str) -> None:
    """Compares content with the checksum that its manifest recorded.

    Raises:
      HeadwaterError: they differ.
    """
    if storage.sha256(content) != expected:
        raise HeadwaterError(
            f"{uri}: the file was altered after it was written: its SHA-256 is not the recorded {expected}"
        )


def load(folder: str, *kinds: str) -> Result:
    """Reads a result's manifest.

    Args:
      folder: path or URI of the result's folder.
      *kinds: what is expected: keys of `FOLDERS`.

    Raises:
      HeadwaterError: there is no result, it is of another kind, or of a format that this version cannot read.
    """
    folder = storage.normalise(folder)
    uri = storage.join(folder, MANIFEST)
    if not storage.exists(uri):
        raise HeadwaterError(f"{folder}: no {kinds[0]} is here (there is no {MANIFEST})")
    content = storage.read_bytes(uri)
    try:
        manifest = json.loads(content)
    except ValueError:
        raise HeadwaterError(f"{uri}: not a manifest: it does not parse as JSON") from None
    if not isinstance(manifest, dict) or "format_version" not in manifest:
        raise HeadwaterError(f"{uri}: not a Headwater manifest: it has no format_version")
    version = str(manifest["format_version"])
    if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise HeadwaterError(
            f"{uri}: format_version {version} is not readable; this Headwater reads {FORMAT_VERSION.split('.')[0]}.x; "
            "run the step that wrote it again"
        )
    if not {manifest.get("kind"), manifest.get("body", {}).get("role")} & set(kinds):
        raise HeadwaterError(f"{folder}: this result is of kind {manifest.get('kind')}, but {kinds[0]} is needed")
    return Result(folder, manifest, storage.sha256(content))


def fingerprint(kind: str, inputs: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Identifies a result by what determines it: its kind, its inputs' fingerprints and its settings."""
    # Order counts: of splits, the first one trains.
    text = json.dumps([PRODUCER, FORMAT_VERSION, kind, sorted(inputs.items()), settings])
    return hashlib.sha256(text.encode()).hexdigest()


def save(
    kind: str,
    output: str,
    *,
    files: Mapping[str, bytes],
    body: Mapping[str, Any],
    inputs: Mapping[str, Result],
    settings: Mapping[str, Any],
    home: Home | None,
    page: str | None = None,
) -> Result:
    """Writes a result to `output`; or under its home's `data_root` if it has one, and its manifest to `output`.

    The content is taken for a function of kind, inputs and settings: a second attempt adopts what the first one committed,
    whatever it has made itself.

    Args:
      kind: a key of `FOLDERS`, other than "dataset".
      output: folder to write to, as a path or URI: a KFP artifact's, or any.
      files: content of each file by its path relative to the folder.
      body: what is particular to the kind; JSON values only.
      inputs: the results it was made from, by role.
      settings: the parameters that shaped it; JSON values only.
      home: the span under `data_root` that it belongs to; the version is taken from there upwards.
      page: an HTML page to lie under `reports/`, and beside the files as `page.html`.

    Returns:
      The result at `output`; its `uri` is the durable one where there is a home.
    """
    fanout.hold()
    output = storage.normalise(output)
    if page is not None:
        files = {**files, "page.html": page.encode()}
    identity = fingerprint(kind, {role: result.fingerprint for role, result in inputs.items()}, settings)
    listed = {
        path: {"bytes": len(content), "sha256": storage.sha256(content)} for path, content in sorted(files.items())
    }
    committed = None
    if home:
        home, committed = _claim_files(home, kind, identity, storage.sha256(encode(listed)))
    content = committed or encode(
        {
            "format_version": FORMAT_VERSION,
            "kind": kind,
            "producer": PRODUCER,
            "fingerprint": identity,
            "home": dataclasses.asdict(home) if home else None,
            "inputs": {role: result.reference() for role, result in sorted(inputs.items())},
            "settings": settings,
            "files": listed,
            "body": body,
        }
    )
    if not committed:
        folder = home.folder(kind) if home else output
        for path, file in files.items():
            storage.write_bytes(storage.join(folder, path), file)
        if home:
            if page is not None:
                storage.write_bytes(home.report(kind), page.encode())
            if not commit(home, kind, content):
                content = storage.read_bytes(storage.join(folder, MANIFEST))
    storage.write_bytes(storage.join(output, MANIFEST), content)
    return Result(output, json.loads(content), storage.sha256(content))


def found(
    kind: str, output: str, *, inputs: Mapping[str, Result], settings: Mapping[str, Any], home: Home | None
) -> Result | None:
    """What `save` would adopt of an earlier attempt, which need not be made again; its manifest is then at `output`.

    Args:
      kind, output, inputs, settings, home: as `save` takes them.
    """
    if not home:
        return None
    identity = fingerprint(kind, {role: result.fingerprint for role, result in inputs.items()}, settings)
    span = storage.join(home.data_root, home.name, f"span={home.span}")
    for version in numbered(span, "version"):
        there = dataclasses.replace(home, version=version).folder(kind)
        if version >= home.version and storage.exists(storage.join(there, MANIFEST)):
            result = load(there, kind)
            if result.fingerprint == identity:
                return bring(result, output)
    return None


def encode(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as bytes, the same for the same content."""
    return (indented(manifest) + "\n").encode()


def claim(home: Home, kind: str, identity: str) -> Home:
    """The first version from `home.version` upwards that is free or that belongs to `identity` already."""
    while not claim_exactly(home, kind, identity):
        home = dataclasses.replace(home, version=home.version + 1)
    return home


def claim_exactly(home: Home, kind: str, identity: str, **more: str) -> bool:
    """Whether this version's folder of `kind` now belongs to the fingerprint `identity`, and to what else it must be."""
    uri = storage.join(home.folder(kind), _CLAIM)
    return storage.create(uri, encode({"fingerprint": identity, **more}))


def _claim_files(home: Home, kind: str, identity: str, digest: str) -> tuple[Home, bytes | None]:
    """The first version from `home.version` upwards where `identity` is committed, or where these files may be written.

    Args:
      home: where to begin.
      kind: a key of `FOLDERS`.
      identity: the fingerprint.
      digest: of the files, whose names are the same in each attempt: two that made different ones must not share a folder.

    Returns:
      The place, and the manifest that is committed there, if it is.
    """
    while True:
        free = claim_exactly(home, kind, identity, files=digest)
        folder = home.folder(kind)
        if storage.exists(storage.join(folder, MANIFEST)):
            if load(folder, kind).fingerprint == identity:
                return home, storage.read_bytes(storage.join(folder, MANIFEST))
        elif free:
            return home, None
        home = dataclasses.replace(home, version=home.version + 1)


def release(folder: str) -> None:
    """Gives up the claim of an attempt that failed, unless another one has written there: the place is free again."""
    claimed = storage.join(folder, _CLAIM)
    if [file.uri for file in storage.list_files(folder)] == [claimed]:
        storage.delete(claimed)


def commit(home: Home, kind: str, manifest: bytes) -> bool:
    """Writes a result's manifest under its home, which makes it exist.

    Returns:
      Whether this very manifest is there now; False when another attempt of the same step was first.

    Raises:
      HeadwaterError: what another run made is there.
    """
    fanout.hold()
    folder = home.folder(kind)
    if kind == "dataset":
        # Before the manifest: what is noted and not there counts for nothing, but what is there must be noted.
        _note(home, json.loads(manifest)["fingerprint"])
    if storage.create(storage.join(folder, MANIFEST), manifest):
        return True
    if load(folder, kind).fingerprint != json.loads(manifest)["fingerprint"]:
        raise HeadwaterError(
            f"{folder}: another run's {kind} was committed here although this run held the claim; the claim was "
            "removed while it ran (headwater gc --min-age must be longer than any run takes); run it again"
        )
    return False


def check_name(name: str) -> None:
    """Raises HeadwaterError unless `name` can be one path segment of a dataset."""
    if not _NAME.fullmatch(name):
        raise HeadwaterError(
            f"name: {name!r} cannot name a dataset; use letters, digits, '_', '-' and '.', beginning with a letter or "
            "digit"
        )


def committed(data_root: str, name: str, kind: str, spans: Callable[[int], bool] = lambda span: True) -> Iterator[Home]:
    """The committed results of `kind` of a dataset, the latest span first, and of a span the latest version.

    Each span costs requests to the store when it is come to, and a dataset may have ten thousand: take what is needed.

    Args:
      data_root: URI of the durable home of all datasets.
      name: the dataset's.
      kind: a key of `FOLDERS`.
      spans: which spans are looked at.
    """
    root = storage.join(data_root, name)
    for span in reversed(numbered(root, "span")):
        if not spans(span):
            continue
        for version in reversed(numbered(storage.join(root, f"span={span}"), "version")):
            home = Home(data_root, name, span, version)
            if storage.exists(storage.join(home.folder(kind), MANIFEST)):
                yield home


def made_of(data_root: str, name: str, identity: str) -> Home | None:
    """The dataset of a fingerprint, if one is committed; a few requests, however many spans there are.

    Args:
      data_root, name: as `committed` takes them.
      identity: the fingerprint.
    """
    complete = storage.join(_notes(data_root, name), "_complete.json")
    found = noted(data_root, name, identity)
    if found or storage.exists(complete):
        return found
    # Spans of a version that took no notes.
    known = set()
    for other in committed(data_root, name, "dataset"):
        own = load(other.folder("dataset"), "dataset").fingerprint
        if own not in known:
            known.add(own)
            _note(other, own)
    if known:
        storage.create(complete, encode({}))
    return noted(data_root, name, identity) if identity in known else None


def noted(data_root: str, name: str, identity: str) -> Home | None:
    """As `made_of`, of datasets that were noted when they were committed."""
    uri = storage.join(_notes(data_root, name), f"{identity}.json")
    if not storage.exists(uri):
        return None
    home = Home(data_root, name, **json.loads(storage.read_bytes(uri)))
    # It may have been removed since, or never have been committed.
    if not storage.exists(storage.join(home.folder("dataset"), MANIFEST)):
        return None
    return home if load(home.folder("dataset"), "dataset").fingerprint == identity else None


def _note(home: Home, identity: str) -> None:
    place = {"span": home.span, "version": home.version}
    storage.write_bytes(storage.join(_notes(home.data_root, home.name), f"{identity}.json"), encode(place))


def _notes(data_root: str, name: str) -> str:
    return storage.join(data_root, name, "_made")


def before(home: Home, kind: str, most: int) -> list[Home]:
    """The latest versions of `kind` of so many spans before this one at most, the earliest first."""
    earlier = committed(home.data_root, home.name, kind, lambda span: span < home.span)
    latest = (next(versions) for _, versions in itertools.groupby(earlier, lambda each: each.span))
    return list(itertools.islice(latest, most))[::-1]


def numbered(folder: str, label: str) -> list[int]:
    """The numbers n of the folders `<label>=<n>` directly below a folder, rising."""
    names = [name[len(label) + 1 :] for name in storage.list_folders(folder) if name.startswith(f"{label}=")]
    return sorted(int(name) for name in names if name.isdigit())


def bring(result: Result, output: str) -> Result:
    """Copies a result's manifest from its home to `output`; all else stays where it is."""
    uri = storage.join(output, MANIFEST)
    storage.write_bytes(uri, storage.read_bytes(storage.join(result.folder, MANIFEST)))
    return load(output, result.kind)


def copy_page(result: Result, path: str) -> None:
    """Copies a result's page to a local path: that of a KFP artifact."""
    # A dataset's files are too many for its manifest to list; it names its page.
    summary = result.body.get("page")
    if not summary and "files" not in result.manifest:
        content = b"<!doctype html><title>No page</title><p>This dataset has no page of its own.</p>"
    else:
        content = storage.read_bytes(result.locate(summary)) if summary else result.read("page.html")
    storage.write_bytes(path, content)
