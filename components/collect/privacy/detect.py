"""Personal data in columns: found by form and check digit in the values, and by what a column's name says.

A batch of text is looked at as one array of bytes. The runs of digits in it are found once, and every number that is
looked for is a template over those runs ("dddd dddd dddd dddd"), so that text without digits costs a single pass and
no pattern runs over rows that cannot hold it. E-mail addresses, telephone numbers and IPv6 addresses are RE2 patterns
on the rows that passed such a test. Only `scrub` works value by value, on the few values that are rejected.

`scan` counts, counts add up over batches with `merge`, and `judge` decides. Counts are by row; a key with a colon is
no finding by itself:

* `KIND`: rows that hold it, in a form that tells it apart from any number, and with a valid check digit;
* `KIND:tried`: rows that have the form, whatever the check digit says. Chance passes one number in ten;
* `KIND:bare`, `KIND:distinct`: rows that are digits alone and pass, and how many distinct ones in one batch;
* `ip:wide`: IPv4 addresses that can hardly be version numbers; `coordinates:fine`: pairs of three decimals and more;
* `:latitude`, `:longitude`: numbers in range; `:long`: values of 7 to 19 digits; `:leaves`: values within nested ones.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.collect.privacy import checksums

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

_WIDE = 32
_SAMPLE = 2048
_MANY = 4096
_PAD = 64
_CHUNK_BYTES = 1 << 28

_BEFORE = r"(?:^|[^0-9A-Za-z_.+@#$/\\%&-])"
_AFTER = r"(?:$|[^0-9A-Za-z_.@%/+-]|[./+-](?:$|[^0-9A-Za-z]))"
_EMAIL = r"[\pL\pN._%+'-]*[\pL\pN_%+-]@[\pL\pN](?:[\pL\pN-]*[\pL\pN])?(?:\.[\pL\pN-]+)*\.\pL{2,}"
_NO_EMAIL = r"(?:^|[^\pL\pN._-])git@|@[0-9]x\."
_PHONE = (
    _BEFORE.replace("+", "")
    + r"(?:\+[1-9](?:[ .()/-]{0,3}[0-9]){7,14}"
    + r"|00[ ]?[1-9][0-9]{0,2}[ ./-](?:[ .()/-]{0,3}[0-9]){6,12}"
    + r"|(?:1[ .-])?(?:\([2-9][0-9]{2}\)[ ]?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"
    + r"|0[0-9]{2,4}[ /-][0-9]{5,8}|0[0-9]{2,4}[ /-][0-9]{3,4}[ -][0-9]{3,4}"
    + r"|\(0[0-9]{1,4}\)[ ]?[0-9]{3,4}[ -]?[0-9]{3,5}|0[0-9](?:[ .-][0-9]{2}){4})"
    + _AFTER
)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_HEX = "[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    [
        f"(?:{_HEX}:){{6}}{_IPV4}",
        f"::(?:[Ff]{{4}}:)?(?:0{{1,4}}:)?{_IPV4}",
        f"(?:{_HEX}:){{7}}{_HEX}",
        *(f"(?:{_HEX}:){{1,{7 - tail}}}(?::{_HEX}){{1,{tail}}}" for tail in range(1, 7)),
        f":(?::{_HEX}){{1,7}}",
        f"(?:{_HEX}:){{1,7}}:",
    ]
)
_IPV6_TEXT = rf"(?:^|[^0-9A-Za-z_:.])(?:{_IPV6})(?:$|[^0-9A-Za-z_:.]|\.(?:$|[^0-9A-Za-z]))"
_LATITUDE, _LONGITUDE = r"[-+]?(?:[0-8]?[0-9]|90)", r"[-+]?(?:1[0-7][0-9]|180|[0-9]{1,2})"
_COORDINATES = rf"^[ (\[]*{_LATITUDE}\.[0-9]{{%d,}} ?[,;] ?{_LONGITUDE}\.[0-9]{{%d,}}[ )\]]*$"

_CODES = {"card": "^[0-9A-Za-z]{13,19}$", "iban": "^[0-9A-Za-z]{15,34}$"}

_DIGIT, _LETTER, _GAP, _HEXADECIMAL, _BLOCKS_BEFORE, _BLOCKS_AFTER, _JOINS_AFTER = (1 << bit for bit in range(7))


def _classes() -> np.ndarray:
    classes = np.zeros(256, np.uint8)
    letters, digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", b"0123456789"
    for flag, members in (
        (_DIGIT, digits),
        (_LETTER, letters),
        (_GAP, b" -"),
        (_HEXADECIMAL, digits + b"abcdefABCDEF"),
        (_BLOCKS_BEFORE, letters + digits + b"_.+@#$/\\%&-"),
        (_BLOCKS_AFTER, letters + digits + b"_@%"),
        (_JOINS_AFTER, b".+/-"),
    ):
        classes[list(members)] |= flag
    return classes


_CLASSES = _classes()
_DOTTED = np.frombuffer(b"._-", np.uint8)
_PHONE_GAPS = np.isin(np.arange(256), list(b" .()/-"))
_UPPER = np.array([code - 32 if 97 <= code <= 122 else code for code in range(256)], np.uint8)
_IBAN_SIZES = np.zeros(1 << 16, np.int64)
for _country, _size in checksums.IBAN_LENGTHS.items():
    _IBAN_SIZES[int.from_bytes(_country.encode(), "big")] = _size


@dataclasses.dataclass(frozen=True)
class _Template:
    """A number's form: `d` a digit, `L` a letter, `s` a space or hyphen (the same throughout), others themselves.

    Attributes:
      bare: digits alone, which many things are.
      alone: no further digits stand beside it, a space away.
    """

    kind: str
    form: str
    check: Callable[[np.ndarray], np.ndarray]
    bare: bool = False
    alone: bool = True


def _templates() -> tuple[_Template, ...]:
    made = [_Template("card", "d" * length, checksums.card, alone=False) for length in range(13, 20)]
    made += [
        _Template("card", form.replace(" ", "s"), checksums.card, alone=False)
        for form in ("dddd dddd dddd dddd", "dddd dddddd ddddd", "dddd dddddd dddd", "dddd dddd dddd dddd ddd")
    ]
    for kind, length in (
        ("de_steuer_id", 11),
        ("fr_nir", 15),
        ("nl_bsn", 9),
        ("br_cpf", 11),
        ("in_aadhaar", 12),
        ("se_personnummer", 10),
        ("se_personnummer", 12),
        ("pl_pesel", 11),
        ("us_ssn", 9),
    ):
        made.append(_Template(kind, "d" * length, getattr(checksums, kind), bare=True))
    for kind, form in (
        ("us_ssn", "ddd-dd-dddd"),
        ("uk_nino", "LLddddddL"),
        ("uk_nino", "LLsddsddsddsL"),
        ("de_steuer_id", "ddsdddsdddsddd"),
        ("es_dni", "ddddddddL"),
        ("es_dni", "dddddddd-L"),
        ("es_dni", "LdddddddL"),
        ("es_dni", "L-ddddddd-L"),
        ("it_codice_fiscale", "LLLLLLddLddLdddL"),
        ("fr_nir", "dddddddddddddsdd"),
        ("fr_nir", "dsddsddsddsdddsdddsdd"),
        ("fr_nir", "ddddddLdddddddd"),
        ("fr_nir", "dsddsddsdLsdddsdddsdd"),
        ("nl_bsn", "dddd.dd.ddd"),
        ("br_cpf", "ddd.ddd.ddd-dd"),
        ("in_aadhaar", "ddddsddddsdddd"),
        ("se_personnummer", "dddddd-dddd"),
        ("se_personnummer", "dddddd+dddd"),
        ("se_personnummer", "dddddddd-dddd"),
    ):
        made.append(_Template(kind, form, getattr(checksums, kind)))
    return tuple(made)


_TEMPLATES = _templates()


def scan(column: pa.Array) -> dict[str, int]:
    """How many values of a column hold each kind of personal data.

    Args:
      column: any array. Text is searched, also within longer text; whole numbers are looked at for card numbers; other
        numbers for their range; lists, maps and structs by what is in them; other types hold nothing.

    Returns:
      Rows by kind, and the other counts that `judge` needs (see the module); nothing that is zero.
    """
    kind = column.type
    if isinstance(kind, pa.ExtensionType):
        return scan(column.storage)
    if _is_nested(kind):
        leaves = _leaves(column)
        return _present({**merge(map(scan, leaves)), ":leaves": sum(len(leaf) - leaf.null_count for leaf in leaves)})
    if pa.types.is_dictionary(kind):
        return _scan_dictionary(column)
    if _is_text(kind):
        return _scan_text(column)
    if pa.types.is_decimal(kind):
        return _scan_numbers(column.drop_null().cast(pa.float64()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _scan_numbers(column.drop_null())
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
    axes = {axis[0] for path, _ in paths if (axis := _axis(path))}
    found = []
    for kind in KINDS:
        if kind == "coordinates" and len(axes) == 2:
            # A place as a structure: half of its numbers are latitudes.
            held, evidence = counts.get(":longitude", 0) // 2, "both"
        elif kind == "coordinates" and (axis := _axis(name)):
            held, evidence = _judge_axis(name, axis, counts, values, others)
        elif kind in BY_NAME:
            held, evidence = (values, "name") if kind in named else (0, "")
        else:
            held, evidence = _judge_kind(kind, kind in named, _is_number(type), counts, values)
        if held:
            held = min(held, values)
            found.append({"kind": kind, "share": held / values, "values": held, "evidence": evidence})
    return found


def name_kinds(name: str, type: pa.DataType | None = None) -> set[str]:
    """The kinds that a column's name suggests, in English and other languages: `Customer_eMail`, `Nachname`, `DOB`.

    Args:
      name: the column's name; words are parted by anything but letters and digits, and by capitals.
      type: its type, so that no flag or count is taken for what it is about; None for text.
    """
    words = _words(name)
    if not words or _OF_SOMETHING.intersection(words):
        return set()
    kinds = set()
    start = 0
    while start < len(words):
        for length in (4, 3, 2, 1):
            phrase = "".join(words[start : start + length])
            if start + length <= len(words) and phrase in _PHRASES:
                kinds.add(_PHRASES[phrase])
                start += length
                break
        else:
            start += 1
    text = type is None or _is_text(type) or (pa.types.is_dictionary(type) and _is_text(type.value_type))
    if not text:
        kinds -= {"name", "address", "email", "ip", "iban", "mac"}
        if not (_is_number(type) or pa.types.is_temporal(type)) or pa.types.is_duration(type):
            kinds.clear()
    return kinds - {""}


def scrub(text: str) -> str:
    """A short text with every piece of personal data replaced by its kind in brackets, as in "[email]".

    For values that are shown because they were refused, also cut in the middle or a whole broken record: what might be
    part of an address or a long number goes, so that a harmless number of seven digits becomes "[number]". Dates, times
    and decimal numbers stay. Names of people cannot be told from other words, and stay.

    Args:
      text: at most some hundred characters.
    """
    if re.search(_SCRUB_COORDINATES_ALONE, text):
        return "[coordinates]"
    before = None
    while text != before:
        # What was taken out may leave an end of a word where there was none.
        before = text
        for pattern, replacement in _SCRUBS:
            text = _replace(text, pattern, replacement)
    return text


def scrub_all(values: pa.Array) -> pa.Array:
    """`scrub` on each value of a text column; missing stays missing. Bytes that are not UTF-8 become `U+FFFD`.

    Returns:
      string, of the same length.
    """
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    encoded = values.dictionary_encode()
    texts = [_text(value) for value in encoded.dictionary.to_pylist()]
    clean = [scrub(text) if _SUSPECT.search(text) else text for text in texts]
    return pa.array(clean, pa.string()).take(encoded.indices)


def _scan_dictionary(column: pa.DictionaryArray) -> dict[str, int]:
    if not _is_text(column.type.value_type):
        return scan(column.cast(column.type.value_type))
    indices = column.indices.drop_null().to_numpy(zero_copy_only=False)
    weights = np.bincount(indices, minlength=len(column.dictionary))
    used = np.flatnonzero((weights > 0) & column.dictionary.is_valid().to_numpy(zero_copy_only=False))
    return _count(column.dictionary.take(pa.array(used)), weights[used])


def _scan_text(column: pa.Array) -> dict[str, int]:
    column = column.drop_null() if column.null_count else column
    column = _plain(column) if "view" in str(column.type) else column
    if len(column) >= _MANY and pc.count_distinct(column.slice(0, _SAMPLE)).as_py() <= _SAMPLE // 2:
        return _scan_dictionary(column.dictionary_encode())
    return _count(column, None)


def _scan_numbers(column: pa.Array) -> dict[str, int]:
    """Cards among whole numbers, and how many numbers are long or in the range of coordinates."""
    if not len(column) or pa.types.is_float16(column.type):
        return {}
    counts = {}
    real = pa.types.is_floating(column.type)
    least, most = (value.as_py() for value in pc.min_max(column).values())
    numbers = column.to_numpy(zero_copy_only=False)
    if most >= 10**6:
        counts[":long"] = int(np.count_nonzero((numbers >= 10**6) & (numbers <= 10**19 - 1)))
    if real:
        for key, bound in ((":latitude", 90), (":longitude", 180)):
            inside = -bound <= least and most <= bound and not math.isnan(least + most)
            counts[key] = len(numbers) if inside else int(np.count_nonzero(np.abs(numbers) <= bound))
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
    for key, rows in _find(values).items():
        counts[key] = len(rows) if weights is None else int(weights[rows].sum())
        if key.endswith(":bare"):
            distinct = len(rows) if weights is not None else pc.count_distinct(values.take(pa.array(rows))).as_py()
            counts[key.replace(":bare", ":distinct")] = distinct
    return _present(counts)


def _find(values: pa.Array) -> dict[str, np.ndarray]:
    """The rows that hold each kind, sorted int64; `values` are text without missing ones."""
    if values.nbytes > _CHUNK_BYTES:
        return _find_halves(values)
    values = _plain(values)
    found: dict[str, np.ndarray] = {}
    raw = _raw(values)
    if (raw == ord("@")).any():
        found["email"] = _emails(values)
    if ((raw - np.uint8(48)) < 10).any():
        text = _Text(values)
        for template in _TEMPLATES:
            text.match(template, found)
        text.ibans(found)
        text.ipv4(found)
        text.macs(found)
        for kind in ("card", "iban"):
            if len(found.get(kind, ())):
                # A few of many random codes are such numbers by chance: all codes of that length were tried as well.
                found[f"{kind}:tried"] = np.union1d(found[f"{kind}:tried"], _matching(values, _CODES[kind]))
        near, pairs = text.near_runs(), text.pairs()
        for key, rows, pattern in (
            ("phone", near, _PHONE),
            ("ip", text.with_colons(), _IPV6_TEXT),
            ("coordinates", pairs, _COORDINATES % (1, 1)),
            ("coordinates:fine", pairs, _COORDINATES % (3, 3)),
        ):
            rows = _matching(values, pattern, rows)
            found[key] = np.union1d(found[key], rows) if key in found else rows
            if key == "ip":
                found["ip:wide"] = np.union1d(found.get("ip:wide", rows), rows)
        found[":long"] = text.long()
    return found


def _find_halves(values: pa.Array) -> dict[str, np.ndarray]:
    if len(values) == 1:
        return _find(pa.array([values[0].as_buffer().slice(0, _CHUNK_BYTES // 2).to_pybytes()], pa.binary()))
    half = len(values) // 2
    first, second = _find(values.slice(0, half)), _find(values.slice(half))
    none = np.zeros(0, np.int64)
    return {key: np.concatenate([first.get(key, none), second.get(key, none) + half]) for key in {**first, **second}}


def _emails(values: pa.Array) -> np.ndarray:
    rows = _matching(values, _EMAIL)
    if len(rows):
        odd = _matching(values, _NO_EMAIL, rows)
        # The names of pictures and of repositories have the same form.
        rest = pc.replace_substring_regex(values.take(pa.array(odd)), pattern=_NO_EMAIL, replacement=" ")
        kept = odd[_matching(rest, _EMAIL)]
        rows = np.union1d(np.setdiff1d(rows, odd, assume_unique=True), kept)
    return rows


def _matching(values: pa.Array, pattern: str, rows: np.ndarray | None = None) -> np.ndarray:
    """The rows, out of `rows`, whose value matches an RE2 pattern anywhere."""
    if rows is not None and not len(rows):
        return rows
    part = values if rows is None or len(rows) == len(values) else values.take(pa.array(rows))
    hits = np.flatnonzero(pc.match_substring_regex(part, pattern=pattern).to_numpy(zero_copy_only=False))
    return hits if rows is None else rows[hits]


class _Text:
    """Values as one array of bytes, a line each, and the runs of digits in it."""

    def __init__(self, values: pa.Array):
        end = "\n" if pa.types.is_string(values.type) else b"\n"
        lines = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
        joined = np.frombuffer(pc.binary_join(lines, end)[0].as_buffer(), np.uint8)
        self.bytes = np.full(len(joined) + 2 * _PAD, 10, np.uint8)
        self.bytes[_PAD:-_PAD] = joined
        offsets = _offsets(values)
        self.sizes = np.diff(offsets)
        self.lines = _PAD + offsets[:-1] - offsets[0] + np.arange(len(values))
        digits = (self.bytes - np.uint8(48)) < 10
        edges = np.flatnonzero(digits[1:] != digits[:-1]) + 1
        self.starts, self.ends = edges[0::2], edges[1::2]
        self.lengths = self.ends - self.starts
        self.bounds = np.searchsorted(self.starts, np.append(self.lines, len(self.bytes)))
        self._begun: dict[int, np.ndarray] = {}

    def match(self, template: _Template, found: dict[str, np.ndarray]) -> None:
        """Adds the rows that hold a template's number to `found`."""
        form = template.form
        first = form.index("d")
        length = len(form) - first - len(form[first:].lstrip("d"))
        starts = self._runs_of(length) - first
        for place, wanted in enumerate(form):
            if not len(starts):
                return
            if not first <= place < first + length:
                starts = starts[self._is(starts + place, wanted)]
        gaps = [place for place, wanted in enumerate(form) if wanted == "s"]
        for place in gaps[1:]:
            starts = starts[self.bytes[starts + place] == self.bytes[starts + gaps[0]]]
        starts = self._bounded(starts, len(form))
        if template.alone:
            starts = starts[~self._crowded(starts, len(form))]
        if len(starts):
            kept = np.array([place for place, wanted in enumerate(form) if wanted in "dL"])
            passed = starts[template.check(_UPPER[self.bytes[starts[:, None] + kept]])]
            if template.bare:
                self._add(found, f"{template.kind}:bare", passed)
            else:
                self._add(found, template.kind, passed)
                self._add(found, f"{template.kind}:tried", starts)

    def ibans(self, found: dict[str, np.ndarray]) -> None:
        """Adds the rows that hold an IBAN, in one piece or in fours."""
        starts = self.starts[self.lengths >= 2] - 2
        starts = starts[self._is(starts, "L")]
        starts = starts[self._is(starts + 1, "L") & ~self._has(starts - 1, _BLOCKS_BEFORE)]
        country = _UPPER[self.bytes[starts]].astype(np.int64) * 256 + _UPPER[self.bytes[starts + 1]]
        sizes = _IBAN_SIZES[country]
        for size in np.unique(sizes[sizes > 0]).tolist():
            packed = np.arange(size)
            for places in (packed, packed + packed // 4):
                begun = self._bounded(starts[sizes == size], int(places[-1]) + 1)
                spaces = np.setdiff1d(np.arange(places[-1]), places)
                begun = begun[(self.bytes[begun[:, None] + spaces] == 32).all(1)]
                begun = begun[self._has(begun[:, None] + places, _LETTER | _DIGIT).all(1)]
                if len(begun):
                    passed = begun[checksums.iban(_UPPER[self.bytes[begun[:, None] + places]])]
                    self._add(found, "iban", passed)
                    self._add(found, "iban:tried", begun)

    def ipv4(self, found: dict[str, np.ndarray]) -> None:
        """Adds the rows that hold four numbers up to 255 with points between them, none with a leading zero."""
        if len(self.starts) < 4:
            return
        short = (self.lengths <= 3) & ((self.lengths == 1) | (self.bytes[self.starts] != 48))
        pointed = (self.starts[1:] == self.ends[:-1] + 1) & (self.bytes[self.ends[:-1]] == ord("."))
        four = short[:-3] & short[1:-2] & short[2:-1] & short[3:] & pointed[:-2] & pointed[1:-1] & pointed[2:]
        first = np.flatnonzero(four)
        before = self._has(self.starts[first] - 1, _DIGIT | _LETTER) | np.isin(
            self.bytes[self.starts[first] - 1], _DOTTED
        )
        first = first[~before & ~self._blocked_after(self.ends[first + 3], slash=False)]
        parts = np.stack([self._worth(first + place) for place in range(4)])
        first, parts = first[(parts <= 255).all(0)], parts[:, (parts <= 255).all(0)]
        self._add(found, "ip", self.starts[first])
        self._add(found, "ip:wide", self.starts[first[parts.max(0, initial=0) >= _WIDE]])

    def macs(self, found: dict[str, np.ndarray]) -> None:
        """Adds the rows that hold six pairs of hexadecimal digits, with a letter and a digit among them."""
        for mark in (ord(":"), ord("-")):
            starts = np.flatnonzero(self.bytes == mark) - 2
            for place in range(1, 5):
                starts = starts[self.bytes[starts + 2 + 3 * place] == mark]
            pairs = np.array([3 * place + digit for place in range(6) for digit in (0, 1)])
            starts = self._bounded(starts, 17)
            starts = starts[self._has(starts[:, None] + pairs, _HEXADECIMAL).all(1)]
            digits = self._has(starts[:, None] + pairs, _DIGIT)
            starts = starts[digits.any(1) & ~digits.all(1) & (self.bytes[starts - 1] != mark)]
            self._add(found, "mac", starts[self.bytes[starts + 17] != mark])

    def near_runs(self) -> np.ndarray:
        """The rows with digits that a telephone number may begin with."""
        before = self.bytes[self.starts - 1]
        plus, opened = before == ord("+"), before == ord("(")
        likely = plus | opened | (self.bytes[self.starts] == ord("0")) | (self.lengths == 1) | (self.lengths == 3)
        likely &= plus | ~self._has(self.starts - 1, _BLOCKS_BEFORE)
        gaps = np.append(self.starts[1:] - self.ends[:-1], _PAD)
        likely &= plus | ((gaps <= 3) & _PHONE_GAPS[self.bytes[self.ends]])
        return self.rows(self.starts[likely])

    def with_colons(self) -> np.ndarray:
        """The rows with digits that may hold an IPv6 address."""
        colons = np.flatnonzero(self.bytes == ord(":"))
        double = colons[self.bytes[colons + 1] == ord(":")]
        many = colons[6:][colons[6:] - colons[:-6] <= 30]
        rows = self.rows(np.concatenate([double, many]))
        return rows[np.diff(self.bounds)[rows] > 0]

    def pairs(self) -> np.ndarray:
        """The rows that begin with a number with decimals and at most three digits before them."""
        first = np.flatnonzero((self.lengths <= 3) & (self.bytes[self.ends] == ord(".")))
        rows = self._row(self.starts[first])
        return np.unique(rows[(self.starts[first] - self.lines[rows] <= 3) & (self.sizes[rows] <= 64)])

    def long(self) -> np.ndarray:
        """The rows that are 7 to 19 digits, with others than letters between them at most."""
        total = np.concatenate([[0], np.cumsum(self.lengths)])
        digits = np.diff(total[self.bounds])
        return np.flatnonzero((digits >= 7) & (digits <= 19) & (self.sizes <= 2 * digits))

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """The rows that hold these positions, sorted and each once."""
        return np.unique(self._row(positions))

    def _row(self, positions: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.lines, positions, "right") - 1

    def _add(self, found: dict[str, np.ndarray], key: str, positions: np.ndarray) -> None:
        rows = self.rows(positions)
        found[key] = np.union1d(found[key], rows) if key in found else rows

    def _runs_of(self, length: int) -> np.ndarray:
        if length not in self._begun:
            self._begun[length] = self.starts[self.lengths == length]
        return self._begun[length]

    def _has(self, positions: np.ndarray, flags: int) -> np.ndarray:
        return (_CLASSES[self.bytes[positions]] & flags) > 0

    def _is(self, positions: np.ndarray, wanted: str) -> np.ndarray:
        flag = {"d": _DIGIT, "L": _LETTER, "s": _GAP}.get(wanted)
        return self._has(positions, flag) if flag else self.bytes[positions] == ord(wanted)

    def _bounded(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Those that are no part of a longer word or number."""
        starts = starts[~self._has(starts - 1, _BLOCKS_BEFORE)]
        return starts[~self._blocked_after(starts + length)]

    def _blocked_after(self, ends: np.ndarray, slash: bool = True) -> np.ndarray:
        joined = self._has(ends, _JOINS_AFTER) & self._has(ends + 1, _LETTER | _DIGIT)
        if not slash:
            joined &= self.bytes[ends] != ord("/")
        return self._has(ends, _BLOCKS_AFTER) | joined

    def _crowded(self, starts: np.ndarray, length: int) -> np.ndarray:
        before = self._has(starts - 2, _DIGIT) & (self.bytes[starts - 1] == 32)
        return before | (self._has(starts + length + 1, _DIGIT) & (self.bytes[starts + length] == 32))

    def _worth(self, runs: np.ndarray) -> np.ndarray:
        """The numbers that runs of at most three digits stand for."""
        worth = np.zeros(len(runs), np.int64)
        for place in range(3):
            inside = place < self.lengths[runs]
            digit = self.bytes[self.starts[runs] + np.where(inside, place, 0)].astype(np.int64) - 48
            worth = np.where(inside, worth * 10 + digit, worth)
        return worth


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
    partners = [_axis(other) for other in others or ()]
    if others is None and "long" not in _words(name):
        return held, "both"
    other_axis = "longitude" if axis == "latitude" else "latitude"
    return (held, "both") if (other_axis, rest) in partners else (0, "")


def _axis(name: str) -> tuple[str, tuple[str, ...]] | None:
    """`latitude` or `longitude` where a name says so, and the name's other words."""
    words = _words(name)
    for word in words:
        if word in _AXES:
            return _AXES[word], tuple(other for other in words if other != word)
    return None


def _paths(name: str, type: pa.DataType) -> list[tuple[str, pa.DataType]]:
    """The names and types of what holds the values of a nested column; the column's own for any other."""
    if isinstance(type, pa.ExtensionType):
        return _paths(name, type.storage_type)
    if pa.types.is_struct(type):
        children = (type[place] for place in range(type.num_fields))
        return [path for child in children for path in _paths(f"{name}_{child.name}", child.type)]
    if pa.types.is_map(type):
        return _paths(name, type.item_type)
    if hasattr(type, "value_field"):
        return _paths(name, type.value_type)
    return [(name, type)]


def _leaves(column: pa.Array) -> list[pa.Array]:
    """The arrays that hold a nested column's values, without those beneath missing lists and structs."""
    kind = column.type
    if isinstance(kind, pa.ExtensionType):
        return _leaves(column.storage)
    if pa.types.is_struct(kind):
        return [leaf for child in column.flatten() for leaf in _leaves(child)]
    if pa.types.is_map(kind):
        entries = pa.StructArray.from_arrays([column.keys, column.items], ["key", "value"])
        first, last = column.offsets[0].as_py() or 0, column.offsets[len(column)].as_py() or 0
        entries = entries if len(entries) == last - first else entries.slice(first, last - first)
        return _leaves(entries)
    if hasattr(kind, "value_field"):
        return _leaves(column.flatten())
    return [column]


def _plain(values: pa.Array) -> pa.Array:
    """Text with 32-bit offsets."""
    if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        return values
    return values.cast(pa.binary() if "binary" in str(values.type) else pa.string())


def _raw(values: pa.Array) -> np.ndarray:
    offsets = _offsets(values)
    buffer = values.buffers()[2]
    return np.frombuffer(buffer, np.uint8)[offsets[0] : offsets[-1]] if buffer else np.zeros(0, np.uint8)


def _offsets(values: pa.Array) -> np.ndarray:
    if not len(values):
        return np.zeros(1, np.int64)
    raw = np.frombuffer(values.buffers()[1], np.int32, len(values) + 1 + values.offset)
    return raw[values.offset :].astype(np.int64)


def _is_nested(kind: pa.DataType) -> bool:
    # Of all lists, also those with views and of a fixed size, the type tells its values' field.
    return pa.types.is_struct(kind) or pa.types.is_map(kind) or hasattr(kind, "value_field")


def _is_text(kind: pa.DataType) -> bool:
    return str(kind) in ("string", "large_string", "binary", "large_binary", "string_view", "binary_view")


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _present(counts: Mapping[str, int]) -> dict[str, int]:
    return {key: int(count) for key, count in counts.items() if count}


@functools.lru_cache(4096)
def _words(name: str) -> tuple[str, ...]:
    """A name's words in lower case, without accents and numbers."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return tuple(word.lower() for word in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", plain))


def _phrases() -> dict[str, str]:
    """What names of columns say, by their words written together; nothing where a phrase means something else."""
    spelled = {
        "email": "email emailaddress emailadresse mailaddress mailadresse mail emailid correoelectronico courriel",
        "phone": "phone telephone tel telefon telefono telefone telefoonnummer telefonnummer mobile mobilenumber cell "
        "cellphone mobilephone handy handynummer fax faxnumber msisdn phonenumber phoneno rufnummer",
        "card": "cardnumber cardno cardnum creditcard debitcard paymentcard ccnumber ccnum pan kreditkarte "
        "kreditkartennummer kartennummer creditcardnumber numerocarte",
        "iban": "iban ibannumber bankaccountiban",
        "us_ssn": "ssn socialsecurity socialsecuritynumber",
        "uk_nino": "nino ninumber nationalinsurance nationalinsurancenumber",
        "de_steuer_id": "steuerid steueridnr steueridentifikationsnummer identifikationsnummer idnr",
        "es_dni": "dni nie nif",
        "it_codice_fiscale": "codicefiscale codfiscale",
        "fr_nir": "nir numerosecu securitesociale numerosecuritesociale",
        "nl_bsn": "bsn burgerservicenummer sofinummer",
        "br_cpf": "cpf",
        "in_aadhaar": "aadhaar aadhar aadhaarnumber",
        "se_personnummer": "personnummer personnr samordningsnummer",
        "pl_pesel": "pesel",
        "ip": "ip ipv ipaddress ipaddr remoteaddr remoteaddress clientaddr sourceaddr ipadresse",
        "mac": "mac macaddress macaddr hardwareaddress macadresse",
        "coordinates": "coordinate coordinates coords coord latlon latlng latlong lonlat geo gps geopoint location "
        "position koordinate koordinaten coordenadas coordonnees",
        "name": "surname forename namefirst namelast vorname nachname familienname geburtsname prenom nomdefamille "
        "apellido primerapellido segundoapellido cognome voornaam achternaam imie nazwisko fornamn efternamn sobrenome "
        "cardholder accountholder",
        "address": "address addr addressline street streetaddress postaladdress homeaddress mailingaddress adresse "
        "anschrift strasse wohnadresse direccion domicilio calle indirizzo endereco adres straat adress gatuadress",
        "birth_date": "birthdate dateofbirth birthday dob birthyear yearofbirth geburtsdatum geburtstag geburtsjahr "
        "datenaissance datedenaissance fechanacimiento fechadenacimiento datanascita datadinascita geboortedatum "
        "datanascimento datadenascimento dataurodzenia fodelsedatum",
        "": "webaddress urladdress memoryaddress walletaddress contractaddress blockaddress baseaddress addressid "
        "streetid nameid phoneid mailid cardid mobileapp mobileos locationid positionid",
    }
    phrases = {phrase: kind for kind, line in spelled.items() for phrase in line.split()}
    people = (
        "first last given family sur fore full middle maiden birth legal nick person people customer client patient "
        "employee contact passenger guest driver student teacher member owner holder cardholder accountholder "
        "beneficiary recipient sender applicant tenant citizen doctor physician nurse spouse father mother child rider"
    )
    phrases.update({f"{person}name": "name" for person in people.split()})
    phrases.update({f"{phrase}s": kind for phrase, kind in list(phrases.items()) if f"{phrase}s" not in phrases})
    return phrases


_PHRASES = _phrases()
_OF_SOMETHING = frozenset(
    [
        "count",
        "counts",
        "flag",
        "is",
        "has",
        "type",
        "kind",
        "status",
        "verified",
        "valid",
        "length",
        "len",
        "hash",
        "hashed",
        "sha",
        "md",
        "masked",
        "score",
        "domain",
        "provider",
        "carrier",
        "brand",
        "model",
        "consent",
        "opt",
        "optin",
        "subscribed",
        "sent",
        "opened",
        "clicked",
        "total",
        "avg",
        "mean",
        "share",
        "rate",
        "ratio",
        "pct",
        "percent",
        "version",
    ]
)
_AXES = {"lat": "latitude", "latitude": "latitude", "breitengrad": "latitude", "latitud": "latitude"} | {
    word: "longitude" for word in ("lon", "lng", "long", "longitude", "laengengrad", "langengrad", "longitud")
}


_SCRUB_COORDINATES_ALONE = re.compile(
    rf"^\W*{_LATITUDE}\.[0-9]+\s*[,;]\s*{_LONGITUDE}\.[0-9]*\W*$".replace(r"\W", r"[ (\[\])]")
)
_SUSPECT = re.compile(r"@|(?:\d\D*){3}|:.*:", re.DOTALL)
_YEAR, _MONTH, _DAY = "(?:19|20)[0-9][0-9]", "(?:0?[0-9]|1[0-2])", "(?:[0-2]?[0-9]|3[01])"
_ANY = "[0-9]{1,2}"
# Dates that are none, as of a 13th month, are the ones that are rejected; those of other centuries have to be possible.
_DATE = (
    rf"(?:(?<![\d+./-]){_YEAR}(?P<a>[./-]){_ANY}(?P=a){_ANY}"
    rf"|(?<![\d+(./-])(?:{_ANY}(?P<b>[./-]){_ANY}(?P=b){_YEAR}"
    rf"|[0-9]{{4}}(?P<c>[./-]){_MONTH}(?P=c){_DAY}|(?:{_DAY}(?P<d>[./-]){_MONTH}(?P=d)|{_MONTH}(?P<e>[./-]){_DAY}(?P=e))"
    rf"(?:[0-9]{{4}}|[0-9]{{2}})|{_MONTH}[/-]{_YEAR}|{_YEAR}[/-](?:[0-3][0-9]{{2}}|{_MONTH})))"
    r"(?:[T ]\d{1,2}:\d{1,2}(?::\d{1,2}(?:[.,]\d+)?)?)?(?!\d|[./-]\d)"
)
_DECIMAL = r"(?<![\w.+(/-])-?\d{1,6}\.\d+(?![ ().+/-]{0,4}\d)"
_GROUP = r"[+(]*\d(?:[ ().+/-]{0,4}\d)*"


def _replace(text: str, pattern: re.Pattern, replacement: str | Callable[[re.Match], str | None]) -> str:
    """Replaces matches, also one that begins within another that was let stand (its replacement None)."""
    parts: list[str] = []
    position = 0
    while True:
        match = pattern.search(text, position)
        if not match:
            return "".join(parts) + text[position:]
        new = replacement if isinstance(replacement, str) else replacement(match)
        end = match.end() if new is not None else match.start() + 1
        parts.append(text[position : match.start()] + (text[match.start() : end] if new is None else new))
        position = end


def _scrubbed_iban(match: re.Match) -> str | None:
    text = match.group()
    size = checksums.IBAN_LENGTHS.get(text[:2].upper())
    if not size:
        return None
    whole = "".join(text.split())
    valid = len(whole) >= size and bool(checksums.iban(checksums.codes(whole[:size]))[0])
    digits = sum(character.isdigit() for character in whole[:size])
    cut = match.end() == len(match.string) and digits >= 6
    if not (valid or digits >= 8 or cut):
        return None
    # What follows the IBAN, a space away, is no part of it.
    kept = 0
    for place, character in enumerate(text):
        kept += not character.isspace()
        if kept == size:
            return "[iban]" + text[place + 1 :]
    return "[iban]"


def _scrubbed_ipv6(match: re.Match) -> str | None:
    return None if re.fullmatch(r"\d{1,2}:\d{1,2}(?::\d{1,2})?(?:\.\d+)?", match.group()) else "[ip]"


def _scrubbed_ipv4(match: re.Match) -> str | None:
    parts = [int(part) for part in match.group().split(".")]
    cut = match.end() == len(match.string) and max(parts) >= _WIDE
    return "[ip]" if len(parts) == 4 or cut else None


def _scrubbed_number(match: re.Match) -> str:
    text = match.group()
    if match["kept"]:
        return text
    digits = sum(character.isdigit() for character in text)
    at_end = match.end() == len(match.string)
    enough = 3 if text.startswith("+") else 7 if not at_end else 6 if text.isdigit() else 5
    if digits < enough:
        return text
    if 13 <= digits <= 19:
        number = np.array([[ord(character) for character in text if character.isdigit()]], np.uint8)
        return "[card]" if checksums.card(number)[0] else "[number]"
    return "[phone]" if text[0] in "+(0" else "[number]"


_SCRUBS: tuple[tuple[re.Pattern, str | Callable[[re.Match], str | None]], ...] = tuple(
    (re.compile(pattern, re.ASCII), replacement)
    for pattern, replacement in (
        (r"""[^\s,;|"'<>()\[\]{}:=]*@[^\s,;|"'<>()\[\]{}]*""", "[email]"),
        (r"-?\d{1,3}\.\d{3,}\s*[,;]\s*-?\d{1,3}\.\d{3,}", "[coordinates]"),
        (r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){2,38}", _scrubbed_iban),
        (r"[A-Za-z]{6}\d{2}[A-Za-z](?:\d{1,2}(?:[A-Za-z]\d{0,3}[A-Za-z]?)?)?", "[it_codice_fiscale]"),
        (r"(?<![A-Za-z0-9])[A-Za-z]{2}[ -]?\d\d[ -]?\d\d[ -]?\d\d[ -]?[A-Za-z](?![A-Za-z0-9])", "[uk_nino]"),
        (r"(?<![A-Za-z0-9])[XYZxyz]?-?\d{7,8}-?[A-Za-z](?![A-Za-z0-9])", "[es_dni]"),
        (r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}", "[mac]"),
        (r"(?<![0-9A-Za-z])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?:\.\d{1,3}){0,3}", _scrubbed_ipv6),
        (r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){2,3}(?!\d)", _scrubbed_ipv4),
        (f"(?P<kept>{_DATE}|{_DECIMAL})|{_GROUP}", _scrubbed_number),
    )
)


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
