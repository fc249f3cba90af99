"""TFDV's anomalies in words: real ones, of this very TFDV, so that a change of its texts is seen."""

from __future__ import annotations

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv

from headwater.components.validate.tfdv_words import in_words


@pytest.fixture(scope="module")
def said():
    before = pd.DataFrame({"kind": ["a", "b"] * 50, "size": [0.5, 1.5] * 50, "full": ["x", "y"] * 50})
    after = pd.DataFrame(
        {"kind": ["a", "new"] * 50, "size": [1, 2] * 50, "full": ["x", None, "y", "x"] * 25, "more": [1] * 100}
    )
    schema = tfdv.infer_schema(tfdv.generate_statistics_from_dataframe(before))
    anomalies = tfdv.validate_statistics(tfdv.generate_statistics_from_dataframe(after), schema)
    names = type(next(iter(anomalies.anomaly_info.values()))).Type
    return {
        names.Name(reason.type): in_words(names.Name(reason.type), reason.short_description, reason.description)
        for info in anomalies.anomaly_info.values()
        for reason in info.reason
    }


def test_each_kind_is_a_sentence(said):
    assert said["ENUM_TYPE_UNEXPECTED_STRING_VALUES"] == "values that are not in the schema: new (~50 %)"
    assert said["UNEXPECTED_DATA_TYPE"] == "the values are INT, but the schema has FLOAT"
    missing = "missing in 25 % of the rows, where the schema asks for a value in every row"
    assert said["FEATURE_TYPE_LOW_FRACTION_PRESENT"] == missing
    assert said["INVALID_FEATURE_SHAPE"] == (
        "the schema fixes how many values a row has, but values are missing or lists vary in length"
    )
    assert said["SCHEMA_NEW_COLUMN"] == "a new column: the schema does not have it"


def test_a_text_that_is_not_known_is_kept():
    assert in_words("UNEXPECTED_DATA_TYPE", "Title", "Another text") == "Title: Another text"
    few = in_words("FEATURE_TYPE_LOW_FRACTION_PRESENT", "", "minimum fraction = 0.999000, actual = 0.998500")
    assert few == "missing in 0.15 % of the rows, where the schema asks for a value in 99.9 % of the rows at least"
