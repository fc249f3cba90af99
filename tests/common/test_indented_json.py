"""JSON of manifests is the standard library's, byte for byte."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.components.common.indented_json import indented

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_KEYS = st.text() | st.integers() | st.booleans() | st.none()
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(_KEYS, inner),
    max_leaves=30,
)


@given(_VALUES)
def test_it_is_what_json_gives_with_an_indent_of_1(value):
    assert indented(value) == json.dumps(value, indent=1, allow_nan=False)


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": {"b": [1, -math.inf, {}]}}])
def test_numbers_that_json_has_no_name_for_are_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        indented(value)
