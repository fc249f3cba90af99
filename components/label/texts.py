"""Text as points: hashed words and pairs of them; or words and their pieces, weighed by how rare they are and projected to few
dimensions.

The projection is random and the same everywhere: a sign by n-gram and dimension, from a hash. Two texts are as far apart as
their n-grams differ, give or take what so few dimensions can hold.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing

_LENGTH = 4.0
_BUCKETS = 1 << 15
_PIECES = (3, 4, 5)
_LONGEST = 4_096
_BYTES = 1 << 20
_WORD = np.uint64(0x9E3779B97F4A7C15)
_FACTOR = np.uint64(0xD1B54A32D192ED03)


def words(texts: pa.Array, width: int) -> np.ndarray:
    """Words and pairs of them, each in the dimension and with the sign that its hash tells.

    Args:
      texts: strings, none missing.
      width: how many dimensions.

    Returns:
      float64, [texts, width]: all of one length, or 0 where a text has no word.
    """
    lists = pc.utf8_split_whitespace(pc.utf8_lower(texts))
    offsets = lists.offsets.to_numpy().astype(np.int64)
    tokens = lists.flatten()
    if not len(tokens):
        return np.zeros((len(texts), width))
    hashes = hashing.hash_values(tokens)
    rows = np.repeat(np.arange(len(lists)), np.diff(offsets))
    same = np.flatnonzero(rows[1:] == rows[:-1])
    pairs = hashing.mix(hashes[same] + hashing.mix(hashes[same + 1]))
    every, of = np.concatenate([hashes, pairs]), np.concatenate([rows, rows[same]])
    blank = pc.equal(tokens, "").to_numpy(zero_copy_only=False)
    weights = np.where(every >> np.uint64(63), 1.0, -1.0)
    weights[: len(tokens)][blank] = 0
    places = of * width + (every % np.uint64(width)).astype(np.int64)
    sums = np.bincount(places, weights, minlength=len(lists) * width).reshape(len(lists), width)
    lengths = np.sqrt((sums**2).sum(1, keepdims=True))
    return sums * (_LENGTH / np.where(lengths > 0, lengths, 1))


def rarity(texts: pa.Array) -> np.ndarray:
    """How much each bucket of n-grams counts, float32: the less, the more of a sample's texts have it."""
    having = np.zeros(_BUCKETS)
    for part in _slices(texts):
        rows, buckets = _counted(part)[:2]
        having += np.bincount(buckets, minlength=_BUCKETS)
    return (np.log((1 + len(texts)) / (1 + having)) + 1).astype(np.float32)


def project(texts: pa.Array, weights: np.ndarray, width: int) -> np.ndarray:
    """The points of texts, float32, [texts, width]: of length 1, or 0 where a text has no word.

    Args:
      texts: strings, none missing; of each the first 4,096 characters count.
      weights: from `rarity`.
      width: how many dimensions.
    """
    import scipy.sparse

    table = signs(np.arange(_BUCKETS, dtype=np.uint64), width)
    made = np.zeros((len(texts), width), np.float32)
    start = 0
    for part in _slices(texts):
        rows, buckets, counts = _counted(part)
        heavy = (1 + np.log(counts)).astype(np.float32) * weights[buckets]
        counted = scipy.sparse.csr_matrix((heavy, (rows, buckets)), (len(part), _BUCKETS))
        made[start : start + len(part)] = counted @ table
        start += len(part)
    lengths = np.sqrt((made**2).sum(1, keepdims=True))
    return made / np.where(lengths > 0, lengths, 1)


def signs(hashes: np.ndarray, width: int) -> np.ndarray:
    """A direction for each hash, float32, [hashes, width]: of length 1, and nearly at right angles to the others."""
    words = -(-width // 64)
    steps = np.arange(1, words + 1, dtype=np.uint64) * _WORD
    own = np.stack([hashing.mix(hashes + step) for step in steps], 1)
    bits = np.unpackbits(own.astype("<u8").view(np.uint8).reshape(len(hashes), -1), axis=1, bitorder="little")
    return (bits[:, :width].astype(np.float32) * 2 - 1) / np.float32(np.sqrt(width))


def _slices(texts: pa.Array) -> Iterator[pa.Array]:
    """Lower case, and so few at a time that their n-grams take little memory."""
    cut = pc.utf8_lower(pc.utf8_slice_codeunits(texts, 0, _LONGEST))
    ends = np.cumsum(pc.binary_length(cut).to_numpy(zero_copy_only=False).astype(np.int64))
    start = 0
    while start < len(cut):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _BYTES, "right")))
        yield cut.slice(start, stop - start)
        start = stop


def _counted(texts: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The n-grams of texts: row and bucket, each pair once, and how often."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1 + texts.offset)[texts.offset :].astype(
        np.int64
    )
    base, content = int(offsets[0]), texts.buffers()[2]
    size = int(offsets[-1]) - base
    raw = np.frombuffer(content, np.uint8, size, base) if size else np.zeros(0, np.uint8)
    owners = np.repeat(np.arange(len(texts)), np.diff(offsets))
    # Bytes beyond ASCII are parts of letters.
    letter = ((raw >= 97) & (raw <= 122)) | ((raw >= 48) & (raw <= 57)) | (raw >= 128)
    first = np.ones(len(raw), bool)
    first[1:] = (owners[1:] != owners[:-1]) | ~letter[:-1]
    starts = np.flatnonzero(letter & first)
    if not len(starts):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing
    word = np.cumsum(letter & first) - 1
    values = hashing.mix(np.arange(256, dtype=np.uint64))[raw]
    lengths = np.bincount(word[letter], minlength=len(starts))
    hashes = [hashing.mix(_words(values, starts, lengths) + _WORD)]
    rows = [owners[starts]]
    for length in _PIECES:
        # A piece lies within a word that is longer.
        places = np.flatnonzero(letter)
        left = starts[word[places]] + lengths[word[places]] - places
        places = places[(left >= length) & (lengths[word[places]] > length)]
        own = np.full(len(places), np.uint64(length))
        for step in range(length):
            own = own * _FACTOR + values[places + step]
        hashes.append(hashing.mix(own))
        rows.append(owners[places])
    buckets = (np.concatenate(hashes) >> np.uint64(49)).astype(np.int64)
    pairs, counts = np.unique(np.concatenate(rows) * _BUCKETS + buckets, return_counts=True)
    return pairs // _BUCKETS, pairs % _BUCKETS, counts


def _words(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A hash of each word from its letters, the longest words' letters last."""
    hashes = lengths.astype(np.uint64)
    order = np.argsort(-lengths, kind="stable")
    having = np.searchsorted(-lengths[order], -np.arange(1, int(lengths.max()) + 1), "right")
    for place, many in enumerate(having.tolist()):
        rows = order[:many]
        hashes[rows] = hashes[rows] * _FACTOR + values[starts[rows] + place]
    return hashes
