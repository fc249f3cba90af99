"""What text and bytes mean: prose, URLs or images, seen on whole arrays, kept as a few numbers.

The answers are TFDV's under its names (`domain_info`, `natural_language_match_rate`, `image_format_histogram`,
`image_max_width`, `image_max_height`), so that `tfdv.infer_schema` takes up the domain: at least `ENOUGH` values, of
which a share of `MATCHING` match. They differ where TFDV's depend on how rows are batched or take text for images:

- all values are looked at, where TFDV takes the first 100 of each batch for prose;
- text is measured in characters whether a column's type is text or bytes, where TFDV measures bytes in bytes;
- a BMP has a header, where TFDV takes every value that begins with "BM" for one;
- WEBP and TIFF are images too, and URLs a domain;
- sizes of PNG, JPEG, GIF and BMP are read from their headers, where TFDV decodes whole images, and by default none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import statistics_pb2

ENOUGH = 100
"""Values below which nothing is said of their meaning."""

MATCHING = 0.8
"""Share of the values that a domain needs."""

FORMATS = ("bmp", "gif", "jpeg", "png", "tiff", "webp")
"""Formats of images, by their names in the histogram; all else is UNKNOWN there."""

_CROP = 100
_FEWEST_WORDS = 3
_WORD_LENGTHS = 2.5, 8.0
_CHUNK_BYTES = 1 << 22
_HEAD = 32
_JPEG_SEGMENTS = 256
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)

_URL = r"^[A-Za-z][A-Za-z0-9+.-]{1,19}://[^\s/?#]+\S*$"
# What Python's str.split takes for white space; of these, the bytes that the last ones begin with.
_WIDE_SPACE = r"[\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
_WIDE_SPACE_BYTES = (0xC2, 0xE1, 0xE2, 0xE3)
_SPACE = np.isin(np.arange(256), [*range(0x09, 0x0E), *range(0x1C, 0x21)])


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Sum, least and greatest of a number that each value has; zeros of no values."""

    total: int = 0
    least: int = 0
    greatest: int = 0


@dataclasses.dataclass(frozen=True)
class Semantics:
    """What was seen of some values. All but the first, the last three and `text` stay at 0 once a value is no text.

    Attributes:
      values: how many there are.
      text: whether each is UTF-8.
      prose: values like natural language: three words or more, 2.5 to 8 characters long on average, within the first
        100 characters.
      urls: values that are a URL.
      words, characters: of each value, words parted by white space.
      images: how many there are of each of `FORMATS`.
      width, height: the greatest among images whose headers tell, in pixels.
    """

    values: int = 0
    text: bool = True
    prose: int = 0
    urls: int = 0
    words: Lengths = Lengths()
    characters: Lengths = Lengths()
    images: tuple[int, ...] = (0,) * len(FORMATS)
    width: int = 0
    height: int = 0


def observe(values: pa.Array) -> Semantics:
    """What is seen of the values of a string or binary array (of any offset width) without missing ones."""
    if not len(values):
        return Semantics()
    images, width, height = _images(values.cast(pa.large_binary()))
    seen = Semantics(len(values), images=images, width=width, height=height)
    try:
        text = values.cast(pa.large_string())
    except pa.ArrowInvalid:
        return dataclasses.replace(seen, text=False)
    words, letters = _words(text)
    characters = pc.utf8_length(text).to_numpy(zero_copy_only=False).astype(np.int64)
    lengths = _lengths(words), _lengths(characters)
    cropped = characters > _CROP
    if cropped.any():
        start = pc.utf8_slice_codeunits(text.filter(pa.array(cropped)), 0, _CROP)
        words[cropped], letters[cropped] = _words(start)
    average = letters / np.maximum(words, 1)
    prose = (words >= _FEWEST_WORDS) & (average >= _WORD_LENGTHS[0]) & (average <= _WORD_LENGTHS[1])
    urls = pc.sum(pc.match_substring_regex(text, _URL)).as_py()
    return dataclasses.replace(seen, prose=int(prose.sum()), urls=urls, words=lengths[0], characters=lengths[1])


def merge(a: Semantics, b: Semantics) -> Semantics:
    """What is seen of the values of both."""
    if not (a.values and b.values):
        return a if a.values else b
    both = Semantics(
        a.values + b.values,
        images=tuple(x + y for x, y in zip(a.images, b.images)),
        width=max(a.width, b.width),
        height=max(a.height, b.height),
    )
    if not (a.text and b.text):
        return dataclasses.replace(both, text=False)
    return dataclasses.replace(
        both,
        prose=a.prose + b.prose,
        urls=a.urls + b.urls,
        words=_both(a.words, b.words),
        characters=_both(a.characters, b.characters),
    )


