"""Whether the files of a dataset are parts of one table: customers and orders in one folder are two."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.components.common.errors import HeadwaterError

LEAST_ALIKE = 0.5
"""Two sets of columns are of one table when they share this much of all their columns (Jaccard),"""

LEAST_HELD = 0.6
"""or this much of the smaller set: a table that grew holds what it was, and one that shrank is held."""

_NAMED = 6


def check_one_table(files: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Refuses files whose columns are those of different tables.

    Args:
      files: URI and columns of each; files without columns are left out.

    Raises:
      HeadwaterError: names a file of each table, its columns, and the setting that takes them as one all the same.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for uri, names in files:
        alike.setdefault(tuple(names), []).append(uri)
    tables: list[list[frozenset[str]]] = []
    first: list[tuple[str, list[str]]] = []
    counts: list[int] = []
    for names, uris in alike.items():
        columns = frozenset(name.strip().lower() for name in names)
        if not columns:
            continue
        near = [place for place, known in enumerate(tables) if any(_alike(columns, each) for each in known)]
        if not near:
            tables.append([columns])
            first.append((uris[0], list(names)))
            counts.append(len(uris))
            continue
        # What is like two tables shows that they are one.
        for place in reversed(near[1:]):
            tables[near[0]] += tables.pop(place)
            counts[near[0]] += counts.pop(place)
            first.pop(place)
        if columns not in tables[near[0]]:
            tables[near[0]].append(columns)
        counts[near[0]] += len(uris)
    if len(tables) > 1:
        told = "; ".join(
            f"{uri}{f' and {count - 1} more' if count > 1 else ''} ({_names(own)})"
            for (uri, own), count in list(zip(first, counts))[:3]
        )
        raise HeadwaterError(
            f"sources: these files are {len(tables)} different tables, not one: {told}; collect each under a name of its "
            "own, or set union: true to have all rows in one table with the columns of all"
        )


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    shared = len(one & other)
    return shared >= LEAST_ALIKE * len(one | other) or shared >= LEAST_HELD * min(len(one), len(other))


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f", … {len(names)} columns" if len(names) > _NAMED else "")
