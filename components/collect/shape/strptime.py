"""Text as dates and times by the codes of `strptime`, whole columns at once, with the answers of Python's own.

A form becomes a regular expression, as in Python, and Arrow matches it. It differs from Python where Python would change
a value without a word: months, weekdays, %c, %x and %X are English whatever the locale, digits are ASCII, up to nine
digits of a second are kept, and a day of the year or a week that the year does not have is no date. The C library's
%D, %F, %R, %T, %h, %n and %t are known too.
"""

from __future__ import annotations

import dataclasses
import functools
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.errors import HeadwaterError

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_COMPOSED = {
    "c": "%a %b %d %H:%M:%S %Y",
    "x": "%m/%d/%y",
    "X": "%H:%M:%S",
    "D": "%m/%d/%y",
    "F": "%Y-%m-%d",
    "R": "%H:%M",
    "T": "%H:%M:%S",
    "h": "%b",
    "n": " ",
    "t": " ",
}
_PATTERNS = {
    "d": "3[0-1]|[1-2][0-9]|0[1-9]|[1-9]| [1-9]",
    "f": "[0-9]{1,9}",
    "H": "2[0-3]|[0-1][0-9]|[0-9]",
    "I": "1[0-2]|0[1-9]|[1-9]",
    "G": "[0-9]{4}",
    "j": "36[0-6]|3[0-5][0-9]|[1-2][0-9][0-9]|0[1-9][0-9]|00[1-9]|[1-9][0-9]|0[1-9]|[1-9]",
    "m": "1[0-2]|0[1-9]|[1-9]",
    "M": "[0-5][0-9]|[0-9]",
    "S": "6[0-1]|[0-5][0-9]|[0-9]",
    "U": "5[0-3]|[0-4][0-9]|[0-9]",
    "W": "5[0-3]|[0-4][0-9]|[0-9]",
    "w": "[0-6]",
    "u": "[1-7]",
    "V": "5[0-3]|0[1-9]|[1-4][0-9]|[0-9]",
    "y": "[0-9]{2}",
    "Y": "[0-9]{4}",
    "z": r"[+-][0-9]{2}:?[0-5][0-9](?::?[0-5][0-9](?:\.[0-9]{1,6})?)?|(?-i:Z)",
    "A": "|".join(sorted(_WEEKDAYS, key=len, reverse=True)),
    "a": "|".join(name[:3] for name in _WEEKDAYS),
    "B": "|".join(sorted(_MONTHS, key=len, reverse=True)),
    "b": "|".join(name[:3] for name in _MONTHS),
    "p": "am|pm",
}
_NAMES = {
    "A": _WEEKDAYS,
    "a": tuple(name[:3] for name in _WEEKDAYS),
    "B": _MONTHS,
    "b": tuple(name[:3] for name in _MONTHS),
    "p": ("am", "pm"),
}
# The digits of a code, and the least and the most that they say.
_WIDTHS = {
    "d": (2, 1, 31), "m": (2, 1, 12), "y": (2, 0, 99), "Y": (4, 0, 9999), "j": (3, 1, 366), "G": (4, 0, 9999),
    "H": (2, 0, 23), "I": (2, 1, 12), "M": (2, 0, 59), "S": (2, 0, 61), "U": (2, 0, 53), "W": (2, 0, 53),
    "V": (2, 1, 53), "w": (1, 0, 6), "u": (1, 1, 7),
}  # fmt: skip
_DIGITS = frozenset([*_WIDTHS, "f"])
_INSTEAD = {
    "Z": "zone names are ambiguous (CST is four zones); write the name itself into the format and set `zone`",
    "s": "seconds since 1970 are a number; leave out the format and derive the time, as in to_timestamp(column)",
    "e": "use %d, which also reads one digit",
    "k": "use %H, which also reads one digit",
    "l": "use %I, which also reads one digit",
    "P": "use %p, which reads am and AM",
    "r": "use %I:%M:%S %p",
    "C": "use %Y or %y",
    "g": "use %G",
    "L": "use %f",
}
_WEEKDAY = frozenset("aAwu")
# Python's \s is Unicode's, RE2's is ASCII's.
_SPACE = r"[\s\pZ\x0b\x1c-\x1f\x{85}]"
_OFFSET = re.compile(r"([+-])(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d+))?)?|:(\d\d)(?::(\d\d)(?:\.(\d+))?)?)")
_FIRST = np.datetime64("0001-01-01", "us").astype(np.int64)
_LAST = np.datetime64("9999-12-31T23:59:59.999999", "us").astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Form:
    """A form that was checked.

    Attributes:
      text: as it was given.
      codes: its codes, in order, composed ones taken apart.
      pattern: RE2's regular expression, a group for each code and one, `rest`, for what follows the last.
      layout: literal text and codes where all codes are digits: with leading zeros their places are the same in all
        texts. Empty where they are not.
    """

    text: str
    codes: tuple[str, ...]
    pattern: str
    layout: tuple[tuple[str, str], ...]

    @property
    def zoned(self) -> bool:
        """Whether the text tells its offset from UTC."""
        return "z" in self.codes

    @property
    def dated(self) -> bool:
        """Whether the text tells a year."""
        return not {"Y", "y", "G"}.isdisjoint(self.codes)


