"""Where a result came from: from its manifest through its inputs' back to the sources."""

from __future__ import annotations

import dataclasses
import datetime
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.openlineage import facet, run_event
from headwater.components.common.results import Result

STEPS = {
    "dataset": "collect",
    "labels": "label",
    "statistics": "generate-statistics",
    "schema": "infer-schema",
    "passed": "validate",
    "quarantine": "validate",
    "anomalies": "validate",
}
"""The component that makes each kind."""

_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Node:
    """One result.

    Attributes:
      uri: where it lies.
      kind: as of `results.FOLDERS`.
      step: the component that made it; empty for plain files.
      name, span, version: its place under a `data_root`; None where it has none.
      sha256: of its manifest, which covers its files; of one that is gone, as it was recorded.
      fingerprint: identifies it by what it was made from.
      settings: the parameters that shaped it.
      inputs: by role, the places of other nodes in the list.
      sources: of a dataset, the files that it was read from, and of plain files these: uri, sha256, bytes, rows and format.
      trouble: why it could not be followed; empty when it could.
    """

    uri: str
    kind: str
    step: str
    name: str | None
    span: int | None
    version: int | None
    sha256: str
    fingerprint: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, int]
    sources: list[dict[str, Any]]
    trouble: str = ""


def trace(uri: str) -> list[Node]:
    """Follows a result back to its sources.

    Args:
      uri: folder of a result, or of a version under a `data_root`, whose last result is meant.

    Returns:
      The nodes, the result itself first; what several were made from is there once. An input that is gone, or is not
      the one that was recorded, is a node with its trouble.

    Raises:
      HeadwaterError: there is no result at `uri`.
    """
    nodes: list[Node | None] = []
    places: dict[tuple[str, str], int] = {}

    def visit(result: Result) -> int:
        key = (result.uri, result.sha256)
        if key in places:
            return places[key]
        place = places[key] = len(nodes)
        nodes.append(None)
        inputs = {role: follow(role, reference) for role, reference in _references(result).items()}
        nodes[place] = _node(result, inputs)
        return place

    def follow(role: str, reference: Mapping[str, Any]) -> int:
        kind = _kind_of(role)
        trouble, result = "", None
        try:
            result = None if "sources" in reference else _load(reference["uri"], kind)
        except HeadwaterError as error:
            trouble = str(error)
        if (
            result is not None
            and result.sha256 != reference["sha256"]
            and result.fingerprint != reference["fingerprint"]
        ):
            trouble = "the result stored here now is not the one that was read"
        if result is not None and not trouble:
            return visit(result)
        key = (reference["uri"], reference["sha256"])
        if key not in places:
            places[key] = len(nodes)
            nodes.append(_outside(reference, kind, trouble))
        return places[key]

    visit(_load(storage.normalise(uri), ""))
    return [node for node in nodes if node is not None]


def as_text(nodes: list[Node]) -> str:
    """The nodes as a tree; what is listed above is not listed again."""
    return "\n".join(_lines(nodes, 0, "", "", set()))


def as_json(nodes: list[Node]) -> list[dict[str, Any]]:
    """The nodes as JSON values."""
    return [dataclasses.asdict(node) for node in nodes]


def as_openlineage(nodes: list[Node], namespace: str = "headwater") -> list[dict[str, Any]]:
    """One run event for each step, the earliest first."""
    events = []
    for node in reversed(nodes):
        if node.trouble or not node.step:
            continue
        inputs = [_dataset(namespace, nodes[place].uri, nodes[place].sha256) for place in node.inputs.values()]
        inputs += [_dataset(namespace, source["uri"], source["sha256"]) for source in node.sources]
        events.append(
            run_event(
                event="COMPLETE",
                run=f"{node.uri}#{node.fingerprint}",
                namespace=namespace,
                job=f"headwater.{node.step}",
                inputs=inputs,
                outputs=[_dataset(namespace, node.uri, node.sha256)],
                facets={"headwater_parameters": facet("1-0-0/BaseFacet", parameters=dict(node.settings))},
                time=_written(node.uri),
            )
        )
    return events


def without_secrets(uri: str) -> str:
    """A source's address without user, password and query, which may hold a signature."""
    if "://" not in uri:
        return uri
    parts = urllib.parse.urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", parts.fragment))


