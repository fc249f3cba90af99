"""Names of classes, and classes as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from headwater.components.common.arrow_types import is_text
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import decoded, value_type


def as_text(given: Any) -> Any:
    """The digits of an integer: a class that is a number in Snorkel or scikit-learn is written as one in YAML."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


AsText = Annotated[str, pydantic.BeforeValidator(as_text)]
"""A value where settings name one; an integer is its digits."""

ClassName = Annotated[AsText, pydantic.Field(min_length=1)]
"""A class where settings name one."""

ABSTAIN = -1
OUTSIDE = -2

_SHARE = 1e-6


def check_balance(where: str, balance: Mapping[str, float], classes: Sequence[str]) -> None:
    """Refuses shares that are not those of the classes.

    Raises:
      HeadwaterError: a class has no share, or they do not sum to 1.
    """
    if sorted(balance) != sorted(classes):
        raise HeadwaterError(f"{where}: must give the share of each class; the classes are {', '.join(classes)}")
    if min(balance.values()) <= 0 or abs(sum(balance.values()) - 1) > _SHARE:
        raise HeadwaterError(f"{where}: shares must be above 0 and sum to 1; given: {balance}")


def check_kind(where: str, name: str, kind: pa.DataType) -> None:
    """Holds the type of a column that tells classes against what `numbers` reads.

    Args:
      where: the setting that names the column, for errors.
      name: the column's.
      kind: its type.

    Raises:
      HeadwaterError: values of the type are no names of classes.
    """
    own = value_type(kind)
    text = is_text(own)
    # Integers with missing values come as floats from pandas, and a column that is empty everywhere as null.
    is_number = pa.types.is_integer(own) or pa.types.is_float32(own) or pa.types.is_float64(own)
    if not (text or is_number or pa.types.is_boolean(own) or pa.types.is_null(own)):
        raise HeadwaterError(
            f"{where}: column {name!r} is {kind}, which cannot hold classes; give text, integers, booleans or a "
            "dictionary of text"
        )


def numbers(values: pa.Array, classes: Sequence[str]) -> np.ndarray:
    """The number of each value's class, int8: `ABSTAIN` where the value is missing, `OUTSIDE` where it is no class."""
    values = decoded(values)
    texts = values if pa.types.is_string(values.type) else values.cast(pa.string())
    codes = pc.fill_null(pc.index_in(texts, value_set=pa.array(list(classes), pa.string())), OUTSIDE)
    numbered = codes.to_numpy(zero_copy_only=False).astype(np.int8)
    numbered[texts.is_null().to_numpy(zero_copy_only=False)] = ABSTAIN
    return numbered


def words(codes: np.ndarray, names: Sequence[str]) -> pa.Array:
    """Names by their numbers, a string array; missing where a number is negative."""
    indices = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string())).cast(pa.string())


def disagree(turned: np.ndarray) -> np.ndarray:
    """Whether sources vote for different classes, bool, one a row.

    Args:
      turned: votes, int8, [sources, rows]: few and long rows are what numpy is quick with.
    """
    # As unsigned bytes `ABSTAIN` is the greatest.
    least = turned.view(np.uint8).min(0, initial=255)
    return turned.max(0, initial=ABSTAIN) > least.view(np.int8)


def coded(classes: Sequence[str]) -> str:
    """SQL that makes the number of a class, a TINYINT, of a value, which stands as `{0}`: `ABSTAIN` of NULL, `OUTSIDE`
    of no class."""
    cases = " ".join(f"WHEN {quoted(name)} THEN {number}::TINYINT" for number, name in enumerate(classes))
    return (
        f"CASE CAST(({{0}}) AS VARCHAR) {cases.replace('{', '{{').replace('}', '}}')} "
        f"ELSE CASE WHEN ({{0}}) IS NULL THEN ({ABSTAIN})::TINYINT ELSE ({OUTSIDE})::TINYINT END END"
    )


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
