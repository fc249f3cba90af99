"""The schema's page: what is agreed, what would change, and what a person might agree on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common import cards
from headwater.components.common.findings import percent
from headwater.components.common.pages import number, render, visible
from headwater.components.common.results import Home
from headwater.components.infer_schema.diff import compatibility, sentence

_TYPES = {
    schema_pb2.INT: "integer",
    schema_pb2.FLOAT: "number",
    schema_pb2.BYTES: "text",
    schema_pb2.STRUCT: "struct",
}
_MOST_VALUES = 12
_LONGEST = 200


def render_page(
    dataset: Mapping[str, Any],
    body: Mapping[str, Any],
    schema: schema_pb2.Schema,
    changes: Sequence[dict[str, Any]] | None,
    suggestions: Sequence[dict[str, Any]] | None,
    links: Sequence[tuple[str, str]] = (),
    rows: Mapping[str, int] | None = None,
    home: Home | None = None,
) -> str:
    """Renders the page.

    Args:
      dataset: name, uri and span, of the statistics' manifest.
      body: of the schema's manifest.
      schema: the agreed one.
      changes: to the candidate; None where there is none.
      suggestions: of `suggest.suggest`; None likewise.
      links: names and addresses of other pages of the run.
      rows: of each split of the statistics; None where none were looked at.
      home: where the schema lies; None outside a `data_root`.
    """
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    summary = compatibility(changes) if changes is not None else None
    return render(
        "headwater.components.infer_schema",
        "page.html",
        title=dataset["name"] or dataset["uri"],
        span=dataset["span"],
        body=body,
        links=links,
        accept=f'headwater accept --name {home.name} --span {home.span} --data-root {shlex.quote(home.data_root)} --reason "…"'
        if home
        else "",
        facts=_facts(dataset, body, schema, changes, rows, home),
        environments=list(schema.default_environment),
        features=[_feature(feature, domains) for feature in schema.feature],
        changes=[{**change, "sentence": visible(sentence(change), 1000)} for change in changes or ()],
        compatible=summary,
        suggestions=[
            {**each, "curation": json.dumps(each["curation"], ensure_ascii=False) if each["curation"] else ""}
            for each in suggestions or ()
        ],
        reviewed=changes is not None,
    )


def _facts(
    dataset: Mapping[str, Any],
    body: Mapping[str, Any],
    schema: schema_pb2.Schema,
    changes: Sequence[Mapping[str, Any]] | None,
    rows: Mapping[str, int] | None,
    home: Home | None,
) -> list[tuple[str, str]]:
    """What the schema is of, as pairs of a name and a value."""
    more = [("Features", f"{len(schema.feature):,}")]
    if changes is not None:
        more.append(("Proposed changes", f"{len(changes):,}" if changes else "none"))
    if body["base"]:
        more.append(("From", cards.place(body["base"])))
    facts = cards.facts(
        findings=None,
        rows=rows or {},
        span=dataset["span"],
        until=(dataset.get("about") or {}).get("until"),
        home=home,
        more=more,
    )
    return [(name, value) for name, value in facts if rows or name != "Rows"]


def _feature(feature: schema_pb2.Feature, domains: Mapping[str, list[str]]) -> dict[str, Any]:
    notes = ["deprecated"] if feature.lifecycle_stage == schema_pb2.DEPRECATED else []
    notes += [tag.removeprefix("headwater:").replace("-", " ") for tag in feature.annotation.tag]
    notes += [f"not in {name}" for name in feature.not_in_environment]
    for kind, comparator in (("drift", feature.drift_comparator), ("skew", feature.skew_comparator)):
        for measure in ("infinity_norm", "jensen_shannon_divergence", "normalized_abs_difference"):
            if comparator.HasField(measure):
                notes.append(f"{kind}: {measure.replace('_', ' ')} ≤ {getattr(comparator, measure).threshold:g}")
    required = feature.HasField("shape") or feature.presence.min_fraction == 1
    return {
        "name": visible(feature.name, _LONGEST),
        "type": _TYPES.get(feature.type, ""),
        "presence": "required"
        if required
        else f"at least {percent(feature.presence.min_fraction)}"
        if feature.presence.min_fraction
        else "optional",
        "valency": _valency(feature),
        "domain": _domain(feature, domains),
        "notes": notes,
    }


def _valency(feature: schema_pb2.Feature) -> str:
    low, high = feature.value_count.min, feature.value_count.max
    if feature.HasField("shape") or low == high == 1:
        return "one"
    return f"{low or 0} to {high}" if high else f"{low} or more" if low else "any number"


def _domain(feature: schema_pb2.Feature, domains: Mapping[str, list[str]]) -> str:
    kind = feature.WhichOneof("domain_info")
    if kind in ("domain", "string_domain"):
        if "headwater:private" in feature.annotation.tag:
            return "private values"
        values = domains.get(feature.domain, []) if kind == "domain" else list(feature.string_domain.value)
        shown = ", ".join(visible(value, 60) if value else "(empty)" for value in values[:_MOST_VALUES])
        more = f" and {len(values) - _MOST_VALUES:,} more" if len(values) > _MOST_VALUES else ""
        constraints = feature.distribution_constraints
        mass = (
            f"; at least {percent(constraints.min_domain_mass)} of values are among them"
            if feature.HasField("distribution_constraints") and constraints.min_domain_mass < 1
            else ""
        )
        return f"{shown}{more}{mass}"
    if kind in ("int_domain", "float_domain"):
        domain = getattr(feature, kind)
        ends = [number(getattr(domain, end)) if domain.HasField(end) else "" for end in ("min", "max")]
        words = "category codes" if kind == "int_domain" and domain.is_categorical else ""
        return " ".join(part for part in (words, f"{ends[0]} to {ends[1]}" if any(ends) else "") if part)
    return kind.removesuffix("_domain").replace("_", " ") if kind else ""
