"""infer-schema: the schema that data is judged by, inferred once and then kept until people change it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common import distributions, references, results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.foreign import Foreign, open_statistics
from headwater.components.common.pages import relative_page
from headwater.components.common.results import Home, Result
from headwater.components.infer_schema import fitting
from headwater.components.infer_schema.curation import (
    Curation,
    as_json,
    check_curation,
    newer,
)
from headwater.components.infer_schema.diff import compatibility, diff_schemas
from headwater.components.infer_schema.page import render_page
from headwater.components.infer_schema.schema_changes import apply_curation
from headwater.components.infer_schema.suggest import suggest

SCHEMA = "schema.pbtxt"
CANDIDATE = "candidate.pbtxt"
DIFF = "diff.json"
SUGGESTIONS = "suggestions.json"
MODES = ("auto", "infer", "frozen", "propose")
ACCEPTED = "accepted"
"""The mode of a schema that `headwater accept` or `accept_schema` wrote."""


@dataclasses.dataclass(frozen=True)
class State:
    """Whether a schema is a guess or was accepted, as its manifest says it.

    Attributes:
      inferred: whether nobody has accepted it: it was inferred from data, by this run or an earlier one.
      inferred_on: the span of the data that it was inferred from; None where it is unknown or was not inferred.
      accepted: None while it is inferred; else `how` (`accept`, `curation` or `base_schema`), and for `accept` also
        `who`, `when` and `why`.
      history: each use of `accept` so far, the oldest first.
    """

    inferred: bool
    inferred_on: int | None = None
    accepted: Mapping[str, Any] | None = None
    history: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, result: Result) -> State:
        """The state of a result of infer-schema."""
        body = result.body
        return cls(body["inferred"], body.get("inferred_on"), body.get("accepted"), tuple(body.get("history", ())))

    def body(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return {**dataclasses.asdict(self), "history": [dict(entry) for entry in self.history]}

    def agreed(self, how: str) -> State:
        """The state after somebody curated the schema or gave it as the base; who accepted it before stays."""
        return self if self.accepted else dataclasses.replace(self, inferred=False, accepted={"how": how})


@dataclasses.dataclass(frozen=True)
class _Base:
    """The schema to go on from: its bytes, where exactly they came from, and whether it was accepted."""

    content: bytes
    uri: str
    state: State
    curation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    result: Result | None = None

    @property
    def reference(self) -> dict[str, str]:
        return {"uri": self.uri, "sha256": storage.sha256(self.content)}


def derive_schema(
    statistics: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str,
    *,
    mode: str = "auto",
    base_schema: str | os.PathLike[str] = "auto",
    curation: Mapping[str, Any] | None = None,
    max_string_domain_size: int = 100,
    infer: str = "headwater",
) -> Result:
    """Infers a schema from the first split's statistics, or keeps the agreed one.

    An inferred schema stays inferred, over all later spans, until somebody accepts it: by `accept_schema` or
    `accept_span`, by a curation, or by naming it as the base.

    Args:
      statistics: a result of generate-statistics, or its path or URI; or those of TFDV's or TFX's own, as
        `open_statistics` takes them; or several: the schema then fits all of them, and the last one's dataset is the one that it belongs to.
      output: folder for the result.
      mode: `infer`: from the statistics, whatever came before. `frozen`: the base with its curation, byte for byte
        the base when there is none; new data never widens it. `propose`: as `frozen`, with the schema widened to fit
        the statistics as `candidate.pbtxt`, the changes as `diff.json`, and `suggestions.json` with what a person might
        agree on, for review. `auto`: `frozen` where there is a base, else `infer`.
      base_schema: a reference as in `results.find`, or a path or URI of a `schema.pbtxt` or of a folder that has one.
      curation: changes by feature: the fields of `curation.Curation`.
      max_string_domain_size: an inferred text feature with more distinct values has no closed domain.
      infer: how a schema is inferred: `headwater`, TFDV's with the domains that the data closes; `tfdv`, exactly TFDV's,
        and so it is from TFDV's own statistics, which do not tell what the data closes.

    Returns:
      The schema; its body says `mode`, its `base`, whether it is still `inferred` and since which span, or how and by
      whom it was `accepted`.

    Raises:
      HeadwaterError: a setting is wrong, there is no base where one is needed, or a schema does not parse.
    """
    if mode not in MODES:
        raise HeadwaterError(f"mode: {mode!r} is not one of {', '.join(MODES)}")
    if infer not in fitting.WAYS:
        raise HeadwaterError(f"infer: {infer!r} is not one of {', '.join(fitting.WAYS)}")
    if max_string_domain_size < 0:
        raise HeadwaterError(f"max_string_domain_size: must be 0 or more; given: {max_string_domain_size}")
    checked = check_curation({} if curation is None else curation)
    base_schema = os.fspath(base_schema)
    uris = [os.fspath(each) for each in ([statistics] if isinstance(statistics, (str, os.PathLike)) else statistics)]
    if not uris:
        raise HeadwaterError("statistics: must name at least one result of generate-statistics")
    all_measured = [open_statistics(uri) for uri in uris]
    measured = all_measured[-1]
    without_state = any(isinstance(each, Foreign) for each in all_measured)
    infer = "tfdv" if without_state else infer
    if mode == "infer" and base_schema not in ("auto", "none"):
        raise HeadwaterError(f"mode infer takes no base, but base_schema is {base_schema!r}; use frozen or propose")
    base = None if mode == "infer" else _find_base(base_schema, measured)
    if mode == "frozen" and base is None:
        raise HeadwaterError("mode frozen needs a base_schema: there is no earlier one; use infer for the first run")
    used = mode if mode != "auto" else "frozen" if base else "infer"
    shaping = as_json(checked)
    before = base.curation if base else {}
    curated = checked != Curation() and before != shaping
    if used == "frozen" and not curated and base and (accepted := _accepted_for(base, measured)):
        # It was accepted for this very span, after the span was judged.
        return results.bring(accepted, output)
    split = next(iter(measured.body["splits"]))
    places = [_first_split(result) for result in all_measured]
    if base is None:
        for result, name in places:
            if not result.body["splits"][name]["rows"]:
                counts = ", ".join(f"{split} {entry['rows']:,}" for split, entry in result.body["splits"].items())
                raise HeadwaterError(
                    f"{result.folder}: the first split, {name!r}, has no rows to infer a schema from; rows by split: "
                    f"{counts}; if there are few rows, collect them into one split, as with --splits all=1"
                )
        agreed = fitting.infer(places, infer, max_string_domain_size)
        content = _text(agreed)
        state = State(True, measured.home.span if measured.home else None)
    else:
        agreed, content, state = _parse(base), base.content, base.state
    if curated:
        # The rest is in the base, where somebody may have accepted changes to it since.
        apply_curation(agreed, newer(checked, before))
        content, state = _text(agreed), state.agreed("curation")
    files = {SCHEMA: content}
    body: dict[str, Any] = {
        "mode": used,
        **state.body(),
        "base": base.reference if base else None,
        "split": split,
        "features": len(agreed.feature),
        "limits": {"infer": infer, "max_string_domain_size": max_string_domain_size},
        "curation": shaping if checked != Curation() else before,
    }
    changes, suggestions = None, None
    if used == "propose":
        candidate = fitting.fit(agreed, places, infer, max_string_domain_size)
        changes = diff_schemas(agreed, candidate)
        distribution = {} if without_state else distributions.read(measured.read(f"Split-{split}/State.arrow"))
        suggestions = suggest(distribution, candidate, _private(measured.body))
        files[CANDIDATE] = _text(candidate)
        files[DIFF] = _json(changes)
        files[SUGGESTIONS] = _json(suggestions)
        body["compatibility"] = compatibility(changes).name
    return results.save(
        "schema",
        output,
        files=files,
        body=body,
        inputs={"statistics": measured, **{f"statistics_{n:05d}": each for n, each in enumerate(all_measured[:-1])}},
        settings={
            "mode": used,
            "base": body["base"],
            "inferred": body["inferred"],
            "curation": shaping,
            "max_string_domain_size": max_string_domain_size,
            "infer": infer,
        },
        home=measured.home,
        page=render_page(
            measured.body["dataset"],
            body,
            agreed,
            changes,
            suggestions,
            _links(measured),
            rows={name: entry["rows"] for name, entry in measured.body["splits"].items()},
            home=measured.home,
        ),
    )


def _private(body: Mapping[str, Any]) -> set[str]:
    """The columns that are private as a whole, not only some paths of a struct."""
    return set(body.get("private") or {}) - set(body.get("private_paths") or {})


def _links(measured: Result) -> list[tuple[str, str]]:
    """The pages of what the schema is of, under a `data_root`."""
    here = measured.home
    if here is None:
        return []
    return [("Overview", "../reports/index.html"), ("Statistics", relative_page(measured, here))]


def read_schema(uri: str, name: str = SCHEMA) -> schema_pb2.Schema:
    """The schema of a result, or of a plain `.pbtxt`.

    Args:
      uri: a result's folder, a folder that holds `name`, or a file.
      name: which of the result's files.

    Raises:
      HeadwaterError: it is not there, or does not parse; names the line and the column.
    """
    return _parse(_open(storage.normalise(uri), uri, name))


def _first_split(result: Result) -> fitting.Place:
    return result, next(iter(result.body["splits"]))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def accepted_here(home: Home | None) -> Result | None:
    """The schema that was accepted last for a span, after the span was judged; None where there is none."""
    if home is None:
        return None
    folder = storage.join(home.data_root, home.name, f"span={home.span}")
    for version in reversed(results.numbered(folder, "version")):
        place = dataclasses.replace(home, version=version).folder("schema")
        if storage.exists(storage.join(place, results.MANIFEST)):
            schema = results.load(place, "schema")
            if schema.body["mode"] == ACCEPTED:
                return schema
    return None


def _find_base(reference: str, measured: Result) -> _Base | None:
    if references.is_reference(reference):
        accepted = accepted_here(measured.home) if reference in ("auto", "previous") else None
        accepted = accepted or references.find(reference, "schema", measured.home)
        if accepted is None:
            return None
        base = _of_result(accepted, SCHEMA)
        # `latest` and `previous` take what is there; who names one span, or a place, means that schema.
        return base if not reference.startswith("span:") else _given(base)
    return _given(_open(storage.normalise(reference), f"base_schema: {reference}", SCHEMA))


def _accepted_for(base: _Base, measured: Result) -> Result | None:
    """The base, where it is a schema that was accepted for the span of the statistics."""
    made, home = base.result, measured.home
    if made is None or made.home is None or home is None or made.body["mode"] != ACCEPTED:
        return None
    return made if dataclasses.replace(made.home, version=home.version) == home else None


def _given(base: _Base) -> _Base:
    return dataclasses.replace(base, state=base.state.agreed("base_schema"))


def _of_result(result: Result, name: str) -> _Base:
    return _Base(
        result.read(name), storage.join(result.uri, name), State.of(result), result.body.get("curation", {}), result
    )


def _open(uri: str, given: str, name: str) -> _Base:
    if storage.exists(storage.join(uri, results.MANIFEST)):
        return _of_result(results.load(uri, "schema"), name)
    # A plain schema, as TFX and people leave them.
    uri = find_schema_file(uri, given, name)
    return _Base(storage.read_bytes(uri), uri, State(False, accepted={"how": "base_schema"}))


def find_schema_file(uri: str, given: str, name: str = SCHEMA) -> str:
    """URI of a plain schema: a file, or the one of that name in a folder.

    Raises:
      HeadwaterError: there is none; the error begins with `given`.
    """
    uri = uri if storage.exists(uri) else storage.join(uri, name)
    if not storage.exists(uri):
        raise HeadwaterError(f"{given}: there is neither a schema file nor a folder with {name} here")
    return uri


def _parse(base: _Base) -> schema_pb2.Schema:
    try:
        return text_format.Parse(base.content.decode(), schema_pb2.Schema())
    except UnicodeDecodeError:
        raise HeadwaterError(f"{base.uri}: not a schema: the file is not UTF-8 text") from None
    except text_format.ParseError as error:
        raise HeadwaterError(
            f"{base.uri}: not a schema: line {error.GetLine()}, column {error.GetColumn()}: {error}"
        ) from None


def _text(schema: schema_pb2.Schema) -> bytes:
    return text_format.MessageToString(schema).encode()
