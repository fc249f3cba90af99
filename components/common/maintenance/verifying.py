"""Whether results are whole: every checksum, row count and account, read again from the store."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from headwater.components.common import results, storage
from headwater.components.common.dataset import base_of, is_below
from headwater.components.common.dataset_index import carried_splits, other_files, shard_index
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.maintenance.listing import committed_results, homes
from headwater.components.common.progress import Progress
from headwater.components.common.results import Result

_AT_ONCE = 8
_PIECE = 4 << 20


@dataclasses.dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes:
      results: how many results were looked at.
      files, bytes, rows: how many were read, and how many rows their Parquet files say they have.
      problems: one sentence each, naming the file; empty when all is whole.
    """

    results: int
    files: int
    bytes: int
    rows: int
    problems: list[str]


def verify(uri: str) -> Verified:
    """Reads everything that manifests name, and holds it against them.

    Args:
      uri: folder of a result, or a `data_root`, whose committed results are all looked at.

    Raises:
      HeadwaterError: there is nothing to look at, or the store cannot be reached.
    """
    uri = storage.normalise(uri)
    problems: list[str] = []
    loaded = list(_results(uri, problems))
    if not loaded and not problems:
        raise HeadwaterError(f"{uri}: there is no result here, and no data_root with committed results")
    checks = [check for result in loaded for check in _checks(result, problems)]
    files = size = rows = 0
    with (
        Progress("verify", sum(check.bytes for check in checks), "bytes") as progress,
        concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        for check, outcome in zip(checks, pool.map(_look, checks)):
            files, size = files + 1, size + check.bytes
            rows += outcome.rows
            problems += outcome.problems
            progress.advance(check.bytes)
    return Verified(len(loaded), files, size, rows, problems)


@dataclasses.dataclass(frozen=True)
class _Check:
    """A file, and what is known of it; `rows` is None for one that is no Parquet file of rows."""

    uri: str
    bytes: int
    sha256: str
    rows: int | None = None


@dataclasses.dataclass(frozen=True)
class _Outcome:
    rows: int
    problems: list[str]


def _results(uri: str, problems: list[str]) -> Iterator[Result]:
    if storage.exists(storage.join(uri, results.MANIFEST)):
        for kind in results.FOLDERS:
            try:
                yield results.load(uri, kind)
                return
            except HeadwaterError as error:
                if "is of kind" not in str(error):
                    problems.append(str(error))
                    return
        problems.append(f"{uri}: the manifest's kind is unknown")
        return
    for name in storage.list_folders(uri):
        for home in [] if name.startswith("_") else homes(uri, name):
            try:
                yield from committed_results(home)
            except HeadwaterError as error:
                problems.append(str(error))


def _checks(result: Result, problems: list[str]) -> Iterator[_Check]:
    for path, file in result.manifest.get("files", {}).items():
        yield _Check(result.locate(path), file["bytes"], file["sha256"])
    if result.kind not in ("dataset", "labels"):
        return
    base = result.uri
    body = result.body
    for carried, splits in ((False, body["splits"]), (True, carried_splits(result))):
        for split, entry in splits.items():
            try:
                shards = shard_index(result, split, carried=carried)
            except HeadwaterError as error:
                problems.append(str(error))
                continue
            for shard in shards:
                yield _Check(shard["uri"], shard["bytes"], shard["sha256"], shard["rows"])
            for what, summary in (("rows", entry["rows"]), ("bytes", entry["bytes"]), ("shards", entry["shards"])):
                counted = len(shards) if what == "shards" else sum(shard[what] for shard in shards)
                if counted != summary:
                    problems.append(
                        f"{result.folder}: split {split!r} has {counted:,} {what} according to its index, but "
                        f"{summary:,} by name"
                    )
    for file in other_files(result):
        yield _Check(storage.join(base, file["path"]), file["bytes"], file["sha256"])
    problems.extend(_accounts(result, body))
    for reference in body.get("bases", ()):
        if is_below(reference["uri"]):
            try:
                yield from _checks(base_of(result, reference).result, problems)
            except HeadwaterError as error:
                problems.append(str(error))


def _accounts(result: Result, body: Any) -> Iterator[str]:
    accounts = body["accounts"]
    filtered, carried = sum(accounts["filtered"].values()), accounts.get("carried", 0)
    if accounts["read"] != accounts["written"] + accounts["rejected"] + filtered + carried:
        yield (
            f"{result.folder}: the counts of rows do not add up: {accounts['read']:,} read, {accounts['written']:,} "
            f"written, {accounts['rejected']:,} rejected, {filtered:,} filtered, {carried:,} carried"
        )
    for what, summary, splits in (
        ("written", accounts["written"], body["splits"]),
        ("carried", carried, carried_splits(result)),
    ):
        rows = sum(entry["rows"] for entry in splits.values())
        if rows != summary:
            yield (
                f"{result.folder}: {summary:,} rows were {what} according to the accounts, {rows:,} according to the "
                "splits"
            )


def _look(check: _Check) -> _Outcome:
    problems: list[str] = []
    rows = 0
    try:
        with storage.open_input(check.uri) as stream:
            hashed, size = hashlib.sha256(), 0
            while piece := stream.read(_PIECE):
                hashed.update(piece)
                size += len(piece)
            if size != check.bytes:
                problems.append(f"{check.uri}: has {size:,} bytes, but {check.bytes:,} were written")
            elif hashed.hexdigest() != check.sha256:
                problems.append(f"{check.uri}: the file was altered: its SHA-256 is not the recorded {check.sha256}")
            elif check.rows is not None:
                stream.seek(0)
                rows = pq.ParquetFile(stream).metadata.num_rows
                if rows != check.rows:
                    problems.append(f"{check.uri}: has {rows:,} rows, but {check.rows:,} according to its index")
    except HeadwaterError as error:
        problems.append(str(error))
    return _Outcome(rows, problems)
