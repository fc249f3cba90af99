"""A result as Kubeflow sees it: its page, and what the UI shows of its artifacts."""

from __future__ import annotations

import sys
from typing import Any

from headwater.components.common import runs, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import MANIFEST, Result, copy_page, load


def publish(result: Result, artifact: Any, page: Any) -> str:
    """Fills a component's output artifacts: copies the page, and says what each is.

    Args:
      result: what the component made.
      artifact: KFP's artifact of it; gets the metadata `kind`, `uri` and `verdict`.
      page: KFP's artifact of its page; gets the same of the page.

    Returns:
      The exact URI of the result.
    """
    copy_page(result, page.path)
    uri = result.uri if result.home else artifact.uri
    words = verdict_of(result)
    artifact.metadata.update(kind=f"headwater.{result.kind}", uri=uri, verdict=words)
    where = result.home.report(result.kind) if result.home else page.uri
    page.metadata.update(kind="headwater.page", uri=where, verdict=words)
    runs.record(result)
    return uri


def check_uri(folder: str, uri: str) -> None:
    """Refuses a dataset that is not the one that a parameter names.

    Args:
      folder: the dataset's, as the task got it.
      uri: its exact URI; empty to compare nothing.

    Raises:
      HeadwaterError: a dataset with a home has another URI.
    """
    if not uri or not storage.exists(storage.join(folder, MANIFEST)):
        return
    result = load(folder, "dataset", "labels")
    # kfp's local runner puts its interpreter in place of the text "python3", wherever it stands in a task's arguments.
    known = [storage.normalise(each) for each in (result.uri, result.uri.replace("python3", sys.executable))]
    if result.home and storage.normalise(uri) not in known:
        raise HeadwaterError(f"dataset_uri: {uri} is not the dataset that was given, which is {result.uri}")


def publish_rows(artifact: Any) -> int:
    """Says what a dataset of rows is, if it was written; gives how many it has.

    Args:
      artifact: KFP's artifact; gets the metadata `kind`, `uri`, `verdict` and `rows`, or none where nothing was written.
    """
    if not storage.exists(storage.join(artifact.path, MANIFEST)):
        return 0
    result = load(artifact.path, "dataset")
    rows = result.body["accounts"]["written"]
    uri = result.uri if result.home else artifact.uri
    artifact.metadata.update(kind="headwater.dataset", uri=uri, verdict=verdict_of(result), rows=rows)
    return rows


def verdict_of(result: Result) -> str:
    """What came of a result, in a sentence."""
    body = result.body
    if result.kind == "anomalies":
        return body["verdict"]
    if "accepted" in body and result.kind in ("dataset", "labels"):
        return "Accepted" if body["accepted"] else f"Refused: {body['refusal']}"
    if result.kind == "schema":
        return "Inferred, not accepted yet" if body["inferred"] else "Agreed"
    rows = sum(split["rows"] for split in body["splits"].values())
    return f"Measured: {rows:,} rows in {len(body['splits'])} splits"
