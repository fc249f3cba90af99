"""Columns made consistent by declared rules: missing-value sentinels, number and date formats, units, names."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from headwater.components.collect.shape import strptime, zones
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import Rejection
from headwater.components.common.sources.formats.csv_values import cast_text
from headwater.components.common.sources.rejections import clip
from headwater.components.common.sources.types import cast_rows, cast_values, parse_type

# A unit is the base unit of its measure × factor + offset.
_UNITS = {
    "length": {
        "m": 1.0,
        "km": 1000.0,
        "cm": 0.01,
        "mm": 0.001,
        "in": 0.0254,
        "ft": 0.3048,
        "yd": 0.9144,
        "mi": 1609.344,
        "nmi": 1852.0,
    },
    "speed": {"m/s": 1.0, "km/h": 1 / 3.6, "mph": 0.44704, "kn": 1852 / 3600, "ft/s": 0.3048},
    "mass": {"kg": 1.0, "g": 0.001, "mg": 1e-6, "t": 1000.0, "lb": 0.45359237, "oz": 0.028349523125},
    "volume": {"l": 1.0, "ml": 0.001, "m3": 1000.0, "gal": 3.785411784, "fl_oz": 0.0295735295625},
    "area": {"m2": 1.0, "km2": 1e6, "ha": 1e4, "acre": 4046.8564224, "ft2": 0.09290304, "mi2": 2589988.110336},
    "pressure": {
        "Pa": 1.0,
        "hPa": 100.0,
        "kPa": 1000.0,
        "bar": 1e5,
        "mbar": 100.0,
        "psi": 6894.757293168,
        "inHg": 3386.389,
        "mmHg": 133.322387415,
        "atm": 101325.0,
    },
    "energy": {"J": 1.0, "kJ": 1000.0, "Wh": 3600.0, "kWh": 3.6e6, "cal": 4.184, "kcal": 4184.0, "BTU": 1055.05585262},
    "time": {"s": 1.0, "ms": 0.001, "us": 1e-6, "min": 60.0, "h": 3600.0, "d": 86400.0},
    "data": {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3},
    "share": {"1": 1.0, "%": 0.01, "‰": 0.001, "bp": 1e-4},
}
_FINE, _NO_FORM, _NO_TIME, _SKIPPED, _TOO_FINE, _OUTSIDE = range(6)
_REASONS = (
    "",
    "format: matches no declared format",
    "format: there is no such date or time",
    "nonexistent: clocks skip this time in the zone",
    "format: more precise than the type holds",
    "format: outside the range of the type",
)
_TEMPERATURES = {"K": (1.0, 0.0), "C": (1.0, 273.15), "F": (5 / 9, 459.67 * 5 / 9)}


class Unit(pydantic.BaseModel):
    """A unit made another.

    Attributes:
      given: the unit that the column is in.
      wanted: the unit that it shall be in.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    given: Annotated[str, pydantic.Field(alias="from")]
    wanted: Annotated[str, pydantic.Field(alias="to")]

    @pydantic.model_validator(mode="after")
    def _known(self) -> Unit:
        self.line()
        return self

    def line(self) -> tuple[float, float]:
        """The factor and the offset of the conversion."""
        if self.given in _TEMPERATURES and self.wanted in _TEMPERATURES:
            (factor, offset), (other, shift) = _TEMPERATURES[self.given], _TEMPERATURES[self.wanted]
            return factor / other, (offset - shift) / other
        for units in _UNITS.values():
            if self.given in units and self.wanted in units:
                return units[self.given] / units[self.wanted], 0.0
        known = "; ".join(f"{measure}: {', '.join(units)}" for measure, units in _UNITS.items())
        raise ValueError(
            f"{self.given!r} cannot be converted to {self.wanted!r}; both units must be of one measure: {known}; "
            "temperature: K, C, F"
        )


