"""Charts of shares by bin: all sides on one axis, with ticks, each value as a tooltip and in text.

Numbers are steps over bins that are equally wide on the page, however wide they are in the data, so that one outlier does
not press all others into a block. Categories are rows with a bar for each side.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from headwater.components.common.pages import number, percent

WIDTH, HEIGHT = 240, 56
"""Size of the part of a chart that the shares are drawn in, in pixels; ticks lie around it."""

MOST_SIDES = 5
"""Styles that tell sides apart without colour; further sides share the last."""

_ABOVE, _BELOW = 15, 31
_CHARACTER = 7.0


@dataclasses.dataclass(frozen=True)
class Bin:
    """What falls into one bin.

    Attributes:
      name: what it holds, in words.
      shares: of each side's rows, between 0 and 1.
      low, high: its ends where it lies on the number line, else NaN; equal where it holds one value.
    """

    name: str
    shares: tuple[float, ...]
    low: float = math.nan
    high: float = math.nan


@dataclasses.dataclass(frozen=True)
class Ticks:
    """The least value of a side, its median and its greatest value; NaN where it has none."""

    low: float
    median: float
    high: float


def steps(
    name: str,
    bins: Sequence[Bin],
    sides: Sequence[str],
    ticks: Sequence[Ticks],
    *,
    read: Callable[[float], str] = number,
    marked: str = "",
    width: int = WIDTH,
    height: int = HEIGHT,
) -> dict[str, Any] | None:
    """A chart of numbers for the macro `chart` of `chart.html`; None where no bin lies on the number line.

    Args:
      name: of the feature.
      bins: in order; those that are not on the number line, such as missing values, are told below the chart.
      sides: names of the sides.
      ticks: of each side.
      read: writes a number.
      marked: name of the bin that is pointed out, if any.
      width, height: of the part that the shares are drawn in.
    """
    placed = [each for each in bins if not math.isnan(each.low)]
    if not placed:
        return None
    slot = width / len(placed)
    most = max((share for each in placed for share in each.shares), default=0.0)
    known = [each for each in ticks if not math.isnan(each.low)]
    low, high = min(each.low for each in known), max(each.high for each in known)
    # What the outermost bins do not reach is not drawn.
    low = low if math.isinf(placed[0].low) else max(low, placed[0].low)
    high = high if math.isinf(placed[-1].high) else min(high, placed[-1].high)
    medians = [
        (side, round(_position(each.median, placed) * slot, 1))
        for side, each in enumerate(ticks)
        if not math.isnan(each.median)
    ]
    words = [read(each.median) for each in known]
    middle = f"median {words[0] if len(set(words)) == 1 else ' → '.join(words)}"
    # What is wider than the chart would be cut, so it stands below, where it breaks.
    below = [middle] if len(middle) * _CHARACTER > width else []
    middle = "" if below else middle
    half = len(middle) * _CHARACTER / 2
    at = min(max(medians[0][1] if medians else width / 2, half), max(width - half, half))
    drawn: list[dict[str, Any]] = [
        {
            "x": round(place * slot, 1),
            "width": round(slot, 1),
            "text": _told(each, sides),
            "marked": bool(marked) and each.name == marked,
        }
        for place, each in enumerate(placed)
    ]
    return {
        "kind": "numbers",
        "width": width,
        "height": height,
        "full_height": _ABOVE + height + _BELOW,
        "above": _ABOVE,
        "sides": list(sides),
        "label": f"Distributions of {name}" if len(sides) > 1 else f"Distribution of {name}",
        "ends": "; ".join(_ends(side, each, read) for side, each in zip(sides, ticks)),
        "outlines": [
            _outline([each.shares[side] for each in placed], slot, most, height) for side in range(len(sides))
        ],
        "bins": drawn,
        "marked": [each for each in drawn if each["marked"]],
        "texts": "; ".join(each["text"] for each in drawn),
        "most": percent(most),
        "low": read(low),
        "high": read(high),
        "medians": medians,
        "middle": middle,
        "middle_at": round(at, 1),
        "rest": below + [_told(each, sides) for each in bins if math.isnan(each.low) and any(each.shares)],
    }


def rows(
    name: str, bins: Sequence[Bin], sides: Sequence[str], *, marked: str = "", most_rows: int = 8, others: str = ""
) -> dict[str, Any] | None:
    """A chart of categories for the macro `chart` of `chart.html`; None where there are no bins.

    Args:
      name: of the feature.
      bins: the most important first.
      sides: names of the sides.
      marked: name of the bin that is pointed out, if any.
      most_rows: so many bins have a bar of their own at most; the others share a row without one.
      others: what that row is called; by default by how many they are.
    """
    if not bins:
        return None
    kept, left = list(bins[:most_rows]), bins[most_rows:]
    # What several values share is no bar beside those of one.
    most = max((share for each in kept for share in each.shares), default=0.0) or 1.0
    total = [percent(min(1.0, sum(each.shares[side] for each in left))) for side in range(len(sides))]
    return {
        "kind": "rows",
        "label": name,
        "sides": list(sides),
        "rows": [
            {
                "name": each.name or "(empty)",
                "marked": bool(marked) and each.name == marked,
                "shares": [(percent(share), round(100 * share / most, 1)) for share in each.shares],
            }
            for each in kept
        ],
        "others": {"name": others or f"{len(left):,} more", "shares": total} if left else None,
    }


def bars(shares: Sequence[float]) -> str:
    """The outline of bars, as an SVG path of `WIDTH` by `HEIGHT`.

    Args:
      shares: between 0 and 1, in order.
    """
    most = max(shares, default=0.0)
    if not most:
        return ""
    slot = WIDTH / len(shares)
    gap = min(6.0, slot / 4)
    points = []
    for place, share in enumerate(shares):
        left, right = round(place * slot + gap / 2), round((place + 1) * slot - gap / 2)
        points.append(f"M{left} {HEIGHT}V{_y(share / most, HEIGHT)}H{right}V{HEIGHT}" if share else "")
    return "".join(points)


def outlines(sides: Sequence[Sequence[float]]) -> list[str]:
    """SVG paths of steps of `WIDTH` by `HEIGHT`, all on one axis.

    Args:
      sides: shares in the same bins, of each side.
    """
    most = max((share for own in sides for share in own), default=0.0)
    return [_outline(own, WIDTH / len(own), most, HEIGHT) if own else "" for own in sides]


def _position(value: float, bins: Sequence[Bin]) -> float:
    """Where a value lies, in bins from the left."""
    for place, each in enumerate(bins):
        if each.low == value == each.high:
            return place + 0.5
    for place, each in enumerate(bins):
        if value < each.low:
            return float(place)
        if value <= each.high:
            if math.isinf(each.low) or math.isinf(each.high):
                return place + 0.5
            # Halves, because the difference of two doubles can be infinite.
            return place + (value / 2 - each.low / 2) / (each.high / 2 - each.low / 2)
    return float(len(bins))


def _outline(shares: Sequence[float], slot: float, most: float, height: int) -> str:
    if not any(shares):
        return ""
    points = [f"M0 {height}"]
    last = None
    for place, share in enumerate(shares):
        y = _y(share / most, height)
        if y != last:
            points.append(f"{'' if place == 0 else f'H{place * slot:.4g}'}V{y}")
        last = y
    return "".join([*points, f"H{len(shares) * slot:.4g}V{height}"])


def _y(share: float, height: int) -> int:
    # What is there at all is at least a pixel high.
    return height - max(1, round((height - 1) * share)) if share else height


def _told(each: Bin, sides: Sequence[str]) -> str:
    shares = [f"{side} {percent(share)}" for side, share in zip(sides, each.shares)]
    return f"{each.name}: {', '.join(shares) if len(sides) > 1 else percent(each.shares[0])}"


def _ends(side: str, ticks: Ticks, read: Callable[[float], str]) -> str:
    if math.isnan(ticks.low):
        return f"{side} no values"
    return f"{side} min {read(ticks.low)}, median {read(ticks.median)}, max {read(ticks.high)}"
