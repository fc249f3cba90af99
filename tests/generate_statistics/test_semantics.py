"""Semantic domains against TFDV's own generators, and its inference of a schema."""

from __future__ import annotations

import json
import random
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_data_validation import types
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.generators import (
    image_stats_generator,
    natural_language_domain_inferring_stats_generator,
)
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.tfdv import tfdv
from headwater.components.generate_statistics.measure import semantics
from headwater.components.generate_statistics.measure.conversion import to_lists

PROSE = [
    "The flight was late and nobody told us why.",
    "Great service, would fly again!",
    "My bag never came.",
    "We waited for three hours at the gate before anybody said a word about what was going on with the crew, which is "
    "more than enough to miss a connection and to lose one's patience with the whole of the industry.",
]
CODES = ["N14228", "a b c", "UA1545", "x", "", "one two", "supercalifragilistic expialidocious antidisestablishment"]
URLS = ["https://example.org/a?b=c#d", "http://localhost:8080", "gs://bucket/some/key", "FTP://host/file"]


def png(width, height, rows=True):
    """A grey image with a correct checksum in each chunk."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    lines = (b"\0" + b"\x80" * width) * height if rows else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def bmp(width, height):
    """24 bits a pixel; a negative height stands for rows from top to bottom."""
    stride = (width * 3 + 3) // 4 * 4
    pixels = b"\x40" * (stride * abs(height))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + header + pixels


def gif(width, height):
    """One frame, all of colour 0: each pixel a code of three bits, the table cleared before it can grow."""
    bits = "".join(f"{code:03b}"[::-1] for _ in range(width * height) for code in (4, 0)) + "101"
    bits += "0" * (-len(bits) % 8)
    packed = bytes(int(bits[place : place + 8][::-1], 2) for place in range(0, len(bits), 8))
    blocks = b"".join(bytes([len(part)]) + part for part in (packed[i : i + 255] for i in range(0, len(packed), 255)))
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return b"GIF89a" + screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02" + blocks + b"\0;"


def jpeg(width, height, progressive=False):
    tf = pytest.importorskip("tensorflow")
    pixels = np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)
    return tf.io.encode_jpeg(pixels, progressive=progressive, xmp_metadata="<x/>" * 50).numpy()


def webp(width, height):
    content = (
        b"VP8X"
        + struct.pack("<I", 10)
        + b"\0" * 4
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little")
    )
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content


def seen(values, kind=None):
    return semantics.observe(pa.array(values, kind))


def said(values, kind=None):
    return semantics.finish(seen(values, kind))


def theirs(generator, values, kind=None, batch=100):
    """What a generator of TFDV says of the values, given batches of which it looks at every value."""
    lists = [
        pa.array([[value] for value in values[i : i + batch]], pa.list_(kind) if kind else None)
        for i in range(0, len(values), batch)
    ]
    parts = [generator.add_input(generator.create_accumulator(), types.FeaturePath(["f"]), part) for part in lists]
    return list(generator.extract_output(generator.merge_accumulators(parts)).custom_stats)


def prose_by_tfdv(values, kind=None):
    generator = natural_language_domain_inferring_stats_generator.NLDomainInferringStatsGenerator()
    return theirs(generator, values, kind)


def images_by_tfdv(values):
    return theirs(image_stats_generator.ImageStatsGenerator(enable_size_stats=True), values, pa.binary())


def shared(custom):
    return [each for each in custom if not each.name.startswith("headwater.")]


def repeated(values, count, seed=0):
    return random.Random(seed).choices(values, k=count)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()], ids=str)
@pytest.mark.parametrize(
    "values",
    [
        repeated(PROSE, 300),
        repeated(CODES, 300),
        repeated(PROSE, 250) + repeated(CODES, 50),
        repeated(PROSE, 240) + repeated(["x"], 60),
        repeated(PROSE, 239) + repeated(["x"], 61),
        repeated(PROSE, 100),
        repeated(PROSE, 99),
        ["  leading and\ttrailing\n\nspace \r\n"] * 120,
        [" " * 101 + "words beyond the hundredth character"] * 120,
        ["abc" * 40 + " with words after that"] * 120,
        ["ab ab ab"] * 150,
        ["ab abc abc ab"] * 150,
        ["abcdefgh " * 3] * 150,
        ["abcdefgh " * 3 + "abcdefghi"] * 150,
        [""] * 150,
    ],
)
def test_prose_is_what_tfdv_takes_for_prose(values, kind):
    given = [value.encode() for value in values] if "binary" in str(kind) else values
    assert shared(said(given, kind)) == prose_by_tfdv(given, kind)


SPACES = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2005\u200a\u2028\u2029\u202f\u205f\u3000"
LETTERS = "aé\u200bж漢😀"


@settings(deadline=None, max_examples=300)
@given(st.lists(st.text(st.sampled_from(SPACES + LETTERS), max_size=230), min_size=1, max_size=20))
def test_words_are_those_of_python_and_prose_that_of_tfdv_on_any_text(values):
    ours = seen(values, pa.string())
    words = [len(value.split()) for value in values]
    characters = [len(value) for value in values]
    assert ours.words == semantics.Lengths(sum(words), min(words), max(words))
    assert ours.characters == semantics.Lengths(sum(characters), min(characters), max(characters))
    classify = natural_language_domain_inferring_stats_generator.AverageWordHeuristicNLClassifier().classify
    assert ours.prose == sum(map(classify, values))
    assert ours == seen([value.encode() for value in values], pa.binary())


def test_prose_has_its_length_in_words_and_characters():
    values = repeated(PROSE, 200)
    numbers = {each.name: each.num for each in said(values)}
    words = [len(value.split()) for value in values]
    characters = [len(value) for value in values]
    for name, lengths in (("words", words), ("characters", characters)):
        assert numbers[f"headwater.{name}_mean"] == pytest.approx(np.mean(lengths))
        assert numbers[f"headwater.{name}_min"] == min(lengths)
        assert numbers[f"headwater.{name}_max"] == max(lengths)


def test_long_columns_and_values_are_counted_across_chunks():
    # A chunk ends where one value does; the next value's first word is its own.
    values = ["word" * 3_000_000, "two words"] + ["x" * 1000] * 9000 + ["last one here"]
    ours = seen(values)
    assert ours.words == semantics.Lengths(1 + 2 + 9000 + 3, 1, 3)
    assert ours.characters.greatest == 12_000_000


@pytest.mark.parametrize("size", [80, 60])
def test_urls_are_a_domain_of_their_own(size):
    values = repeated(URLS, 2 * size) + repeated(CODES, 2 * (100 - size))
    custom = said(values)
    if size < 80:
        assert custom == []
    else:
        assert (custom[0].name, custom[0].str) == ("domain_info", "url_domain {}")
        assert (custom[1].name, custom[1].num) == ("headwater.url_match_rate", 0.8)
    assert prose_by_tfdv(values) == []


@pytest.mark.parametrize(
    "value, matches",
    [
        ("https://example.org", True),
        ("https://example.org/a b", False),
        ("see https://example.org", False),
        ("https://example.org\nhttps://example.org", False),
        ("https://example.org\n", False),
        ("https://", False),
        ("https:///path", False),
        ("://example.org", False),
        ("example.org/path", False),
        ("mailto:a@b.org", False),
        ("C:\\folder", False),
        ("http://käse.de/ü", True),
        ("", False),
    ],
)
def test_what_a_url_is(value, matches):
    assert seen([value]).urls == matches


def test_real_images_have_the_formats_and_sizes_that_tfdv_decodes():
    values = [png(3, 5), png(40, 2), bmp(7, 4), bmp(6, -9), gif(5, 8), jpeg(31, 12), jpeg(8, 44, progressive=True)]
    for value in values:
        assert shared(said([value] * 100)) == images_by_tfdv([value] * 100)
    mixed = repeated(values, 300)
    assert said(mixed) == images_by_tfdv(mixed)
    width, height = (each.num for each in said(mixed)[2:])
    assert (width, height) == (40, 44)
    texts = [b"no image", b"", b"\xff\xfe"]
    assert [each.str for each in said(repeated(values, 240) + repeated(texts, 60))][:1] == ["image_domain {}"]
    for images in (240, 239, 99):
        part = repeated(values, images) + repeated(texts, 60 if images > 99 else 0) + texts[:1] * (images == 239)
        ours, tfdv_says = said(part), images_without_sizes(part)
        assert [each for each in ours if not each.name.startswith("image_max")] == tfdv_says


def images_without_sizes(values):
    return theirs(image_stats_generator.ImageStatsGenerator(), values, pa.binary())


def test_webp_and_tiff_are_images_without_a_size():
    values = [webp(20, 30)] * 60 + [b"II*\0" + b"\0" * 30, b"MM\0*"] * 20 + [b"RIFF\0\0\0\0WAVEfmt "]
    custom = said(values)
    assert [each.name for each in custom] == ["domain_info", "image_format_histogram"]
    counts = {bucket.label: bucket.sample_count for bucket in custom[1].rank_histogram.buckets}
    assert counts == {"UNKNOWN": 1, "tiff": 40, "webp": 60}


@pytest.mark.parametrize(
    "value, name",
    [(png(3, 5), "png"), (bmp(7, 4), "bmp"), (gif(5, 8), "gif"), (b"\xff\xd8\xff\xe0" + b"\0" * 40, "jpeg")],
)
def test_images_cut_off_anywhere_are_read_no_further_than_they_reach(value, name):
    for length in range(len(value)):
        # What lies behind a value in memory belongs to the next one.
        ours = seen([value[:length], b"\x7f" * 64], pa.binary())
        assert sum(ours.images) <= 1
        assert (ours.width, ours.height) in [(0, 0), (3, 5), (7, 4), (5, 8)] or length < 30
    assert seen([value]).images[semantics.FORMATS.index(name)] == 1


def test_jpegs_that_lead_nowhere_end():
    start = b"\xff\xd8"
    hostile = [
        start + b"\xff\xe0\x00\x00" * 2000,
        start + b"\xff" * 5000,
        start + b"\xff\xe1\xff\xff",
        start + b"\xff\xda\x00\x02" + b"\xff\xc0\x00\x11\x08\x00\x10\x00\x10",
        start + b"\xff\xc0\x00",
    ]
    ours = seen(hostile, pa.binary())
    assert ours.images[semantics.FORMATS.index("jpeg")] == len(hostile)
    assert (ours.width, ours.height)[1] == 0


def test_words_that_begin_like_images_are_none():
    for word in ("BMW", "BM", "BMW 3 series with much equipment", "GIF", "MMA", "II", "RIFFRAFF"):
        assert sum(seen([word] * 100).images) == 0


def test_one_value_that_is_no_text_ends_prose_as_it_does_in_tfdv():
    values = [value.encode() for value in repeated(PROSE, 200)]
    assert prose_by_tfdv(values + [b"\xff"]) == said(values + [b"\xff"]) == []
    urls = [value.encode() for value in repeated(URLS, 200)]
    assert said(urls + [b"\xc3("]) == []


VALUES = PROSE + CODES + URLS + [" ", "é\u3000ü x"]
BYTES = [value.encode() for value in VALUES] + [b"\xff\xfe", png(3, 5), bmp(6, -9), gif(2, 2), webp(3, 3)]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.sampled_from(BYTES), max_size=8), max_size=6))
def test_merged_parts_are_the_whole(parts):
    merged = semantics.Semantics()
    for part in parts:
        stored = json.loads(json.dumps(semantics.to_json(seen(part, pa.binary()))))
        merged = semantics.merge(merged, semantics.from_json(stored))
    whole = seen([value for part in parts for value in part], pa.binary())
    assert merged == whole
    assert semantics.merge(whole, semantics.Semantics()) == whole


def test_windows_into_longer_arrays_are_seen_alone():
    array = pa.array(BYTES * 3, pa.binary())
    for start, length in ((0, 5), (3, 9), (len(VALUES), 5), (7, 0)):
        window = array.slice(start, length)
        assert semantics.observe(window) == seen(window.to_pylist(), pa.binary())


def test_what_is_kept_is_small_and_holds_nothing_of_the_values():
    content = json.dumps(semantics.to_json(seen(["a secret of forty-two words"] * 1000)))
    assert "secret" not in content and len(content) < 400


@pytest.mark.parametrize(
    "values, domain",
    [
        (repeated(PROSE, 200), "natural_language_domain"),
        (repeated(URLS, 200), "url_domain"),
        ([png(3, 5)] * 200, "image_domain"),
        (repeated(CODES, 200), None),
    ],
)
def test_tfdv_infers_the_domain(values, domain):
    table = pa.record_batch([pa.array(values)], ["f"])
    statistics = stats_impl.generate_statistics_in_memory(to_lists(table), tfdv.StatsOptions())
    statistics.datasets[0].features[0].custom_stats.extend(semantics.finish(seen(values)))
    (feature,) = tfdv.infer_schema(statistics).feature
    found = feature.WhichOneof("domain_info")
    assert found == domain or domain is None and found in (None, "domain")
    assert feature.type == schema_pb2.BYTES


def test_tfdv_says_the_same_of_a_whole_table():
    texts = {"prose": repeated(PROSE, 100), "code": repeated(CODES, 100)}
    values = {name: [value.encode() for value in column] for name, column in texts.items()}
    values["image"] = repeated([png(3, 5), bmp(7, 4), gif(5, 8)], 100)
    batch = to_lists(pa.record_batch([pa.array(column) for column in values.values()], list(values)))
    options = tfdv.StatsOptions(enable_semantic_domain_stats=True)
    dataset = stats_impl.generate_statistics_in_memory(batch, options).datasets[0]
    assert len(dataset.features) == 3
    for feature in dataset.features:
        ours = shared(said(values[feature.path.step[0]]))
        assert list(feature.custom_stats) == [each for each in ours if not each.name.startswith("image_max")]
