"""infer-schema: the schema that data is judged by, inferred once and then kept until people change it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from headwater.components.common import distributions, results, storage
from headwater.components.common import tfdv_library as tfdv
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.components.infer_schema.curation import (
    Curation,
    apply_curation,
    check_curation,
)
from headwater.components.infer_schema.diff import compatibility, diff_schemas
from headwater.components.infer_schema.page import render_page
from headwater.components.infer_schema.suggest import suggest

SCHEMA = "schema.pbtxt"
CANDIDATE = "candidate.pbtxt"
DIFF = "diff.json"
SUGGESTIONS = "suggestions.json"
MODES = ("auto", "infer", "frozen", "propose")


@dataclasses.dataclass(frozen=True)
class _Base:
    """The agreed schema: its bytes, where exactly they came from, and who agreed to what before."""

    content: bytes
    uri: str
    history: tuple[dict[str, Any], ...] = ()

    @property
    def reference(self) -> dict[str, str]:
        return {"uri": self.uri, "sha256": storage.sha256(self.content)}


def derive_schema(
    statistics: str | Sequence[str],
    output: str,
    *,
    mode: str = "auto",
    base_schema: str = "auto",
    curation: Mapping[str, Any] | None = None,
    max_string_domain_size: int = 100,
) -> Result:
    """Infers a schema from the first split's statistics, or keeps the agreed one.

    Args:
      statistics: path or URI of a result of generate-statistics, or several: the schema then fits all of them, and
        the last one's dataset is the one that it belongs to.
      output: folder for the result.
      mode: `infer`: from the statistics, whatever came before. `frozen`: the base with its curation, byte for byte
        the base when there is none; new data never widens it. `propose`: as `frozen`, with the schema widened to fit
        the statistics as `candidate.pbtxt`, the changes as `diff.json`, and `suggestions.json` with what a person might
        agree on, for review. `auto`: `frozen` where there is a base, else `infer`.
      base_schema: a reference as in `results.find`, or a path or URI of a `schema.pbtxt` or of a folder that has one.
      curation: changes by feature: the fields of `curation.Curation`.
      max_string_domain_size: an inferred text feature with more distinct values has no closed domain.

    Returns:
      The schema; its body says `mode`, whether it was `inferred` from this very data, and its `base`.

    Raises:
      HeadwaterError: a setting is wrong, there is no base where one is needed, or a schema does not parse.
    """
    if mode not in MODES:
        raise HeadwaterError(f"mode: {mode!r} is not one of {', '.join(MODES)}")
    if max_string_domain_size < 0:
        raise HeadwaterError(f"max_string_domain_size: must be 0 or more; given: {max_string_domain_size}")
    checked = check_curation({} if curation is None else curation)
    uris = [statistics] if isinstance(statistics, str) else list(statistics)
    if not uris:
        raise HeadwaterError("statistics: must name at least one result of generate-statistics")
    all_measured = [results.load(uri, "statistics") for uri in uris]
    measured = all_measured[-1]
    if mode == "infer" and base_schema not in ("auto", "none"):
        raise HeadwaterError(f"mode infer takes no base, but base_schema is {base_schema!r}; use frozen or propose")
    base = None if mode == "infer" else _find_base(base_schema, measured)
    if mode == "frozen" and base is None:
        raise HeadwaterError("mode frozen needs a base_schema: there is no earlier one; use infer for the first run")
    used = mode if mode != "auto" else "frozen" if base else "infer"
    split = next(iter(measured.body["splits"]))
    protos = [_read(result) for result in all_measured]
    if base is None:
        for result, proto in zip(all_measured, protos):
            if not proto.datasets[0].num_examples:
                name = next(iter(result.body["splits"]))
                counts = ", ".join(f"{split} {entry['rows']:,}" for split, entry in result.body["splits"].items())
                raise HeadwaterError(
                    f"{result.folder}: the first split, {name!r}, has no rows to infer a schema from; rows by split: "
                    f"{counts}; if there are few rows, collect them into one split, as with --splits all=1"
                )
        agreed = tfdv.infer_schema(protos[0], max_string_domain_size=max_string_domain_size)
        agreed = _widened(agreed, protos[1:], max_string_domain_size)
        content = _curated(agreed, checked, _text(agreed))
    else:
        agreed = _parse(base)
        content = _curated(agreed, checked, base.content)
    files = {SCHEMA: content}
    body: dict[str, Any] = {
        "mode": used,
        "inferred": base is None,
        "base": base.reference if base else None,
        "split": split,
        "features": len(agreed.feature),
        "history": list(base.history) if base else [],
    }
    changes, suggestions = None, None
    if used == "propose":
        candidate = _widened(agreed, protos, max_string_domain_size)
        changes = diff_schemas(agreed, candidate)
        distribution = distributions.read(measured.read(f"Split-{split}/State.arrow"))
        suggestions = suggest(distribution, candidate, measured.body.get("private") or {})
        files[CANDIDATE] = _text(candidate)
        files[DIFF] = _json(changes)
        files[SUGGESTIONS] = _json(suggestions)
        body["compatibility"] = compatibility(changes).name
    shaping = checked.model_dump(exclude_none=True)
    return results.save(
        "schema",
        output,
        files=files,
        body=body,
        inputs={"statistics": measured, **{f"statistics_{n:05d}": each for n, each in enumerate(all_measured[:-1])}},
        settings={
            "mode": used,
            "base": body["base"],
            "curation": json.loads(json.dumps(shaping, sort_keys=True)),
            "max_string_domain_size": max_string_domain_size,
        },
        home=measured.home,
        page=render_page(measured.body["dataset"], body, agreed, changes, suggestions, _links(measured)),
    )


def _links(measured: Result) -> list[tuple[str, str]]:
    """The pages of what the schema is of, under a `data_root`."""
    here = measured.home
    if here is None:
        return []
    return [("Overview", "../reports/index.html"), ("Statistics", results.relative_page(measured, here))]


def read_schema(uri: str, name: str = SCHEMA) -> schema_pb2.Schema:
    """The schema of a result, or of a plain `.pbtxt`.

    Args:
      uri: a result's folder, a folder that holds `name`, or a file.
      name: which of the result's files.

    Raises:
      HeadwaterError: it is not there, or does not parse; names the line and the column.
    """
    return _parse(_open(storage.normalise(uri), uri, name))


def _read(measured: Result) -> statistics_pb2.DatasetFeatureStatisticsList:
    split = next(iter(measured.body["splits"]))
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(measured.read(f"Split-{split}/FeatureStats.pb"))


def _widened(schema: schema_pb2.Schema, protos: Sequence[Any], max_string_domain_size: int) -> schema_pb2.Schema:
    for proto in protos:
        schema = tfdv.update_schema(schema, proto, max_string_domain_size=max_string_domain_size)
    return schema


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _find_base(reference: str, measured: Result) -> _Base | None:
    if reference in ("auto", "latest", "previous", "none") or reference.startswith("span:"):
        found = results.find(reference, "schema", measured.home)
        return _of_result(found, SCHEMA) if found else None
    return _open(storage.normalise(reference), f"base_schema: {reference}", SCHEMA)


def _of_result(result: Result, name: str) -> _Base:
    return _Base(result.read(name), storage.join(result.uri, name), tuple(result.body.get("history", ())))


def _open(uri: str, given: str, name: str) -> _Base:
    if storage.exists(storage.join(uri, results.MANIFEST)):
        return _of_result(results.load(uri, "schema"), name)
    # A plain schema, as TFX and people leave them.
    uri = uri if storage.exists(uri) else storage.join(uri, name)
    if not storage.exists(uri):
        raise HeadwaterError(f"{given}: there is neither a schema file nor a folder with {name} here")
    return _Base(storage.read_bytes(uri), uri)


def _parse(base: _Base) -> schema_pb2.Schema:
    try:
        return text_format.Parse(base.content.decode(), schema_pb2.Schema())
    except UnicodeDecodeError:
        raise HeadwaterError(f"{base.uri}: not a schema: the file is not UTF-8 text") from None
    except text_format.ParseError as error:
        raise HeadwaterError(
            f"{base.uri}: not a schema: line {error.GetLine()}, column {error.GetColumn()}: {error}"
        ) from None


def _curated(schema: schema_pb2.Schema, curation: Curation, content: bytes) -> bytes:
    if curation == Curation():
        return content
    apply_curation(schema, curation)
    return _text(schema)


def _text(schema: schema_pb2.Schema) -> bytes:
    return text_format.MessageToString(schema).encode()
