"""TFDV's descriptions of anomalies, said as people would."""

from __future__ import annotations

import re

from headwater.components.common.findings import percent

_UNKNOWN = re.compile(r"Examples contain values missing from the schema: (.*?)\.?\s*", re.S)
_SHARE = re.compile(r"(?<=\d)%\)")
_FRACTION = re.compile(r".*minimum fraction = ([0-9.]+), actual = ([0-9.]+)\.?\s*", re.S)
_NEW = "New column (column in data but not in schema)"
_TYPE = re.compile(r"Expected data of type: (\w+) but got (\w+)\.?\s*")


def in_words(kind: str, title: str, description: str) -> str:
    """What TFDV says of an anomaly, in a sentence.

    Args:
      kind: name of the anomaly's type.
      title: TFDV's short description.
      description: TFDV's description.

    Returns:
      The sentence; TFDV's own, after its title, for kinds that are clear as they are.
    """
    if kind == "ENUM_TYPE_UNEXPECTED_STRING_VALUES" and (match := _UNKNOWN.fullmatch(description)):
        return f"values that are not in the schema: {_SHARE.sub(' %)', match[1])}"
    if kind == "FEATURE_TYPE_LOW_FRACTION_PRESENT" and (match := _FRACTION.fullmatch(description)):
        needed = float(match[1])
        least = "every row" if needed == 1 else f"{percent(needed)} of the rows at least"
        return f"missing in {percent(1 - float(match[2]))} of the rows, where the schema asks for a value in {least}"
    if kind == "UNEXPECTED_DATA_TYPE" and (match := _TYPE.fullmatch(description)):
        return f"the values are {match[2]}, but the schema has {match[1]}"
    if kind == "INVALID_FEATURE_SHAPE":
        return "the schema fixes how many values a row has, but values are missing or lists vary in length"
    if kind == "SCHEMA_NEW_COLUMN" and description == _NEW:
        return "a new column: the schema does not have it"
    return f"{title}: {description}"