class Format(pydantic.BaseModel):
    """How a column's text is read.

    Attributes:
      thousands: parts thousands in numbers, as the comma in "1,234.5".
      decimal: parts the fraction in numbers.
      strip: characters to take off both ends first, as "$€ %".
      times: forms of dates and times in the codes of `strptime`, tried in order.
      zone: the time zone that times without one are in, as in "Europe/Vienna" or "+05:30"; times become UTC.
      type: the Arrow type to make; float64 for numbers, timestamp[us] or timestamp[us, UTC] for times by default.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    thousands: str = ""
    decimal: str = "."
    strip: str = ""
    times: list[str] = []
    zone: str = ""
    type: str = ""

    @pydantic.model_validator(mode="after")
    def _sense(self) -> Format:
        if self.zone and not self.times:
            raise ValueError("zone: is only for times; give `times`, or remove `zone`")
        if self.times and (self.thousands or self.decimal != "."):
            raise ValueError("give `thousands` and `decimal` for numbers, or `times` for times, but not both")
        if self.thousands == self.decimal:
            raise ValueError("thousands and decimal must be different characters")
        if self.type:
            try:
                parse_type(self.type)
            except HeadwaterError as error:
                raise ValueError(str(error)) from None
        try:
            if self.zone:
                zones.find_zone(self.zone)
            forms = [strptime.check_form(text) for text in self.times]
        except HeadwaterError as error:
            raise ValueError(str(error)) from None
        self._check_times(forms)
        return self

    def _check_times(self, forms: list[strptime.Form]) -> None:
        """Refuses forms that leave open which instant or day a text means."""
        instant = bool(self.zone) or any(form.zoned for form in forms)
        kind = self.target
        for form in forms:
            if instant and not self.zone and not form.zoned:
                raise ValueError(
                    f"times: {form.text!r} has no %z, but another format has; give the zone that its times are in"
                )
            if not form.dated and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
                raise ValueError(f"times: {form.text!r} has no year; for times of day alone set type: time64[us]")
        if instant and not pa.types.is_timestamp(kind):
            raise ValueError(
                f"type: times with a zone become instants in UTC, whose {kind} may differ from the text's; leave out "
                "`type`, and derive the value that is wanted"
            )
        if forms and not (pa.types.is_temporal(kind) and not pa.types.is_duration(kind)):
            raise ValueError(f"type: times become timestamps, dates or times of day, not {kind}")

    @property
    def target(self) -> pa.DataType:
        """The type that the column becomes."""
        if self.type:
            return parse_type(self.type)
        if self.times:
            zoned = self.zone or any(strptime.check_form(text).zoned for text in self.times)
            return pa.timestamp("us", "UTC" if zoned else None)
        return pa.float64()


def drop_sentinels(batch: pa.RecordBatch, sentinels: Mapping[str, list[Any]], counts: dict[str, int]) -> pa.RecordBatch:
    """Makes the values that stand for "missing" missing.

    Args:
      batch: the rows.
      sentinels: by column, the values.
      counts: by column, how many were found; added to.

    Raises:
      HeadwaterError: a column is not there, or a sentinel is of another type.
    """
    for name, values in sentinels.items():
        place = _place(batch, name, "missing")
        column = batch.column(place)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        try:
            is_sentinel = pc.is_in(column, _as_type(values, column.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            raise HeadwaterError(
                f"missing.{name}: the column is {column.type}, which cannot hold all of {values}"
            ) from None
        number = pc.sum(is_sentinel).as_py() or 0
        counts[name] = counts.get(name, 0) + number
        if number:
            batch = batch_with(batch, place, name, pc.if_else(is_sentinel, pa.scalar(None, column.type), column))
    return batch


def read_formats(
    batch: pa.RecordBatch, rows: np.ndarray, formats: Mapping[str, Format]
) -> tuple[pa.RecordBatch, np.ndarray, list[Rejection]]:
    """Reads columns of text by their formats; a row whose text has another form is rejected."""
    bad = np.zeros(batch.num_rows, bool)
    rejections: list[Rejection] = []
    for name, form in formats.items():
        place = _place(batch, name, "formats")
        texts = batch.column(place)
        if not pa.types.is_string(texts.type):
            raise HeadwaterError(f"formats.{name}: formats parse text, but this column is {texts.type}")
        encoded = texts.dictionary_encode()
        values, reasons = _read_format(encoded.dictionary, form)
        reasons = np.append(reasons, _FINE)
        index = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False)
        failed = reasons[index] != _FINE
        rejections += [
            Rejection(int(rows[row]), name, _REASONS[reasons[index[row]]], clip(texts[int(row)].as_py()))
            for row in np.flatnonzero(failed & ~bad)
        ]
        bad |= failed
        batch = batch_with(batch, place, name, values.take(encoded.indices))
    if bad.any():
        batch, rows = batch.filter(pa.array(~bad)), rows[~bad]
    return batch, rows, rejections


def convert_units(batch: pa.RecordBatch, units: Mapping[str, Unit]) -> pa.RecordBatch:
    """Converts columns of numbers to the units that are wanted, as float64."""
    for name, unit in units.items():
        place = _place(batch, name, "units")
        column = batch.column(place)
        if not (
            pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)
        ):
            raise HeadwaterError(f"units.{name}: only numbers have units, but this column is {column.type}")
        factor, offset = unit.line()
        batch = batch_with(batch, place, name, pc.add(pc.multiply(column.cast(pa.float64()), factor), offset))
    return batch


def rename_columns(batch: pa.RecordBatch, names: Mapping[str, str]) -> pa.RecordBatch:
    """Gives columns other names."""
    for name in names:
        _place(batch, name, "rename")
    renamed = [names.get(name, name) for name in batch.schema.names]
    for name in renamed:
        if renamed.count(name) > 1:
            raise HeadwaterError(f"rename: two columns would be named {name!r}")
    return pa.RecordBatch.from_arrays(batch.columns, renamed)


def batch_with(batch: pa.RecordBatch, place: int, name: str, column: pa.Array) -> pa.RecordBatch:
    """The batch with the column at `place` replaced, or added where `place` is its width."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    columns, names = list(batch.columns), list(batch.schema.names)
    columns[place : place + 1], names[place : place + 1] = [column], [name]
    return pa.RecordBatch.from_arrays(columns, names)


