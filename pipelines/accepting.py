"""The commands by which a person settles what a run found: accept, and review."""

from __future__ import annotations

import argparse
from typing import Any

from headwater.components.common.errors import HeadwaterError
from headwater.components.validate.actions import DATA_ROOT
from headwater.pipelines.arguments import add_command


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

    review = add_command(
        commands, "review", _review, "go through a span's findings: accept, curate, ignore, quarantine or skip each"
    )
    _add_span(review)
    review.add_argument("--reason", default="", help="why what is accepted is accepted (default: you are asked)")
    review.add_argument(
        "--project",
        default="",
        metavar="FILE",
        help="project file for settings (default: headwater.yaml, created if missing)",
    )


def _add_span(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="data", help="name of the dataset (default: %(default)s)")
    parser.add_argument("--span", type=int, default=None, metavar="N", help="number of the span (default: the latest)")
    parser.add_argument("--data-root", default=DATA_ROOT, help="where the runs' results are (default: %(default)s)")
    parser.add_argument("--who", default="", help="who accepts (default: you)")


def _accept(options: argparse.Namespace) -> int:
    if options.proposal:
        from headwater.components.infer_schema import accept_schema

        result = accept_schema(options.proposal, reason=options.reason, who=options.who, output=options.output)
        entry = result.body["history"][-1]
        print(
            f"{result.uri}: accepted by {entry['who']}, {entry['changes']} changes, compatibility "
            f"{entry['compatibility']}"
        )
        return 0
    if options.output:
        raise HeadwaterError("--output: a span's schema is written under the data root; --output is for a proposal")
    print(accept(options.data_root, options.name, options.span, reason=options.reason, who=options.who))
    return 0


def accept(data_root: str, name: str, span: int | None, **how: Any) -> str:
    """Accepts a span, and says in a few lines what that changed.

    Args:
      data_root: path or URI.
      name: of the dataset.
      span: its number; None for the latest.
      **how: as `accept_span` takes it.
    """
    from headwater.components.common.pages import visible
    from headwater.components.infer_schema import accept_span
    from headwater.components.infer_schema.diff import compatibility, sentence
    from headwater.components.validate.enforcement import where

    done = accept_span(data_root, name, span, **how)
    accepted, home = done.result.body["accepted"], done.result.home
    assert home is not None, "a span's schema lies under the data root"
    signed = f"{accepted['who']} on {accepted['when']}: {visible(accepted['why'], 500)}"
    if done.result == done.before:
        return f"nothing to accept: {home.name}, span {home.span}, was accepted by {signed}"
    lines = [f"the schema of {home.name}, span {home.span}, was inferred, and is accepted now"]
    if not done.before.body["inferred"]:
        lines = [f"the schema of {home.name}, span {home.span}, was accepted before, and is accepted anew"]
    if done.changes:
        lines.append(f"changes (compatibility: {compatibility(done.changes).name}):")
        lines += [f"  {visible(sentence(change), 500)}" for change in done.changes]
    else:
        lines.append("it is not changed: the data fits it")
    if done.findings:
        lines.append("accepted for this span alone, since no schema speaks of it:")
        lines += [f"  {each['severity']:7}  {where(each)}: {visible(each['message'], 500)}" for each in done.findings]
    lines.append(f"accepted by {signed}")
    lines.append(f"written to {done.result.uri}; the same run, and later ones, use it from now on")
    return "\n".join(lines)


def _review(options: argparse.Namespace) -> int:
    from headwater.pipelines.review import review

    review(
        options.data_root,
        options.name,
        options.span,
        reason=options.reason,
        who=options.who,
        project=options.project,
    )
    return 0
