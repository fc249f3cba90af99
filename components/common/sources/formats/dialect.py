"""The dialect of a CSV file: what separates, quotes and escapes its values, and where its records begin."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyarrow import csv as pacsv

if TYPE_CHECKING:
    import _csv

DELIMITERS = (",", ";", "\t", "|")
"""The delimiters that are looked for, those seen most often first."""

_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar", " ": "a space"}


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How one CSV file is written; the defaults are those of RFC 4180.

    Attributes:
      delimiter: one character between the values.
      quote: one character around values that hold delimiters or line ends; empty for none.
      escape: one character that makes the next one part of the value; empty for none. A doubled quote is always one.
      comment: one character that begins lines which are no records; empty for none.
      skip_rows: how many lines stand before the header, or before the first record where there is no header.
      header: whether a record before the others names the columns.
      decimal: the character before the fraction of a number.
      thousands: the character between groups of three digits of a number; empty for none.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    comment: str = ""
    skip_rows: int = 0
    header: bool = True
    decimal: str = "."
    thousands: str = ""

    def parse_options(self, **options: Any) -> pacsv.ParseOptions:
        """pyarrow's options for values as they are separated, quoted and escaped here."""
        return pacsv.ParseOptions(
            delimiter=self.delimiter,
            quote_char=self.quote or False,
            double_quote=bool(self.quote),
            escape_char=self.escape or False,
            newlines_in_values=True,
            **options,
        )

    def read_lines(self, lines: Iterable[str]) -> _csv.Reader:
        """Python's reader of such values, for few lines; its `line_num` counts those that it has read."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar=self.escape or None,
        )

    def plain(self) -> Dialect:
        """The dialect of the same values once they are written with RFC 4180's quotes."""
        return dataclasses.replace(self, quote='"', escape="")

    def changes(self) -> dict[str, str | int | bool]:
        """What differs from the defaults, by field."""
        if self == RFC_4180:
            return {}
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }


RFC_4180 = Dialect()


def name_character(character: str) -> str:
    """A delimiter, quote or escape for a sentence: its name and itself."""
    return f"{_NAMES[character]} ({character!r})" if character in _NAMES else repr(character)
