"""collect: from users' files to a dataset, with every record accounted for."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from typing import Any, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.collect.settings import AUTO, Settings, check_settings
from headwater.components.collect.shards import Plan, write_range
from headwater.components.common import hashing, results, sources, storage
from headwater.components.common.beam import map_merge, pipeline_options
from headwater.components.common.dataset import ROW_ID, SHARD_SCHEMA, encode_schema
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Home, Result

_FIRST_SPAN = 1


def collect_dataset(
    source: str | Sequence[str],
    output: str,
    *,
    data_root: str = "",
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
    **settings: Any,
) -> Result:
    """Collects CSV or Parquet files into a dataset.

    Args:
      source: path, folder, glob or URI, or several.
      output: folder for the dataset; with `data_root`, only its small files (`_…`) go there.
      data_root: durable home of all datasets; its shards are written there.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core.
      **settings: the fields of `settings.Settings`: name, span, splits, key, types, delimiter,
        max_rejected_share.

    Returns:
      The dataset. When more records are rejected than allowed, its body has `accepted` False and says why.

    Raises:
      HeadwaterError: a setting is wrong, the input cannot be read, or it has no rows.
    """
    checked = check_settings(**settings)
    pipeline_options(beam_pipeline_args)
    output = storage.normalise(output)
    data_root = storage.normalise(data_root) if data_root else ""
    beam = {
        "beam_pipeline_args": beam_pipeline_args,
        "workers": workers,
        "scratch": storage.join(data_root, "_scratch") if data_root else "",
    }
    found = sources.discover([source] if isinstance(source, str) else list(source))
    files, ranges = sources.fingerprint_files(found, checked.delimiter, **beam)
    shaping = checked.model_dump(exclude={"span"} if checked.span == AUTO else set())
    shaping["types"] = dict(sorted(checked.types.items()))
    identity = results.fingerprint("dataset", {"sources": sources.fingerprint(files)}, shaping)
    home = _settle(Home(data_root, checked.name, checked.span, 1), identity) if data_root else None
    base = home.folder("dataset") if home else output
    if home and storage.exists(storage.join(base, results.MANIFEST)):
        print(f"collect: this content was collected before: {base}", flush=True)
        return _bring(results.load(base, "dataset"), output)
    opened = sources.open_sources(files, ranges, types=checked.types, delimiter=checked.delimiter, **beam)
    _check_columns(checked, opened.schema)
    attempt = storage.attempt_id() if home else ""
    plan = Plan(
        base, attempt, opened.schema, tuple(checked.key), tuple(checked.splits.items()), _identities(opened.files)
    )
    try:
        lines = map_merge(
            "collect: write",
            list(enumerate(opened.elements)),
            functools.partial(write_range, plan),
            b"\n".join,
            sizes=[element.rows for element in opened.elements],
            preload=["headwater.components.collect.shards"],
            **beam,
        )
        records = [json.loads(line) for line in lines.splitlines()]
        body = _body(
            checked, opened, records, home.span if home else _FIRST_SPAN if checked.span == AUTO else checked.span
        )
        content = _finish(body, records, plan, home, identity, shaping)
    except BaseException:
        _remove_attempt(base, attempt)
        raise
    if not home:
        storage.write_bytes(storage.join(base, results.MANIFEST), content)
        return results.load(base, "dataset")
    if not storage.create(storage.join(base, results.MANIFEST), content):
        _remove_attempt(base, attempt)
    return _bring(results.load(base, "dataset"), output)


def _settle(home: Home, identity: str) -> Home:
    """The span and version that this content belongs to, claimed for it."""
    if home.span != AUTO:
        return results.claim(home, "dataset", identity)
    spans = results.committed(home.data_root, home.name, "dataset")
    for earlier in reversed(spans):
        if results.load(earlier.folder("dataset"), "dataset").fingerprint == identity:
            return earlier
    home = dataclasses.replace(home, span=max([earlier.span for earlier in spans], default=_FIRST_SPAN - 1) + 1)
    while not results.claim_exactly(home, "dataset", identity):
        home = dataclasses.replace(home, span=home.span + 1)
    return home


def _check_columns(settings: Settings, schema: pa.Schema) -> None:
    for name in settings.key:
        if name not in schema.names:
            raise HeadwaterError(f"key: there is no column {name!r}; the columns are {', '.join(schema.names)}")


def _identities(files: Sequence[sources.SourceFile]) -> tuple[tuple[str, str], ...]:
    # Two copies of one file hold different rows all the same: the copy's number tells their `_row_id`s apart.
    seen: dict[str, int] = {}
    identities = []
    for file in files:
        number = seen[file.sha256] = seen.get(file.sha256, -1) + 1
        identity = hashlib.sha256(f"{file.sha256}:{number}".encode()).hexdigest()
        identities.append((file.uri, identity))
    return tuple(identities)


def _body(
    settings: Settings, opened: sources.Sources, records: Sequence[Mapping[str, Any]], span: int
) -> dict[str, Any]:
    read = sum(record["read"] for record in records)
    if not read:
        names = ", ".join(file.uri for file in opened.files)
        raise HeadwaterError(f"{names}: there are columns and no rows")
    rejected = sum(record["rejected"] for record in records)
    written = sum(shard["rows"] for record in records for shard in record["shards"].values())
    if read != written + rejected:
        raise HeadwaterError(f"the accounts do not add up: {read} read, {written} written, {rejected} rejected")
    reasons: dict[str, int] = {}
    for record in records:
        for reason, count in record["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + count
    share = rejected / read
    accepted = share <= settings.max_rejected_share and written > 0
    schema = opened.schema if settings.key else opened.schema.append(pa.field(ROW_ID, pa.binary(16)))
    refusal = (
        f"{rejected:,} of {read:,} records ({share:.1%}) were rejected, more than max_rejected_share "
        f"{settings.max_rejected_share:.1%} allows: "
        + ", ".join(f"{count:,} × {reason}" for reason, count in sorted(reasons.items()))
    )
    per_file = {file.uri: 0 for file in opened.files}
    for element, record in zip(opened.elements, records):
        per_file[element.file.uri] += record["read"]
    return {
        "name": settings.name,
        "span": span,
        "key": settings.key or [ROW_ID],
        "schema": encode_schema(schema),
        "columns": {field.name: str(field.type) for field in schema},
        "accepted": accepted,
        "refusal": "" if accepted else refusal,
        "accounts": {"read": read, "written": written, "rejected": rejected, "filtered": {}},
        "rejected": {
            "reasons": dict(sorted(reasons.items())),
            "files": [record["file"] for record in records if "file" in record],
        },
        "lineage": {
            "sources": [
                {
                    "uri": file.uri,
                    "format": file.format,
                    "bytes": file.size,
                    "sha256": file.sha256,
                    "rows": per_file[file.uri],
                }
                for file in opened.files
            ]
        },
        "findings": [f"{uri}: a header and no rows" for uri, rows in per_file.items() if not rows],
    }


def _finish(
    body: dict[str, Any],
    records: Sequence[Mapping[str, Any]],
    plan: Plan,
    home: Home | None,
    identity: str,
    shaping: Mapping[str, Any],
) -> bytes:
    """Writes the shard indexes; gives the manifest's bytes."""
    body["splits"] = {}
    for split, _ in plan.splits:
        shards = [record["shards"][split] for record in records if split in record["shards"]]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(shards, SHARD_SCHEMA), sink, version="2.6")
        index = f"_shards-{split}{plan.attempt and '-'}{plan.attempt}.parquet"
        content = sink.getvalue().to_pybytes()
        uri = storage.join(plan.base, index)
        storage.write_bytes(uri, content)
        body["splits"][split] = {
            "rows": sum(shard["rows"] for shard in shards),
            "bytes": sum(shard["bytes"] for shard in shards),
            "shards": len(shards),
            "digest": f"{hashing.add_digests([int(shard['digest'], 16) for shard in shards]):032x}",
            "index": index,
            "index_sha256": storage.sha256(content),
        }
    return results.encode(
        {
            "format_version": results.FORMAT_VERSION,
            "kind": "dataset",
            "producer": results.PRODUCER,
            "fingerprint": identity,
            "home": dataclasses.asdict(home) if home else None,
            "settings": dict(shaping),
            "body": body,
        }
    )


def _bring(result: Result, output: str) -> Result:
    """Copies a dataset's small files from its home to `output`; its shards stay where they are."""
    names = [*[entry["index"] for entry in result.body["splits"].values()], results.MANIFEST]
    for name in names:
        target = storage.join(output, name)
        storage.write_bytes(target, storage.read_bytes(storage.join(result.folder, name)))
    return results.load(output, "dataset")


def _remove_attempt(base: str, attempt: str) -> None:
    if attempt:
        for file in storage.list_files(base):
            if f"-{attempt}." in file.uri:
                storage.delete(file.uri)
