"""Columns as vectors: forms, scales, what is missing, and the same whatever the batches."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from headwater.components.common.errors import HeadwaterError
from headwater.components.label import features
from headwater.components.label.propagate import features as distances

ROWS = pa.table(
    {
        "amount": [1.0, 2.0, None, float("nan"), 1e300],
        "day": pa.array([datetime.date(2026, 1, day) for day in (1, 2, 3, 4, 5)]),
        "kind": ["a", "b", None, "a", "a"],
        "said": ["the big dog runs", "the small cat sat", "", None, "the big dog runs"],
        "code": ["x1", "x2", "x3", "x4", "x5"],
        "vector": pa.array([[1.0, 2.0], [3.0, 4.0], None, [0.0, float("inf")], [1.0, 1.0]]),
        "fixed": pa.array([[1.0, 2.0], [3.0, 4.0], None, [0.0, 1.0], [1.0, 1.0]], pa.list_(pa.float32(), 2)),
        "same": [5] * 5,
        "yes": pa.array([True, False, None, True, False]),
        "coded": pa.array(["x", "y", "x", "x", "y"]).dictionary_encode(),
        "at": pa.array([1, 2, 3, 4, 5], pa.timestamp("ns", "UTC")),
    }
)


def made(rows=ROWS, given=(), cuts=()):
    found = features.features_of("columns", rows.schema, given, ())
    batch = rows.combine_chunks().to_batches()[0]
    bounds = [0, *cuts, rows.num_rows]
    parts = [features.count(found, batch.slice(one, more - one)) for one, more in zip(bounds, bounds[1:])]
    state = parts[0]
    for part in parts[1:]:
        state = features.merge(state, part)
    return features.encoder_of("columns", found, state), batch


def test_every_type_is_a_finite_vector_whatever_the_batches():
    encoder, batch = made(given={name: "text" if name == "said" else "auto" for name in ROWS.column_names})
    assert encoder.dropped == {"same": "constant"}
    vectors = encoder.vectors(batch)
    assert vectors.dtype == np.float32 and vectors.shape == (5, encoder.dimensions) and np.isfinite(vectors).all()
    assert np.array_equal(vectors, np.vstack([encoder.vectors(batch.slice(row, 1)) for row in range(5)]))
    for cuts in ((1,), (2, 3), (1, 2, 3, 4)):
        other, _ = made(given={name: "text" if name == "said" else "auto" for name in ROWS.column_names}, cuts=cuts)
        assert other == encoder


def test_scales_are_comparable():
    chance = np.random.default_rng(0)
    rows = pa.table({"small": chance.normal(size=500) / 1e6, "great": chance.normal(size=500) * 1e6 + 1e9})
    encoder, batch = made(rows)
    vectors = encoder.vectors(batch)
    assert np.allclose(vectors.std(0), 1, atol=1e-3) and np.allclose(vectors.mean(0), 0, atol=1e-3)


def test_texts_of_the_same_words_are_near():
    encoder, batch = made(given={"said": "text"})
    vectors = encoder.vectors(batch)
    apart = ((vectors[:, None] - vectors[None]) ** 2).sum(2)
    assert apart[0, 4] == 0 and apart[0, 1] > 1 and not vectors[2, :-1].any() and vectors[3, -1] == 1


def test_text_or_categories_as_the_values_tell():
    names = pa.table(
        {"kind": ["a", "b"] * 200, "id": [f"n{n}" for n in range(400)], "said": [f"a b c {n}" for n in range(400)]}
    )
    encoder, _ = made(names)
    assert [(part.name, part.form) for part in encoder.parts] == [("kind", "category"), ("said", "text")]
    assert "id" in encoder.dropped
    encoder, _ = made(names, {"id": "text"})
    assert encoder.dimensions == features.TEXT_DIMENSIONS
    with pytest.raises(
        HeadwaterError, match="columns.id: the column has more than 256 different values.*use it as text"
    ):
        made(names, {"id": "category"})


@pytest.mark.parametrize(
    ("given", "unseen", "message"),
    [
        (["nothing"], (), "columns: there is no column 'nothing'; the columns are amount"),
        (["kind"], ("kind",), "columns.kind: the column must not be looked at: it is private"),
        (
            {"kind": "number"},
            (),
            "columns.kind: the column is string, which cannot be used as number; it can be text or category",
        ),
        ((), ROWS.column_names, "columns: there is no column to learn from"),
    ],
)
def test_columns_that_cannot_be_features_are_named(given, unseen, message):
    with pytest.raises(HeadwaterError, match=message):
        features.features_of("columns", ROWS.schema, given, unseen)


@pytest.mark.parametrize(
    ("column", "form"),
    [("nothing", None), ("kind", "number"), ("amount", "text"), ("lists", None), ("kind", "embedding")],
)
def test_for_models_and_for_distances_a_wrong_column_is_the_same_error(column, form):
    schema = ROWS.schema.append(pa.field("lists", pa.list_(pa.string())))
    told = []
    for find in (
        lambda: features.features_of("columns", schema, {column: form or "auto"}, ()),
        lambda: distances.features_of("columns", {column: distances.Column(form=form)}, schema, ()),
    ):
        with pytest.raises(HeadwaterError) as caught:
            find()
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_times_are_categories_in_any_zone():
    rows = pa.table({"at": pa.array([0, 1, None, 0], pa.timestamp("s", "Europe/Berlin"))})
    encoder, batch = made(rows, {"at": "category"})
    vectors = encoder.vectors(batch)
    assert vectors.shape == (4, 3) and (vectors[0] == vectors[3]).all() and vectors[2].tolist() == [0, 0, 1]


def test_vectors_of_whole_numbers_are_embeddings():
    encoder, batch = made(pa.table({"vector": [[1, 2], [3, 4], None]}), ["vector"])
    assert encoder.parts[0].form == "embedding" and encoder.vectors(batch)[:, -1].tolist() == [0, 0, 1]


def test_constant_columns_and_vectors_of_several_lengths():
    with pytest.raises(HeadwaterError, match="columns: no column tells rows apart: same \\(constant\\)"):
        made(given=["same"])
    uneven = pa.table({"vector": [[1.0], [1.0, 2.0]]})
    with pytest.raises(HeadwaterError, match="columns.vector: the vectors must be of one length"):
        made(uneven)
