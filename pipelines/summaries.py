"""What a run or a check found, as Markdown: for a job's summary page, a comment, or a file beside the data."""

from __future__ import annotations

import argparse
import contextlib
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.pages import visible
from headwater.components.common.results import Result
from headwater.components.validate.enforcement import ways_on
from headwater.pipelines.closing import findings_of_run

MOST_FINDINGS = 50
"""So many rows a table has at most; GitHub shows a megabyte, and the page has all."""

_LONGEST = 500
_MARKS = {"error": "❌ error", "warning": "⚠️ warning", "info": "ℹ️ info"}
# What Markdown takes for its own is written as HTML does it, so that it stays text.
_SPECIAL = re.compile(r"[|*_`~\[\]\\!#@\n]")


def add_summary(parser: argparse.ArgumentParser) -> None:
    """Adds --summary."""
    parser.add_argument(
        "--summary",
        default="",
        metavar="FILE",
        help="append what was found to this file as Markdown, for a job's page (in GitHub Actions, $GITHUB_STEP_SUMMARY)",
    )


@contextlib.contextmanager
def summarised_errors(options: argparse.Namespace) -> Iterator[None]:
    """An error of the work goes into the file of --summary as well."""
    try:
        yield
    except HeadwaterError as error:
        append(options, f"## ❌ headwater {options.parser.prog.partition(' ')[2]}: error\n\n{text(str(error))}\n")
        raise


def append(options: argparse.Namespace, markdown: str) -> None:
    """Appends to the file of --summary, if it was given.

    Raises:
      HeadwaterError: the file cannot be written.
    """
    if not options.summary:
        return
    try:
        with open(options.summary, "a", encoding="utf-8") as file:
            file.write(markdown + "\n")
    except OSError as error:
        raise HeadwaterError(f"--summary: {options.summary} cannot be written: {error.strerror}") from None


def of_run(results: Mapping[str, Result], passed: bool) -> str:
    """A run's verdict, its rows, and the findings of all components with what to do.

    Args:
      results: what each stage left, by kind; as `local.Outcome` has them.
      passed: whether the gate let the data pass.
    """
    dataset = results["dataset"].body
    anomalies = results.get("anomalies")
    refusals = [results[kind].body.get("refusal") for kind in ("dataset", "labels") if kind in results]
    verdict = anomalies.body["verdict"] if anomalies else next(filter(None, refusals), "")
    accounts = dataset["accounts"]
    filtered = sum(accounts["filtered"].values())
    rows = [(split, entry["rows"]) for split, entry in dataset["splits"].items()]
    lines = [
        f"## {'✅' if passed else '❌'} {text(dataset['name'])}, span {dataset['span']}",
        "",
        f"**{text(verdict)}**",
        "",
    ]
    told = f"{accounts['read']:,} rows read, {accounts['written']:,} written, {accounts['rejected']:,} rejected"
    told += f", {filtered:,} filtered" if filtered else ""
    lines += [f"{told} ({', '.join(f'{text(split)} {count:,}' for split, count in rows)})", ""]
    lines += _findings(findings_of_run(results))
    if anomalies:
        lines += [f"To {what}: <code>{text(command)}</code>\n" for what, command in ways_on(anomalies).items()]
    return "\n".join(lines)


def of_check(checked: Sequence[Any]) -> str:
    """What `headwater check` looked at.

    Args:
      checked: as `project.checking.check_all` gives them.
    """
    wrong = [each for each in checked if each.problem]
    told = f"{len(wrong):,} problem{'' if len(wrong) == 1 else 's'}" if wrong else "all well"
    table = _table(
        ("", "What"),
        [
            ("❌" if each.problem else "✅", text(each.problem or f"{each.what}: {each.state}".rstrip(": ")))
            for each in checked
        ],
    )
    return "\n".join([f"## {'❌' if wrong else '✅'} headwater check: {told}", "", *table])


def text(value: str) -> str:
    """A text as Markdown that shows it and means nothing else, at most some hundred characters."""
    shown = html.escape(visible(value, _LONGEST))
    # Entities of `escape` have a number sign of their own.
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", shown.replace("&#x27;", "&apos;"))


def _findings(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    grave = [each for each in findings if each["severity"] != "info"]
    if not grave:
        return ["No findings.", ""] if not findings else [f"{len(findings):,} notes on the page.", ""]
    order = {"error": 0, "warning": 1}
    grave.sort(key=lambda each: order[each["severity"]])
    rows = [
        (
            _MARKS[each["severity"]],
            f"<code>{text(each['feature'] or each['kind'])}</code>"
            + (f" ({text(each['split'])})" if each["split"] else ""),
            text(each["message"]),
            text(each["action"]),
        )
        for each in grave[:MOST_FINDINGS]
    ]
    lines = _table(("", "Where", "What", "What to do"), rows)
    more = len(grave) - len(rows)
    return [*lines[:-1], *([f"\n{more:,} more on the page."] if more else []), ""]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]
