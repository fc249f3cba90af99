"""What the pages of all components share: the strip of facts on top, and findings as cards that links lead to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headwater.components.common.findings import SEVERITIES
from headwater.components.common.pages import anchor
from headwater.components.common.results import Home
from headwater.components.common.version import VERSION

# A command up to the end of the clause, or a setting that is to be added: both are copied as they stand.
_COMMAND = re.compile(r"""headwater [a-z][a-z-]* (?:[^;"']|"[^"]*"|'[^']*')+|(?<=[Aa]dd )\w+: \{[^{}]*\}""")


def facts(
    *,
    findings: Iterable[Mapping[str, Any]] | None,
    rows: Mapping[str, int],
    span: int | None,
    until: str | None,
    home: Home | None,
    more: Sequence[tuple[str, str]] = (),
) -> list[tuple[str, str]]:
    """What a page is about, as pairs of a name and a value.

    Args:
      findings: that the page shows; None where it shows none.
      rows: of each split.
      span: its number, if it has one.
      until: the moment up to which its data goes, in ISO 8601, if it is known.
      home: where the result lies; None outside a `data_root`.
      more: pairs that this page adds, put before the version of Headwater.
    """
    shown = [] if findings is None else [("Findings", counted(findings))]
    told = f"{sum(rows.values()):,}"
    if len(rows) > 1:
        told += f" ({', '.join(f'{name} {count:,}' for name, count in rows.items())})"
    shown.append(("Rows", told))
    if span is not None:
        shown.append(("Span", str(span)))
    if until:
        shown.append(("Data until", until.split("+")[0].removesuffix("Z").replace("T", " ")))
    if home:
        shown.append(("Version", str(home.version)))
    return [*shown, *more, ("Headwater", VERSION)]


def counted(findings: Iterable[Mapping[str, Any]]) -> str:
    """How many findings there are of each severity, in words; those that are acknowledged are counted apart."""
    every = list(findings)
    open_ones = [each["severity"] for each in every if not each.get("acknowledged")]
    counts = [(open_ones.count(level), level) for level in SEVERITIES]
    words = [f"{count:,} {level}{'s' * (count > 1 and level != 'info')}" for count, level in counts if count]
    if len(open_ones) < len(every):
        words.append(f"{len(every) - len(open_ones):,} acknowledged")
    return ", ".join(words) or "none"


def place(reference: Mapping[str, Any] | None) -> str:
    """The span and version of a result that a manifest refers to, where its URI has them; else the URI."""
    if not reference:
        return ""
    known = dict(part.split("=", 1) for part in reference["uri"].split("/") if part.count("=") == 1)
    if not {"span", "version"} <= set(known):
        return str(reference["uri"])
    others = f" and {len(reference['others'])} spans before it" if reference.get("others") else ""
    return f"span {known['span']}, version {known['version']}{others}"


def card(
    finding: Mapping[str, Any],
    *,
    subject: str,
    kind: str,
    kind_words: str,
    why: str,
    splits: Sequence[str] = (),
    charts: Sequence[tuple[str, Mapping[str, Any]]] = (),
    sides: Sequence[str] = (),
    caption: str = "",
    **more: Any,
) -> dict[str, Any]:
    """A finding for the macro `cards` of `cards.html`.

    Args:
      finding: with severity and message; an action and how it was acknowledged, if there is one.
      subject: what it is about: a column, or in words.
      kind: as the manifest names it.
      kind_words: as people read it.
      why: why it matters, in one sentence; empty for none.
      splits: that it is about; empty for all.
      charts: names and charts, the most telling first.
      sides: what the charts compare.
      caption: what the charts show.
      **more: what the page's own details show.
    """
    return {
        **more,
        "severity": finding["severity"],
        "message": finding["message"],
        "action": parts(finding.get("action") or ""),
        "acknowledged": finding.get("acknowledged"),
        "subject": subject,
        "kind": kind,
        "kind_words": kind_words,
        "why": why,
        "splits": list(splits),
        "charts": list(charts),
        "sides": list(sides),
        "caption": caption,
        "feature_id": "",
    }


def number(cards: Sequence[dict[str, Any]], of: Sequence[str], features: bool) -> None:
    """Gives each card an id of what it is about and its kind, by which links lead to it.

    Args:
      cards: those of a page.
      of: what each is about: a feature or a split, or empty.
      features: whether the first card of a feature is what a link to that feature leads to.
    """
    seen: set[str] = set()
    for each, about in zip(cards, of):
        own = anchor("feature", about) if features and each["subject"] == about else ""
        each["feature_id"] = own if own and own not in seen else ""
        seen.add(own)
        wanted, place = anchor("finding", about, each["kind"].lower()), 1
        each["id"] = wanted
        while each["id"] in seen:
            place += 1
            each["id"] = f"{wanted}-{place}"
        seen.add(each["id"])


def choices(cards: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What cards can be filtered by: severities, kinds, splits and subjects."""
    return {
        "severities": [level for level in SEVERITIES if any(each["severity"] == level for each in cards)],
        "kinds": sorted({each["kind_words"] for each in cards}),
        "splits": list(dict.fromkeys(split for each in cards for split in each["splits"])),
        "subjects": sorted({each["subject"] for each in cards}),
    }


def parts(action: str) -> list[tuple[str, bool]]:
    """The parts of what is to be done, and for each whether it is a command or a setting, to be copied as it is."""
    pieces, at = [], 0
    action = action[:1].upper() + action[1:] if not action.startswith("headwater ") else action
    for match in _COMMAND.finditer(action):
        pieces += [(action[at : match.start()], False)] if match.start() > at else []
        pieces.append((match[0].rstrip(), True))
        at = match.start() + len(match[0].rstrip())
    return [*pieces, (action[at:], False)] if at < len(action) else pieces
