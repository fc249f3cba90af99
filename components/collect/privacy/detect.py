"""Personal data in columns: found by form and check digit in the values, and by what a column's name says.

`scan` counts, counts add up over batches with `merge`, and `judge` decides. Counts are by row; a key with a colon is
no finding by itself:

* `KIND`: rows that hold it, in a form that tells it apart from any number, and with a valid check digit;
* `KIND:tried`: rows that have the form, whatever the check digit says. Chance passes one number in ten;
* `KIND:bare`, `KIND:distinct`: rows that are digits alone and pass, and how many distinct ones in one batch;
* `ip:wide`: IPv4 addresses that can hardly be version numbers; `coordinates:fine`: pairs of three decimals and more;
* `:latitude`, `:longitude`: numbers in range; `:long`: values of 7 to 19 digits; `:leaves`: values within nested ones;
* a path within structs before any of these, with `BELOW` between: that of the values there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.collect.privacy import checksums
from headwater.components.collect.privacy.names import axis_of, is_number, is_text, name_kinds, words_of
from headwater.components.collect.privacy.search import find, plain_text
from headwater.components.common.extremes import extremes, extremes_of

KINDS = (
    "email",
    "phone",
    "card",
    "iban",
    "us_ssn",
    "uk_nino",
    "de_steuer_id",
    "es_dni",
    "it_codice_fiscale",
    "fr_nir",
    "nl_bsn",
    "br_cpf",
    "in_aadhaar",
    "se_personnummer",
    "pl_pesel",
    "ip",
    "mac",
    "coordinates",
    "name",
    "address",
    "birth_date",
)
"""What is looked for; the national ids begin with their country."""

BY_NAME = ("name", "address", "birth_date")
"""Kinds that only a column's name tells."""

LEAST_SHARE = {
    "phone": 0.001,
    "us_ssn": 0.001,
    "uk_nino": 0.001,
    "es_dni": 0.001,
    "de_steuer_id": 0.001,
    "nl_bsn": 0.001,
    "in_aadhaar": 0.001,
    "mac": 0.001,
    "ip": 0.5,
    "coordinates": 0.5,
}
"""The share of values that must hold a kind unless the column's name says it; one value is enough for the others."""

CHANCE = {
    "card": 0.1,
    "iban": 0.011,
    "us_ssn": 0.9,
    "uk_nino": 0.15,
    "de_steuer_id": 0.1,
    "es_dni": 0.05,
    "it_codice_fiscale": 0.04,
    "fr_nir": 0.011,
    "nl_bsn": 0.1,
    "br_cpf": 0.011,
    "in_aadhaar": 0.1,
    "se_personnummer": 0.011,
}
"""The share of random numbers of a kind's form that pass its check, at most."""

PASSING = 0.5
"""This share of the numbers of a kind's form must pass its check, or more than chance and `SIGMAS` allow."""

PASSING_US_SSN = 0.97
"""The same for social security numbers, whose rules nine of ten random numbers keep."""

SIGMAS = 6.0
"""How many standard deviations above chance tell that some of many numbers are real."""

BARE_SHARE = 0.95
"""Digits alone count without a name when this share of the values passes the check."""

BARE_DISTINCT = 10
"""And when at least so many distinct ones do."""

NAMED_SHARE = 0.2
"""Digits alone count with a name when this share of the values passes the check, or for a telephone has its length."""

IN_RANGE_SHARE = 0.95
"""A latitude or longitude by its name must have this share of its values in range."""

BELOW = ":\0"
"""What stands between a path within structs and what is counted there."""

_BOUNDS = ((":latitude", 90), (":longitude", 180))
_SAMPLE = 2048
_MANY = 4096


