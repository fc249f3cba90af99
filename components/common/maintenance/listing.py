"""What lies under a `data_root`: datasets, spans, versions, sizes and verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Home, Result


def list_datasets(data_root: str, name: str = "") -> list[dict[str, Any]]:
    """Every version under a root, by name, span and version.

    Args:
      data_root: path or URI.
      name: of one dataset; all by default.

    Returns:
      Of each version `name`, `span`, `version`, `uri`; `kinds`, what is committed; `rows` of the dataset by split, and
      `bytes` of all results; `accepted` of the dataset and `blessed` of the verdict, None where
      there is none.

    Raises:
      HeadwaterError: nothing is there, or a manifest cannot be read.
    """
    root = storage.normalise(data_root)
    names = [each for each in storage.list_folders(root) if not each.startswith("_") and name in ("", each)]
    summaries = [summary for each in names for summary in _versions(root, each)]
    if not summaries:
        raise HeadwaterError(f"{root}: there is no dataset{f' {name!r}' if name else ''} here")
    return summaries


def committed_results(home: Home) -> Iterator[Result]:
    """The committed results of a version."""
    for kind in results.FOLDERS:
        if storage.exists(storage.join(home.folder(kind), results.MANIFEST)):
            yield results.load(home.folder(kind), kind)


def homes(root: str, name: str) -> Iterator[Home]:
    """Every version of a dataset that has a folder, by rising span and version."""
    for span in results.numbered(storage.join(root, name), "span"):
        for version in results.numbered(storage.join(root, name, f"span={span}"), "version"):
            yield Home(root, name, span, version)


def _versions(root: str, name: str) -> Iterator[dict[str, Any]]:
    for home in homes(root, name):
        own = {result.role: result for result in committed_results(home)}
        if own:
            yield _told(home, own)


def _told(home: Home, own: dict[str, Result]) -> dict[str, Any]:
    dataset, verdict = own.get("dataset"), own.get("anomalies")
    splits = dataset.body["splits"] if dataset else {}
    rows = [result for result in own.values() if result.kind in ("dataset", "labels")]
    size = sum(entry["bytes"] for result in rows for entry in result.body["splits"].values())
    size += sum(file["bytes"] for result in own.values() for file in result.manifest.get("files", {}).values())
    return {
        "name": home.name,
        "span": home.span,
        "version": home.version,
        "uri": storage.join(home.data_root, home.name, f"span={home.span}", f"version={home.version}"),
        "kinds": list(own),
        "rows": {split: entry["rows"] for split, entry in splits.items()},
        "bytes": size,
        "accepted": dataset.body["accepted"] if dataset else None,
        "blessed": verdict.body["blessed"] if verdict else None,
    }
