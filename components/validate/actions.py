"""What to do about a finding: one sentence, with the command or the setting."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from headwater.components.common.results import Home
from headwater.components.validate.findings import (
    COMPARISON_IMPOSSIBLE,
    CONCEPT_DRIFT,
    COVARIATE_DRIFT,
    DRIFT,
    LABEL_DRIFT,
    NO_VALUES,
    SKEW,
    THIS_SPAN,
)

Finding = Mapping[str, Any]


def action(finding: Finding, accept: str) -> str:
    """What a person can do.

    Args:
      finding: with its `check`, `kind` and `feature`; where the check gave it an `action`, that is taken.
      accept: the command that accepts the schema as the data asks for it.
    """
    if "action" in finding:
        return finding["action"]
    by_kind = _BY_KIND.get(finding["kind"])
    if by_kind is not None:
        return by_kind(finding)
    if finding["check"] in ("schema", "dataset_constraints", "serving_schema"):
        return _schema(finding, accept)
    if finding["check"] == "rows" and finding.get("rule_kind") == "schema":
        return f"if the rows are right: {accept}; if not, correct them at the source (the quarantine holds them)"
    if finding["check"] == "rows":
        return "correct the rows at the source (the quarantine holds them), or set the rule's tolerance"
    if finding["check"] == "feature_skew":
        return (
            f"compare how training and serving compute {finding['feature']!r}; where a difference is fine, set "
            "feature_skew.tolerance"
        )
    return "look at the page of validate"


def accept_command(home: Home) -> str:
    """The command that accepts a span: its schema as it should become, and what was found on it."""
    return f'headwater accept{_options(home)} --reason "…"'


def propose_command(statistics: str, schema: str) -> str:
    """The commands that accept a schema as statistics ask for it, where no `data_root` keeps what is accepted.

    Args:
      statistics, schema: where they lie; the proposal is written beside the schema.
    """
    proposal = shlex.quote(f"{schema.rstrip('/').removesuffix('.pbtxt')}-proposal")
    given = f"{shlex.quote(statistics)} --base-schema {shlex.quote(schema)}"
    return (
        f'headwater infer-schema {given} --mode propose --output {proposal} && headwater accept {proposal} --reason "…"'
    )


def review_command(home: Home) -> str:
    """The command that goes through a span's findings one by one."""
    return f"headwater review{_options(home)}"


def _options(home: Home) -> str:
    return f" --name {home.name} --span {home.span} --data-root {shlex.quote(home.data_root)}"


def _schema(finding: Finding, accept: str) -> str:
    if finding["kind"] == "SCHEMA_MISSING_COLUMN":
        return f"if the column is gone for good: {accept}; if not, look at the source"
    if finding["kind"] == "SCHEMA_NEW_COLUMN":
        return f"if the column is meant: {accept}; if not, leave it out by collect's setting columns"
    return f"if the data is right: {accept}; if not, correct it at the source"


def _drift(finding: Finding) -> str:
    if finding["severity"] == "error":
        return (
            "look for what changed at the source; if the change is right, retrain on recent rows and curate the "
            "feature's drift_threshold"
        )
    return (
        "look for what changed at the source; if the change is right, retrain on recent rows, or raise drift.min_effect"
    )


def _skew(finding: Finding) -> str:
    return f"compare how training and serving make {finding['feature']!r}, and retrain on rows like those served"


def _label(finding: Finding) -> str:
    return "check how labels were made in both spans; if they are right, retrain on recent rows"


def _concept(finding: Finding) -> str:
    first = next((each["where"] for each in finding.get("slices") or () if each.get("where")), "")
    if not first:
        return "label recent rows and retrain; look first at the slices on the page"
    return f"label recent rows and retrain, first of all: headwater ask … --where {shlex.quote(first)}"


def _inputs(finding: Finding) -> str:
    return "retrain on recent rows, or weight the earlier ones; look at the page for what moved"


def _impossible(finding: Finding) -> str:
    if finding["check"] == "concept":
        return "look at validate.concept: the label, its columns and the baseline"
    if not finding["feature"]:
        return "compare with a span that has the same splits: --baseline span:<n>"
    if finding["message"].startswith(f"{NO_VALUES} {THIS_SPAN}"):
        return "look why it is empty at the source, or leave it out by collect's setting columns"
    if finding["message"].startswith(NO_VALUES):
        return "nothing to do if the source fills it since: the next span is compared with this one"
    return "look why the column has other values at the source; the next span is compared with this one"


def _few(finding: Finding) -> str:
    return "collect more rows per span, or compare with several spans: --baseline window:7"


_BY_KIND: dict[str, Callable[[Finding], str]] = {
    DRIFT: _drift,
    SKEW: _skew,
    LABEL_DRIFT: _label,
    CONCEPT_DRIFT: _concept,
    COVARIATE_DRIFT: _inputs,
    COMPARISON_IMPOSSIBLE: _impossible,
    "TOO_FEW_ROWS": _few,
    "EMPTY_SPLIT": lambda finding: "look at the weights of collect's splits, and whether the source has rows",
    "RULE_NOT_JUDGED": lambda finding: "correct the rule, or the columns that it names",
}
