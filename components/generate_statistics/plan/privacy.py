"""Statistics of private columns without their values.

Text becomes a keyed hash where the environment has a key, the same that collect's action `hash` makes, so that values
compare between spans and nobody without the key can try them out. Without a key it falls into `BUCKETS` buckets, too
few to tell one value from many. Numbers are rounded to two significant digits.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pyarrow as pa

from headwater.components.common import machine
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.hashing import hash_values

KEY_VARIABLE = "HEADWATER_PRIVACY_KEY"
"""The environment variable that holds the key of hashes."""

KEY_BYTES = 16
"""The key must have at least so many bytes."""

BUCKETS = 256

_HASH_CHARACTERS = 32
_BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Private:
    """How values are hidden.

    Attributes:
      columns: whose values must not appear, nor those of what they hold.
      keyed: whether text is hashed under the key; else it falls into buckets.
      paths: of a struct among the columns, the paths that are private; with none all of it is.
    """

    columns: frozenset[str] = frozenset()
    keyed: bool = False
    paths: frozenset[tuple[str, ...]] = frozenset()

    def of(self, path: tuple[str, ...]) -> bool:
        """Whether a feature's values must not appear."""
        if path[0] not in self.columns:
            return False
        own = self.of_struct(path[0])
        return not own or any(path[: len(each)] == each for each in own)

    def of_struct(self, column: str) -> list[tuple[str, ...]]:
        """The private paths of a column, in order; none where all of it is private."""
        return sorted(path for path in self.paths if path[0] == column)

    def rule(self, kind: str) -> str:
        """What was done, in words; `kind` is "text" or "number"."""
        if kind == "number":
            return "numbers rounded to two significant digits"
        return "values under a keyed hash" if self.keyed else f"values in {BUCKETS} buckets by hash"

    def hide(self, values: pa.Array) -> pa.Array:
        """What stands for each value; values may meet in one bucket.

        Args:
          values: large_binary without missing ones.

        Returns:
          large_binary.
        """
        if self.keyed:
            return _keyed(values, _key())
        buckets = pa.array([f"bucket-{number:03d}".encode() for number in range(BUCKETS)], pa.large_binary())
        # Bits that the least hashes, by which distinct values are counted, do not tell.
        return buckets.take(pa.array((hash_values(values) % BUCKETS).astype(np.int64)))

    @staticmethod
    def coarse(values: np.ndarray) -> np.ndarray:
        """Numbers to two significant digits."""
        with np.errstate(all="ignore"):
            power = np.floor(np.log10(np.abs(values))) - 1
            unit = 10.0 ** np.clip(power, -300, 300)
            rounded = np.round(values / unit) * unit
        return np.where(np.isfinite(rounded) & (values != 0), rounded, values)


def is_keyed() -> bool:
    """Whether the environment has a key.

    Raises:
      HeadwaterError: it has one that is too short.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    if key and len(_key()) < KEY_BYTES:
        raise HeadwaterError(f"{KEY_VARIABLE}: the key of hashes must have at least {KEY_BYTES} bytes")
    return bool(key)


def _key() -> bytes:
    return os.environ[KEY_VARIABLE].encode("utf-8", "surrogateescape")


def _keyed(values: pa.Array, key: bytes) -> pa.Array:
    """HMAC-SHA-256 (RFC 2104) of each value, its first half in hexadecimal."""
    import hashlib

    import duckdb

    key = hashlib.sha256(key).digest() if len(key) > _BLOCK else key
    inner, outer = (bytes(byte ^ pad for byte in key.ljust(_BLOCK, b"\0")) for pad in (0x36, 0x5C))
    # DuckDB hashes whole columns; a call a value would cost a Python loop over every distinct value.
    with duckdb.connect(config={"threads": 1, "memory_limit": machine.duckdb_limit()}) as connection:
        connection.register("given", pa.table({"value": values.cast(pa.binary())}))
        hashed = connection.execute(
            "SELECT sha256($outer || unhex(sha256($inner || value)))[1:$characters]::BLOB AS value FROM given",
            {"inner": inner, "outer": outer, "characters": _HASH_CHARACTERS},
        ).fetch_arrow_table()["value"]
    return pa.concat_arrays([chunk.cast(pa.large_binary()) for chunk in hashed.chunks] or [values.slice(0, 0)])
