"""Users' own statistics: functions over a record batch that give numbers for features.

A function takes a `pyarrow.RecordBatch` and returns a mapping from feature to a mapping from statistic to number:

    def share_of_capitals(batch):
        return {"name": {"capitals": pc.sum(pc.utf8_is_upper(batch["name"])).as_py()}}

Batches are of any size, so what a function gives must add up, or be a least or a greatest, over them.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping, Sequence

import pyarrow as pa

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.user_code import find_function


@dataclasses.dataclass(frozen=True)
class Custom:
    """A user's statistic.

    Attributes:
      function: `package.module:function`.
      merge: how numbers of several batches become one: "sum", "min" or "max".
    """

    function: str
    merge: str = "sum"


def run_custom(wanted: Sequence[Custom], batch: pa.RecordBatch) -> dict[tuple[str, str], tuple[str, float]]:
    """What the functions give for one batch, by feature and statistic, with how it merges.

    Raises:
      HeadwaterError: a function fails, or gives something else than numbers by feature and name.
    """
    result: dict[tuple[str, str], tuple[str, float]] = {}
    if not batch.num_rows:
        return result
    for custom in wanted:
        try:
            given = find_function("custom_statistics", custom.function)(batch)
        except HeadwaterError:
            raise
        except Exception as error:
            # The message of a user's function may quote a row.
            raise HeadwaterError(f"custom_statistics: {custom.function} failed with {type(error).__name__}") from None
        if not isinstance(given, Mapping) or not all(isinstance(value, Mapping) for value in given.values()):
            raise HeadwaterError(
                f"custom_statistics: {custom.function} must give {{feature: {{statistic: number}}}}, not "
                f"{type(given).__name__}"
            )
        for feature, values in given.items():
            if feature not in batch.schema.names:
                raise HeadwaterError(
                    f"custom_statistics: {custom.function} returned statistics for {feature!r}, but there is no such "
                    "column"
                )
            for name, value in values.items():
                if not isinstance(value, numbers.Real):
                    raise HeadwaterError(
                        f"custom_statistics: {custom.function}: {feature}.{name} must be a number, not "
                        f"{type(value).__name__}"
                    )
                result[feature, str(name)] = (custom.merge, float(value))
    return dict(sorted(result.items()))
