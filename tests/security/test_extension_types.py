"""Extension types are read as they are stored, at any depth, known to pyarrow or not, with a finding that names them."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import HeadwaterError, open_dataset
from headwater.components.common.dataset import load_dataset, read_element
from headwater.components.common.extension_types import named, storage_batch, storage_schema
from headwater.components.generate_statistics import compute_statistics

BYTES = pa.array([b"a" * 16, None, b"c" * 16, b"d" * 16], pa.binary(16))


class Registered(pa.ExtensionType):
    """One that this process knows, as pandas registers its periods and newer pyarrows know arrow.uuid."""

    def __init__(self, storage: pa.DataType = pa.binary(16)):
        super().__init__(storage, "test.registered")

    def __arrow_ext_serialize__(self):
        return b"{}"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        json.loads(serialized)
        return cls(storage)


@pytest.fixture
def registered():
    pa.register_extension_type(Registered())
    yield
    pa.unregister_extension_type("test.registered")


def marked(field: pa.Field, name: str, metadata: str = "") -> pa.Field:
    return field.with_metadata({"ARROW:extension:name": name, "ARROW:extension:metadata": metadata})


def nested(item: pa.Field, values: pa.Array) -> dict[str, pa.Array]:
    """Values at each depth that a type may stand at."""
    starts = pa.array([0, 1, 2, 4], pa.int32())
    struct = pa.StructArray.from_arrays([values], fields=[item.with_name("x")])
    key = pa.field("key", pa.string(), False)
    entries = pa.StructArray.from_arrays([pa.array(list("abcd")), values], fields=[key, item.with_name("value")])
    kind = pa.map_(key, item.with_name("value"))
    return {
        "struct": struct,
        "list": pa.Array.from_buffers(pa.list_(item), 3, [None, starts.buffers()[1]], children=[values]),
        "map": pa.Array.from_buffers(kind, 3, [None, starts.buffers()[1]], children=[entries]),
        "list of struct": pa.ListArray.from_arrays(starts, struct),
    }


@pytest.mark.sweep(3)
@pytest.mark.parametrize("depth", ["itself", "struct", "list", "map", "list of struct"])
@pytest.mark.parametrize("known", [False, True])
def test_at_every_depth(known, depth, registered, tmp_path):
    plain = pa.field("item", BYTES.type)
    item = pa.field("item", Registered()) if known else marked(plain, "geoarrow.point")
    values = pa.ExtensionArray.from_storage(Registered(), BYTES) if known else BYTES
    if depth == "itself":
        column, expected, field = values, BYTES, item.with_name("v")
    else:
        column, expected = nested(item, values)[depth], nested(plain, BYTES)[depth]
        field = pa.field("v", column.type)
    ids = pa.array(range(len(column)))
    pq.write_table(pa.table([ids, column], pa.schema([pa.field("id", ids.type), field])), tmp_path / "t.parquet")
    result = collect_dataset(str(tmp_path / "t.parquet"), str(tmp_path / "out"), workers=1, splits={"all": 1})
    name = "test.registered" if known else "geoarrow.point"
    found = [each for each in result.body["findings"] if each["rule"] == "extension_type"]
    assert all(each["severity"] == "info" and each["column"] == "v" and repr(name) in each["message"] for each in found)
    # pyarrow 10 does not say what the values of a map are an extension of; it reads their storage.
    assert len(found) == 1 or (depth == "map" and not named(pq.read_schema(tmp_path / "t.parquet")))
    rows = open_dataset(str(tmp_path / "out")).to_table()
    assert named(rows.schema) == [] and rows.schema.field("v").type.equals(expected.type)
    assert rows.sort_by("id")["v"].to_pylist() == expected.to_pylist()
    if depth == "itself":
        assert compute_statistics(str(tmp_path / "t.parquet"), str(tmp_path / "statistics"), workers=1)


@pytest.mark.parametrize("name", ["arrow.uuid", "arrow.json", "arrow.bool8", "arrow.opaque", "pandas.period", "ours"])
def test_names_that_some_pyarrow_knows(name, tmp_path, capsys):
    numbers = [0, 1, None, 1]
    # What any test of this process did with pandas may have registered its type.
    own = {"arrow.bool8": pa.array(numbers, pa.int8()), "pandas.period": pa.array(numbers, pa.int64())}
    storage = {"arrow.uuid": BYTES, **own}.get(name)
    storage = pa.array(["{}", None, "[1]", "{}"]) if storage is None else storage
    metadata = (
        json.dumps({"type_name": "t", "vendor_name": "v", "freq": "D"})
        if name in ("arrow.opaque", "pandas.period")
        else ""
    )
    schema = pa.schema([marked(pa.field("v", storage.type), name, metadata)])
    pq.write_table(pa.table([storage], schema), tmp_path / "t.parquet")
    dataset = load_dataset(str(tmp_path / "t.parquet"), workers=1)
    assert f"read: info: 'v' has the extension type {name!r}" in capsys.readouterr().out
    [batch] = read_element(dataset.elements("all")[0], dataset.schema)
    assert batch.column(0).equals(storage)


def test_metadata_that_a_registered_type_cannot_read_is_one_error(registered, tmp_path):
    schema = pa.schema([marked(pa.field("v", BYTES.type), "test.registered", "no JSON")])
    pq.write_table(pa.table([BYTES], schema), tmp_path / "t.parquet")
    with pytest.raises(HeadwaterError, match=r"t\.parquet: the metadata of an extension type cannot be read: JSON"):
        load_dataset(str(tmp_path / "t.parquet"), workers=1)


def test_other_fields_stay_as_they_are():
    inner = pa.field("x", pa.int64(), False, {"a": "b"})
    schema = pa.schema(
        [pa.field("s", pa.struct([inner]), False), pa.field("m", pa.map_(pa.string(), inner))], {"c": "d"}
    )
    assert storage_schema(schema).equals(schema, check_metadata=True)
    batch = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
    assert storage_batch(batch) is batch
    own = pa.struct([marked(inner, "t").with_metadata({"ARROW:extension:name": "t", "a": "b"})])
    assert storage_schema(pa.schema([("s", own)])).field("s").type[0].equals(inner, check_metadata=True)


@pytest.mark.parametrize(
    "used",
    [
        "pass",
        # pandas registers two extension types of its own.
        "import pandas.core.arrays.arrow.extension_types",
        "import headwater.components.common.beam, pandas.core.arrays.arrow.extension_types",
        pytest.param(
            "import headwater.components.collect.ingest, headwater.components.validate.check", marks=pytest.mark.slow
        ),
    ],
)
def test_a_process_ends_well_whatever_types_it_registered(used):
    done = subprocess.run(
        [sys.executable, "-c", f"import headwater.components.common\n{used}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
