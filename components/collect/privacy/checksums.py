"""Checks of numbers that are given to people: check digits and the rules that a valid number keeps.

Every check takes a matrix of ASCII codes, uint8 of shape (n, length), one number a row with separators taken out and
letters in upper case, and gives n booleans, so that a column full of numbers costs no Python loop.
"""

from __future__ import annotations

import numpy as np

IBAN_LENGTHS = {
    code: int(length)
    for code, length in (
        (part[:2], part[2:])
        for part in [
            "AD24",
            "AE23",
            "AL28",
            "AT20",
            "AZ28",
            "BA20",
            "BE16",
            "BG22",
            "BH22",
            "BI27",
            "BR29",
            "BY28",
            "CH21",
            "CR22",
            "CY28",
            "CZ24",
            "DE22",
            "DJ27",
            "DK18",
            "DO28",
            "EE20",
            "EG29",
            "ES24",
            "FI18",
            "FK18",
            "FO18",
            "FR27",
            "GB22",
            "GE22",
            "GI23",
            "GL18",
            "GR27",
            "GT28",
            "HR21",
            "HU28",
            "IE22",
            "IL23",
            "IQ23",
            "IS26",
            "IT27",
            "JO30",
            "KW30",
            "KZ20",
            "LB28",
            "LC32",
            "LI21",
            "LT20",
            "LU20",
            "LV21",
            "LY25",
            "MC27",
            "MD24",
            "ME22",
            "MK19",
            "MN20",
            "MR27",
            "MT31",
            "MU30",
            "NI28",
            "NL18",
            "NO15",
            "OM23",
            "PK24",
            "PL28",
            "PS29",
            "PT25",
            "QA29",
            "RO24",
            "RS22",
            "RU33",
            "SA24",
            "SC31",
            "SD18",
            "SE24",
            "SI19",
            "SK24",
            "SM27",
            "SO23",
            "ST25",
            "SV28",
            "TL23",
            "TN24",
            "TR26",
            "UA29",
            "VA22",
            "VG24",
            "XK20",
            "YE30",
        ]
    )
}
"""Characters of an IBAN by country, from SWIFT's IBAN registry."""

_CARDS = (
    (13, 13, 400000, 499999),
    (14, 14, 300000, 305999),
    (14, 14, 309500, 309599),
    (14, 14, 360000, 369999),
    (14, 14, 380000, 399999),
    (15, 15, 340000, 349999),
    (15, 15, 370000, 379999),
    (15, 15, 180000, 180099),
    (15, 15, 213100, 213199),
    (16, 16, 220000, 272099),
    (16, 16, 352800, 358999),
    (16, 16, 360000, 369999),
    (16, 16, 400000, 499999),
    (16, 19, 500000, 509999),
    (16, 16, 510000, 559999),
    (16, 19, 560000, 699999),
    (16, 16, 810000, 829999),
    (19, 19, 400000, 499999),
)
"""Digits from and to, first six digits from and to: the issuers' ranges of ISO/IEC 7812 that cards are made with."""

