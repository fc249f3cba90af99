"""CSV ranges and rows, against Python's own csv module reading the whole file."""

from __future__ import annotations

import csv as python_csv
import io

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import files, inferring
from headwater.components.common.sources.files import Reading, SourceFile
from headwater.components.common.sources.formats import csv, csv_inferring, csv_parsing, csv_ranges
from headwater.components.common.sources.formats.base import Block
from headwater.components.common.sources.formats.dialect import Dialect
from headwater.components.common.sources.rejections import VALUE_BYTES

NAMES = ["a", "b"]
TEXT = {"a": pa.string(), "b": pa.string()}
COMMA = Dialect()

values = st.text(st.sampled_from('x,"\n\r é'), max_size=6)


def ranges_of(path, block_bytes, dialect=COMMA):
    data = path.read_bytes()
    first = csv_ranges.find_content(str(path), data, dialect)
    first += csv_ranges.read_header(str(path), data[first:], dialect)[2]
    blocks = [
        csv_ranges.scan_block(
            data[max(start, first if not start else 0) : start + block_bytes], dialect, data[start - 1 : start] or b"\n"
        )
        for start in range(0, len(data), block_bytes)
    ]
    ended = data.endswith(b"\n")
    return csv_ranges.chain_blocks(str(path), str(path), blocks, len(data), dialect, first, ended=ended)


def rows_of(path, ranges, kinds=TEXT, dialect=COMMA):
    data = path.read_bytes()
    rows, numbers = [], []
    first = csv_ranges.first_row_number(dialect)
    for start, stop, known in ranges:
        batch, found, rejections = csv.read_rows(data[start:stop], NAMES, kinds, dialect, first)
        count, _ = csv.infer_types(data[start:stop], NAMES, dialect)
        assert count == batch.num_rows + len(rejections)
        # Where line ends alone tell the number of records, they tell it right.
        assert known in (-1, count)
        first += count
        rows += zip(*[column.to_pylist() for column in batch.columns])
        numbers += found.tolist() + [rejection.row for rejection in rejections]
    assert sorted(numbers) == list(range(csv_ranges.first_row_number(dialect), first))
    return rows


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.lists(st.tuples(values, values), min_size=1, max_size=12), block_bytes=st.integers(9, 40))
def test_every_record_is_read_once_wherever_the_blocks_fall(table, block_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", block_bytes)
    sink = io.StringIO()
    writer = python_csv.writer(sink, quoting=python_csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(NAMES)
    writer.writerows(table)
    path = tmp_path / "t.csv"
    path.write_bytes(sink.getvalue().encode())
    assert rows_of(path, ranges_of(path, block_bytes)) == [(a or None, b or None) for a, b in table]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.lists(st.sampled_from(["x", '"', ",", "\n", '""', '"x,\n"', ' 5" pipe']), max_size=30),
    block_bytes=st.integers(5, 24),
)
def test_stray_quotes_cut_no_record(body, block_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(body))
    try:
        ranges = ranges_of(path, block_bytes)
    except HeadwaterError as error:
        # The whole file in one block agrees that a quote never closes.
        assert "never closes" in str(error)
        monkeypatch.setattr(files, "BLOCK_BYTES", 1 << 20)
        with pytest.raises(HeadwaterError, match="never closes"):
            ranges_of(path, 1 << 20)
        return
    monkeypatch.setattr(files, "BLOCK_BYTES", 1 << 20)
    assert rows_of(path, ranges) == rows_of(path, ranges_of(path, 1 << 20))


@settings(deadline=None, max_examples=300)
@given(
    rows=st.sampled_from(['x1,"\n\r é', "x1é"]).flatmap(
        lambda letters: st.lists(
            st.lists(st.text(st.sampled_from(letters), max_size=6), min_size=1, max_size=3), max_size=12
        )
    ),
    end=st.sampled_from(["\n", "\r\n"]),
    dialect=st.sampled_from([COMMA, Dialect(escape="\\"), Dialect(quote="")]),
    block_bytes=st.integers(1, 40),
)
def test_rows_do_not_depend_on_what_is_parsed_together(rows, end, dialect, block_bytes):
    def written(text):
        # Quotes within a value may stand as they are.
        plain = not dialect.quote or not text.startswith('"') and not set(",\n\r").intersection(text)
        return text if plain else '"' + text.replace('"', '""') + '"'

    data = "".join(",".join(map(written, row)) + end for row in rows).encode()

    def read():
        batch, numbers, rejections = csv.read_rows(data, NAMES, {"a": pa.string(), "b": pa.int64()}, dialect, 1)
        return batch.to_pydict(), numbers.tolist(), rejections, csv.infer_types(data, NAMES, dialect)

    whole = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_parsing, "BLOCK_BYTES", block_bytes)
        assert read() == whole