@dataclasses.dataclass(frozen=True)
class Times:
    """What texts say.

    Attributes:
      matched: which are of the form, bool.
      real: which of those are a date and time that there is, bool.
      micros: microseconds since 1970, of the form's zone or in UTC where the text tells its offset; 0 where not real.
      nanos: what is finer than a microsecond, in nanoseconds.
    """

    matched: np.ndarray
    real: np.ndarray
    micros: np.ndarray
    nanos: np.ndarray


@functools.lru_cache(maxsize=256)
def check_form(text: str) -> Form:
    """A form, checked.

    Raises:
      HeadwaterError: names the code that cannot stand there, and what to use instead.
    """
    parts = _parts(text)
    codes = tuple(value for kind, value in parts if kind == "code")
    for code in codes:
        if codes.count(code) > 1:
            raise HeadwaterError(f"%{code} appears twice in {text!r}")
    _check_together(text, set(codes))
    pattern = ""
    for place, (kind, value) in enumerate(parts):
        if kind == "text":
            pattern += re.sub(r"\s+", lambda _: f"{_SPACE}+", _quoted(value))
            continue
        # Between other digits %f takes six at most, as in Python: more would leave the others less.
        packed = value == "f" and any(map(_is_digit, parts[max(0, place - 1) : place + 2 : 2]))
        pattern += f"(?P<{value}>{'[0-9]{1,6}' if packed else _PATTERNS[value]})"
    # What is left is matched too, and judged afterwards: Python does not go back for a match that reaches the end.
    placed = set(codes) <= set(_WIDTHS) and all(kind == "code" or value.isascii() for kind, value in parts)
    return Form(text, codes, f"^(?i:{pattern})(?P<rest>(?s:.*))$", tuple(parts) if placed else ())


def read_times(texts: pa.Array, form: Form) -> Times:
    """What texts say, missing ones not matched."""
    rows, fields = _by_place(texts, form) if form.layout and len(texts) else (np.array([], np.int64), {})
    groups: dict[str, pa.Array] = {}
    if len(rows) < len(texts):
        others = np.setdiff1d(np.arange(len(texts)), rows)
        extracted = pc.extract_regex(texts.take(pa.array(others)), pattern=form.pattern)
        whole = pc.fill_null(pc.equal(pc.struct_field(extracted, [len(form.codes)]), ""), False)
        own = pc.indices_nonzero(whole)
        groups = {code: pc.struct_field(extracted, [place]).take(own) for place, code in enumerate(form.codes)}
        read = {code: _field(code, group) for code, group in groups.items() if code not in "fz"}
        fields = {code: np.concatenate([fields[code], read[code]]) if fields else read[code] for code in read}
        rows = np.concatenate([rows, others[own.to_numpy()]])
    matched = np.zeros(len(texts), bool)
    matched[rows] = True
    days, real = _days(fields, len(rows))
    seconds, fine = _seconds(fields, len(rows)), np.zeros(len(rows), np.int64)
    if "S" in fields:
        real &= fields["S"] < 60
    if "f" in groups:
        fine = _numbers(pc.utf8_rpad(groups["f"], 9, "0"))
    micros = (days * 86_400 + seconds) * 1_000_000 + fine // 1_000
    if "z" in groups:
        encoded = groups["z"].dictionary_encode()
        offsets = [_offset(each) for each in encoded.dictionary.to_pylist()]
        index = encoded.indices.to_numpy(zero_copy_only=False)
        real &= np.array([offset is not None for offset in offsets], bool)[index]
        micros -= np.array([offset or 0 for offset in offsets], np.int64)[index]
    real &= (micros >= _FIRST) & (micros <= _LAST)
    result = Times(matched, *(np.zeros(len(texts), kind) for kind in (bool, np.int64, np.int64)))
    for whole, part in ((result.real, real), (result.micros, micros), (result.nanos, fine % 1_000)):
        whole[rows] = np.where(real, part, 0)
    return result


