"""A schedule of runs, as cron writes it, in the form that Kubeflow takes: six fields, the first of seconds."""

from __future__ import annotations

import re

from headwater.components.common.errors import HeadwaterError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_WORDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_PART = re.compile(r"(\*|\?|\w+)(?:-(\w+))?(?:/(\w+))?")
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def parse_schedule(text: str) -> str:
    """A schedule as Kubeflow takes it, which would read five fields as if the first were of seconds.

    Args:
      text: cron's five fields, or six with seconds before them; or a word, such as @daily.

    Raises:
      HeadwaterError: it does not parse, or its day never comes.
    """
    text = " ".join(text.split())
    if text.startswith("@"):
        if text not in _WORDS:
            raise HeadwaterError(f"--schedule: {text!r} is unknown; the words are {', '.join(_WORDS)}")
        return text
    parts = text.split(" ")
    if len(parts) not in (5, 6):
        raise HeadwaterError(
            f"--schedule: {text!r} has {len(parts)} {'field' if len(parts) == 1 else 'fields'}; cron has 5 (minute, hour, "
            'day of the month, month, day of the week), as in "0 6 * * *" for every day at six'
        )
    parts = ["0", *parts] if len(parts) == 5 else parts
    values = [_values(text, part, *field) for part, field in zip(parts, _FIELDS)]
    days, months = values[3], values[4]
    weekday = parts[5] in ("*", "?")
    if weekday and not any(day <= _LONGEST_MONTH[month - 1] for day in days for month in months):
        raise HeadwaterError(f"--schedule: {text!r} never comes: no such month has day {min(days)}")
    return " ".join(parts)


def _values(text: str, part: str, name: str, least: int, most: int, words: tuple[str, ...]) -> set[int]:
    """The values that a field stands for."""
    values: set[int] = set()
    for each in part.split(","):
        match = _PART.fullmatch(each)
        if not match or (match[1] in "*?" and match[2]):
            raise HeadwaterError(f"--schedule: {text!r}: {name}: {each!r} does not parse; write 5, 1-5, */15 or 1,15")
        first, last, step = match.groups()
        start = least if first in "*?" else _number(text, first, name, least, most, words)
        end = _number(text, last, name, least, most, words) if last else most if first in "*?" or step else start
        width = int(step) if step and step.isdigit() else 0 if step else 1
        if end < start:
            raise HeadwaterError(f"--schedule: {text!r}: {name}: {each!r} ends before it begins")
        if not width:
            raise HeadwaterError(f"--schedule: {text!r}: {name}: the step {step!r} must be an integer of at least 1")
        values |= set(range(start, end + 1, width))
    return values


def _number(text: str, value: str, name: str, least: int, most: int, words: tuple[str, ...]) -> int:
    if value.lower() in words:
        return words.index(value.lower()) + least
    if not value.isdigit() or not least <= int(value) <= most:
        also = f" or {words[0]} to {words[-1]}" if words else ""
        raise HeadwaterError(f"--schedule: {text!r}: {name}: {value!r} is not one of {least} to {most}{also}")
    return int(value)
