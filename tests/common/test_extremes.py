"""The least and the most of numbers, as Arrow finds them."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from headwater.components.common.extremes import extremes, extremes_of


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int64(), pa.uint8(), pa.int16()])
@pytest.mark.parametrize("missing", [0.0, 0.3, 1.0])
def test_they_are_those_of_arrow(kind, missing):
    chance = np.random.default_rng(5)
    values = pa.array(chance.integers(0, 100, 5_000), mask=chance.random(5_000) < missing).cast(kind)
    column = pa.concat_arrays([pa.nulls(3, kind), values]).slice(2)
    expected = tuple(pc.min_max(column).as_py().values())
    assert extremes(column) == expected
    assert extremes(pa.chunked_array([column.slice(0, 7), column.slice(7)])) == expected
    assert extremes(pa.chunked_array([], kind)) == (None, None)


def test_what_is_no_number_counts_for_nothing():
    nan = math.nan
    assert extremes(pa.array([nan, None, 2.5, -1.0, nan])) == (-1.0, 2.5)
    assert extremes(pa.array([nan, None])) == extremes_of(np.array([nan])) == (None, None)
    assert extremes(pa.array([math.inf, -math.inf, nan])) == (-math.inf, math.inf)


@pytest.mark.parametrize("zeros", [[-0.0, 0.0], [0.0, -0.0], [-0.0] * 40])
def test_zero_has_no_sign(zeros):
    assert [math.copysign(1, each) for each in extremes(pa.array(zeros))] == [1, 1]
