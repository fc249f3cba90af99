"""Schemas that people and TFX leave, taken for results of infer-schema; and what statistics of TFDV cannot be compared by."""

from __future__ import annotations

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common import foreign, results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result

SCHEMA = "schema.pbtxt"


def open_schema(uri: str) -> Result:
    """A schema of infer-schema, or a `schema.pbtxt` as people and TFX leave it, which counts as agreed.

    Args:
      uri: a folder that has one, or the file.

    Raises:
      HeadwaterError: there is none, or it does not parse; names the line.
    """
    uri = storage.normalise(uri)
    if storage.exists(storage.join(uri, results.MANIFEST)):
        return results.load(uri, "schema")
    place = next((each for each in (uri, storage.join(uri, SCHEMA)) if storage.exists(each)), None)
    if place is None:
        raise HeadwaterError(f"{uri}: no schema is here: neither {results.MANIFEST} of infer-schema nor a {SCHEMA}")
    content = storage.read_bytes(place)
    try:
        schema = text_format.Parse(content.decode(), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise HeadwaterError(f"{place}: not a schema: {error}") from None
    source = foreign.source(place, content, "schema.pbtxt", 0)
    body = {
        "mode": "frozen",
        "inferred": False,
        "inferred_on": None,
        "accepted": {"how": "base_schema"},
        "base": {"uri": place, "sha256": source["sha256"]},
        "features": len(schema.feature),
        "history": [],
        "lineage": {"sources": [source]},
    }
    return foreign.foreign(uri, "schema", body, {SCHEMA: content})


def without_state(*given: Result) -> str:
    """Why distributions cannot be compared beyond the schema's thresholds; "" when they can."""
    names = [result.folder for result in given if isinstance(result, foreign.Foreign)]
    if not names:
        return ""
    return (
        f"{' and '.join(names)}: TFDV's statistics have no State.arrow of generate-statistics, so that features are "
        "compared by the schema's thresholds alone"
    )
