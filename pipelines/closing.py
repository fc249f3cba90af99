"""How every command ends: what was done, what was found, and where the page is; or the same as JSON."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headwater.components.common.progress import QUIET
from headwater.components.common.results import Result
from headwater.pipelines.arguments import shown

DONE, NOT_BLESSED, FAILED = 0, 1, 2
"""Exit codes: it is done; the data must not go on, or is not whole; the work could not be done."""

_MOST_FINDINGS = 12


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
                "findings": list(closing.findings),
                "refusal": closing.refusal or None,
                **closing.more,
            }
        )
        return closing.code
    lines = [*closing.done]
    for place, found in enumerate(closing.findings[:_MOST_FINDINGS]):
        lines.append(("" if place else "findings", finding_line(found)))
    if len(closing.findings) > _MOST_FINDINGS:
        lines.append(("", f"… and {len(closing.findings) - _MOST_FINDINGS} more on the page"))
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
    order = {"error": 0, "warning": 1, "info": 2}
    found = [
        {
            "component": result.kind,
            "severity": each["severity"],
            "kind": each.get("kind") or each.get("rule") or "",
            "split": each.get("split") or None,
            "feature": each.get("feature") or each.get("column") or None,
            "message": each["message"],
        }
        for each in result.body.get("findings", ())
    ]
    return sorted(found, key=lambda each: order.get(each["severity"], len(order)))


def finding_line(found: Mapping[str, Any]) -> str:
    """A finding as one line."""
    where = "/".join(part for part in (found["split"], found["feature"]) if part) or found["kind"]
    return f"{found['severity']:7}  {where}: {found['message']}"


def page_of(result: Result) -> str:
    """The path of a result's page; empty for none."""
    listed = "page.html" in result.manifest.get("files", {})
    if not listed and not result.body.get("page"):
        return ""
    if result.home:
        return result.home.report(result.kind)
    return result.locate(result.body.get("page") or "page.html")


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
