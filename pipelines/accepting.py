"""The commands by which a person settles what a run found: accept, and review."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.project import name_of
from headwater.pipelines.arguments import DATA_ROOT, add_command, add_data_root, add_project, load_of
from headwater.pipelines.closing import Closing, close, page_of, progress

if TYPE_CHECKING:
    from headwater.components.infer_schema.accept import Acceptance


def add_commands(commands: Any) -> None:
    """Adds the commands to `commands`."""
    accept = add_command(
        commands, "accept", _accept, "accept a span: its schema, fitted to its data, and what was found on it"
    )
    accept.add_argument(
        "proposal", nargs="?", default="", help="accept the candidate of this folder of infer-schema instead of a span"
    )
    _add_span(accept)
    accept.add_argument("--reason", required=True, help="why it is accepted, for later readers")
    accept.add_argument(
        "--output", default="", metavar="FOLDER", help="folder for a proposal's schema (default: next to the proposal)"
    )
    add_project(accept)

    review = add_command(
        commands, "review", _review, "go through a span's findings: accept, curate, ignore, quarantine or skip each"
    )
    _add_span(review)
    review.add_argument("--reason", default="", help="why what is accepted is accepted (default: you are asked)")
    add_project(review)


def _add_span(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="name of the dataset (default: data)")
    parser.add_argument("--span", type=int, metavar="N", help="number of the span (default: the latest)")
    add_data_root(parser, f"where the runs' results are (default: {DATA_ROOT})")
    parser.add_argument("--who", default="", help="who accepts (default: you)")


def _accept(options: argparse.Namespace) -> int:
    if options.proposal:
        from headwater.components.infer_schema import accept_schema

        result = accept_schema(options.proposal, reason=options.reason, who=options.who, output=options.output)
        entry = result.body["history"][-1]
        text = f"accepted by {entry['who']}, {entry['changes']} changes, compatibility {entry['compatibility']}"
        done = [("schema", text), ("result", result.uri)]
        return close(options, Closing(done, result.uri, page_of(result), more={"accepted": entry}))
    if options.output:
        raise HeadwaterError("--output: a span's schema is written under the data root; --output is for a proposal")
    from headwater.components.infer_schema import accept_span

    data_root, name, _ = _place(options)
    with progress(options):
        accepted = accept_span(data_root, name, options.span, reason=options.reason, who=options.who)
    more = {
        "accepted": accepted.result.body["accepted"],
        "changes": accepted.changes,
        "accepted_findings": list(accepted.settled),
    }
    return close(options, Closing(in_words(accepted), accepted.result.uri, page_of(accepted.result), more=more))


def _place(options: argparse.Namespace) -> tuple[str, str, str]:
    """The data root, the dataset's name and the project file, empty for none."""
    project = load_of(options, data_root=DATA_ROOT)
    return project.settings["platform"]["data_root"], name_of(project.settings), project.uri


def in_words(accepted: Acceptance) -> Sequence[tuple[str, str]]:
    """What was accepted, as headings and text."""
    from headwater.components.common.pages import visible
    from headwater.components.infer_schema.diff import compatibility, sentence

    how, home = accepted.result.body["accepted"], accepted.result.home
    assert home is not None, "a span's schema lies under the data root"
    signed = f"by {how['who']} on {how['when']}, for span {how.get('on_span', how['span'])}: {visible(how['why'], 500)}"
    if accepted.result == accepted.before:
        return [("schema", f"{home.name}, span {home.span}: nothing is left to accept"), ("accepted", signed)]
    state = "inferred until now" if accepted.before.body["inferred"] else "accepted before, and anew now"
    lines = [("schema", f"{home.name}, span {home.span}: {state}")]
    changes = [visible(sentence(change), 500) for change in accepted.changes]
    if changes:
        changes.append(f"compatibility: {compatibility(accepted.changes).name}")
    lines += _under("changes", changes or ["none: the data fits it"])
    for each in accepted.settled:
        first, *others = _told(each)
        note = " (accepted for this span alone, as no schema speaks of it)" if each in accepted.findings else ""
        lines += [("accepted:", first + note), *(("accepted:", text) for text in others)]
    # Of a span that passed as it was, nothing is to be judged anew.
    following = "run the same command again" if changes or accepted.settled else "run the next span's data"
    return [*lines, ("accepted", signed), ("result", accepted.result.uri), ("next", following)]


def _told(finding: Mapping[str, Any]) -> list[str]:
    """A finding, and what has the same cause, a line each."""
    from headwater.components.common.pages import visible
    from headwater.components.validate.enforcement import where

    every = [finding, *finding["members"]]
    return [f"{each['severity']:7}  {where(each)}: {visible(each['message'], 500)}" for each in every]


def _under(heading: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    return [("" if place else heading, text) for place, text in enumerate(texts)]


def _review(options: argparse.Namespace) -> int:
    from headwater.pipelines.project import NAME
    from headwater.pipelines.review import review

    data_root, name, project = _place(options)
    # Questions are no result.
    with contextlib.redirect_stdout(sys.stderr):
        done = review(data_root, name, options.span, reason=options.reason, who=options.who, project=project or NAME)
    lines = list(in_words(done.accepted)) if done.accepted else []
    if done.written:
        lines.insert(-1 if lines else 0, ("settings", f"written to {done.written}"))
    if not done.accepted:
        lines.append(("next", "run the same command again") if done.written else ("review", "nothing is changed"))
    result = done.accepted.result if done.accepted else None
    more = {"accepted": result.body["accepted"] if result else None, "settings": done.written or None}
    return close(options, Closing(lines, result.uri if result else "", page_of(result) if result else "", more=more))
