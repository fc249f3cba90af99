"""How every command ends: what was done, what was found, and where the page is; or the same as JSON."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from headwater.components.common import storage
from headwater.components.common.acknowledging import UPSTREAM
from headwater.components.common.progress import QUIET
from headwater.components.common.results import Result, load
from headwater.pipelines.arguments import shown

DONE, NOT_BLESSED, FAILED = 0, 1, 2
"""Exit codes: it is done; the data must not go on, or is not whole; the work could not be done."""

MOST_FINDINGS = 10
"""So many findings are printed at most, each on a line; the page has all."""

_LONGEST = 200
_TOLD = ("anomalies", "labels", "dataset", "statistics", "schema")
_ORDER = {"error": 0, "warning": 1, "info": 2}


@dataclasses.dataclass(frozen=True)
class Closing:
    """What a command says at its end.

    Attributes:
      done: headings and what was done.
      uri: the result; empty for none.
      page: the path of its page; empty for none.
      findings: as `findings_of` gives them.
      refusal: why the data must not go on; empty where it may.
      code: the exit code.
      more: further keys of the JSON.
    """

    done: Sequence[tuple[str, str]]
    uri: str = ""
    page: str = ""
    findings: Sequence[Mapping[str, Any]] = ()
    refusal: str = ""
    code: int = DONE
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def close(options: argparse.Namespace, closing: Closing) -> int:
    """Prints it, and gives the exit code."""
    if options.json:
        print_json(
            {
                "command": name_of(options),
                "exit_code": closing.code,
                "uri": closing.uri or None,
                "page": closing.page or None,
                "findings": _worst_first(closing.findings),
                "refusal": closing.refusal or None,
                **closing.more,
            }
        )
        return closing.code
    lines = [*closing.done]
    lines += [("" if place else "findings", line) for place, line in enumerate(finding_lines(closing.findings))]
    if closing.page:
        lines.append(("page", closing.page))
    for heading, text in lines:
        print(shown(f"{heading:11} {text}"))
    if closing.refusal:
        print(f"not accepted: {closing.refusal}", file=sys.stderr)
    return closing.code


def print_json(value: Any) -> None:
    """Prints JSON, one value."""
    print(json.dumps(value, indent=1, default=str))


def name_of(options: argparse.Namespace) -> str:
    """The command's name, as it is typed."""
    return options.parser.prog.partition(" ")[2]


def findings_of(result: Result) -> list[dict[str, Any]]:
    """A result's findings in one form, whichever component they are of; the worst first."""
    own = [
        {
            "component": each.get("component") or result.kind,
            "severity": each["severity"],
            "kind": each.get("kind") or each.get("rule") or "",
            "split": each.get("split") or None,
            "feature": each.get("feature") or each.get("column") or None,
            "message": each["message"],
            "action": each.get("action") or "",
        }
        for each in result.body.get("findings", ())
        if "acknowledged" not in each
    ]
    return _worst_first(own)


def findings_of_run(by_kind: Mapping[str, Result]) -> list[dict[str, Any]]:
    """The findings of all components of a run, each once: what the verdict counts, and those that only inform of the others.

    Args:
      by_kind: results by kind. Validate's are the first among those of one severity: they are about what changed.
    """
    checks = by_kind["anomalies"].body.get("checks", ()) if "anomalies" in by_kind else ()
    counted = any(check["name"] == UPSTREAM and not check["skipped"] for check in checks)
    return [
        each
        for kind in _TOLD
        if kind in by_kind
        for each in findings_of(by_kind[kind])
        if each["severity"] == "info" or not (counted and kind in ("dataset", "labels"))
    ]


def acknowledgement_lines(anomalies: Result) -> list[str]:
    """What to know of entries that acknowledge nothing: those that have expired, or match no finding."""
    return [each["note"] for each in anomalies.body.get("acknowledged", ()) if each.get("note")]


def _worst_first(findings: Iterable[Mapping[str, Any]]) -> list[Any]:
    return sorted(findings, key=lambda each: _ORDER.get(each["severity"], len(_ORDER)))


def finding_lines(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The gravest findings, each on a line with what to do, and how many more there are.

    Args:
      findings: as `findings_of` gives them, of one component or of several.
    """
    ordered = _worst_first(findings)
    grave = [each for each in ordered if each["severity"] != "info"]
    lines = [_line(each) for each in grave[:MOST_FINDINGS]]
    counts = {"more": len(grave) - len(lines), "info": len(ordered) - len(grave)}
    rest = [f"{count:,} {name}" for name, count in counts.items() if count]
    return [*lines, f"{'… and ' if lines else ''}{' and '.join(rest)} on the page"] if rest else lines


def _line(finding: Mapping[str, Any]) -> str:
    where = finding["feature"] or finding["kind"]
    where += f" ({finding['split']})" if finding["split"] else ""
    # Measures and details come after the first clause; they are on the page.
    what = finding["message"].partition("; ")[0]
    what = what if len(what) <= _LONGEST else what[: _LONGEST - 1] + "…"
    return f"{finding['severity']:7}  {where}: {what}" + (f" — {finding['action']}" if finding["action"] else "")


def parts_of(by_kind: Mapping[str, Result]) -> list[tuple[str, str]]:
    """The two datasets that rules for rows leave, as headings and text; `by_kind` has results by kind."""
    return [
        (kind, f"{by_kind[kind].body['accounts']['written']:,} rows: {by_kind[kind].uri}")
        for kind in ("passed", "quarantine")
        if kind in by_kind
    ]


def also_in(result: Result, output: str) -> list[tuple[str, str]]:
    """Puts what lies under a data root into the folder that was asked for as well, but for rows; says so in a line."""
    if not output or result.home is None or "files" not in result.manifest:
        return []
    # An earlier result may lie in the folder.
    stored = load(result.uri, result.kind)
    for path in stored.files():
        storage.write_bytes(storage.join(storage.normalise(output), path), stored.read(path))
    return [("", f"also in {output}")]


def as_json(by_kind: Mapping[str, Result]) -> dict[str, Any]:
    """Results by kind, each as its `uri` and `page`."""
    return {kind: {"uri": each.uri, "page": page_of(each) or None} for kind, each in by_kind.items()}


def page_of(result: Result) -> str:
    """The path of a result's page; empty for none."""
    if not result.page:
        return ""
    return result.home.report(result.kind) if result.home else result.locate(result.page)


@contextlib.contextmanager
def progress(options: argparse.Namespace) -> Iterator[None]:
    """What the work prints goes to stderr, so that stdout has results alone; nowhere with --quiet."""
    if not options.quiet:
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    earlier = os.environ.get(QUIET)
    os.environ[QUIET] = "1"
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        del os.environ[QUIET]
        if earlier is not None:
            os.environ[QUIET] = earlier
