"""Expressions whose values could be far larger than what they are made of: their sizes must be constants, and small."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from headwater.components.common.errors import HeadwaterError

MOST_GROWTH = 1_000_000
"""The most that the sizes in one expression may multiply to."""

_SMALL = 64
# Which argument says how long the result is, counted from 0.
_SIZES = {
    "repeat": (1,),
    "lpad": (1,),
    "rpad": (1,),
    "list_resize": (1,),
    "array_resize": (1,),
    "bitstring": (1,),
    "to_base": (2,),
    "bar": (3,),
    "range": (0, 1, 2),
    "generate_series": (0, 1, 2),
}
_TEXTS = ("format", "printf")
_MULTIPLY = ("repeat", "range", "generate_series")
_REPLACE = ("replace", "regexp_replace")
_UNBOUNDED = ("list_reduce", "reduce", "array_reduce")


def check_growth(where: str, nodes: Iterable[dict[str, Any]]) -> None:
    """Refuses what could make values without bound.

    Args:
      where: the setting's name, for errors.
      nodes: of the expression, as DuckDB serialises them.

    Raises:
      HeadwaterError: names the function, and what is allowed.
    """
    total = 1
    for node in nodes:
        if node.get("class") != "FUNCTION":
            continue
        name, children = node["function_name"].lower(), node["children"]
        if name in _UNBOUNDED:
            raise HeadwaterError(f"{where}: the function {name}() is not allowed: its result may grow without bound")
        sizes = [_constant(where, name, children[place]) for place in _SIZES.get(name, ()) if place < len(children)]
        if name in _TEXTS:
            sizes = _widths(where, name, children)
        if name in _MULTIPLY:
            total *= max([1, *sizes])
        elif name in _REPLACE:
            total *= max(1, len(_text(children[2]))) if len(children) > 2 else 1
        else:
            # A width is the whole length, whatever is in it: small ones do not matter, however many there are.
            total *= max([1, *(size for size in sizes if size > _SMALL)])
    if total > MOST_GROWTH:
        raise HeadwaterError(
            f"{where}: the sizes in the expression multiply to {total:,}; at most {MOST_GROWTH:,} is allowed, or the "
            "values of all rows would not fit in memory"
        )


def _text(node: dict[str, Any]) -> str:
    """A constant text; of a column's value nothing is known, and it counts as one character."""
    value = node.get("value", {}).get("value") if node.get("class") == "CONSTANT" else None
    return value if isinstance(value, str) else ""


def _constant(where: str, name: str, node: dict[str, Any]) -> int:
    if node.get("class") == "FUNCTION" and node["function_name"] == "-" and len(node["children"]) == 1:
        return abs(_constant(where, name, node["children"][0]))
    if node.get("class") == "CAST":
        return _constant(where, name, node["child"])
    value = node.get("value", {}).get("value") if node.get("class") == "CONSTANT" else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise HeadwaterError(
            f"{where}: {name}() needs a constant number as its size, so that it is known before any row is read"
        )
    return abs(int(value))


def _widths(where: str, name: str, children: list[dict[str, Any]]) -> list[int]:
    """The numbers in the pattern of a text, its widths among them."""
    first = children[0] if children else {}
    pattern = first.get("value", {}).get("value") if first.get("class") == "CONSTANT" else None
    if not isinstance(pattern, str):
        raise HeadwaterError(f"{where}: {name}() needs a constant text as its pattern")
    if "*" in pattern or re.search(r"\{[^{}]*\{", pattern):
        raise HeadwaterError(f"{where}: {name}() may not take a width from a value; write it in the pattern")
    return [int(digits) for digits in re.findall(r"[0-9]+", pattern)]
