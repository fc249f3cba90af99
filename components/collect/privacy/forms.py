"""The forms that personal data has in text: RE2 patterns, classes of bytes, and templates of numbers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from headwater.components.collect.privacy import checksums

WIDE = 32

_BEFORE = r"(?:^|[^0-9A-Za-z_.+@#$/\\%&-])"
_AFTER = r"(?:$|[^0-9A-Za-z_.@%/+-]|[./+-](?:$|[^0-9A-Za-z]))"
EMAIL = r"[\pL\pN._%+'-]*[\pL\pN_%+-]@[\pL\pN](?:[\pL\pN-]*[\pL\pN])?(?:\.[\pL\pN-]+)*\.\pL{2,}"
NO_EMAIL = r"(?:^|[^\pL\pN._-])git@|@[0-9]x\."
PHONE = (
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
IPV6_TEXT = rf"(?:^|[^0-9A-Za-z_:.])(?:{_IPV6})(?:$|[^0-9A-Za-z_:.]|\.(?:$|[^0-9A-Za-z]))"
LATITUDE, LONGITUDE = r"[-+]?(?:[0-8]?[0-9]|90)", r"[-+]?(?:1[0-7][0-9]|180|[0-9]{1,2})"
COORDINATES = rf"^[ (\[]*{LATITUDE}\.[0-9]{{%d,}} ?[,;] ?{LONGITUDE}\.[0-9]{{%d,}}[ )\]]*$"

CODES = {"card": "^[0-9A-Za-z]{13,19}$", "iban": "^[0-9A-Za-z]{15,34}$"}

DIGIT, LETTER, GAP, HEXADECIMAL, BLOCKS_BEFORE, BLOCKS_AFTER, JOINS_AFTER = (1 << bit for bit in range(7))


def _classes() -> np.ndarray:
    classes = np.zeros(256, np.uint8)
    letters, digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", b"0123456789"
    for flag, members in (
        (DIGIT, digits),
        (LETTER, letters),
        (GAP, b" -"),
        (HEXADECIMAL, digits + b"abcdefABCDEF"),
        (BLOCKS_BEFORE, letters + digits + b"_.+@#$/\\%&-"),
        (BLOCKS_AFTER, letters + digits + b"_@%"),
        (JOINS_AFTER, b".+/-"),
    ):
        classes[list(members)] |= flag
    return classes


CLASSES = _classes()
DOTTED = np.frombuffer(b"._-", np.uint8)
PHONE_GAPS = np.isin(np.arange(256), list(b" .()/-"))
UPPER = np.array([code - 32 if 97 <= code <= 122 else code for code in range(256)], np.uint8)
IBAN_SIZES = np.zeros(1 << 16, np.int64)
for _country, _size in checksums.IBAN_LENGTHS.items():
    IBAN_SIZES[int.from_bytes(_country.encode(), "big")] = _size


@dataclasses.dataclass(frozen=True)
class NumberTemplate:
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

    @functools.cached_property
    def first_digits(self) -> tuple[int, int]:
        """Where its first run of digits begins, and how long that is."""
        first = self.form.index("d")
        return first, len(self.form) - first - len(self.form[first:].lstrip("d"))


def _templates() -> tuple[NumberTemplate, ...]:
    made = [NumberTemplate("card", "d" * length, checksums.card, alone=False) for length in range(13, 20)]
    made += [
        NumberTemplate("card", form.replace(" ", "s"), checksums.card, alone=False)
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
        made.append(NumberTemplate(kind, "d" * length, getattr(checksums, kind), bare=True))
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
        made.append(NumberTemplate(kind, form, getattr(checksums, kind)))
    return tuple(made)


TEMPLATES = _templates()
