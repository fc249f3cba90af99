"""Rows as points: each form of column, what is missing, and columns that cannot be compared."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from headwater.components.common.errors import HeadwaterError
from headwater.components.label import texts as text
from headwater.components.label.propagate import features
from headwater.components.label.propagate.features import Column


def points(column: pa.Array, sample: pa.Array | None = None, **settings) -> tuple[np.ndarray, np.ndarray]:
    """The points of a column, learnt from itself or a sample."""
    batch = pa.RecordBatch.from_arrays([column], names=["c"])
    learnt = pa.RecordBatch.from_arrays([column if sample is None else sample], names=["c"])
    own = features.features_of("columns", {"c": Column(**settings)}, batch.schema, ())
    counts = features.seen(own, batch)
    encoder = features.learn("columns", own, learnt, counts)
    return encoder.vectors(batch), encoder.lacking(batch)


def apart(made: np.ndarray, one: int, other: int) -> float:
    return float(((made[one] - made[other]) ** 2).sum())


def test_numbers_are_scaled_robustly():
    values = np.random.default_rng(0).normal(100, 5, 5_000)
    values[:50] = 1e9
    made, lacking = points(pa.array(values))
    assert made.shape == (5_000, 1) and not lacking.any()
    assert abs(made[50:].std() - 1) < 0.1 and (made[:50] == 8).all()


@pytest.mark.parametrize(
    "kind, values",
    [
        (pa.int8(), [1, 2, 3, 4]),
        (pa.float32(), [1, 2, 3, 4]),
        (pa.decimal128(8, 2), [decimal.Decimal(value) for value in (1, 2, 3, 4)]),
        (pa.date32(), [datetime.date(2026, 1, day) for day in (1, 2, 3, 4)]),
        (pa.timestamp("us"), [datetime.datetime(2026, 1, day) for day in (1, 2, 3, 4)]),
    ],
)
def test_what_is_a_number_by_its_type(kind, values):
    made, _ = points(pa.array(values, kind))
    assert made.shape == (4, 1) and (np.diff(made[:, 0]) > 0).all()


def test_missing_nan_and_infinite_numbers_lie_in_the_middle_and_say_so():
    made, _ = points(pa.array([1.0, 2.0, 3.0, None, float("nan"), float("inf"), -float("inf")]))
    assert made.shape == (7, 2)
    assert (made[3:] == [0, 1]).all() and (made[:3, 1] == 0).all()


def test_a_constant_column_and_an_empty_one_tell_nothing():
    assert (points(pa.array([5.0] * 10))[0] == 0).all()
    made, _ = points(pa.array([None] * 10, pa.float64()))
    assert (made == made[0]).all()


def test_mostly_one_value_is_scaled_by_the_others():
    made, _ = points(pa.array([0.0] * 980 + [float(value) for value in range(1, 21)]))
    assert 0 < made.max() <= 8


def test_a_weight_multiplies():
    values = pa.array(np.arange(10.0))
    np.testing.assert_allclose(points(values, weight=3)[0], 3 * points(values)[0], rtol=1e-6)


def test_categories_are_equally_far_apart():
    made, _ = points(pa.array(["a", "b", None, "a"]), form="category")
    assert apart(made, 0, 3) == 0 and apart(made, 0, 1) == apart(made, 0, 2) == 2
    made, _ = points(pa.array([True, False, True]))
    assert made.shape == (3, 2) and apart(made, 0, 1) == 2


def test_many_categories_are_hashed():
    values = pa.array([f"v{number}" for number in range(500)] + ["v7"])
    made, _ = points(values, form="category", dimensions=32)
    assert made.shape == (501, 32) and apart(made, 7, 500) == 0
    others = [apart(made, 7, number) for number in range(500) if number != 7]
    assert 1.8 < np.mean(others) < 2.2 and min(others) > 0.2
    assert points(values, form="category", dimensions=600)[0].shape == (501, 500)


def test_a_category_that_the_sample_lacks_is_like_no_other():
    made, _ = points(pa.array(["a", "b", "z"]), sample=pa.array(["a", "b"]), form="category")
    assert apart(made, 2, 0) == apart(made, 2, 1) == 1


def test_texts_are_near_by_words_and_pieces():
    texts = [
        "the delivery was late and the parcel damaged",
        "late delivery, damaged parcels!",
        "great coffee and friendly staff",
        "THE DELIVERY WAS LATE AND THE PARCEL DAMAGED",
        "",
        None,
        "größe passt nicht",
        "die grösse passt leider nicht",
    ] + [f"number {number} of some further lines the" for number in range(50)]
    made, _ = points(pa.array(texts), form="text", dimensions=256)
    assert made.shape == (len(texts), 256)
    assert apart(made, 0, 3) == 0
    assert apart(made, 0, 1) < 1.3 < apart(made, 0, 2)
    assert apart(made, 6, 7) < apart(made, 6, 0)
    assert (made[4:6] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(made[0]), 1, rtol=1e-5)


def test_a_text_is_where_it_is_whatever_stands_beside_it():
    texts = pa.array(["one two three", "alpha beta", "x" * 9_000, "", "naïve café " * 400])
    weights = text.rarity(texts)
    whole = text.project(texts, weights, 64)
    for place in range(len(texts)):
        np.testing.assert_array_equal(text.project(texts.slice(place, 1), weights, 64)[0], whole[place])
    assert text.project(texts.slice(0, 0), weights, 64).shape == (0, 64)


def test_long_texts_are_taken_in_slices():
    texts = pa.array([f"{'word ' * 700}{number}" for number in range(900)])
    weights = text.rarity(texts)
    made = text.project(texts, weights, 16)
    np.testing.assert_array_equal(made[850], text.project(texts.slice(850, 1), weights, 16)[0])


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 3), pa.large_list(pa.float16())])
def test_embeddings_are_taken_as_they_are(kind):
    vectors = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    array = (
        pa.array([[np.float16(part) for part in each] for each in vectors], kind)
        if "half" in str(kind)
        else pa.array(vectors, kind)
    )
    made, lacking = points(array)
    np.testing.assert_array_equal(made, vectors)
    assert not lacking.any()


def test_a_row_without_a_usable_embedding_has_no_place():
    vectors = [[1.0, 2.0], None, [float("nan"), 1.0], [3.0, 4.0], [float("inf"), 0.0], [None, 1.0]]
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float32(), 2)):
        made, lacking = points(pa.array(vectors, kind))
        assert lacking.tolist() == [False, True, True, False, True, True]
        np.testing.assert_array_equal(made[~lacking], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "column, settings, message",
    [
        (pa.array([[1.0], [1.0, 2.0]]), {}, "of one length, at least 1; there are lengths from 1 to 2"),
        (pa.array([None, None], pa.list_(pa.float32())), {}, "there is none at all"),
        (pa.array(["a"]), {}, "say form: text to compare what is written, or form: category"),
        (pa.array(["a"]), {"form": "number"}, "cannot be used as number; it can be text or category"),
        (pa.array([1.0]), {"form": "text"}, "cannot be used as text; it can be number or category"),
        (pa.array([b"a"]), {}, "which cannot be used as a vector"),
        (pa.array([{"a": 1}]), {}, "which cannot be used as a vector"),
        (pa.array([["a"]]), {}, "which cannot be used as a vector"),
    ],
)
def test_columns_that_cannot_be_compared(column, settings, message):
    with pytest.raises(HeadwaterError, match=message) as caught:
        points(column, **settings)
    assert "columns.c" in str(caught.value)


def test_counts_merge():
    own = features.features_of(
        "columns", {"v": Column(), "x": Column()}, pa.schema({"v": pa.list_(pa.float32()), "x": pa.float64()}), ()
    )
    parts = [
        pa.RecordBatch.from_pydict(
            {"v": [[1.0], None], "x": [1.0, None]}, pa.schema({"v": pa.list_(pa.float32()), "x": pa.float64()})
        ),
        pa.RecordBatch.from_pydict(
            {"v": [None], "x": [2.0]}, pa.schema({"v": pa.list_(pa.float32()), "x": pa.float64()})
        ),
    ]
    one, other = (features.seen(own, part) for part in parts)
    assert features.add_seen(one, other) == features.add_seen(other, one) == {"v": [2, 1, 1], "x": [1]}
