"""Hashes of values and rows: vectorised, and the same on every machine, library version and run.

They are part of the data contract: a row's split, its `_row_id` and a shard's digest are made of them, so a change
here is a change of the format. They find differences that arise by accident; against an attacker stand the SHA-256s.

Numbers hash by value (5, 5.0 and an int8 of 5 alike; -0.0 as 0; every NaN as one), text and bytes by their bytes,
missing as a value of its own, nested values by their parts and positions.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_MISSING = np.uint64(0x9E3779B97F4A7C15)
_STEP = np.uint64(0xD1B54A32D192ED03)
_TEXT = np.uint64(0x8CB92BA72F3D8DD7)
_REAL = np.uint64(0xABC98388FB8FAC03)
_NEST = np.uint64(0x49858ABB2D3A1C7F)
_MANY = 4096
_PROBE = 1024
# So many byte strings are hashed at once that what is computed of them stays in a core's cache.
_BLOCK = 32_768
_FEW = 16


def mix(values: np.ndarray) -> np.ndarray:
    """Spreads 64-bit values over all 64 bits, one to one (the finaliser of SplitMix64, Steele et al., 2014)."""
    return _mixed(values.astype(np.uint64, copy=True))


def _mixed(values: np.ndarray) -> np.ndarray:
    """`mix` of uint64 that nobody else needs: in place."""
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= np.right_shift(values, np.uint64(27), out=shifted)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= np.right_shift(values, np.uint64(31), out=shifted)
    return values


def hash_rows(columns: Sequence[pa.Array]) -> np.ndarray:
    """A 64-bit hash of each row over `columns`, which are of one length; their order counts, their names do not.

    Returns:
      uint64, one a row.
    """
    total = np.zeros(len(columns[0]), np.uint64)
    for position, column in enumerate(columns):
        total += np.uint64(position * int(_STEP) % 2**64)
        total += hash_values(column)
        _mixed(total)
    return total


def hash_values(array: pa.Array) -> np.ndarray:
    """A 64-bit hash of each value of an array of any Arrow type.

    Returns:
      uint64, one a value.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return hash_values(array.storage)
    if pa.types.is_null(kind):
        return np.full(len(array), _MISSING)
    if pa.types.is_dictionary(kind):
        # Appending a missing value gives missing indices a place to point to.
        known = np.append(_hash_present(array.dictionary), _MISSING)
        known[:-1][_numpy(pc.is_null(array.dictionary))] = _MISSING
        return known[_numpy(pc.fill_null(array.indices.cast(pa.int64()), len(array.dictionary)))]
    if (pa.types.is_string(kind) or pa.types.is_binary(kind)) and repeats(array):
        return hash_values(array.dictionary_encode())
    hashes = _hash_present(array)
    if array.null_count:
        np.copyto(hashes, _MISSING, where=_numpy(pc.is_null(array)))
    return hashes


