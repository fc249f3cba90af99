"""Pages: self-contained HTML from jinja2 templates, every value escaped, no request of any kind."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import math
import re
import threading
import unicodedata
from typing import TYPE_CHECKING, Any

import jinja2
import markupsafe

if TYPE_CHECKING:
    from headwater.components.common.results import Home, Result

_EPOCH = datetime.datetime(1970, 1, 1)
_DAY = 86_400.0
_MICROSECOND = 1e-6
# What a rule of conversion says of the numbers: how a person reads them, and how many seconds or days one is.
_UNITS = [
    ("microseconds since 1970-01-01", "timestamp", _MICROSECOND),
    ("days since 1970-01-01", "date", 1.0),
    ("microseconds since midnight", "time", _MICROSECOND),
    ("INT, microseconds", "duration", _MICROSECOND),
]
_REFERS = re.compile(r'{%-? (?:extends|from|import|include) "([^"]+)"')
_SPANS = [(86_400.0, "days"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")]


def render(package: str, template: str, **context: Any) -> str:
    """Renders a template of a component.

    Args:
      package: import name of the component's package, which has the folder `templates`.
      template: the file's name there. It may extend `base.html`, which has the blocks `title` and `content`.
      **context: the template's variables. Strings are escaped.

    Returns:
      The page.
    """
    return _environment(package).get_template(template).render(**context)


def prepare(package: str, template: str) -> None:
    """Compiles a template and those that it refers to in a thread, so that `render` finds them while others work.

    Args:
      package, template: as `render` takes them.
    """
    threading.Thread(target=_compile, args=(_environment(package), template), daemon=True).start()


def _compile(environment: jinja2.Environment, template: str) -> None:
    environment.get_template(template)
    assert environment.loader is not None
    source, *_ = environment.loader.get_source(environment, template)
    for referred in _REFERS.findall(source):
        _compile(environment, referred)


@functools.cache
def _environment(package: str) -> jinja2.Environment:
    """The templates of a component, each compiled once for the life of the process."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package), jinja2.PackageLoader("headwater.components.common")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = count
    environment.filters["number"] = number
    environment.filters["percent"] = percent
    environment.filters["duration"] = duration
    environment.filters["visible"] = visible
    environment.globals["anchor"] = anchor
    return environment


def count(value: float) -> str:
    """A whole number with its thousands apart: 336,776."""
    return f"{int(value):,}"


def number(value: float) -> str:
    """A number at four significant digits, without an exponent where a person would write none."""
    if value is None or math.isnan(value):
        return "–"
    if value == int(value) and abs(value) < 1e15 if math.isfinite(value) else False:
        return f"{int(value):,}"
    if 1e-3 <= abs(value) < 1e6:
        digits = max(0, 3 - int(math.floor(math.log10(abs(value)))))
        return f"{value:,.{digits}f}"
    return f"{value:.3e}"


def percent(share: float) -> str:
    """A share in a table, to one digit behind the point, as `findings.percent` is for messages; something is not 0 %."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{share * 100:.0f} %" if share in (0, 1) else f"{share * 100:.1f} %"


def reading(value: float, unit: str) -> str:
    """A number as a person reads it.

    Args:
      value: in days or seconds, as the unit says.
      unit: "" for a plain number; "date" for days and "timestamp" for seconds since 1970-01-01; "time" for seconds since
        midnight; "duration" for seconds. A timestamp outside of the years 1 to 9999 is written as a number.
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if unit == "duration":
        return duration(value)
    try:
        if unit == "date":
            return str((_EPOCH + datetime.timedelta(days=value)).date())
        if unit in ("timestamp", "time"):
            moment = _EPOCH + datetime.timedelta(seconds=round(value))
            return f"{moment:%H:%M:%S}" if unit == "time" else f"{moment:%Y-%m-%d %H:%M:%S}".rjust(19, "0")
    except OverflowError:
        pass
    return number(value)


@dataclasses.dataclass(frozen=True)
class Unit:
    """How the numbers of a feature are read.

    Attributes:
      name: as in `reading`.
      size: how many days or seconds one is.
    """

    name: str = ""
    size: float = 1.0

    def read(self, value: float) -> str:
        """A value as a person reads it."""
        return reading(value * self.size, self.name)

    def spread(self, deviation: float) -> str:
        """A standard deviation: of timestamps, a length of time."""
        if not self.name:
            return number(deviation)
        return duration(deviation * self.size * (_DAY if self.name == "date" else 1.0))


def unit_of(rule: str) -> Unit:
    """The unit of numbers that were converted by a rule; a plain number's where it is none of times."""
    return next((Unit(name, size) for phrase, name, size in _UNITS if phrase in rule), Unit())


def anchor(*parts: str) -> str:
    """An id of an element, the same for the same parts and different for different ones, that a link can name as it is."""
    return "-".join(
        re.sub(
            r"[^A-Za-z0-9_]", lambda match: "".join(f".{byte:02x}" for byte in match[0].encode(errors="replace")), part
        )
        for part in parts
    )


def duration(seconds: float) -> str:
    """A length of time in the largest unit of which there are at least two: 36 h, 2.5 days, 90 s."""
    for size, unit in _SPANS:
        if abs(seconds) >= (2 * size if size > 1 else size):
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds)} s"


def visible(text: str, longest: int) -> str:
    """Text that shows what it holds: control characters as their pictures, marks that turn or hide text by number.

    Args:
      text: any.
      longest: characters that are shown at most; what is longer ends with a note of its length.
    """
    whole = len(text)
    text = text[:longest]
    if not text.isprintable():
        text = "".join(map(_picture, text))
    return text if whole <= longest else f"{text}… ({whole:,} characters)"


def embedded(value: Any) -> markupsafe.Markup:
    """JSON that can stand within a script element: no character of it has a meaning in HTML.

    Args:
      value: plain JSON; numbers must be finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return markupsafe.Markup(text)


def _picture(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Co", "Cs", "Cn"):
        return f"[U+{code:04X}]"
    return character


def relative_page(result: Result, here: Home) -> str:
    """The address of a result's page, relative to any page of the same dataset and span, whatever its version.

    Args:
      result: with a home.
      here: that of the page that links.
    """
    assert result.home is not None, "only what lies under a data_root has pages to link to"
    return relative_report(result.home, result.kind, here)


def relative_report(home: Home, kind: str, here: Home) -> str:
    """As `relative_page`, of the page of `kind` at `home`."""
    within = f"version={home.version}/reports/{kind}.html"
    return f"../../{within}" if home.span == here.span else f"../../../span={home.span}/{within}"