def scan(column: pa.Array) -> dict[str, int]:
    """How many values of a column hold each kind of personal data.

    Args:
      column: any array. Text is searched, also within longer text; whole numbers are looked at for card numbers; other
        numbers for their range; lists, maps and structs by what is in them; other types hold nothing.

    Returns:
      Rows by kind, and the other counts that `judge` needs (see the module); nothing that is zero.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return scan(column.storage)
    if _is_nested(kind):
        leaves = [(path, {**scan(leaf), ":leaves": len(leaf) - leaf.null_count}) for path, leaf in _leaves(column)]
        by_path = merge(
            {f"{'.'.join(path)}{BELOW}{key}": count for key, count in counts.items()} for path, counts in leaves if path
        )
        return _present({**merge(counts for _, counts in leaves), **by_path})
    if pa.types.is_dictionary(kind):
        return _scan_dictionary(column)
    if is_text(kind):
        return _scan_text(column)
    if pa.types.is_decimal(kind):
        return _scan_numbers(column.cast(pa.float64()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _scan_numbers(column)
    return {}


def merge(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The counts of several batches of one column as one: sums; of the distinct values the largest number."""
    merged: dict[str, int] = {}
    for one in counts:
        for key, count in one.items():
            known = merged.get(key, 0)
            merged[key] = max(known, count) if key.endswith(":distinct") else known + count
    return merged


