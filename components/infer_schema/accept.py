"""Accepting: what was inferred, or proposed, becomes the agreed schema, with who, when and why."""

from __future__ import annotations

import dataclasses
import datetime
import getpass
import tempfile
from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import places
from headwater.components.common.results import Home, Result
from headwater.components.infer_schema import fitting
from headwater.components.infer_schema.derive import ACCEPTED, CANDIDATE, SCHEMA, State, accepted_here, read_schema
from headwater.components.infer_schema.diff import compatibility, diff_schemas
from headwater.components.infer_schema.page import render_page

_COUNTED = ("error", "warning")


@dataclasses.dataclass(frozen=True)
class Acceptance:
    """What came of accepting a span.

    Attributes:
      result: the schema that the span has now.
      before: the one that it had before; the same where there was nothing left to accept.
      changes: from one to the other, as `diff.diff_schemas` lists them.
      findings: those of the verdict that no schema speaks of, accepted for this span alone.
      settled: all findings of the verdict that are accepted, these and those of the schema.
    """

    result: Result
    before: Result
    changes: list[dict[str, Any]]
    findings: list[Mapping[str, Any]]
    settled: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)


def accept_span(
    data_root: str,
    name: str,
    span: int | None = None,
    *,
    reason: str,
    who: str = "",
    only: Collection[int] | None = None,
) -> Acceptance:
    """Accepts a span: its schema, changed as far as the span's data asks for, and what was found on it.

    The schema becomes a new version under the `data_root`, which the same run finds when it is repeated, and later runs
    as that of an earlier span. Where there are later spans already, the schema of the latest is changed likewise, so
    that those to come do not pass over what is accepted. What no schema speaks of, such as drift, is accepted for this
    span alone.

    Args:
      data_root: path or URI.
      name: of the dataset.
      span: its number; None for the latest that has a schema.
      reason: why, for those who come later.
      who: who accepts; by default the user that runs this.
      only: places of the verdict's findings that are accepted, from 0, with the changes to their features alone; None
        for all.

    Returns:
      What was accepted.

    Raises:
      HeadwaterError: there is no such span, or no reason is given.
    """
    who, reason = _signed(who, reason)
    home = span_of(data_root, name, span)
    verdict = verdict_of(home)
    current = schema_of(home, verdict)
    chosen = [
        each
        for place, each in enumerate(verdict.body["findings"] if verdict else ())
        if each["severity"] in _COUNTED and (only is None or place in only)
    ]
    features = None if only is None else {each["feature"] for each in chosen}
    measured = results.load((verdict or current).manifest["inputs"]["statistics"]["uri"], "statistics")
    change = _fitted(current, measured, features)
    # Whether the changed schema leaves something of a finding is seen when the run is repeated, so all are named.
    known = _accepted_of(home.span, measured, current)
    findings = list(known)
    findings += [place for each in chosen for place in places(each) if place not in findings]
    # What a schema demands of single values is a rule on rows as well, of the kind `schema`.
    beside = [each for each in chosen if "schema" not in (each["check"], each.get("rule_kind"))]
    accepted = current.body.get("accepted") or {}
    if accepted.get("how") == "accept" and not change.changes and findings == known:
        return Acceptance(current, current, [], [])
    signed: dict[str, Any] = {"who": who, "why": reason, "on_span": home.span, "span": home.span}
    signed |= {"statistics": measured.fingerprint, "findings": findings}
    result = _save_at(home, current, measured, change, signed)
    latest = next(results.committed(home.data_root, home.name, "schema"))
    if latest.span > home.span:
        newest = accepted_here(latest) or results.load(latest.folder("schema"), "schema")
        own = {key: (newest.body["accepted"] or {}).get(key) for key in ("statistics", "findings")}
        signed = {**signed, "span": latest.span, "statistics": own["statistics"], "findings": own["findings"] or []}
        _save_at(latest, newest, measured, _fitted(newest, measured, features), signed)
    return Acceptance(result, current, change.changes, beside, chosen)


def span_of(data_root: str, name: str, span: int | None = None) -> Home:
    """A span that has a schema, with the latest version of it.

    Args:
      data_root: path or URI.
      name: of the dataset.
      span: its number; None for the latest.

    Raises:
      HeadwaterError: there is none; names those that there are.
    """
    results.check_name(name)
    data_root = storage.normalise(data_root)
    every = results.committed(data_root, name, "schema", lambda number: span is None or number == span)
    found = next(every, None)
    if found:
        return found
    spans = sorted({other.span for other in results.committed(data_root, name, "schema")})
    if not spans:
        folders = [folder for folder in storage.list_folders(data_root) if not folder.startswith("_")]
        names = ", ".join(sorted(folders)) or "none"
        raise HeadwaterError(f"--name: {data_root} has no dataset {name!r} with a schema; it has {names}")
    raise HeadwaterError(
        f"--span: dataset {name!r} has no span {span} with a schema; it has {', '.join(map(str, spans))}"
    )


def verdict_of(home: Home) -> Result | None:
    """The latest verdict on a span; None where there is none."""
    latest = next(results.committed(home.data_root, home.name, "anomalies", home.span.__eq__), None)
    return results.load(latest.folder("anomalies"), "anomalies") if latest else None


def schema_of(home: Home, verdict: Result | None) -> Result:
    """The schema that a span is held against: the accepted one, or that of its verdict, or the latest that it has."""
    uri = verdict.body["schema"]["uri"] if verdict else home.folder("schema")
    return accepted_here(home) or results.load(uri, "schema")