_DNI_LETTERS = np.frombuffer(b"TRWAGMYFPDXBNJZSQVHLCKE", np.uint8)
_NINO_BAD_PREFIXES = np.array(
    [256 * first + second for first, second in (b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ")]
)
_ODD = np.array([1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23])
"""Codice fiscale: the worth of a letter, or of a digit, at the odd places."""

_FIVE = np.arange(5)
_DIHEDRAL = np.block(
    [
        [(_FIVE[:, None] + _FIVE) % 5, 5 + (_FIVE[:, None] + _FIVE) % 5],
        [5 + (_FIVE[:, None] - _FIVE) % 5, (_FIVE[:, None] - _FIVE) % 5],
    ]
)
_PERMUTATION = np.array([1, 5, 7, 6, 2, 8, 3, 0, 9, 4])


def luhn(numbers: np.ndarray) -> np.ndarray:
    """Luhn's check digit (ISO/IEC 7812-1, annex B); (n, length) of digits → n booleans."""
    digits = _digits(numbers)
    doubled = digits[:, -2::-2] * 2
    return (digits[:, -1::-2].sum(1) + (doubled - 9 * (doubled > 9)).sum(1)) % 10 == 0


def verhoeff(numbers: np.ndarray) -> np.ndarray:
    """Verhoeff's check digit over the dihedral group of order ten (Verhoeff, 1969); digits → n booleans."""
    digits = _digits(numbers)[:, ::-1]
    total = np.zeros(len(digits), np.int64)
    permutation = np.arange(10)
    for place in range(digits.shape[1]):
        total = _DIHEDRAL[total, permutation[digits[:, place]]]
        permutation = _PERMUTATION[permutation]
    return total == 0


def card(numbers: np.ndarray) -> np.ndarray:
    """Payment cards: Luhn's check digit and an issuer's range; (n, 13 … 19) of digits → n booleans."""
    known = card_issuers(_digits(numbers[:, :6]) @ 10 ** np.arange(5, -1, -1), numbers.shape[1])
    known[known] = luhn(numbers[known])
    return known


def card_issuers(prefixes: np.ndarray, length: int) -> np.ndarray:
    """Whether an issuer gives numbers of `length` digits that begin with the six digits in `prefixes` (int64)."""
    known = np.zeros(len(prefixes), bool)
    for shortest, longest, low, high in _CARDS:
        if shortest <= length <= longest:
            known |= (low <= prefixes) & (prefixes <= high)
    return known


def iban(numbers: np.ndarray) -> np.ndarray:
    """IBAN (ISO 13616): the remainder modulo 97 is one; (n, length of the country) of letters and digits → booleans."""
    rest = np.zeros(len(numbers), np.int64)
    for column in np.roll(numbers, -4, axis=1).T.astype(np.int64):
        letter = column >= 65
        rest = (rest * np.where(letter, 100, 10) + column - np.where(letter, 55, 48)) % 97
    return rest == 1


def us_ssn(numbers: np.ndarray) -> np.ndarray:
    """US social security numbers, without a check digit: no area 000, 666 or 900 … 999, no group 00, serial 0000."""
    digits = _digits(numbers)
    area = digits[:, :3] @ (100, 10, 1)
    known = (area > 0) & (area != 666) & (area < 900)
    return known & digits[:, 3:5].any(1) & digits[:, 5:].any(1)


def uk_nino(numbers: np.ndarray) -> np.ndarray:
    """UK national insurance numbers by form (HMRC's NIM39110): two letters, six digits, A … D."""
    first, second = numbers[:, 0].astype(np.int64), numbers[:, 1].astype(np.int64)
    known = ~np.isin(first, list(b"DFIQUV")) & ~np.isin(second, list(b"DFIOQUV"))
    known &= ~np.isin(256 * first + second, _NINO_BAD_PREFIXES)
    return known & (numbers[:, -1] >= ord("A")) & (numbers[:, -1] <= ord("D"))


def de_steuer_id(numbers: np.ndarray) -> np.ndarray:
    """German Steuer-ID: ISO 7064 MOD 11,10, and of the first ten digits just one occurs two or three times."""
    digits = _digits(numbers)
    product = np.full(len(digits), 10)
    for place in range(10):
        total = (digits[:, place] + product) % 10
        product = np.where(total == 0, 10, total) * 2 % 11
    known = ((11 - product) % 10 == digits[:, 10]) & (digits[:, 0] > 0)
    times = (digits[:, :10, None] == np.arange(10)).sum(1)
    return known & ((times > 1).sum(1) == 1) & (times.max(1, initial=0) <= 3)


def es_dni(numbers: np.ndarray) -> np.ndarray:
    """Spanish DNI (eight digits and a letter) and NIE (X, Y or Z in place of the first digit)."""
    leading = numbers[:, 0].astype(np.int64)
    foreign = (leading >= ord("X")) & (leading <= ord("Z"))
    first = np.where(foreign, leading - ord("X"), leading - ord("0"))
    worth = first * 10**7 + _digits(numbers[:, 1:8]) @ 10 ** np.arange(6, -1, -1)
    known = (foreign | (leading <= ord("9"))) & (worth >= 0)
    return known & (_DNI_LETTERS[worth % 23] == numbers[:, 8])


def it_codice_fiscale(numbers: np.ndarray) -> np.ndarray:
    """Italian codice fiscale: the last letter is the sum of the others' worths modulo 26; its month and day exist."""
    codes = numbers.astype(np.int64)
    worth = np.where(codes >= 65, codes - 65, codes - 48)
    total = _ODD[worth[:, 0:15:2]].sum(1) + worth[:, 1:15:2].sum(1)
    day = _digits(numbers[:, 9:11]) @ (10, 1) % 40
    known = (total % 26 + 65 == codes[:, 15]) & np.isin(codes[:, 8], list(b"ABCDEHLMPRST"))
    return known & (day >= 1) & (day <= 31)


def fr_nir(numbers: np.ndarray) -> np.ndarray:
    """French NIR: 97 less the first 13 characters modulo 97; Corsica's 2A and 2B count as 19 and 18."""
    body = numbers[:, :13].copy()
    corsican = numbers[:, 6] >= 65
    body[corsican, 5] = ord("1")
    body[corsican, 6] = np.where(numbers[corsican, 6] == ord("A"), ord("9"), ord("8"))
    digits = _digits(body)
    key = 97 - digits @ 10 ** np.arange(12, -1, -1, dtype=np.int64) % 97
    month = digits[:, 3:5] @ (10, 1)
    known = np.isin(digits[:, 0], (1, 2, 3, 4, 7, 8))
    known &= ((month >= 1) & (month <= 12)) | ((month >= 20) & (month <= 42)) | (month >= 50)
    known &= ~corsican | ((numbers[:, 5] == ord("2")) & (numbers[:, 6] <= ord("B")))
    return known & (_digits(numbers[:, 13:]) @ (10, 1) == key)


def nl_bsn(numbers: np.ndarray) -> np.ndarray:
    """Dutch BSN: the sum with the weights 9 … 2 and -1 is divisible by 11."""
    digits = _digits(numbers)
    return (digits @ (9, 8, 7, 6, 5, 4, 3, 2, -1) % 11 == 0) & digits.any(1)


def br_cpf(numbers: np.ndarray) -> np.ndarray:
    """Brazilian CPF: two check digits modulo 11; eleven equal digits are not given out."""
    digits = _digits(numbers)
    known = (digits != digits[:, :1]).any(1)
    for length in (9, 10):
        rest = digits[:, :length] @ np.arange(length + 1, 1, -1) * 10 % 11 % 10
        known &= rest == digits[:, length]
    return known


def in_aadhaar(numbers: np.ndarray) -> np.ndarray:
    """Indian Aadhaar: twelve digits, the first 2 … 9, the last Verhoeff's."""
    return (numbers[:, 0] >= ord("2")) & verhoeff(numbers)


def se_personnummer(numbers: np.ndarray) -> np.ndarray:
    """Swedish personnummer and samordningsnummer (day + 60), with or without century: a date and Luhn's digit."""
    short = numbers[:, -10:]
    digits = _digits(short)
    month, day = digits[:, 2:4] @ (10, 1), digits[:, 4:6] @ (10, 1)
    known = (month >= 1) & (month <= 12) & (day % 60 >= 1) & (day % 60 <= 31) & luhn(short)
    if numbers.shape[1] == 12:
        century = _digits(numbers[:, :2]) @ (10, 1)
        known &= (century >= 18) & (century <= 20)
    return known


def pl_pesel(numbers: np.ndarray) -> np.ndarray:
    """Polish PESEL: a date whose month also tells the century, and a check digit."""
    digits = _digits(numbers)
    month, day = digits[:, 2:4] @ (10, 1) % 20, digits[:, 4:6] @ (10, 1)
    known = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return known & (digits @ (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1) % 10 == 0)


def codes(text: str) -> np.ndarray:
    """One number as these checks take it: uint8 of shape (1, length), separators taken out, letters in upper case."""
    kept = "".join(character for character in text.upper() if character.isascii() and character.isalnum())
    return np.frombuffer(kept.encode(), np.uint8)[None, :]


def _digits(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(np.int64) - 48