def _read_format(texts: pa.Array, form: Format) -> tuple[pa.Array, np.ndarray]:
    """The values of texts, and of each the reason why it has none, by its place in `_REASONS`."""
    present = pc.utf8_trim(texts, form.strip) if form.strip else texts
    present = pc.utf8_trim_whitespace(present)
    empty = pc.equal(present, "")
    present = pc.if_else(empty, pa.scalar(None, pa.string()), present)
    return _read_times(present, form) if form.times else _read_numbers(present, form)


def _read_numbers(texts: pa.Array, form: Format) -> tuple[pa.Array, np.ndarray]:
    plain = texts
    if form.thousands:
        # "1,23" is no number with thousands: three digits must follow each mark.
        mark = _quoted(form.thousands)
        odd = pc.match_substring_regex(plain, f"{mark}([0-9]{{0,2}}([^0-9]|$)|[0-9]{{4,}})|^[-+]?{mark}")
        plain = pc.if_else(odd, "?", pc.replace_substring(plain, form.thousands, ""))
    if form.decimal != ".":
        plain = pc.if_else(pc.match_substring(plain, "."), "?", pc.replace_substring(plain, form.decimal, "."))
    values, wrong = cast_text(pc.fill_null(plain, ""), form.target)
    reasons = np.zeros(len(texts), np.int8)
    reasons[wrong] = _NO_FORM
    return values, reasons


def _read_times(texts: pa.Array, form: Format) -> tuple[pa.Array, np.ndarray]:
    target = form.target
    zone = zones.find_zone(form.zone) if form.zone else None
    values, nanos = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    reasons = np.where(pc.is_valid(texts).to_numpy(zero_copy_only=False), _NO_FORM, _FINE).astype(np.int8)
    missing = reasons == _FINE
    for pattern in map(strptime.check_form, form.times):
        left = np.flatnonzero(reasons != _FINE)
        if not len(left):
            break
        times = strptime.read_times(texts.take(pa.array(left)), pattern)
        micros, outcomes = times.micros, np.where(times.real, _FINE, np.where(times.matched, _NO_TIME, _NO_FORM))
        if zone is not None and not pattern.zoned:
            micros, skipped = zones.instants(micros, zone)
            outcomes[times.real & skipped] = _SKIPPED
        values[left], nanos[left] = micros, times.nanos
        # The first form that a text has says what is wrong with it.
        reasons[left] = np.where((outcomes == _FINE) | (reasons[left] == _NO_FORM), outcomes, reasons[left])
    missing |= reasons != _FINE
    return _as_times(values, nanos, missing, target, reasons), reasons


def _as_times(
    micros: np.ndarray, nanos: np.ndarray, missing: np.ndarray, target: pa.DataType, reasons: np.ndarray
) -> pa.Array:
    """Microseconds and nanoseconds as the type, without any that it does not keep whole, whose reasons are set."""
    fine = pa.types.is_timestamp(target) and target.unit == "ns"
    if fine:
        # Nanoseconds of 64 bits reach from 1677 to 2262.
        far = ~missing & (np.abs(micros) > np.iinfo(np.int64).max // 1_000 - 1)
        values = np.where(far, 0, micros) * 1_000 + nanos
        reasons[far] = _OUTSIDE
    else:
        far, values = ~missing & (nanos != 0), micros
        reasons[far] = _TOO_FINE
    tz = target.tz if pa.types.is_timestamp(target) else None
    times = pa.array(values, mask=missing | far).cast(pa.timestamp("ns" if fine else "us", tz))
    if pa.types.is_time(target):
        times = times.cast(pa.time64("us"))
    result, cut = cast_rows(times, target)
    reasons[cut] = _TOO_FINE
    return result


def _quoted(text: str) -> str:
    return "".join(
        f"\\{character}" if not character.isalnum() and not character.isspace() else character for character in text
    )


def _as_type(values: list[Any], kind: pa.DataType) -> pa.Array:
    given = pa.array(values)
    if pa.types.is_string(given.type) and (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return pa.array([_moment(text, kind) for text in values], kind)
    if pa.types.is_string(kind) and not pa.types.is_string(given.type):
        raise pa.ArrowInvalid("text is compared with text")
    return cast_values(given, kind)


def _moment(text: str, kind: pa.DataType) -> datetime.date:
    """A day or a time in ISO 8601; UTC where the column has a zone and the text has none."""
    try:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise pa.ArrowInvalid(f"{text!r} is not an ISO 8601 time") from None
    if pa.types.is_date(kind):
        return moment.date()
    if moment.tzinfo is None and kind.tz:
        return moment.replace(tzinfo=datetime.UTC)
    if moment.tzinfo is not None and not kind.tz:
        raise pa.ArrowInvalid(f"{text!r} has a zone, and the column has none")
    return moment


def _place(batch: pa.RecordBatch, name: str, setting: str) -> int:
    place = batch.schema.get_field_index(name)
    if place < 0:
        raise HeadwaterError(f"{setting}: there is no column {name!r}; the columns are {', '.join(batch.schema.names)}")
    return place