def accept_schema(proposal: str, *, reason: str, who: str = "", output: str = "") -> Result:
    """Makes a candidate the agreed schema.

    With a `data_root` it becomes the next version of the latest span's schema, which the next span's `auto` finds;
    without one it is written to `output`, to be named as `base_schema`.

    Args:
      proposal: path or URI of a result of infer-schema in mode `propose`.
      reason: why, for those who come later.
      who: who agrees; by default the user that runs this.
      output: folder for the result; by default beside the proposal's, named `accepted`.

    Returns:
      The agreed schema; its body's `history` tells every agreement so far. The same candidate accepted again gives the
      result that there is.

    Raises:
      HeadwaterError: it is no proposal, no reason is given, or another schema was agreed on since it was made.
    """
    who, reason = _signed(who, reason)
    made = results.load(proposal, "schema")
    if CANDIDATE not in made.files():
        raise HeadwaterError(f"{proposal}: this is not a proposal; run infer-schema in mode propose first")
    content = made.read(CANDIDATE)
    output = output or f"{made.folder.rstrip('/')}-accepted"
    current = _accepted_since(made, output)
    if current is not None and current.read(SCHEMA) == content:
        return current
    if current is not None and current.read(SCHEMA) != made.read(SCHEMA):
        raise HeadwaterError(
            f"{proposal}: another schema, {current.uri}, was accepted after this was proposed; make a new proposal "
            "from it"
        )
    before, after = read_schema(made.folder), read_schema(made.folder, CANDIDATE)
    # The latest span's, or what is agreed on would be passed over by spans that were there already.
    home = current.home if current is not None and current.home else made.home
    signed: dict[str, Any] = {"who": who, "why": reason, "on_span": made.home.span if made.home else None}
    signed |= {"span": home.span if home else None}
    signed |= {"statistics": None, "findings": []}
    change = _Change(content, after, diff_schemas(before, after))
    return _save(output, home, made, {"proposal": made}, change, signed)


@dataclasses.dataclass(frozen=True)
class _Change:
    """A schema as it is to be, its bytes, and what changes."""

    content: bytes
    schema: schema_pb2.Schema
    changes: list[dict[str, Any]]


def _signed(who: str, reason: str) -> tuple[str, str]:
    if not reason.strip():
        raise HeadwaterError("reason: must not be empty; say why the schema is accepted, for later readers")
    try:
        return who.strip() or getpass.getuser(), reason.strip()
    except (KeyError, OSError):
        raise HeadwaterError("who: this machine does not know the user's name; say who accepts") from None


def _accepted_since(made: Result, output: str) -> Result | None:
    """The schema that was agreed on since the proposal; None when there is none."""
    if made.home is None:
        there = storage.exists(storage.join(storage.normalise(output), results.MANIFEST))
        return results.load(output, "schema") if there else None
    latest = next(results.committed(made.home.data_root, made.home.name, "schema"))
    return None if latest == made.home else results.load(latest.folder("schema"), "schema")


def _accepted_of(span: int, measured: Result, schema: Result) -> list[Mapping[str, Any]]:
    """The findings on these very statistics of the span that were accepted so far."""
    accepted = schema.body["accepted"] or {}
    place = (accepted.get("span"), accepted.get("statistics"))
    return list(accepted.get("findings", ())) if place == (span, measured.fingerprint) else []


def _fitted(current: Result, measured: Result, features: Collection[str] | None) -> _Change:
    """A schema changed to accept all splits of a span, or to accept some features of them."""
    before = read_schema(current.folder)
    measures = [(measured, split) for split, entry in measured.body["splits"].items() if entry["rows"]]
    limits = current.body["limits"]
    after = fitting.fit(before, measures, limits["infer"], limits["max_string_domain_size"]) if measures else before
    if features is not None:
        after = fitting.mixed(before, after, features)
    changes = diff_schemas(before, after)
    if not changes:
        return _Change(current.read(SCHEMA), before, [])
    return _Change(text_format.MessageToString(after).encode(), after, changes)


def _save_at(home: Home, before: Result, measured: Result, change: _Change, signed: Mapping[str, Any]) -> Result:
    with tempfile.TemporaryDirectory(prefix="headwater-") as output:
        saved = _save(output, home, before, {"before": before, "statistics": measured}, change, signed)
    return results.load(saved.uri, "schema")


def _save(
    output: str,
    home: Home | None,
    before: Result,
    inputs: Mapping[str, Result],
    change: _Change,
    signed: Mapping[str, Any],
) -> Result:
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {
        "who": signed["who"],
        "when": when,
        "why": signed["why"],
        "before": storage.sha256(before.read(SCHEMA)),
        "after": storage.sha256(change.content),
        "changes": len(change.changes),
        "compatibility": compatibility(change.changes).name,
    }
    state = State(
        inferred=False,
        inferred_on=before.body.get("inferred_on"),
        accepted={"how": "accept", **signed, "when": when},
        history=(*before.body.get("history", ()), entry),
    )
    body = {
        "mode": ACCEPTED,
        **state.body(),
        "base": {"uri": storage.join(before.uri, SCHEMA), "sha256": entry["before"]},
        "split": before.body["split"],
        "features": len(change.schema.feature),
        "curation": before.body["curation"],
        "limits": before.body["limits"],
    }
    name = home.name if home else before.folder
    return results.save(
        "schema",
        output,
        files={SCHEMA: change.content},
        body=body,
        inputs=inputs,
        # Not who, when and why, so that two people who agree at once agree on one result.
        settings={
            "mode": ACCEPTED,
            "candidate": entry["after"],
            **{key: signed[key] for key in ("span", "statistics", "findings")},
        },
        home=home,
        page=render_page(
            {"name": name, "uri": before.uri, "span": home.span if home else None},
            body,
            change.schema,
            None,
            None,
            home=home,
        ),
    )
