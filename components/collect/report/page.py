"""The dataset's page: findings first, where every record went, and one row a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.collect.report import explanations
from headwater.components.collect.settings import Settings
from headwater.components.common import cards, charts, histograms
from headwater.components.common.charts import Bin
from headwater.components.common.pages import Unit, anchor, number, render
from headwater.components.common.results import Home

_MOST_SOURCES = 8
_MOST_VALUES = 5
_EXAMPLE = 48
_MOST_CHARTS = 100
_MOST_SPANS = 3
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_FLOW_WIDTH, _FLOW_HEIGHT, _FLOW_GAP = 960, 240, 18.0


def render_page(
    body: Mapping[str, Any],
    sample: pa.Table | None,
    settings: Settings,
    home: Home | None = None,
    earlier: Sequence[int] = (),
) -> str:
    """Renders the page.

    Args:
      body: of the dataset's manifest, findings included.
      sample: some of its rows; None when there are none, or none are to be looked at.
      settings: the user's.
      home: where the dataset lies, beside the pages of the other steps; None outside a `data_root`.
      earlier: the spans that it was compared with, in order.
    """
    columns = [
        _column(body, name, kind, sample, settings)
        for name, kind in body["columns"].items()
        if not name.startswith("_")
    ]
    shown = _cards(body["findings"], {each["name"]: each["chart"] for each in columns})
    for each in columns:
        each["findings"] = {card["kind"]: card for card in shown if each["name"] in card["columns"]}
    return render(
        "headwater.components.collect",
        "page.html",
        body=body,
        rows=body["accounts"]["written"],
        columns=columns,
        shown=shown,
        choices=cards.choices(shown),
        flow=_flow(body),
        links=[("Overview", "../reports/index.html")] if home else [],
        facts=_facts(body, home, earlier),
        flow_width=_FLOW_WIDTH,
        flow_height=_FLOW_HEIGHT,
    )


def _facts(body: Mapping[str, Any], home: Home | None, earlier: Sequence[int]) -> list[tuple[str, str]]:
    """What was collected, as pairs of a name and a value."""
    accounts = body["accounts"]
    more = [
        ("Read", f"{accounts['read']:,}"),
        ("Rejected", f"{accounts['rejected']:,}"),
        ("Filtered", f"{sum(accounts['filtered'].values()):,}"),
        ("Key", ", ".join(body["key"])),
    ]
    if body["health"]["newest"]:
        more.append(("Events", f"{body['health']['oldest']} to {body['health']['newest']}"))
    if home:
        compared = f"span{'s' * (len(earlier) > 1)} {', '.join(map(str, earlier[-_MOST_SPANS:]))}" if earlier else ""
        if len(earlier) > _MOST_SPANS:
            compared += f" and {len(earlier) - _MOST_SPANS} before"
        more.append(("Compared with", compared or "nothing: no earlier span"))
    return cards.facts(
        findings=body["findings"],
        rows={name: entry["rows"] for name, entry in body["splits"].items()},
        span=body["span"],
        until=body["lineage"].get("end"),
        home=home,
        more=more,
    )


def _cards(findings: Sequence[Mapping[str, Any]], charts_of: Mapping[str, Any]) -> list[dict[str, Any]]:
    made = []
    for place, each in enumerate(findings):
        column, rule = each["column"] or "", each["rule"]
        columns = each.get("columns") or ([column] if column else [])
        drawn = charts_of.get(column) if place < _MOST_CHARTS and explanations.is_seen_in_values(rule) else None
        made.append(
            cards.card(
                each,
                subject=_subject(columns),
                kind=rule,
                kind_words=explanations.kind_words(rule),
                why=explanations.why(each),
                charts=[(column, drawn)] if drawn else [],
                caption="share of sampled rows by value",
                column=column,
                columns=columns,
                measured=[(name, number(each[name])) for name in ("value", "limit") if each[name] is not None],
            )
        )
    cards.number(made, [each["column"] or "" for each in findings], features=False)
    return made


def _subject(columns: Sequence[str]) -> str:
    """What a finding is about; its message has all columns."""
    if not columns:
        return "whole dataset"
    return f"{columns[0]} and {len(columns) - 1} more" if len(columns) > 1 else columns[0]


def _column(
    body: Mapping[str, Any], name: str, kind: str, sample: pa.Table | None, settings: Settings
) -> dict[str, Any]:
    origin = {new: old for old, new in settings.rename.items()}.get(name, name)
    profiled = body["profile"]["columns"].get(name, {"missing": 0})
    private = body["private"].get(name)
    values = sample[name].combine_chunks() if sample is not None else None
    if isinstance(values, pa.ChunkedArray):
        values = values.chunk(0) if values.num_chunks else pa.array([], values.type)
    result: dict[str, Any] = {
        "name": name,
        "type": kind,
        "origin": origin if origin != name else "",
        "missing": profiled["missing"] / max(body["accounts"]["written"], 1),
        "sentinels": body["sentinels"].get(origin),
        "unit": settings.units[origin].wanted if origin in settings.units else "",
        "private": private,
        "model": settings.model_outputs[name].model_dump() if name in settings.model_outputs else None,
        "id": anchor("feature", name),
        "chart": None,
        "example": "",
    }
    if values is None or not len(values) or private:
        return result
    present = values.drop_null() if values.null_count else values
    if not len(present):
        return result
    numbers = _numbers(present)
    if numbers is not None:
        result["chart"] = _chart(name, *numbers)
    elif pa.types.is_string(present.type) or pa.types.is_boolean(present.type):
        result["chart"] = _words(name, pc.value_counts(present), len(values))
    result["example"] = _short(_told(present[0]))
    return result


def _words(name: str, counted: pa.StructArray, rows: int) -> dict[str, Any] | None:
    """The chart of the most frequent values; None where no value repeats."""
    counts = counted.field(1).to_numpy()
    if counts.max() <= 1:
        return None
    least = np.sort(counts)[-min(_MOST_VALUES, len(counts))]
    chosen = np.flatnonzero(counts >= least)
    values = counted.field(0).take(pa.array(chosen)).to_pylist()
    pairs = sorted(zip(counts[chosen].tolist(), values), key=lambda pair: (-pair[0], str(pair[1])))
    bins = [Bin(_short(value), (count / rows,)) for count, value in pairs[:_MOST_VALUES]]
    others = np.sort(counts)[::-1][len(bins) :].tolist()
    return charts.rows(name, bins + [Bin("", (count / rows,)) for count in others], ["share"], most_rows=_MOST_VALUES)


def _numbers(values: pa.Array) -> tuple[np.ndarray, Unit] | None:
    """Numbers, dates and timestamps as float64, and how they are read; None for other types."""
    kind, unit = values.type, Unit()
    if pa.types.is_timestamp(kind):
        values, unit = values.cast(pa.int64()), Unit("timestamp", _SECONDS[kind.unit])
    elif pa.types.is_date32(kind):
        values, unit = values.cast(pa.int32()), Unit("date")
    elif not _is_number(kind):
        return None
    return pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False), unit


def _chart(name: str, values: np.ndarray, unit: Unit) -> dict[str, Any] | None:
    side = histograms.side_of(values)
    if not unit.name and (codes := histograms.codes_of([side])):
        return charts.rows(name, codes, ["share"])
    bins, ticks = histograms.bins_of([side], unit)
    return charts.steps(name, bins, ["share"], ticks, read=unit.read)


def _flow(body: Mapping[str, Any]) -> dict[str, Any]:
    """Where records come from and go: boxes at both sides, and the bands between them and the middle."""
    accounts = body["accounts"]
    largest = sorted(body["lineage"]["sources"], key=lambda each: -each["rows"])
    left = [(each["uri"].rsplit("/", 1)[-1], each["rows"], "") for each in largest[:_MOST_SOURCES]]
    rest = largest[_MOST_SOURCES:]
    if rest:
        left.append((f"{len(rest):,} more", sum(each["rows"] for each in rest), ""))
    right = [(name, entry["rows"], "good") for name, entry in body["splits"].items()]
    right += [(rule, count, "warning") for rule, count in accounts["filtered"].items() if count]
    right += [("rejected", accounts["rejected"], "error")] if accounts["rejected"] else []
    # One scale on both sides, so that the bands meet in the middle.
    room = _FLOW_HEIGHT - _FLOW_GAP * max(len(left), len(right)) - _FLOW_GAP
    read = accounts["read"]
    return {"left": _stack(left, read, room), "right": _stack(right, read, room), "read": read}


def _stack(parts: list[tuple[str, int, str]], total: int, room: float) -> list[dict[str, Any]]:
    """Boxes one below the other, as high as their share, with room for a label each."""
    boxes, outer, inner = [], _FLOW_GAP / 2, _FLOW_GAP / 2
    for label, rows, tone in parts:
        height = max(1.0, room * rows / max(total, 1))
        boxes.append(
            {
                "label": _short(label),
                "rows": rows,
                "tone": tone,
                "outer": round(outer, 1),
                "inner": round(inner, 1),
                "height": round(height, 1),
            }
        )
        outer += height + _FLOW_GAP
        inner += height
    return boxes


def _told(scalar: pa.Scalar) -> Any:
    """A value as Python has it; of a moment beyond Python's calendar the number that stands for it."""
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        if pa.types.is_nested(scalar.type):
            return ""
        return pc.cast(scalar, pa.int32() if pa.types.is_date32(scalar.type) else pa.int64()).as_py()


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _EXAMPLE else text[: _EXAMPLE - 1] + "…"
