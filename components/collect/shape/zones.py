"""Local times of a time zone as instants, by the tz database as Python's `zoneinfo` reads it.

A local time that stands twice, when clocks are set back, is the earlier of the two instants. One that clocks skip, when
they are set forward, is none. pyarrow's `assume_timezone` is not used: it knows no daylight saving after 2037.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import re
import zoneinfo

import numpy as np

from headwater.components.common.errors import HeadwaterError

_EPOCH = datetime.datetime(1970, 1, 1)
_DAY = 86_400
_SECOND = datetime.timedelta(seconds=1)
_FIXED = re.compile(r"([+-])(\d\d):?([0-5]\d)")


@functools.lru_cache(maxsize=64)
def find_zone(name: str) -> datetime.tzinfo:
    """The time zone of a name as Europe/Vienna, or of a fixed offset as +05:30.

    Raises:
      HeadwaterError: there is none; names the nearest that there is.
    """
    fixed = _FIXED.fullmatch(name)
    if fixed and int(fixed[2]) < 24:
        offset = datetime.timedelta(hours=int(fixed[2]), minutes=int(fixed[3]))
        return datetime.timezone(offset if fixed[1] == "+" else -offset)
    if name == "localtime":
        raise HeadwaterError(
            "'localtime' depends on the machine that runs this; give a zone such as Europe/Vienna or UTC"
        )
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    known = {zone.lower(): zone for zone in zoneinfo.available_timezones()}
    near = [known[each] for each in difflib.get_close_matches(name.lower(), known, 1)]
    meant = f"; did you mean {near[0]}?" if near else "; give one such as Europe/Vienna, UTC or +05:30"
    raise HeadwaterError(f"{name!r} is not a time zone{meant}")


def instants(local: np.ndarray, zone: datetime.tzinfo) -> tuple[np.ndarray, np.ndarray]:
    """Local times as instants.

    Args:
      local: microseconds since 1970-01-01T00:00 on the zone's clocks, int64, of the years 1 to 9999.
      zone: from `find_zone`.

    Returns:
      Microseconds since 1970-01-01T00:00Z, int64; and which of the local times clocks skip, bool.
    """
    seconds = local // 1_000_000
    days, of_day = np.unique(seconds // _DAY, return_inverse=True)
    by_day = [_offset_of_day(zone, day) for day in days.tolist()]
    offsets = np.array([0 if offset is None else offset for offset in by_day], np.int64)[of_day]
    skipped = np.zeros(len(local), bool)
    changing = np.flatnonzero(np.array([offset is None for offset in by_day], bool)[of_day])
    if len(changing):
        # At most as many as a day has seconds, for each of the few days on which clocks are changed.
        distinct, place = np.unique(seconds[changing], return_inverse=True)
        pairs = np.array([_offsets(zone, second) for second in distinct.tolist()], np.int64)
        offsets[changing] = pairs[place, 0]
        skipped[changing] = (pairs[:, 0] < pairs[:, 1])[place]
    return local - offsets * 1_000_000, skipped


@functools.lru_cache(maxsize=100_000)
def _offset_of_day(zone: datetime.tzinfo, day: int) -> int | None:
    """The offset from UTC in seconds on a local day; None where it changes."""
    start = day * _DAY
    offsets = {offset for second in (start, start + _DAY - 1) for offset in _offsets(zone, second)}
    return offsets.pop() if len(offsets) == 1 else None


def _offsets(zone: datetime.tzinfo, second: int) -> tuple[int, int]:
    """The offsets that a local time has as PEP 495 gives them: before and after a change of clocks, else one twice."""
    time = (_EPOCH + datetime.timedelta(seconds=second)).replace(tzinfo=zone)
    before, after = time.utcoffset(), time.replace(fold=1).utcoffset()
    # Only a time without a zone has none.
    assert before is not None and after is not None
    return before // _SECOND, after // _SECOND