def test_an_unclosed_quote_names_its_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,x\n2,"y\n3,z\n')
    with pytest.raises(HeadwaterError, match=r"t.csv: a quote opens on line 3 and never closes"):
        ranges_of(path, 1 << 20)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n", "the first line is empty"),
        ("é,b\n".encode("latin-1"), "header is not UTF-8"),
        (b"a,b\0\n", "NUL byte"),
        (b"a,b\r1,2\r", "lines end in CR alone"),
    ],
)
def test_a_header_that_names_no_columns_is_refused(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(HeadwaterError, match=message):
        csv_ranges.read_header(str(path), content[csv_ranges.find_content(str(path), content, COMMA) :], COMMA)


def test_a_header_may_have_a_byte_order_mark_and_quotes(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbf"a","b ""c""\nd"\n1,2\n')
    content = path.read_bytes()
    content = content[csv_ranges.find_content(str(path), content, COMMA) :]
    assert csv_ranges.read_header(str(path), content, COMMA) == (["a", 'b "c"\nd'], [], len(content) - 4)
    [(start, stop, rows)] = ranges_of(path, 1 << 20)
    assert path.read_bytes()[start:stop] == b"1,2\n"
    assert rows == 1


def test_a_stray_quote_in_the_header_takes_no_record_with_it(tmp_path):
    content = b'5" pipe,b\n1,2\n"x",3\n'
    assert csv_ranges.read_header("t.csv", content, COMMA) == (['5" pipe', "b"], [], content.index(b"\n") + 1)


def test_bad_rows_are_rejected_with_row_column_and_reason():
    data = b'1,x\n2\n3,\xff\n\n"4 ""q""\n",y\nz,w\n5,"n\0l"\n6\xfe\n7,ok\n'
    batch, rows, rejections = csv.read_rows(data, NAMES, {"a": pa.int64(), "b": pa.string()}, COMMA, 2)
    assert batch.to_pydict() == {"a": [1, 7], "b": ["x", "ok"]}
    assert rows.tolist() == [2, 9]
    assert [tuple(rejection) for rejection in rejections] == [
        (3, None, "ragged_row: 1 values where the header has 2", "2"),
        (4, "b", "encoding: not UTF-8", "\ufffd"),
        (5, "a", "type: not an int64", '4 "q"\n'),
        (6, "a", "type: not an int64", "z"),
        (7, "b", "nul_byte: the value holds a NUL byte", "n␀l"),
        (8, None, "ragged_row: 1 values where the header has 2", "6\ufffd"),
    ]


def test_one_bad_byte_does_not_change_what_a_column_is():
    count, kinds = csv.infer_types(b"1,2\n3,\0\n5,\xff6\n", NAMES, COMMA)
    assert count == 3
    assert {name: inferring.settle(kind) for name, kind in kinds.items()} == {"a": pa.int64(), "b": pa.int64()}


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("us"), pa.decimal128(9, 2)]
)
@pytest.mark.parametrize(
    "text",
    [
        "5",
        " 5 ",
        "+5",
        "-5",
        "0x1F",
        "1e3",
        "1.50",
        ".5",
        "inf",
        "-Inf",
        "NaN",
        "NA",
        "",
        "true",
        "T",
        "0",
        "2013-01-01",
        "2013-01-01 05:00",
        "2013-1-1",
        "1_000",
        "99999999999999999999",
        '"',
        "é",
    ],
)
def test_a_bad_neighbour_does_not_change_how_a_value_is_read(kind, text):
    """The fast conversion of a whole column and the slow one around bad values agree."""
    kinds = {"a": pa.string(), "b": kind}
    row = b"r," + (f'"{text}"' if '"' not in text else '""""').encode() + b"\n"
    alone, _, refused = csv.read_rows(row, NAMES, kinds, COMMA, 2)
    both, _, refused_both = csv.read_rows(row + b"r,#bad\n", NAMES, kinds, COMMA, 2)
    assert both.to_pydict() == alone.to_pydict() or "NaN" in text
    assert refused_both[: len(refused)] == refused
    assert len(refused_both) == len(refused) + 1


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (b"1\n2", pa.int64()),
        (b"1\n2.5", pa.float64()),
        (b"1\n", pa.int64()),
        (b"NA\n1", pa.int64()),
        (b"NA\nx", pa.string()),
        (b"true\nfalse", pa.bool_()),
        (b"2013-01-01\n", pa.date32()),
        (b"2013-01-01 05:00:00\n", pa.timestamp("us")),
        (b"2013-01-01T05:00:00Z\n", pa.timestamp("us", "UTC")),
        (b"05:00\n", pa.time32("ms")),
        (b"02139\n10001", pa.string()),
        (b"0.5\n10", pa.float64()),
        (b"12345678901234567890\n1", pa.string()),
        (b"1e300\n1", pa.float64()),
        (b"x\n1", pa.string()),
        (b"", pa.null()),
    ],
)
def test_types_are_inferred_without_losing_a_digit(column, kind):
    data = b"".join(b"r," + value + b"\n" for value in column.split(b"\n"))
    assert inferring.settle(csv.infer_types(data, NAMES, COMMA)[1]["b"]) == kind