def to_json(semantics: Semantics) -> dict[str, Any]:
    """Plain numbers and lists of them, by the names of the attributes."""
    return dataclasses.asdict(semantics) | {
        "images": list(semantics.images),
        "words": list(dataclasses.astuple(semantics.words)),
        "characters": list(dataclasses.astuple(semantics.characters)),
    }


def from_json(content: Mapping[str, Any]) -> Semantics:
    """The reverse of `to_json`."""
    return Semantics(
        **{
            **content,
            "images": tuple(content["images"]),
            "words": Lengths(*content["words"]),
            "characters": Lengths(*content["characters"]),
        }
    )


def finish(semantics: Semantics) -> list[statistics_pb2.CustomStatistic]:
    """What is said of a feature: nothing, or one domain and its numbers.

    Returns:
      `domain_info` first, and with it, of images, `image_format_histogram`, and `image_max_width` and
      `image_max_height` when a header gave them; of URLs, `headwater.url_match_rate`; of natural language,
      `natural_language_match_rate` and `headwater.words_mean`, `_min`, `_max` and `headwater.characters_mean`, `_min`,
      `_max`, by value.
    """
    values, images = semantics.values, sum(semantics.images)
    if values < ENOUGH:
        return []
    if 1 - (values - images) / values >= MATCHING:
        return list(_said_of_images(semantics))
    if semantics.urls / values >= MATCHING:
        return [_text("domain_info", "url_domain {}"), _number("headwater.url_match_rate", semantics.urls / values)]
    if semantics.prose / values >= MATCHING:
        said = [
            _text("domain_info", "natural_language_domain {}"),
            _number("natural_language_match_rate", semantics.prose / values),
        ]
        for name, lengths in (("words", semantics.words), ("characters", semantics.characters)):
            said.append(_number(f"headwater.{name}_mean", lengths.total / values))
            said.append(_number(f"headwater.{name}_min", lengths.least))
            said.append(_number(f"headwater.{name}_max", lengths.greatest))
        return said
    return []


def _said_of_images(semantics: Semantics) -> Iterator[statistics_pb2.CustomStatistic]:
    yield _text("domain_info", "image_domain {}")
    histogram = statistics_pb2.CustomStatistic(name="image_format_histogram")
    # TFDV's checks of image domains look for the label UNKNOWN.
    counts = {"UNKNOWN": semantics.values - sum(semantics.images), **dict(zip(FORMATS, semantics.images))}
    for label, count in counts.items():
        if count:
            histogram.rank_histogram.buckets.add(label=label, sample_count=count)
    yield histogram
    if semantics.width and semantics.height:
        yield _number("image_max_width", semantics.width)
        yield _number("image_max_height", semantics.height)


def _text(name: str, value: str) -> statistics_pb2.CustomStatistic:
    return statistics_pb2.CustomStatistic(name=name, str=value)


def _number(name: str, value: float) -> statistics_pb2.CustomStatistic:
    return statistics_pb2.CustomStatistic(name=name, num=value)


def _lengths(numbers: np.ndarray) -> Lengths:
    return Lengths(int(numbers.sum()), int(numbers.min()), int(numbers.max()))


def _both(a: Lengths, b: Lengths) -> Lengths:
    return Lengths(a.total + b.total, min(a.least, b.least), max(a.greatest, b.greatest))


