"""Which values of a text column hold each kind of personal data.

A batch of text is looked at as one array of bytes. The runs of digits in it are found once, and every number that is
looked for is a template over those runs ("dddd dddd dddd dddd"), so that text without digits costs a single pass and
no pattern runs over rows that cannot hold it. E-mail addresses, telephone numbers and IPv6 addresses are RE2 patterns
on the rows that passed such a test.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.collect.privacy import checksums
from headwater.components.collect.privacy.forms import (
    BLOCKS_AFTER,
    BLOCKS_BEFORE,
    CLASSES,
    CODES,
    COORDINATES,
    DIGIT,
    DOTTED,
    EMAIL,
    GAP,
    HEXADECIMAL,
    IBAN_SIZES,
    IPV6_TEXT,
    JOINS_AFTER,
    LETTER,
    NO_EMAIL,
    PHONE,
    PHONE_GAPS,
    TEMPLATES,
    UPPER,
    WIDE,
    NumberTemplate,
)

_PAD = 64
_CHUNK_BYTES = 1 << 28
# Longer runs of digits are no part of any number that is looked for.
_LONG_RUN = 32


def find(values: pa.Array) -> dict[str, np.ndarray]:
    """The rows that hold each kind, sorted int64; `values` are text without missing ones."""
    if values.nbytes > _CHUNK_BYTES:
        return _find_halves(values)
    values = plain_text(values)
    rows_of: dict[str, np.ndarray] = {}
    raw = _raw(values)
    if (raw == ord("@")).any():
        rows_of["email"] = _emails(values)
    if ((raw - np.uint8(48)) < 10).any():
        text = _Text(values)
        for template in TEMPLATES:
            text.match(template, rows_of)
        text.ibans(rows_of)
        text.ipv4(rows_of)
        text.macs(rows_of)
        for kind in ("card", "iban"):
            if len(rows_of.get(kind, ())):
                # A few of many random codes are such numbers by chance: all codes of that length were tried as well.
                rows_of[f"{kind}:tried"] = np.union1d(rows_of[f"{kind}:tried"], _matching(values, CODES[kind]))
        near, pairs = text.near_runs(), text.pairs()
        for key, rows, pattern in (
            ("phone", near, PHONE),
            ("ip", text.with_colons(), IPV6_TEXT),
            ("coordinates", pairs, COORDINATES % (1, 1)),
            ("coordinates:fine", pairs, COORDINATES % (3, 3)),
        ):
            rows = _matching(values, pattern, rows)
            rows_of[key] = np.union1d(rows_of[key], rows) if key in rows_of else rows
            if key == "ip":
                rows_of["ip:wide"] = np.union1d(rows_of.get("ip:wide", rows), rows)
        rows_of[":long"] = text.long()
    return rows_of


def _find_halves(values: pa.Array) -> dict[str, np.ndarray]:
    if len(values) == 1:
        return find(pa.array([values[0].as_buffer().slice(0, _CHUNK_BYTES // 2).to_pybytes()], pa.binary()))
    half = len(values) // 2
    first, second = find(values.slice(0, half)), find(values.slice(half))
    none = np.zeros(0, np.int64)
    return {key: np.concatenate([first.get(key, none), second.get(key, none) + half]) for key in {**first, **second}}


def _emails(values: pa.Array) -> np.ndarray:
    rows = _matching(values, EMAIL)
    if len(rows):
        odd = _matching(values, NO_EMAIL, rows)
        # The names of pictures and of repositories have the same form.
        rest = pc.replace_substring_regex(values.take(pa.array(odd)), pattern=NO_EMAIL, replacement=" ")
        kept = odd[_matching(rest, EMAIL)]
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
        self._text = pc.binary_join(lines, end)[0].as_buffer().to_pybytes()
        joined = np.frombuffer(self._text, np.uint8)
        self.bytes = np.full(len(joined) + 2 * _PAD, 10, np.uint8)
        self.bytes[_PAD:-_PAD] = joined
        offsets = _offsets(values)
        self.sizes = np.diff(offsets)
        self.lines = _PAD + offsets[:-1] - offsets[0] + np.arange(len(values))
        digits = (self.bytes - np.uint8(48)) < 10
        edges = np.flatnonzero(digits[1:] != digits[:-1]) + 1
        self.starts, self.ends = edges[0::2], edges[1::2]
        self.lengths = self.ends - self.starts
        self.bounds = self._bounds()
        # What stands before each run, which tells most of those that are a part of something else.
        self._before = CLASSES[self.bytes[self.starts - 1]]
        self._has_runs = np.bincount(np.minimum(self.lengths, _LONG_RUN), minlength=_LONG_RUN + 1) > 0
        self._begun: dict[tuple[int, bool], np.ndarray] = {}

    def _bounds(self) -> np.ndarray:
        """Which runs are of which row: the first of each, and one past the last."""
        starts, lines = self.starts, self.lines
        if len(starts) == len(lines) and (starts >= lines).all() and (starts[:-1] < lines[1:]).all():
            # One each, as in most codes.
            return np.arange(len(lines) + 1)
        return np.searchsorted(self.starts, np.append(self.lines, len(self.bytes)))

    def match(self, template: NumberTemplate, rows_of: dict[str, np.ndarray]) -> None:
        """Adds the rows that hold a template's number to `found`."""
        form, (first, length) = template.form, template.first_digits
        if not self._has_runs[length]:
            return
        starts = self._runs_of(length, bool(first)) - first
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
            passed = starts[template.check(UPPER[self.bytes[starts[:, None] + kept]])]
            if template.bare:
                self._add(rows_of, f"{template.kind}:bare", passed)
            else:
                self._add(rows_of, template.kind, passed)
                self._add(rows_of, f"{template.kind}:tried", starts)

    def ibans(self, rows_of: dict[str, np.ndarray]) -> None:
        """Adds the rows that hold an IBAN, in one piece or in fours."""
        starts = self.starts[(self.lengths >= 2) & (self._before & LETTER > 0)] - 2
        starts = starts[self._is(starts, "L")]
        starts = starts[~self._has(starts - 1, BLOCKS_BEFORE)]
        country = UPPER[self.bytes[starts]].astype(np.int64) * 256 + UPPER[self.bytes[starts + 1]]
        sizes = IBAN_SIZES[country]
        for size in np.unique(sizes[sizes > 0]).tolist():
            packed = np.arange(size)
            for places in (packed, packed + packed // 4):
                begun = self._bounded(starts[sizes == size], int(places[-1]) + 1)
                spaces = np.setdiff1d(np.arange(places[-1]), places)
                begun = begun[(self.bytes[begun[:, None] + spaces] == 32).all(1)]
                begun = begun[self._has(begun[:, None] + places, LETTER | DIGIT).all(1)]
                if len(begun):
                    passed = begun[checksums.iban(UPPER[self.bytes[begun[:, None] + places]])]
                    self._add(rows_of, "iban", passed)
                    self._add(rows_of, "iban:tried", begun)

    def ipv4(self, rows_of: dict[str, np.ndarray]) -> None:
        """Adds the rows that hold four numbers up to 255 with points between them, none with a leading zero."""
        if len(self.starts) < 4 or b"." not in self._text:
            return
        short = (self.lengths <= 3) & ((self.lengths == 1) | (self.bytes[self.starts] != 48))
        pointed = (self.starts[1:] == self.ends[:-1] + 1) & (self.bytes[self.ends[:-1]] == ord("."))
        four = short[:-3] & short[1:-2] & short[2:-1] & short[3:] & pointed[:-2] & pointed[1:-1] & pointed[2:]
        first = np.flatnonzero(four)
        before = self._has(self.starts[first] - 1, DIGIT | LETTER) | np.isin(self.bytes[self.starts[first] - 1], DOTTED)
        first = first[~before & ~self._blocked_after(self.ends[first + 3], slash=False)]
        parts = np.stack([self._worth(first + place) for place in range(4)])
        first, parts = first[(parts <= 255).all(0)], parts[:, (parts <= 255).all(0)]
        self._add(rows_of, "ip", self.starts[first])
        self._add(rows_of, "ip:wide", self.starts[first[parts.max(0, initial=0) >= WIDE]])

    def macs(self, rows_of: dict[str, np.ndarray]) -> None:
        """Adds the rows that hold six pairs of hexadecimal digits, with a letter and a digit among them."""
        for mark in b":-":
            if mark not in self._text:
                continue
            marks = np.flatnonzero(self.bytes == mark)
            starts = marks[:-4][marks[4:] - marks[:-4] == 12] - 2
            for place in range(1, 5):
                starts = starts[self.bytes[starts + 2 + 3 * place] == mark]
            pairs = np.array([3 * place + digit for place in range(6) for digit in (0, 1)])
            starts = self._bounded(starts, 17)
            starts = starts[self._has(starts[:, None] + pairs, HEXADECIMAL).all(1)]
            digits = self._has(starts[:, None] + pairs, DIGIT)
            starts = starts[digits.any(1) & ~digits.all(1) & (self.bytes[starts - 1] != mark)]
            self._add(rows_of, "mac", starts[self.bytes[starts + 17] != mark])

    def near_runs(self) -> np.ndarray:
        """The rows with digits that a telephone number may begin with."""
        # None is a part of a word or of a longer number, but for what a plus sign begins.
        free = np.flatnonzero((self._before & BLOCKS_BEFORE == 0) | (self.bytes[self.starts - 1] == ord("+")))
        starts, lengths, ends = self.starts[free], self.lengths[free], self.ends[free]
        before = self.bytes[starts - 1]
        plus, opened = before == ord("+"), before == ord("(")
        likely = plus | opened | (self.bytes[starts] == ord("0")) | (lengths == 1) | (lengths == 3)
        gaps = np.append(self.starts, ends[-1:] + _PAD)[free + 1] - ends
        likely &= plus | ((gaps <= 3) & PHONE_GAPS[self.bytes[ends]])
        return self.rows(starts[likely])

    def with_colons(self) -> np.ndarray:
        """The rows with digits that may hold an IPv6 address."""
        if b":" not in self._text:
            return np.zeros(0, np.int64)
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

    def _add(self, rows_of: dict[str, np.ndarray], key: str, positions: np.ndarray) -> None:
        rows = self.rows(positions)
        rows_of[key] = np.union1d(rows_of[key], rows) if key in rows_of else rows

    def _runs_of(self, length: int, inside: bool) -> np.ndarray:
        """Where runs of a length begin; unless they may be `inside` of a form, those that are no part of a longer word."""
        if (length, inside) not in self._begun:
            chosen = self.lengths == length
            self._begun[length, inside] = self.starts[
                chosen if inside else chosen & (self._before & BLOCKS_BEFORE == 0)
            ]
        return self._begun[length, inside]

    def _has(self, positions: np.ndarray, flags: int) -> np.ndarray:
        return (CLASSES[self.bytes[positions]] & flags) > 0

    def _is(self, positions: np.ndarray, wanted: str) -> np.ndarray:
        flag = {"d": DIGIT, "L": LETTER, "s": GAP}.get(wanted)
        return self._has(positions, flag) if flag else self.bytes[positions] == ord(wanted)

    def _bounded(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Those that are no part of a longer word or number."""
        starts = starts[~self._has(starts - 1, BLOCKS_BEFORE)]
        return starts[~self._blocked_after(starts + length)]

    def _blocked_after(self, ends: np.ndarray, slash: bool = True) -> np.ndarray:
        joined = self._has(ends, JOINS_AFTER) & self._has(ends + 1, LETTER | DIGIT)
        if not slash:
            joined &= self.bytes[ends] != ord("/")
        return self._has(ends, BLOCKS_AFTER) | joined

    def _crowded(self, starts: np.ndarray, length: int) -> np.ndarray:
        before = self._has(starts - 2, DIGIT) & (self.bytes[starts - 1] == 32)
        return before | (self._has(starts + length + 1, DIGIT) & (self.bytes[starts + length] == 32))

    def _worth(self, runs: np.ndarray) -> np.ndarray:
        """The numbers that runs of at most three digits stand for."""
        worth = np.zeros(len(runs), np.int64)
        for place in range(3):
            inside = place < self.lengths[runs]
            digit = self.bytes[self.starts[runs] + np.where(inside, place, 0)].astype(np.int64) - 48
            worth = np.where(inside, worth * 10 + digit, worth)
        return worth


def plain_text(values: pa.Array) -> pa.Array:
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