def test_a_column_of_text_keeps_na_and_loses_empty():
    batch, _, _ = csv.read_rows(b'NA,1\n,NA\n"",\n', NAMES, {"a": pa.string(), "b": pa.int64()}, COMMA, 2)
    assert batch.to_pydict() == {"a": ["NA", None, None], "b": [1, None, None]}


def test_a_rejected_value_is_kept_up_to_256_bytes():
    data = b"1," + "é".encode() * 1000 + b"\n"
    _, _, [rejection] = csv.read_rows(data, NAMES, {"a": pa.int64(), "b": pa.int64()}, COMMA, 2)
    assert len(rejection.value.encode()) <= VALUE_BYTES


_VALUES = st.sampled_from(
    [
        "",
        "1",
        "-2",
        "0",
        "01",
        "0x1F",
        "+3",
        "4.0",
        "1.5",
        "-.5",
        "1e3",
        "1e-3",
        "inf",
        "nan",
        "NA",
        "null",
        "true",
        "t",
        "F",
    ]
    + ["12345678901234567", "9007199254740993", "9223372036854775807", "18446744073709551615", "1e300", "2024-01-02"]
    + [
        "2024-01-02 03:04:05",
        "2024-01-02T03:04:05.123456789Z",
        "12:30",
        "word",
        "value-1",
        "ünder",
        "'x'",
        " 5 ",
        "None",
    ]
    + ['"quoted"', '"a, b"', '"two\nlines"', "#N/A", "-nan", "1,2", "\xff"]
    + ["id-1", "n/a", "infinity", "True", "FALSE", "null ", "i", "N", "note", "nine", "iota", "fine", "tale", "N/A"]
)


@st.composite
def _blocks(draw):
    """First blocks of a few files, whose columns each have a few values."""
    blocks = []
    columns = [draw(st.lists(_VALUES, min_size=1, max_size=3)) for _ in range(3)]
    for number in range(draw(st.integers(2, 5))):
        rows = [[draw(st.sampled_from(values)) for values in columns] for _ in range(draw(st.integers(0, 4)))]
        end = draw(st.sampled_from(["\n", "\n", "\n", "\r\n"]))
        text = end.join(["a,b,c", *map(",".join, rows)]) + draw(st.sampled_from([end, ""]))
        data = text.encode("latin-1" if draw(st.integers(0, 19)) == 0 else "utf-8")
        file = SourceFile(f"{number}.csv", "csv", len(data))
        blocks.append(Block(file, 0, data, b"\n", Reading(thousands=draw(st.sampled_from([""] * 9 + ["."])))))
    return blocks


@settings(max_examples=600, deadline=None)
@given(_blocks())
def test_files_looked_at_together_look_as_each_alone(blocks):
    def looks(look):
        try:
            return look()
        except HeadwaterError as error:
            return str(error)

    assert looks(lambda: csv.FORMAT.look_together(blocks)) == looks(
        lambda: [csv.FORMAT.look(block) for block in blocks]
    )


@pytest.mark.parametrize(("last", "parsed"), [("x", 1), ("true", 6)])
def test_types_of_files_alike_are_inferred_at_once(monkeypatch, last, parsed):
    """Text, whole numbers and fractions are certain; of booleans each file is looked at, and of those columns alone."""
    data = f"a,b,c\n1,2.5,{last}\n2,,{last}\n".encode()
    blocks = [Block(SourceFile(f"{number}.csv", "csv", len(data)), 0, data, b"\n", Reading()) for number in range(5)]
    calls = []
    parse = csv_inferring.parse
    monkeypatch.setattr(csv_inferring, "parse", lambda *arguments: (calls.append(arguments), parse(*arguments))[1])
    kinds = {"x": "string", "true": "bool"}
    expected = {"a": "int64", "b": "double", "c": kinds[last]}
    assert [look["kinds"] for look in csv.FORMAT.look_together(blocks)] == [expected] * 5
    assert len(calls) == parsed and all(list(only) == ["c"] for *_, only in calls[1:])
