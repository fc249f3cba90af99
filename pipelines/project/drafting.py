"""The text of a new project file, from a look at the data: commented, and right as it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from headwater.pipelines.project.looking import Look

SCHEMA = ".headwater.schema.json"
"""The file beside the project file that editors take the settings from."""

_PLAIN = re.compile(r"(\.{0,2}/)*[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "none"}
_COLUMN = 44


def draft(sources: Sequence[str], look: Look) -> str:
    """The file's text.

    Args:
      sources: as they are written into it.
      look: what a look at them found.
    """
    rows = f"{look.rows:,} rows" if look.whole else f"the first {look.rows:,} rows"
    lines = [
        f"# yaml-language-server: $schema={SCHEMA}",
        f"# Written by `headwater init` from {rows}; every line may be changed.",
        "# `headwater check` checks it, `headwater run` runs it, `headwater run tuesday.csv` takes other data.",
        "",
        f"name: {_text(look.name)}",
        "sources:",
        *[f"- {_text(source)}" for source in sources],
        "",
        "collect:",
        *_collect(look),
        "",
        *_rest(look),
    ]
    return "\n".join(lines) + "\n"


def _collect(look: Look) -> list[str]:
    lines = []
    for key, value, why in look.reading:
        lines.append(_line(f"  {key}: {_text(value)}", why))
    if look.key:
        lines.append(_line(f"  key: {_list(look.key)}", look.key_evidence))
    else:
        lines.append(
            "  # No column and no pair of columns is distinct in every row: rows get a `_row_id` as their key."
        )
        lines.append("  # key: [id]")
    if look.types:
        lines.append("  types:")
        lines += [_line(f"    {_text(name)}: {kind}", why) for name, kind, why in look.types]
    else:
        lines.append("  # types: {zip: string}                # the types of the other columns are inferred")
    if look.missing:
        lines.append(_line("  missing:", "values that stand for a missing one"))
        lines += [_line(f"    {_text(name)}: {_list(codes)}", why) for name, codes, why in look.missing]
    if look.private:
        lines.append(_line("  private:", "redact, hash (with HEADWATER_PRIVACY_KEY), drop, or keep"))
        lines += [_line(f"    {_text(name)}: redact", f"looks like {kinds}") for name, kinds in look.private]
    for place, (name, why) in enumerate(look.time):
        lines.append(_line(f"  {'# ' if place else ''}event_time: {_text(name)}", why))
    if look.time:
        lines.append("  # max_age: 36h                        # how old the newest event may be")
    for place, (name, why) in enumerate(look.labels):
        sure = look.named and not place
        lines.append(_line(f"  {'' if sure else '# '}label: {_text(name)}", f"{why}; what is to be learnt"))
    lines.append("  splits: train=0.8,eval=0.2            # the first one trains")
    return lines


def _rest(look: Look) -> list[str]:
    label = _text(look.labels[0][0]) if look.labels else "label"
    return [
        "# label:                                 # for rows without labels: components/label/README.md",
        "#   steps: []",
        "",
        "statistics: {}",
        f"  # label_feature: {label}",
        "",
        "schema:",
        "  base_schema: auto                     # the one of the span before; a guess until it is accepted",
        "",
        "validate:",
        "  baseline: auto                        # the statistics of the span before",
        "  fail_on: error                        # error, warning or none",
        "  # rows:",
        "  #   rules:",
        '  #   - {name: positive, row: "amount >= 0"}',
        "",
        "# alerts:",
        "# - {to: slack, url_env: SLACK_WEBHOOK, on: error}",
        "",
        "platform:",
        "  data_root: .headwater                 # where results are kept; gs:// and s3:// do as well",
    ]


def _line(text: str, why: str) -> str:
    return f"{text:{_COLUMN - 4}}  # {_comment(why)}" if why else text


def _comment(text: str) -> str:
    return " ".join(text.split())


def _list(values: Sequence[Any]) -> str:
    return "[" + ", ".join(_text(value) for value in values) + "]"


def _text(value: Any) -> str:
    """A value as YAML: plain where no reader could take it for something else."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