def _parts(text: str) -> list[tuple[str, str]]:
    """A form as literal text and codes, in order."""
    parts: list[tuple[str, str]] = []
    for literal, code in re.findall(r"([^%]+)|%(.?)", text, re.S):
        if literal or code == "%":
            parts.append(("text", literal or "%"))
        elif code in _COMPOSED:
            parts += _parts(_COMPOSED[code])
        elif code in _PATTERNS:
            parts.append(("code", code))
        elif not code:
            raise HeadwaterError(f"{text!r} ends with a single %; write %% for a percent sign")
        else:
            instead = _INSTEAD.get(code, f"the codes are {', '.join('%' + each for each in sorted(_PATTERNS))}")
            raise HeadwaterError(f"%{code} in {text!r} cannot be read: {instead}")
    # Literal parts that meet, such as "100%% ", are one: space is matched as a whole.
    merged: list[tuple[str, str]] = []
    for kind, value in parts:
        if kind == "text" and merged and merged[-1][0] == "text":
            value = merged.pop()[1] + value
        merged.append((kind, value))
    return merged


def _check_together(text: str, codes: set[str]) -> None:
    """Refuses codes that say nothing, or something else, without others."""
    weekday = bool(codes & _WEEKDAY)
    for wrong, why in (
        ("p" in codes and "I" not in codes, "%p needs %I, the 12-hour clock; %H is the 24-hour clock"),
        ("I" in codes and "p" not in codes, "%I, the 12-hour clock, needs %p; use %H for the 24-hour clock"),
        ({"H", "I"} <= codes, "%H and %I are both the hour; use one"),
        ({"Y", "y"} <= codes, "%Y and %y are both the year; use one"),
        ({"U", "W"} <= codes, "%U and %W are both the week; use one"),
        (codes & {"U", "W"} and not (weekday and codes & {"Y", "y"}), "%U and %W need %Y and a weekday (%a, %A, %w, %u)"),
        (codes & {"G", "V"} and not (weekday and {"G", "V"} <= codes), "%G, %V and a weekday (%a, %A, %w, %u) must be given together"),
        ("G" in codes and codes & {"Y", "y", "j", "U", "W"}, "%G is the year of %V; it cannot be combined with %Y, %y, %j, %U or %W"),
    ):  # fmt: skip
        if wrong:
            raise HeadwaterError(f"{text!r}: {why}")


