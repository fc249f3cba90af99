"""Takes personal data out of the few values that are shown because they were rejected, value by value."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from headwater.components.collect.privacy import checksums
from headwater.components.collect.privacy.forms import LATITUDE, LONGITUDE, WIDE


def scrub(text: str) -> str:
    """A short text with every piece of personal data replaced by its kind in brackets, as in "[email]".

    For values that are shown because they were refused, also cut in the middle or a whole broken record: what might be
    part of an address or a long number goes, so that a harmless number of seven digits becomes "[number]". Dates, times
    and decimal numbers stay. Names of people cannot be distinguished from other words, and stay.

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


_SCRUB_COORDINATES_ALONE = re.compile(
    rf"^\W*{LATITUDE}\.[0-9]+\s*[,;]\s*{LONGITUDE}\.[0-9]*\W*$".replace(r"\W", r"[ (\[\])]")
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
    cut = match.end() == len(match.string) and max(parts) >= WIDE
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