def repeats(array: pa.Array) -> bool:
    """Whether an array's values look as if they repeat, so that a dictionary costs less than looking at each."""
    if len(array) < _MANY:
        return False
    return len(pc.unique(array.slice(len(array) // 2, _PROBE))) <= _PROBE // 2


def second_hash(columns: Sequence[pa.Array]) -> np.ndarray:
    """A hash of each row that is independent of `hash_rows`, for telling equal rows from equal hashes.

    Returns:
      uint64, one a row.
    """
    total = np.full(len(columns[0]), _NEST)
    for column in columns:
        total = mix(total ^ _hash_again(column))
    return total


def digest(row_hashes: np.ndarray) -> int:
    """A 128-bit digest of a set of rows that does not depend on their order: add digests modulo 2**128 to join sets."""
    low = int(np.add.reduce(row_hashes, dtype=np.uint64)) if len(row_hashes) else 0
    high = int(np.add.reduce(mix(row_hashes ^ _NEST), dtype=np.uint64)) if len(row_hashes) else 0
    return high << 64 | low


def add_digests(digests: Sequence[int]) -> int:
    """The digest of all the rows that `digests` stand for."""
    high = sum(value >> 64 for value in digests) % 2**64
    low = sum(value % 2**64 for value in digests) % 2**64
    return high << 64 | low


def row_ids(fingerprint: str | Sequence[str], positions: np.ndarray, of: np.ndarray | None = None) -> pa.Array:
    """128-bit identifiers of a source's records.

    Args:
      fingerprint: the source's SHA-256, in hexadecimal; or those of several.
      positions: the records' numbers in the source, int64.
      of: which of the sources each is of.

    Returns:
      fixed_size_binary[16]; no two of one source are equal.
    """
    told = [fingerprint] if isinstance(fingerprint, str) else fingerprint
    halves = np.array([[int(each[:16], 16), int(each[16:32], 16)] for each in told], np.uint64)
    own = halves[0] if of is None else halves[of].T
    high = mix(positions.astype(np.uint64) + own[0])
    low = mix(positions.astype(np.uint64) ^ own[1])
    data = np.stack([high, low], axis=1).astype(">u8").tobytes()
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(positions), [None, pa.py_buffer(data)])


def shares(hashes: np.ndarray) -> np.ndarray:
    """Each hash as a number in [0, 1), uniform over hashes."""
    return (mix(hashes) >> np.uint64(11)).astype(np.float64) / 2.0**53


def _hash_present(array: pa.Array) -> np.ndarray:
    kind = array.type
    if pa.types.is_boolean(kind):
        return _hash_integers(_numpy(pc.fill_null(array, False)))
    if pa.types.is_float16(kind):
        raw = np.frombuffer(array.buffers()[1], np.float16, len(array) + array.offset)
        return _hash_reals(raw[array.offset :].astype(np.float64))
    if pa.types.is_integer(kind):
        return _hash_integers(_numpy(pc.fill_null(array, 0)))
    if pa.types.is_floating(kind):
        # Any value for the missing that is not whole, as most reals.
        return _hash_reals(_numpy(pc.fill_null(array, 0.5)).astype(np.float64, copy=False))
    if pa.types.is_temporal(kind):
        width = np.int32 if kind.bit_width == 32 else np.int64
        raw = np.frombuffer(array.buffers()[1], width, len(array) + array.offset)
        return _hash_integers(raw[array.offset :])
    if (
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
    ):
        offsets = _offsets(array, np.int64 if "large" in str(kind) else np.int32)
        return _hash_bytes(array.buffers()[2], offsets)
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_decimal(kind):
        width = kind.byte_width
        offsets = (np.arange(len(array) + 1, dtype=np.int64) + array.offset) * width
        return _hash_bytes(array.buffers()[1], offsets)
    if pa.types.is_struct(kind):
        return hash_rows(array.flatten()) if kind.num_fields else np.full(len(array), _NEST)
    if pa.types.is_fixed_size_list(kind):
        offsets = (np.arange(len(array) + 1, dtype=np.int64) + array.offset) * kind.list_size
        return _hash_lists(hash_values(array.values), offsets)
    if pa.types.is_map(kind):
        entries = hash_rows([array.keys, array.items])
        return _hash_lists(entries, _offsets(array, np.int32))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        offsets = _offsets(array, np.int64 if pa.types.is_large_list(kind) else np.int32)
        return _hash_lists(hash_values(array.values), offsets)
    raise TypeError(f"no hash is defined for the Arrow type {kind}")


def _hash_again(array: pa.Array) -> np.ndarray:
    # Numbers of 64 bits are hashed one to one, so only bytes need to be looked at in another way: from their ends.
    kind = array.type
    if not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        return mix(hash_values(array) ^ _REAL)
    offsets = _offsets(array, np.int32)
    lengths = np.diff(offsets)
    content = array.buffers()[2] or b""
    # A polynomial over the bytes modulo 2**64, from prefix sums of bytes times powers of an odd number.
    used = np.frombuffer(content, np.uint8)[offsets[0] : offsets[-1]].astype(np.uint64) + np.uint64(1)
    powers = _powers(len(used))
    sums = np.concatenate([[np.uint64(0)], np.cumsum(used * powers, dtype=np.uint64)])
    begin, end = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    # Divided by the power at its start, so that a text hashes alike wherever it stands.
    inverse = pow(int(_STEP), -1, 1 << 64)
    unshift = _powers(int(begin.max()) + 1, inverse)[begin]
    # The length is mixed before it joins: bytes are counted from one, so "\0" would undo its own length.
    hashes = mix((sums[end] - sums[begin]) * unshift ^ mix(lengths.astype(np.uint64)))
    hashes[_numpy(pc.is_null(array))] = _MISSING
    return hashes


def _powers(count: int, base: int = int(_STEP)) -> np.ndarray:
    factors = np.full(count, np.uint64(base))
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _numpy(array: pa.Array) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False)


def _offsets(array: pa.Array, width: type[np.generic]) -> np.ndarray:
    raw = np.frombuffer(array.buffers()[1], width, len(array) + 1 + array.offset)
    return raw[array.offset :].astype(np.int64)


def _hash_integers(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.uint64:
        return _mixed(values.astype(np.int64).view(np.uint64))
    return mix(values)


def _hash_reals(values: np.ndarray) -> np.ndarray:
    # NaN equals nothing.
    odd = values != values
    if odd.any():
        values = np.where(odd, np.nan, values)
    hashes = _mixed(values.view(np.uint64) ^ _REAL)
    whole = np.trunc(values) == values
    if whole.any():
        whole &= np.abs(values) < 2.0**63
        hashes[whole] = _hash_integers(values[whole].astype(np.int64))
    return hashes


def _hash_bytes(buffer: pa.Buffer | None, offsets: np.ndarray) -> np.ndarray:
    """Hashes byte strings eight bytes at a time: each word is mixed with its place, then the words are added.

    All strings' first words at once, which are most strings' only ones; then all second words, and so on, the longest
    strings first, so that those that still have words stand together.
    """
    if len(offsets) > _BLOCK + 1:
        starts = range(0, len(offsets) - 1, _BLOCK)
        return np.concatenate([_hash_bytes(buffer, offsets[start : start + _BLOCK + 1]) for start in starts])
    lengths = np.diff(offsets)
    hashes = _mixed(lengths.astype(np.uint64) ^ _TEXT)
    if buffer is None or not lengths.any():
        return _mixed(hashes)
    base, end = int(offsets[0]), int(offsets[-1])
    padded = np.zeros(end - base + 8, np.uint8)
    padded[: end - base] = np.frombuffer(buffer, np.uint8, end - base, base)
    view: np.ndarray = np.ndarray(shape=(end - base + 1,), dtype="<u8", buffer=padded.data, strides=(1,))
    begin = offsets[:-1] - base
    having = _where(lengths > 0)
    hashes[having] += _mixed(_own_bytes(view[begin[having]], lengths[having]) + _place(0))
    having = _where(lengths > 8)
    words = (lengths[having] + 7) // 8
    if not len(words):
        return _mixed(hashes)
    if (words != words[0]).any():
        # Small numbers are sorted by their digits.
        order = np.argsort(-(words.astype(np.int16) if words.max() < 2**15 else words), kind="stable")
        words, having = words[order], order if isinstance(having, slice) else having[order]
    start, length, total = begin[having], lengths[having], hashes[having]
    place, count = 1, len(words)
    while count >= _FEW:
        value = view[start[:count] + 8 * place]
        further = int(np.count_nonzero(words[:count] > place + 1))
        _own_bytes(value[further:], length[further:count] - 8 * place)
        value += _place(place)
        total[:count] += _mixed(value)
        place, count = place + 1, further
    for row in np.flatnonzero(words > place):
        # The few that are much longer than the others, each by itself.
        places = np.arange(place, words[row])
        value = _own_bytes(view[start[row] + 8 * places], length[row] - 8 * places)
        total[row : row + 1] += np.add.reduce(_mixed(value + _places(places)), dtype=np.uint64)
    hashes[having] = total
    return _mixed(hashes)


def _where(mask: np.ndarray) -> Any:
    """What selects the places of a mask; all of them without a copy."""
    return slice(None) if mask.all() else np.flatnonzero(mask)


def _places(numbers: np.ndarray) -> np.ndarray:
    """What words of these places are mixed with."""
    return _mixed(numbers.astype(np.uint64) + _TEXT)


@functools.lru_cache(maxsize=256)
def _place(number: int) -> np.uint64:
    """What words of one place are mixed with."""
    return _places(np.array([number]))[0]


# The bytes of a word that are a string's own, by how many are left of it, up to 8.
_OWN = np.array([0, *((1 << 8 * left) - 1 for left in range(1, 9))], np.uint64)


def _own_bytes(words: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Cuts off the bytes of the next string from words in place, where fewer than eight are `left`."""
    words &= _OWN[np.minimum(left, 8)]
    return words


def _hash_lists(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    lengths = np.diff(offsets)
    values = values[offsets[0] : offsets[-1]]
    owner = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(values), dtype=np.int64) - (offsets[:-1] - offsets[0])[owner]
    mixed = mix(values + mix(place.astype(np.uint64) + _NEST))
    sums = np.concatenate([[np.uint64(0)], np.cumsum(mixed, dtype=np.uint64)])
    return mix(
        sums[offsets[1:] - offsets[0]] - sums[offsets[:-1] - offsets[0]] + mix(lengths.astype(np.uint64) ^ _NEST)
    )