def _by_place(texts: pa.Array, form: Form) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The texts whose codes have all their digits, and these by code: what most files hold, without a pattern."""
    width = sum(len(value) if kind == "text" else _WIDTHS[value][0] for kind, value in form.layout)
    offsets = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, texts.offset * 4)
    rows = np.flatnonzero((np.diff(offsets) == width) & texts.is_valid().to_numpy(zero_copy_only=False))
    if not len(rows) or not width:
        return np.array([], np.int64), {}
    content = np.frombuffer(texts.buffers()[2], np.uint8)
    signs = content[offsets[rows][:, None] + np.arange(width)]
    fields, good, place = {}, np.ones(len(rows), bool), 0
    for kind, value in form.layout:
        if kind == "text":
            good &= (signs[:, place : place + len(value)] == np.frombuffer(value.encode(), np.uint8)).all(axis=1)
            place += len(value)
            continue
        digits, least, most = _WIDTHS[value]
        number = np.zeros(len(rows), np.int64)
        for column in range(place, place + digits):
            digit = signs[:, column].astype(np.int64) - ord("0")
            good &= (digit >= 0) & (digit <= 9)
            number = number * 10 + digit
        good &= (number >= least) & (number <= most)
        fields[value] = number
        place += digits
    return rows[good], {code: values[good] for code, values in fields.items()}


def _is_digit(part: tuple[str, str]) -> bool:
    kind, value = part
    return value in _DIGITS if kind == "code" else value[:1].isdigit() or value[-1:].isdigit()


def _quoted(text: str) -> str:
    return "".join(f"\\{each}" if each in r"\.^$*+?(){}[]|" else each for each in text)


def _field(code: str, group: pa.Array) -> np.ndarray:
    if code in _NAMES:
        # Folding case, RE2 takes the long s for an s; such a name is none, and gives -1.
        place = pc.index_in(pc.utf8_lower(group), value_set=pa.array(_NAMES[code]))
        return pc.fill_null(place, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return _numbers(pc.utf8_ltrim(group, " "))


def _numbers(digits: pa.Array) -> np.ndarray:
    return pc.cast(digits, pa.int64()).to_numpy(zero_copy_only=False)


def _seconds(fields: dict[str, np.ndarray], rows: int) -> np.ndarray:
    zero = np.zeros(rows, np.int64)
    hour = fields["I"] % 12 + 12 * fields["p"] if "I" in fields else fields.get("H", zero)
    return hour * 3_600 + fields.get("M", zero) * 60 + fields.get("S", zero)


def _days(fields: dict[str, np.ndarray], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970-01-01, int64; and which are days that there are, bool."""
    year, month, day = (np.full(rows, default, np.int64) for default in (1900, 1, 1))
    weekday, real = None, np.ones(rows, bool)
    for code, values in fields.items():
        if code == "y":
            year = values + np.where(values <= 68, 2000, 1900)
        elif code in "YG":
            year = values
        elif code == "m":
            month = values
        elif code in "Bb":
            month = values + 1
        elif code == "d":
            day = values
        elif code in "Aa":
            weekday = values
        elif code == "w":
            weekday = (values - 1) % 7
        elif code == "u":
            weekday = values - 1
        if code in _NAMES:
            real &= values >= 0
    real &= year >= 1
    new_year = _day_of(year, np.ones(rows, np.int64))
    first = (new_year + 3) % 7
    if "V" in fields:
        # Week 1 is the one that has the fourth of January.
        fourth = new_year + 3
        days = fourth - (fourth + 3) % 7 + (fields["V"] - 1) * 7 + weekday
        thursday = days - weekday + 3
        return days, real & (_year_of(thursday) == year)
    if "j" in fields:
        days = new_year + fields["j"] - 1
    elif weekday is not None and ("U" in fields or "W" in fields):
        sunday = int("U" in fields)
        # Days before the year's first Sunday (%U) or Monday (%W) are of week 0.
        start = new_year + (-first - sunday) % 7
        days = start + (fields["U" if sunday else "W"] - 1) * 7 + (weekday + sunday) % 7
    else:
        days = _day_of(year, month) + day - 1
        return days, real & (_month_of(days) == (year - 1970) * 12 + month - 1)
    return days, real & (_year_of(days) == year)


def _day_of(year: np.ndarray, month: np.ndarray) -> np.ndarray:
    months = (year - 1970) * 12 + month - 1
    return months.astype("M8[M]").astype("M8[D]").astype(np.int64)


def _month_of(days: np.ndarray) -> np.ndarray:
    return days.astype("M8[D]").astype("M8[M]").astype(np.int64)


def _year_of(days: np.ndarray) -> np.ndarray:
    return days.astype("M8[D]").astype("M8[Y]").astype(np.int64) + 1970


def _offset(text: str) -> int | None:
    """An offset from UTC in microseconds; None for one of mixed form, or of a day and more."""
    if text == "Z":
        return 0
    match = _OFFSET.fullmatch(text)
    if not match:
        return None
    sign, hours, *rest = match.groups()
    minutes, seconds, fraction = rest[:3] if rest[0] else rest[3:]
    whole = int(hours) * 3_600 + int(minutes) * 60 + int(seconds or 0)
    if whole >= 86_400:
        return None
    micros = whole * 1_000_000 + int((fraction or "").ljust(6, "0"))
    return -micros if sign == "-" else micros
