"""What rules may say, refused before any work; and a schema's demands on rows, beside what TFDV finds in the data."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.errors import HeadwaterError
from headwater.components.validate.rows.quarantine import check_rows
from headwater.components.validate.rows.rules import check_columns, check_row_rules
from headwater.components.validate.rows.schema_checks import broken_rows
from headwater.components.validate.rows.schema_rules import rules_of

COLUMNS = pa.schema(
    [("fare", pa.float64()), ("zone", pa.string()), ("parts", pa.list_(pa.int64())), ("moment", pa.timestamp("us"))]
)


def schema_of(text: str) -> schema_pb2.Schema:
    return text_format.Parse(text, schema_pb2.Schema())


def broken(text: str, table: pa.Table, environment: str = "") -> dict[str, list[int]]:
    """The rows that break each rule of a schema, by what the rule is called less the prefix."""
    batch = table.combine_chunks().to_batches()[0]
    rules = rules_of(schema_of(text), environment, "error", batch.schema)
    return {
        rules[number].name[len("schema:") :]: rows.tolist() for number, rows in broken_rows([*enumerate(rules)], batch)
    }


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            {"row": "fare > 0", "unique": ["zone"]},
            "exactly one of row, unique, references, monotone, outliers; this one has row, unique",
        ),
        ({}, "this one has none"),
        ({"row": ""}, "at least 1 character"),
        ({"unique": []}, "at least 1 item"),
        ({"row": "fare > 0", "tolerance": 1.5}, r"rules.0 \('r'\).tolerance: .*less than or equal to 1"),
        ({"row": "fare > 0", "tolerance": -0.1}, "greater than or equal to 0"),
        ({"row": "fare > 0", "tolerance": float("nan")}, "tolerance"),
        ({"row": "fare > 0", "severity": "fatal"}, "'error' or 'warning'"),
        ({"row": "fare > 0", "rows": 1}, "rows: there is no such setting; did you mean 'row'"),
        ({"name": "schema:zone:domain", "row": "fare > 0"}, "is reserved for rules that come from a schema"),
        (
            {"references": {"columns": ["zone"], "dataset": "x", "to": ["a", "b"]}},
            "`columns` and `to` must have the same length; they have 1 and 2",
        ),
        ({"references": {"columns": ["zone"]}}, "references.dataset"),
        ({"monotone": {"column": "fare", "along": ["moment"]}}, "monotone.along: there is no such setting"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_its_key(rule, message):
    with pytest.raises(HeadwaterError, match=message):
        check_row_rules({"rules": [{"name": "r", **rule}]})


def test_names_tell_rules_apart_and_the_error_names_the_name():
    with pytest.raises(HeadwaterError, match="rules: two rules are named 'a'; names of rules must be unique"):
        check_row_rules({"rules": [{"name": "a", "row": "x > 0"}, {"name": "a", "unique": ["x"]}]})
    with pytest.raises(HeadwaterError, match="a mapping with the key `rules`"):
        check_row_rules(["fare > 0"])


def test_whole_floats_as_kfp_brings_them_are_taken():
    rules = check_row_rules({"rules": [{"name": "a", "row": "x > 0", "tolerance": 1.0}]})
    assert rules.rules[0].tolerance == 1


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"row": "fair >= 0"}, "there is no column 'fair'; did you mean 'fare'?"),
        ({"row": "something >= 0"}, "there is no column 'something'; the columns are fare, zone, parts, moment"),
        ({"unique": ["zone", "Fare"]}, "there is no column 'Fare'; did you mean 'fare'?"),
        ({"references": {"columns": ["zonee"], "dataset": "x"}}, "did you mean 'zone'"),
        ({"monotone": {"column": "fare", "order": ["a"]}}, "there is no column 'a'"),
        ({"monotone": {"column": "parts"}}, "'parts' is list<item: int64>, which cannot be ordered"),
        ({"row": "1 < 2"}, "does not refer to any column"),
        ({"row": "fare"}, "is of type double; a rule must be true or false"),
        ({"row": "fare >"}, "is not a single scalar SQL expression"),
        ({"row": "fare > 0; DROP TABLE x"}, "is not a single scalar SQL expression"),
        ({"row": "fare > (SELECT 1)"}, "a subquery is not allowed"),
        ({"row": "fare > avg(fare)"}, "avg.. is not allowed"),
        ({"row": "random() < fare"}, "random.. is not allowed"),
        ({"row": "moment + moment > moment"}, "cannot be computed"),
        ({"row": "read_text('/etc/passwd') = zone"}, "read_text.. is not allowed"),
    ],
)
def test_a_rule_that_does_not_fit_the_columns_is_refused_before_any_work(rule, message):
    with pytest.raises(HeadwaterError, match=message.replace("?", r"\?")) as error:
        check_columns(check_row_rules({"rules": [{"name": "r", **rule}]}), COLUMNS)
    assert str(error.value).startswith("rules.0 ('r'): ")


def test_a_rule_reads_the_columns_it_names_and_no_others():
    schema = pa.schema([("id", pa.int64()), ("wide", pa.int64()), ('a"b', pa.int64()), ("Größe", pa.int64())])
    rules = [
        {"name": "one", "row": "WIDE > 0"},
        {"name": "two", "row": '"a""b" > id'},
        {"name": "three", "row": "größe > 0"},
    ]
    assert check_columns(check_row_rules({"rules": rules}), schema) == {
        "one": ["wide"],
        "two": ["id", 'a"b'],
        "three": ["Größe"],
    }


def test_columns_that_sql_takes_for_one_are_refused_where_a_rule_names_them():
    schema = pa.schema([("A", pa.int64()), ("a", pa.int64()), ("b", pa.int64())])
    with pytest.raises(HeadwaterError, match="may mean 'A' or 'a', because SQL ignores the case of names"):
        check_columns(check_row_rules({"rules": [{"name": "r", "row": "a > 0"}]}), schema)
    rules = check_row_rules({"rules": [{"name": "r", "row": "b > 0"}, {"name": "u", "unique": ["a"]}]})
    assert check_columns(rules, schema) == {"r": ["b"], "u": ["a"]}


def test_bad_input_of_a_check(tmp_path):
    pq.write_table(pa.table({"fare": [1.0], "zone": ["a"]}), tmp_path / "in.parquet")
    pq.write_table(pa.table({"zone": [1]}), tmp_path / "other.parquet")
    source = str(tmp_path / "in.parquet")
    missing = {"columns": ["zone"], "dataset": str(tmp_path / "nothing.parquet")}
    untyped = {"columns": ["zone"], "dataset": str(tmp_path / "other.parquet")}
    for config, options, message in [
        ({"rules": []}, {}, "there are no rules and no schema"),
        ({"rules": [{"name": "z", "references": missing}]}, {}, r"rules.0 \('z'\): references: .*nothing.parquet"),
        ({"rules": [{"name": "z", "references": untyped}]}, {}, "'zone' is string, but 'zone' of .* is int64"),
        (
            {"rules": [{"name": "z", "references": {**untyped, "to": ["zonne"]}}]},
            {},
            "references.to: there is no column 'zonne'; did you mean 'zone'",
        ),
        ({"private": ["far"], "rules": [{"name": "f", "row": "fare > 0"}]}, {}, "private: there is no column 'far'"),
        ({}, {"environment": "SERVING"}, "no rules and no schema"),
        ({}, {"environment": "SERVING", "schema": schema_of('default_environment: "TRAINING"')}, "it has TRAINING"),
        ({}, {"schema": schema_of('feature { name: "zone" domain: "zones" }')}, "refers to the domain 'zones'"),
    ]:
        with pytest.raises(HeadwaterError, match=message):
            check_rows(source, config=config, passed=str(tmp_path / "good"), workers=1, **options)
    assert not (tmp_path / "good").exists()


def test_each_demand_of_a_schema_finds_its_rows():
    table = pa.table(
        {
            "zone": ["a", "zz", None, "", "b"],
            "fare": [0.0, -0.1, np.nan, np.inf, None],
            "parts": pa.array([[1], [], None, [1, 2, 3], [None, 9]], pa.list_(pa.int64())),
            "nested": pa.array([[[1], [2]], [[1, 2]], [], None, [[], [1]]], pa.list_(pa.list_(pa.int64()))),
            "flag": pa.array(["yes", "no", "maybe", None, "yes"]).dictionary_encode(),
        }
    )
    text = """
      feature { name: "zone" type: BYTES presence { min_fraction: 1 } domain: "zones" }
      feature { name: "fare" type: FLOAT float_domain { min: 0 max: 100 disallow_nan: true disallow_inf: true } }
      feature { name: "parts" type: INT value_count { min: 1 max: 2 } int_domain { max: 8 } }
      feature { name: "nested" type: INT
                value_counts { value_count { min: 2 max: 2 } value_count { min: 1 max: 1 } } }
      feature { name: "flag" type: BYTES bool_domain { true_value: "yes" false_value: "no" } }
      feature { name: "gone" type: BYTES presence { min_fraction: 1 } }
      feature { name: "old" type: BYTES presence { min_fraction: 1 } lifecycle_stage: DEPRECATED }
      string_domain { name: "zones" value: "a" value: "b" }
    """
    assert broken(text, table) == {
        "zone:missing": [2],
        "zone:domain": [1, 3],
        "fare:range": [1, 3],
        "fare:nan": [2],
        "fare:infinite": [3],
        "parts:valency": [1, 3],
        "parts:range": [4],
        "nested:valency": [1, 2, 4],
        "flag:domain": [2],
        "gone:missing": [0, 1, 2, 3, 4],
    }


def test_features_inside_structs_are_traced_to_their_rows():
    kind = pa.struct([("price", pa.float64()), ("name", pa.string())])
    rows = [
        [{"price": 1.0, "name": "x"}, {"price": -1.0, "name": "x"}],
        [],
        None,
        [{"price": 1.0, "name": None}],
        [{"price": 3.0, "name": "x"}, None],
    ]
    text = """
      feature { name: "items" type: STRUCT struct_domain {
        feature { name: "price" type: FLOAT float_domain { min: 0 max: 2 } }
        feature { name: "name" type: BYTES presence { min_fraction: 1 } }
        feature { name: "none" type: BYTES presence { min_fraction: 1 } } } }
    """
    expected = {"items.price:range": [0, 4], "items.name:missing": [3], "items.none:missing": [0, 3, 4]}
    assert broken(text, pa.table({"items": pa.array(rows, pa.list_(kind))})) == expected
    one = pa.table({"items": pa.array([{"price": 5.0, "name": None}, None], kind)})
    assert broken(text, one) == {"items.price:range": [0], "items.name:missing": [0], "items.none:missing": [0]}


def test_values_of_every_type_are_compared_as_statistics_see_them():
    day = datetime.date(1970, 1, 11)
    table = pa.table(
        {
            "bool": [True, False, None],
            "decimal": [decimal.Decimal("1.5"), decimal.Decimal("99.0"), None],
            "half": pa.array(np.array([1, 99, 1], np.float16)),
            "small": pa.array([1, 99, None], pa.uint8()),
            "date": [day, day + datetime.timedelta(days=200), None],
            "moment": pa.array([10, 99, None], pa.timestamp("ms", "UTC")),
            "time": pa.array([10, 99, None], pa.time32("s")),
            "text": ["10", " 99 ", "x"],
            "bytes": [b"10", b"99", None],
            "fixed": pa.array([b"ab", b"zz", None], pa.binary(2)),
            "pair": pa.array([[1, 1], [1, 99], None], pa.list_(pa.int64(), 2)),
            "map": pa.array([[("a", 1)], [("a", 1), ("b", 2)], None], pa.map_(pa.string(), pa.int64())),
            "null": pa.nulls(3),
        }
    )
    text = """
      feature { name: "bool" type: INT int_domain { max: 0 } }
      feature { name: "decimal" type: FLOAT float_domain { max: 2 } }
      feature { name: "half" type: FLOAT float_domain { max: 2 } }
      feature { name: "small" type: BYTES string_domain { value: "1" } }
      feature { name: "date" type: INT int_domain { max: 20 } }
      feature { name: "moment" type: INT int_domain { max: 20000 } }
      feature { name: "time" type: INT int_domain { max: 20000000 } }
      feature { name: "text" type: BYTES int_domain { max: 20 } }
      feature { name: "bytes" type: BYTES string_domain { value: "10" } }
      feature { name: "fixed" type: BYTES string_domain { value: "ab" } }
      feature { name: "pair" type: INT int_domain { max: 2 } value_count { min: 2 max: 2 } }
      feature { name: "map" type: STRUCT value_count { max: 1 } }
      feature { name: "null" type: INT int_domain { max: 2 } presence { min_fraction: 1 } }
    """
    assert broken(text, table) == {
        "bool:range": [0],
        **{f"{name}:range": [1] for name in ("decimal", "half", "date", "moment", "time", "pair")},
        **{f"{name}:domain": [1] for name in ("small", "bytes", "fixed")},
        "text:range": [1, 2],
        "map:valency": [1],
        "null:missing": [0, 1, 2],
    }
    sliced = table.combine_chunks().to_batches()[0].slice(1)
    rules = rules_of(schema_of(text), "", "error", sliced.schema)
    found = {rules[number].path[0]: rows.tolist() for number, rows in broken_rows([*enumerate(rules)], sliced)}
    assert found == {
        **{
            name: [0]
            for name in ("decimal", "half", "small", "date", "moment", "time", "bytes", "fixed", "pair", "map")
        },
        "text": [0, 1],
        "null": [0, 1],
    }


def test_a_share_that_may_be_missing_or_unseen_has_no_row_to_blame(tmp_path):
    text = """
      feature { name: "zone" type: BYTES presence { min_fraction: 0.7 } string_domain { value: "a" }
                distribution_constraints { min_domain_mass: 0.9 } }
    """
    pq.write_table(pa.table({"zone": ["a", "zz", None, "a"]}), tmp_path / "in.parquet")
    report = check_rows(str(tmp_path / "in.parquet"), schema=schema_of(text), config={}, workers=1)
    assert report.accounts["quarantined"] == 0
    assert [(f["rule"], f["severity"], f["broken"]) for f in report.findings] == [("schema:zone:domain", "warning", 1)]
    assert [round(rule["tolerance"], 6) for rule in report.rules] == [0.3, 0.1]


KINDS = {
    "missing": {"FEATURE_TYPE_LOW_FRACTION_PRESENT", "SCHEMA_MISSING_COLUMN", "FEATURE_TYPE_NOT_PRESENT"},
    "domain": {"ENUM_TYPE_UNEXPECTED_STRING_VALUES", "BOOL_TYPE_UNEXPECTED_STRING"},
    "range": {"INT_TYPE_SMALL_INT", "INT_TYPE_BIG_INT", "FLOAT_TYPE_SMALL_FLOAT", "FLOAT_TYPE_BIG_FLOAT"},
    "nan": {"FLOAT_TYPE_HAS_NAN"},
    "infinite": {"FLOAT_TYPE_HAS_INF"},
    "valency": {"FEATURE_TYPE_LOW_NUMBER_VALUES", "FEATURE_TYPE_HIGH_NUMBER_VALUES"},
}


@pytest.mark.parametrize("environment", ["", "TRAINING", "SERVING"])
@pytest.mark.parametrize("seed", range(3))
def test_rows_are_to_blame_where_tfdv_finds_an_anomaly_of_that_kind(seed, environment):
    from tensorflow_data_validation.statistics import stats_impl
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    from headwater.components.common.tfdv import tfdv

    chance = np.random.default_rng(seed)
    rows = 40
    lists = [None if chance.random() < 0.1 else [1] * chance.integers(0, 4) for _ in range(rows)]
    number = chance.normal(0, 1, rows).astype(np.float32)
    number[chance.integers(0, rows, seed)] = np.nan
    number[chance.integers(0, rows, 2 - seed)] = np.inf
    one = pa.array([[value] for value in number.tolist()], pa.list_(pa.float32()))
    table = pa.table(
        {
            "zone": pa.array(
                [None if chance.random() < 0.1 * seed else [chance.choice(["a", "b", "c"])] for _ in range(rows)],
                pa.list_(pa.string()),
            ),
            "count": pa.array([[int(n)] for n in chance.integers(0, 20, rows)], pa.list_(pa.int64())),
            "parts": pa.array(lists, pa.list_(pa.int64())),
            "number": one,
            "label": pa.array([None] * rows if seed == 1 else [["x"]] * rows, pa.list_(pa.string())),
        }
    )
    pieces = [
        'feature { name: "zone" type: BYTES presence { min_fraction: 1 } string_domain { value: "a" value: "b" %s } }'
        % ('value: "c"' if seed == 0 else ""),
        'feature { name: "count" type: INT int_domain { min: %d max: %d } }' % (seed, 17 + seed),
        'feature { name: "parts" type: INT value_count { min: %d max: %d } }' % (seed, 1 + seed),
        'feature { name: "number" type: FLOAT float_domain { max: 1e9 disallow_nan: true disallow_inf: true } }',
        'feature { name: "label" type: BYTES presence { min_fraction: 1 } not_in_environment: "SERVING" }',
        'feature { name: "absent" type: BYTES presence { min_fraction: 1 } not_in_environment: "SERVING" }',
        'default_environment: "TRAINING" default_environment: "SERVING"',
    ]
    text = "\n".join(pieces)
    ours = {name: found for name, found in broken(text, table, environment).items() if found}
    statistics = stats_impl.generate_statistics_in_memory(table.combine_chunks().to_batches()[0], tfdv.StatsOptions())
    anomalies = tfdv.validate_statistics(statistics, schema_of(text), environment=environment or None)
    theirs = {
        (name.strip("'"), anomalies_pb2.AnomalyInfo.Type.Name(reason.type))
        for name, info in anomalies.anomaly_info.items()
        for reason in info.reason
    }
    for name in ("zone", "count", "parts", "number", "label", "absent"):
        for what, kinds in KINDS.items():
            found = any((name, kind) in theirs for kind in kinds)
            assert (f"{name}:{what}" in ours) == found, (name, what, sorted(theirs), sorted(ours))
    assert len(ours) >= 2


def test_a_shape_counts_the_values_of_all_levels():
    table = pa.table(
        {
            "grid": pa.array([[[1, 2], [3, 4]], [[1], [2]], None, []], pa.list_(pa.list_(pa.int64()))),
            "one": pa.array([1, None, 2, 3], pa.int64()),
        }
    )
    text = """
      feature { name: "grid" type: INT shape { dim { size: 2 } dim { size: 2 } } }
      feature { name: "one" type: INT shape { } }
    """
    assert broken(text, table) == {"grid:valency": [1, 3]}
