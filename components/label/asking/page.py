"""The page of a round: which rows are asked about and why, how the budget went, the rounds so far, and whether to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common import cards, storage
from headwater.components.common.dataset import Dataset
from headwater.components.common.pages import number, percent, relative_page, render
from headwater.components.common.results import Home
from headwater.components.label.asking import stopping
from headwater.components.label.asking.state import Round
from headwater.components.label.asking.strategies import STRATEGIES

PAGE, REPORT = "page.html", "ask"
"""The page's name beside the tasks, and among the reports of a dataset."""

MOST_ROWS = 200
"""So many rows of a batch are listed."""

_WIDTH, _HEIGHT, _LEFT, _ABOVE, _BELOW = 520, 150, 44, 12, 34


def write_pages(
    opened: Dataset, place: str, report: Mapping[str, Any], batch: pa.Table, rounds: Sequence[Round]
) -> None:
    """Writes the page beside the tasks, and among the reports of the dataset where it lies under a `data_root`.

    Args:
      opened: the dataset.
      place: the folder of the tasks.
      report, batch, rounds: as `render_page` takes them.
    """
    result, home = opened.result, opened.home
    body = result.body
    private = bool({*(body.get("private") or {})} & {*opened.key})
    about = (body.get("name") or result.uri, report, batch, private, rounds)
    storage.write_bytes(storage.join(place, PAGE), render_page(*about, (), body.get("span"), home).encode())
    if home:
        title = "Labels" if result.kind == "labels" else "Data"
        links = [("Overview", "../reports/index.html"), (title, relative_page(result, home))]
        storage.write_bytes(home.report(REPORT), render_page(*about, links, body.get("span"), home).encode())


def render_page(
    name: str,
    report: Mapping[str, Any],
    batch: pa.Table,
    hidden: bool,
    rounds: Sequence[Round],
    links: Sequence[tuple[str, str]] = (),
    span: int | None = None,
    home: Home | None = None,
) -> str:
    """Renders the page.

    Args:
      name: the dataset's.
      report: what is said of the round, as `ask.json` has it.
      batch: the key's columns, scores and reasons, the first row first.
      hidden: whether the key must not be shown.
      rounds: all up to this one.
      links: names and addresses of other pages.
      span: the dataset's, if it has one.
      home: where the dataset lies; None outside a `data_root`.
    """
    key = batch.column_names[:-2]
    scores, reasons = (column.to_pylist() for column in batch.columns[-2:])
    keys = [] if hidden else [batch[each].slice(0, MOST_ROWS).to_pylist() for each in key]
    shown = min(MOST_ROWS, batch.num_rows)
    told = [_round(each, report["price"]) for each in rounds]
    return render(
        "headwater.components.label",
        "ask.html",
        title=name,
        span=span,
        links=list(links),
        report=report,
        facts=_facts(report, span, home),
        gain=report["gain"],
        hint=stopping.sentence(report["gain"], report["rows"]) if report["gain"] else "",
        strategies=_strategies(reasons, scores),
        budget=_budget(report),
        rounds=told,
        curve=_curve(told, report),
        key=", ".join(key),
        hidden=hidden,
        rows=[
            {
                "key": ", ".join(_text(column[place]) for column in keys),
                "strategy": reasons[place].partition(": ")[0],
                "reason": reasons[place].partition(": ")[2],
                "score": scores[place],
            }
            for place in range(shown)
        ],
        left=batch.num_rows - shown,
    )


def _facts(report: Mapping[str, Any], span: int | None, home: Home | None) -> list[tuple[str, str]]:
    answered = ", ".join(f"{name} {count:,}" for name, count in report["classes"].items())
    more = [
        ("Round", f"{report['round']:,}"),
        ("Answered rows", f"{report['answered']:,} ({answered})"),
        ("Rows asked about before", f"{report['asked']:,}, of which {report['replied']:,} are answered"),
        ("Rows that may be asked about", f"{report['askable']:,}"),
    ]
    return cards.facts(findings=None, rows={"": report["rows"]}, span=span, until=None, home=home, more=more)


def _strategies(reasons: Sequence[str], scores: Sequence[float]) -> list[dict[str, Any]]:
    """Of each strategy how many rows it chose, and their scores."""
    by_name: dict[str, list[float]] = {}
    for reason, score in zip(reasons, scores):
        by_name.setdefault(reason.partition(": ")[0], []).append(score)
    return [
        {
            "name": name,
            "title": STRATEGIES[name].TITLE if name in STRATEGIES else "",
            "rows": len(own),
            "lowest": min(own),
            "median": float(np.median(own)),
            "highest": max(own),
        }
        for name, own in by_name.items()
    ]


def _budget(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """How the answers that may be asked for are used; None where there is no limit."""
    if not report["budget"]:
        return None
    now = report["batch_votes"]
    earlier, left = report["votes"] - now, report["budget_left"]
    whole = max(1, earlier + now + left)
    return {
        "answers": report["budget"],
        "parts": [
            ("earlier rounds", earlier, earlier / whole, "s2"),
            ("this round", now, now / whole, "s0"),
            ("left", left, left / whole, "s4"),
        ],
    }


def _round(each: Round, price: float) -> dict[str, Any]:
    gain = each.report.get("gain") or {}
    return {
        "number": each.number,
        "rows": each.rows,
        "votes": each.votes,
        "cost": each.votes * price,
        "answered": each.report["answered"],
        "accuracy": gain.get("accuracy"),
        "expected": gain.get("expected"),
        "strategies": {name: count for name, count in each.report.get("strategies", {}).items() if count},
    }


def _curve(rounds: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The chart of expected accuracy by answered rows; None where it is known of no round."""
    known = [(each["answered"], each["accuracy"]) for each in rounds if each["accuracy"] is not None]
    if not known:
        return None
    ahead = []
    last = rounds[-1]
    if last["accuracy"] is not None and last["expected"] is not None:
        ahead = [known[-1], (last["answered"] + last["rows"], min(1.0, last["accuracy"] + last["expected"]))]
    points = [*known, *ahead[1:]]
    first, most = min(at for at, _ in points), max(at for at, _ in points)
    low, high = min(value for _, value in points), max(value for _, value in points)
    low, high = np.floor(low * 20) / 20, max(np.ceil(high * 20) / 20, np.floor(low * 20) / 20 + 0.05)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = _LEFT + 8 + (point[0] - first) / max(1, most - first) * (_WIDTH - _LEFT - 24)
        return round(float(x), 1), round(float(_ABOVE + (high - point[1]) / (high - low) * _HEIGHT), 1)

    def path(through: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{x} {y}" for x, y in map(place, through))

    words = "; ".join(f"{at:,} answered rows: {percent(value)}" for at, value in known)
    return {
        "width": _WIDTH,
        "height": _ABOVE + _HEIGHT + _BELOW,
        "left": _LEFT,
        "bottom": _ABOVE + _HEIGHT,
        "line": path(known),
        "ahead": path(ahead) if ahead else "",
        "points": [
            {"x": place(each)[0], "y": place(each)[1], "text": f"{each[0]:,} answered rows: {percent(each[1])}"}
            for each in known
        ],
        "next": {"x": place(ahead[1])[0], "y": place(ahead[1])[1], "text": f"expected after this round: {percent(ahead[1][1])}"}
        if ahead
        else None,
        "ticks": [(place((first, value))[1], percent(float(value))) for value in (low, high)],
        "first": number(first),
        "last": number(most),
        "words": f"Expected accuracy by answered rows. {words}"
        + (f"; expected after this round: {percent(ahead[1][1])}" if ahead else ""),
    }  # fmt: skip


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