def judge(
    name: str,
    type: pa.DataType,
    counts: Mapping[str, int],
    values: int,
    others: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """The kinds of personal data that a column holds.

    Args:
      name: the column's name.
      type: its type.
      counts: what `scan` found, merged over all batches.
      values: how many of its values are not missing.
      others: the other columns' names: a latitude then counts only if its longitude is among them. None to not ask.

    Returns:
      One entry a kind, in the order of `KINDS`: `kind`; `values`, how many hold it (all, where the name alone tells);
      `share` of the values; `evidence`: "values", "name" or "both".
    """
    values = max(values, counts.get(":leaves", 0))
    if not values:
        return []
    paths = _paths(name, type)
    named = set().union(*(name_kinds(path, leaf) for path, leaf in paths))
    axes = {axis[0] for path, _ in paths if (axis := axis_of(path))}
    kinds = []
    for kind in KINDS:
        if kind == "coordinates" and len(axes) == 2:
            # A place as a structure: half of its numbers are latitudes.
            held, evidence = counts.get(":longitude", 0) // 2, "both"
        elif kind == "coordinates" and (axis := axis_of(name)):
            held, evidence = _judge_axis(name, axis, counts, values, others)
        elif kind in BY_NAME:
            held, evidence = (values, "name") if kind in named else (0, "")
        else:
            held, evidence = _judge_kind(kind, kind in named, is_number(type), counts, values)
        if held:
            held = min(held, values)
            kinds.append({"kind": kind, "share": held / values, "values": held, "evidence": evidence})
    return kinds


def private_paths(
    name: str, type: pa.DataType, counts: Mapping[str, int], judged: Collection[Mapping[str, Any]]
) -> list[str]:
    """Where within a struct its personal data is: paths with dots, below the column.

    Args:
      name, type, counts: as for `judge`.
      found: what `judge` found of the whole column.

    Returns:
      The paths; none where the column is no struct, or a kind of `found` is in none of them, so that the whole column
      counts as private.
    """
    leaves = _struct_leaves(type)
    if any("." in field for field in _fields(type)):
        # Which field a path with dots means would not be certain.
        return []
    names = {path: f"{name}_{path.replace('.', '_')}" for path, _ in leaves}
    paths, kinds = [], set()
    for path, leaf in leaves:
        own = {key.partition(BELOW)[2]: count for key, count in counts.items() if key.startswith(f"{path}{BELOW}")}
        others = [other for known, other in names.items() if known != path]
        here = judge(names[path], leaf, own, own.get(":leaves", 0), others)
        if here:
            paths.append(path)
            kinds |= {each["kind"] for each in here}
    return paths if paths and {each["kind"] for each in judged} <= kinds else []


def _fields(type: pa.DataType) -> list[str]:
    """The names of all fields of structs within a type."""
    if pa.types.is_struct(type):
        return [name for place in range(type.num_fields) for name in (type[place].name, *_fields(type[place].type))]
    return _fields(type.value_type) if hasattr(type, "value_field") and not pa.types.is_map(type) else []


def _struct_leaves(type: pa.DataType, above: str = "") -> list[tuple[str, pa.DataType]]:
    """The values within a struct by path, through structs and lists of them; not those within maps."""
    if pa.types.is_struct(type):
        children = (type[place] for place in range(type.num_fields))
        return [leaf for child in children for leaf in _struct_leaves(child.type, f"{above}.{child.name}".strip("."))]
    if hasattr(type, "value_field") and not pa.types.is_map(type):
        return _struct_leaves(type.value_type, above)
    return [(above, type)] if above and not pa.types.is_map(type) else []


def _scan_dictionary(column: pa.DictionaryArray) -> dict[str, int]:
    if not is_text(column.type.value_type):
        return scan(column.cast(column.type.value_type))
    indices = column.indices.drop_null().to_numpy(zero_copy_only=False)
    weights = np.bincount(indices, minlength=len(column.dictionary))
    used = np.flatnonzero((weights > 0) & column.dictionary.is_valid().to_numpy(zero_copy_only=False))
    return _count(column.dictionary.take(pa.array(used)), weights[used])


def _scan_text(column: pa.Array) -> dict[str, int]:
    column = column.drop_null() if column.null_count else column
    column = plain_text(column) if "view" in str(column.type) else column
    if len(column) >= _MANY and pc.count_distinct(column.slice(0, _SAMPLE)).as_py() <= _SAMPLE // 2:
        return _scan_dictionary(column.dictionary_encode())
    return _count(column, None)


def _scan_numbers(column: pa.Array) -> dict[str, int]:
    """Cards among whole numbers, and how many numbers are long or in the range of coordinates."""
    present = len(column) - column.null_count
    if not present or pa.types.is_float16(column.type):
        return {}
    counts: dict[str, int] = {}
    real = pa.types.is_floating(column.type)
    # Missing reals are NaN, which is within no bounds.
    numbers = column.to_numpy(zero_copy_only=False) if real else None
    least, most = extremes(column) if numbers is None else extremes_of(numbers)
    if least is None:
        return {}
    inside = [key for key, bound in _BOUNDS if real and -bound <= least <= most <= bound]
    if len(inside) == len(_BOUNDS):
        return dict.fromkeys(inside, present)
    if not real and most < 10**6:
        return {}
    if numbers is None:
        numbers = column.drop_null().to_numpy(zero_copy_only=False)
    if most >= 10**6:
        counts[":long"] = int(np.count_nonzero((numbers >= 10**6) & (numbers <= 10**19 - 1)))
    if real:
        sizes = np.abs(numbers)
        for key, bound in _BOUNDS:
            counts[key] = present if key in inside else int(np.count_nonzero(sizes <= bound))
    elif most >= 10**12:
        for length in range(13, 20):
            counts.update(merge([counts, _scan_cards(numbers, length)]))
    return _present(counts)


def _scan_cards(numbers: np.ndarray, length: int) -> dict[str, int]:
    low, high = 10 ** (length - 1), 10**length - 1
    kept = numbers[(numbers >= low) & (numbers <= min(high, np.iinfo(numbers.dtype).max))]
    known = kept[checksums.card_issuers(kept // 10 ** (length - 6), length)]
    total = np.zeros(len(known), np.int64)
    rest = known.copy()
    for place in range(length):
        digit = (rest % 10).astype(np.int64) * (1 + place % 2)
        total += digit - 9 * (digit > 9)
        rest = rest // 10
    return {"card": int(np.count_nonzero(total % 10 == 0)), "card:tried": len(kept)}


def _count(values: pa.Array, weights: np.ndarray | None) -> dict[str, int]:
    counts = {}
    for key, rows in find(values).items():
        counts[key] = len(rows) if weights is None else int(weights[rows].sum())
        if key.endswith(":bare"):
            distinct = len(rows) if weights is not None else pc.count_distinct(values.take(pa.array(rows))).as_py()
            counts[key.replace(":bare", ":distinct")] = distinct
    return _present(counts)


def _judge_kind(kind: str, named: bool, number: bool, counts: Mapping[str, int], values: int) -> tuple[int, str]:
    """How many values hold a kind, none for too few, and what says so."""
    held, bare, long = counts.get(kind, 0), counts.get(f"{kind}:bare", 0), counts.get(":long", 0)
    if number and named and long >= NAMED_SHARE * values:
        return long, "both" if held else "name"
    if named:
        # A telephone number has no check digit: with the name, any number of its length will do.
        either = max(held, long) if kind == "phone" else held + bare
        if either >= NAMED_SHARE * values:
            return either, "both"
    elif kind == "coordinates":
        held = counts.get("coordinates:fine", 0)
    elif kind == "ip" and counts.get("ip:wide", 0) < held / 2:
        return 0, ""
    nearly_all = bare >= BARE_SHARE * values and counts.get(f"{kind}:distinct", 0) >= BARE_DISTINCT
    if nearly_all and kind != "us_ssn":
        return held + bare, "both" if named else "values"
    if held and held >= LEAST_SHARE.get(kind, 0) * values and _beyond_chance(kind, held, counts):
        return held, "both" if named else "values"
    return 0, ""


def _beyond_chance(kind: str, held: int, counts: Mapping[str, int]) -> bool:
    tried = max(held, counts.get(f"{kind}:tried", held))
    if held >= (PASSING_US_SSN if kind == "us_ssn" else PASSING) * tried:
        return True
    chance = CHANCE.get(kind, 0)
    return kind != "us_ssn" and held - chance * tried > SIGMAS * math.sqrt(tried * chance * (1 - chance))


def _judge_axis(
    name: str, said: tuple[str, tuple[str, ...]], counts: Mapping[str, int], values: int, others: Collection[str] | None
) -> tuple[int, str]:
    axis, rest = said
    held = counts.get(f":{axis}", 0)
    if held < IN_RANGE_SHARE * values:
        return 0, ""
    partners = [axis_of(other) for other in others or ()]
    if others is None and "long" not in words_of(name):
        return held, "both"
    other_axis = "longitude" if axis == "latitude" else "latitude"
    return (held, "both") if (other_axis, rest) in partners else (0, "")


def _paths(name: str, type: pa.DataType) -> list[tuple[str, pa.DataType]]:
    """The names and types of what holds the values of a nested column; the column's own for any other."""
    if isinstance(type, pa.BaseExtensionType):
        return _paths(name, type.storage_type)
    if pa.types.is_struct(type):
        children = (type[place] for place in range(type.num_fields))
        return [path for child in children for path in _paths(f"{name}_{child.name}", child.type)]
    if pa.types.is_map(type):
        return _paths(name, type.item_type)
    if hasattr(type, "value_field"):
        return _paths(name, type.value_type)
    return [(name, type)]


def _leaves(column: pa.Array, path: tuple[str, ...] | None = ()) -> list[tuple[tuple[str, ...] | None, pa.Array]]:
    """The arrays that hold a nested column's values, without those beneath missing lists and structs, each with the names
    of the structs' fields above it; None for those within a map."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _leaves(column.storage, path)
    if pa.types.is_struct(kind):
        names = [kind[place].name for place in range(kind.num_fields)]
        return [
            leaf
            for name, child in zip(names, column.flatten())
            for leaf in _leaves(child, None if path is None else (*path, name))
        ]
    if pa.types.is_map(kind):
        entries = pa.StructArray.from_arrays([column.keys, column.items], ["key", "value"])
        first, last = column.offsets[0].as_py() or 0, column.offsets[len(column)].as_py() or 0
        entries = entries if len(entries) == last - first else entries.slice(first, last - first)
        return _leaves(entries, None)
    if hasattr(kind, "value_field"):
        return _leaves(column.flatten(), path)
    return [(path, column)]


def _is_nested(kind: pa.DataType) -> bool:
    # Of all lists, also those with views and of a fixed size, the type tells its values' field.
    return pa.types.is_struct(kind) or pa.types.is_map(kind) or hasattr(kind, "value_field")


def _present(counts: Mapping[str, int]) -> dict[str, int]:
    return {key: int(count) for key, count in counts.items() if count}
