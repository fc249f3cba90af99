"""infer-schema: the schema that data is judged by, inferred once and then kept until people change it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Mapping

from google.protobuf import text_format
from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.components.common.tfdv import tfdv
from headwater.components.infer_schema.curation import (
    Curation,
    apply_curation,
    check_curation,
)
from headwater.components.infer_schema.diff import diff_schemas
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

SCHEMA = "schema.pbtxt"
CANDIDATE = "candidate.pbtxt"
DIFF = "diff.json"
MODES = ("auto", "infer", "frozen", "propose")


@dataclasses.dataclass(frozen=True)
class _Base:
    """The agreed schema: its bytes and where exactly they came from."""

    content: bytes
    uri: str

    @property
    def reference(self) -> dict[str, str]:
        return {"uri": self.uri, "sha256": storage.sha256(self.content)}


def derive_schema(
    statistics: str,
    output: str,
    *,
    mode: str = "auto",
    base_schema: str = "auto",
    curation: Mapping[str, Any] | None = None,
    max_string_domain_size: int = 100,
) -> Result:
    """Infers a schema from the first split's statistics, or keeps the agreed one.

    Args:
      statistics: path or URI of a result of generate-statistics.
      output: folder for the result.
      mode: `infer`: from the statistics, whatever came before. `frozen`: the base with its curation, byte for byte
        the base when there is none; new data never widens it. `propose`: as `frozen`, with the schema widened to fit
        the statistics as `candidate.pbtxt` and the changes as `diff.json`, for review. `auto`: `frozen` where there
        is a base, else `infer`.
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
    measured = results.load(statistics, "statistics")
    if mode == "infer" and base_schema not in ("auto", "none"):
        raise HeadwaterError(f"mode infer takes no base, and base_schema is {base_schema!r}; use frozen or propose")
    base = None if mode == "infer" else _find_base(base_schema, measured)
    if mode == "frozen" and base is None:
        raise HeadwaterError("mode frozen needs a base_schema: there is no earlier one; use infer for the first run")
    used = mode if mode != "auto" else "frozen" if base else "infer"
    split = next(iter(measured.body["splits"]))
    proto = statistics_pb2.DatasetFeatureStatisticsList.FromString(measured.read(f"Split-{split}/FeatureStats.pb"))
    if base is None:
        if not proto.datasets[0].num_examples:
            raise HeadwaterError(f"{measured.folder}: the first split, {split!r}, has no rows to infer a schema from")
        agreed = tfdv.infer_schema(proto, max_string_domain_size=max_string_domain_size)
        content = _curated(agreed, checked, _text(agreed))
    else:
        agreed = _parse(base)
        content = _curated(agreed, checked, base.content)
    files = {SCHEMA: content}
    if used == "propose":
        candidate = tfdv.update_schema(agreed, proto, max_string_domain_size=max_string_domain_size)
        files[CANDIDATE] = _text(candidate)
        files[DIFF] = (json.dumps(diff_schemas(agreed, candidate), indent=1) + "\n").encode()
    reference = base.reference if base else None
    body = {
        "mode": used,
        "inferred": base is None,
        "base": reference,
        "split": split,
        "features": len(agreed.feature),
    }
    shaping = checked.model_dump(exclude_none=True)
    return results.save(
        "schema",
        output,
        files=files,
        body=body,
        inputs={"statistics": measured},
        settings={
            "mode": used,
            "base": reference,
            "curation": json.loads(json.dumps(shaping, sort_keys=True)),
            "max_string_domain_size": max_string_domain_size,
        },
        home=measured.home,
    )


def _find_base(reference: str, measured: Result) -> _Base | None:
    if reference in ("auto", "latest", "previous", "none") or reference.startswith("span:"):
        found = results.find(reference, "schema", measured.home)
        return _Base(found.read(SCHEMA), storage.join(found.uri, SCHEMA)) if found else None
    uri = storage.normalise(reference)
    if storage.exists(storage.join(uri, results.MANIFEST)):
        return _Base(results.load(uri, "schema").read(SCHEMA), storage.join(uri, SCHEMA))
    # A plain schema, as TFX and people leave them.
    uri = uri if storage.exists(uri) else storage.join(uri, SCHEMA)
    if not storage.exists(uri):
        raise HeadwaterError(f"base_schema: {reference}: neither a schema file nor a folder with {SCHEMA} is here")
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