def _buffers(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a large string or binary array, and its offsets into them."""
    _, offsets, data = values.buffers()
    places = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8), places


def _words(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Words of each value and the characters in them."""
    data, places = _buffers(text)
    used = data[places[0] : places[-1]]
    if any((used == byte).any() for byte in _WIDE_SPACE_BYTES):
        data, places = _buffers(pc.replace_substring_regex(text, _WIDE_SPACE, " "))
    words, letters = np.zeros(len(text), np.int64), np.zeros(len(text), np.int64)
    start = 0
    while start < len(text):
        # As many values as fill a chunk, and one at least.
        end = int(np.searchsorted(places, places[start] + _CHUNK_BYTES, side="right")) - 1
        end = min(max(end, start + 1), len(text))
        chunk, bounds = data[places[start] : places[end]], places[start : end + 1] - places[start]
        inside = ~_SPACE[chunk]
        begins = inside.copy()
        begins[1:] &= ~inside[:-1]
        # A value's first byte begins a word whatever the value before ends with.
        firsts = bounds[:-1][bounds[1:] > bounds[:-1]]
        begins[firsts] = inside[firsts]
        words[start:end] = _between(begins, bounds)
        letters[start:end] = _between(inside & ((chunk & 0xC0) != 0x80), bounds)
        start = end
    return words, letters


def _between(marks: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    return np.diff(np.concatenate([[0], np.cumsum(marks)])[bounds])


def _images(values: pa.Array) -> tuple[tuple[int, ...], int, int]:
    """How many images there are of each format, and the greatest width and height that their headers tell."""
    data, places = _buffers(values)
    starts, ends = places[:-1], places[1:]
    long = ends - starts >= 4
    starts, ends = starts[long], ends[long]
    maybe = np.isin(data[starts], np.frombuffer(b"BG\xff\x89RIM", np.uint8))
    starts, ends = starts[maybe], ends[maybe]
    if not len(starts):
        return (0,) * len(FORMATS), 0, 0
    head = _bytes_at(data, starts[:, None] + np.arange(_HEAD), ends[:, None])
    is_format = {
        "bmp": _begins(head, b"BM") & np.isin(_little(head[:, 14:18]), _BMP_HEADERS),
        "gif": _begins(head, b"GIF8"),
        "jpeg": _begins(head, b"\xff\xd8\xff"),
        "png": _begins(head, b"\x89PNG\r\n\x1a\n"),
        "tiff": _begins(head, b"II*\0") | _begins(head, b"MM\0*"),
        "webp": _begins(head, b"RIFF") & _begins(head[:, 8:], b"WEBP"),
    }
    sizes = [
        _png_sizes(head[is_format["png"]]),
        _gif_sizes(head[is_format["gif"]]),
        _bmp_sizes(head[is_format["bmp"]]),
        _jpeg_sizes(data, starts[is_format["jpeg"]], ends[is_format["jpeg"]]),
    ]
    width, height = np.max([size.max(axis=0, initial=0) for size in sizes], axis=0).tolist()
    return tuple(int(is_format[name].sum()) for name in FORMATS), width, height


def _bytes_at(data: np.ndarray, places: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Bytes at places, 0 beyond the end of their value."""
    return np.where(places < ends, data[np.minimum(places, len(data) - 1)], 0).astype(np.int64)


def _begins(head: np.ndarray, signature: bytes) -> np.ndarray:
    return (head[:, : len(signature)] == np.frombuffer(signature, np.uint8)).all(axis=1)


def _little(digits: np.ndarray) -> np.ndarray:
    return digits @ (256 ** np.arange(digits.shape[1]))


def _big(digits: np.ndarray) -> np.ndarray:
    return _little(digits[:, ::-1])


def _png_sizes(head: np.ndarray) -> np.ndarray:
    head = head[_begins(head[:, 12:], b"IHDR")]
    return np.stack([_big(head[:, 16:20]), _big(head[:, 20:24])], axis=1)


def _gif_sizes(head: np.ndarray) -> np.ndarray:
    return np.stack([_little(head[:, 6:8]), _little(head[:, 8:10])], axis=1)


def _bmp_sizes(head: np.ndarray) -> np.ndarray:
    old = _little(head[:, 14:18]) == 12
    width = np.where(old, _little(head[:, 18:20]), _little(head[:, 18:22]))
    height = np.where(old, _little(head[:, 20:22]), _little(head[:, 22:26]))
    # Rows from top to bottom are a negative height.
    return np.stack([width, np.where(height >= 2**31, 2**32 - height, height)], axis=1)


def _jpeg_sizes(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Follows the segments of all values at once to the one that begins a frame."""
    sizes = []
    places = starts + 2
    for _ in range(_JPEG_SEGMENTS):
        if not len(places):
            break
        segment = _bytes_at(data, places[:, None] + np.arange(9), ends[:, None])
        marker = segment[:, 1]
        frame = (marker >= 0xC0) & (marker <= 0xCF) & ~np.isin(marker, (0xC4, 0xC8, 0xCC))
        marked = segment[:, 0] == 0xFF
        sizes.append(np.stack([_big(segment[:, 7:9]), _big(segment[:, 5:7])], axis=1)[marked & frame])
        step = np.where(marker == 0xFF, 1, 2 + _big(segment[:, 2:4]))
        places = places + step
        # The scan and the end of the image come after the frame.
        on = marked & ~frame & (marker != 0xD9) & (marker != 0xDA) & (places < ends)
        places, ends = places[on], ends[on]
    return np.concatenate(sizes) if sizes else np.zeros((0, 2), np.int64)