def _load(uri: str, kind: str) -> Result:
    """The result in a folder, of whatever kind it is; of a version, the last that was made."""
    if kind:
        # Where a dataset is read, a labelled one may stand.
        return results.load(uri, kind, *(["labels"] if kind == "dataset" else []))
    for each in results.FOLDERS:
        try:
            return results.load(uri, each)
        except HeadwaterError as error:
            if "is of kind" not in str(error) and "is here" not in str(error):
                raise
    for each, folder in reversed(results.FOLDERS.items()):
        if storage.exists(storage.join(uri, folder, results.MANIFEST)):
            return results.load(storage.join(uri, folder), each)
    raise HeadwaterError(f"{uri}: there is no result here (there is no {results.MANIFEST})")


def _references(result: Result) -> dict[str, Mapping[str, Any]]:
    if result.kind != "dataset":
        return dict(result.manifest["inputs"])
    # A dataset that was made from another one names it where collected ones name their sources.
    return {role: summary for role, summary in result.body["lineage"].items() if _is_reference(summary)}


def _is_reference(summary: Any) -> bool:
    return isinstance(summary, Mapping) and {"uri", "sha256", "fingerprint"} <= set(summary)


def _kind_of(role: str) -> str:
    if role.startswith(("baseline", "statistics", "serving")):
        return "statistics"
    if role.startswith(("dataset", "references", "inputs")):
        return "dataset"
    return "schema" if "schema" in role else ""


def _node(result: Result, inputs: Mapping[str, int]) -> Node:
    home = result.home
    sources = result.body["lineage"].get("sources", []) if result.kind == "dataset" else []
    return Node(
        uri=result.uri,
        kind=result.kind,
        step=STEPS[result.role],
        name=home.name if home else None,
        span=home.span if home else None,
        version=home.version if home else None,
        sha256=result.sha256,
        fingerprint=result.fingerprint,
        settings=_scrubbed(result.manifest.get("settings", {})),
        inputs=inputs,
        sources=_sources(sources),
    )


def _outside(reference: Mapping[str, Any], kind: str, trouble: str) -> Node:
    """Plain files, which no step made, and what cannot be followed."""
    return Node(
        uri=without_secrets(reference["uri"]),
        kind=kind,
        step="" if "sources" in reference else STEPS.get(kind, ""),
        name=None,
        span=None,
        version=None,
        sha256=reference["sha256"],
        fingerprint=reference["fingerprint"],
        settings={},
        inputs={},
        sources=_sources(reference.get("sources", [])),
        trouble=trouble,
    )


def _sources(summary: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**source, "uri": without_secrets(source["uri"])} for source in summary]


def _scrubbed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _scrubbed(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_scrubbed(part) for part in value]
    return (
        re.sub(r"\b[a-z][a-z0-9+]*://\S+", lambda match: without_secrets(match[0]), value)
        if isinstance(value, str)
        else value
    )


def _lines(nodes: list[Node], place: int, role: str, indent: str, summary: set[int]) -> Iterator[str]:
    node = nodes[place]
    head = f"{indent}{role}: " if role else indent
    if place in summary:
        yield f"{head}{node.kind} {node.uri} (above)"
        return
    summary.add(place)
    yield f"{head}{node.kind or 'result'} {node.uri}"
    below = indent + "  "
    yield f"{below}sha256 {node.sha256}" + (f", made by {node.step}" if node.step else "")
    if node.trouble:
        yield f"{below}cannot be followed: {node.trouble}"
    chosen = {name: value for name, value in node.settings.items() if value not in (None, "", [], {})}
    if chosen:
        yield f"{below}parameters " + ", ".join(f"{name}={value}" for name, value in chosen.items())
    for source in node.sources[:_SHOWN]:
        yield f"{below}source {source['uri']} ({source['bytes']:,} bytes, {source['rows']:,} rows, sha256 {source['sha256']})"
    if len(node.sources) > _SHOWN:
        yield f"{below}… and {len(node.sources) - _SHOWN:,} more sources"
    for name, other in node.inputs.items():
        yield from _lines(nodes, other, name, below, summary)


def _dataset(namespace: str, uri: str, sha256: str) -> dict[str, Any]:
    facets = {"version": facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=sha256)}
    return {"namespace": namespace, "name": uri, "facets": facets}


def _written(uri: str) -> datetime.datetime | None:
    manifest = storage.join(uri, results.MANIFEST)
    modified = next((file.modified for file in storage.walk(uri) if file.uri == manifest), None)
    return datetime.datetime.fromtimestamp(modified, datetime.UTC) if modified is not None else None
