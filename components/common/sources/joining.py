"""Neighbouring files and ranges that are handled together, since a small one costs more to begin than to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from headwater.components.common.items import Run
from headwater.components.common.sources import files as source_files

Item = TypeVar("Item")

LEAST = 64
"""Into no fewer than so many is the whole divided by its sizes, so that there is work for all cores and to spare."""

MOST_CELLS = 2 << 20
"""What holds more values is not joined: about as many as a block of text of `BLOCK_BYTES` has."""


def joined(items: Sequence[Item], *sizes: tuple[Sequence[float], float]) -> list[Run]:
    """Items in runs, each alone where it is large: a function of the items and their sizes alone.

    Args:
      items: in order.
      *sizes: measures: each item's size by it, and the most that a run may have. Every run also stays below the `LEAST`th
        part of the whole.
    """
    bounds = [min(most, sum(each) / LEAST) for each, most in sizes]
    runs: list[Run] = []
    held: list[Item] = []
    totals = [0.0] * len(sizes)
    for item, *own in zip(items, *(each for each, _ in sizes)):
        grown = [total + size for total, size in zip(totals, own)]
        if held and any(total > bound for total, bound in zip(grown, bounds)):
            runs.append(Run(held))
            held, grown = [], list(own)
        held.append(item)
        totals = grown
    return [*runs, Run(held)] if held else runs


def joined_ranges(elements: Sequence[source_files.Element], columns: int) -> list[Run]:
    """Ranges that are read, and written, together.

    Args:
      elements: all ranges in order, their rows known.
      columns: how many columns a row has.
    """
    counts: dict[str, int] = {}
    for element in elements:
        counts[element.file.uri] = counts.get(element.file.uri, 0) + 1
    return joined(
        elements,
        ([element.rows * columns for element in elements], MOST_CELLS),
        ([element.file.size / counts[element.file.uri] for element in elements], source_files.BLOCK_BYTES),
    )
