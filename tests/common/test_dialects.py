"""CSV dialects: what is detected, what settings override, and records in any dialect wherever blocks fall."""

from __future__ import annotations

import contextlib
import csv as python_csv
import io
import itertools

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import Reading, discover, files, open_sources, read_element, scan_files
from headwater.components.common.sources.formats import csv, csv_ranges, sniffing
from headwater.components.common.sources.formats.dialect import Dialect
from headwater.components.common.sources.formats.headers import detect_header, name_columns
from headwater.components.common.sources.formats.sniffing import sniff

ROWS = [
    ["id", "when", "note, and more", "amount"],
    ["1", "2024-01-05", "plain", "1.5"],
    ["2", "2024-01-06", "semi;colon | bar\ttab", "2.25"],
    ["3", "2024-01-07", "two\nlines", ""],
    ["4", "2024-01-08", 'a "word" and an apostrophe\'s', "-4"],
    ["5", "", "", "5e3"],
]


def written(rows, delimiter=",", quote='"', escape="", ends="\n", quoting=python_csv.QUOTE_MINIMAL):
    sink = io.StringIO()
    python_csv.writer(
        sink,
        delimiter=delimiter,
        quotechar=quote,
        doublequote=not escape,
        escapechar=escape or None,
        lineterminator=ends,
        quoting=quoting,
    ).writerows(rows)
    return sink.getvalue()


def detected(text, **asked):
    reading = Reading(**asked)
    data = text.encode()
    return sniff(data, True, reading, reading.delimiter or ",")


def table_of(folder, **asked):
    """All rows as text, missing ones as None, and the notices."""
    reading = Reading(**asked)
    scans = scan_files(discover([str(folder)]), str(folder / "_scratch"), reading, workers=1)
    names = list(dict.fromkeys(name for scan in scans for name in scan.file.names))
    opened = open_sources(scans, types=dict.fromkeys(names, "string"), workers=1)
    batches = [
        batch for element in opened.elements for batch, _, _ in read_element(element, opened.schema, opened.guessed)
    ]
    return pa.Table.from_batches(batches, opened.schema), opened


@pytest.mark.sweep(7)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [python_csv.QUOTE_MINIMAL, python_csv.QUOTE_ALL])
@pytest.mark.parametrize("before", ["", "A title\n\n", "# made by hand\n", "\n\n"])
def test_a_dialect_is_detected_and_its_rows_are_read(tmp_path, delimiter, quote, ends, quoting, before):
    text = before + written(ROWS, delimiter, quote, ends=ends, quoting=quoting)
    (tmp_path / "t.csv").write_text(text, newline="")
    table, opened = table_of(tmp_path)
    [file] = opened.files
    assert (file.layout.delimiter, file.layout.quote, file.layout.header) == (delimiter, quote, True)
    assert table.column_names == ROWS[0]
    expected = [[cell or None for cell in row] for row in ROWS[1:]]
    assert [list(row.values()) for row in table.to_pylist()] == expected
    [element] = opened.elements
    assert element.first_row == 2 + before.count("\n")
    told = [notice.message for notice in opened.notices if notice.rule == "csv_dialect"]
    assert len(told) == (delimiter != "," or quote != '"' or bool(before))
    assert not [notice for notice in opened.notices if notice.severity == "warning"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_escapes_are_detected(tmp_path, delimiter):
    (tmp_path / "t.csv").write_text(written(ROWS, delimiter, escape="\\", quoting=python_csv.QUOTE_ALL))
    table, opened = table_of(tmp_path)
    assert opened.files[0].layout.escape == "\\"
    assert [list(row.values()) for row in table.to_pylist()] == [[cell or None for cell in row] for row in ROWS[1:]]


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("sep=;\na;b\n1;2\n", Dialect(";", skip_rows=1)),
        ("\ufeffsep=|\r\na|b\r\n1|2\r\n", Dialect("|", skip_rows=1)),
        ("name;price\na;1,5\nb;2,5\n", Dialect(";")),
        ("name;price\n1,5;2,5\n3,5;4,5\n", Dialect(";")),
        ("id|t\n1|a,b\n2|c,d\n", Dialect("|")),
        ("text\nhello, world\nfoo\n", Dialect()),
        ("text\nhello, world\nbye, all\n", Dialect()),
        ("a\n1\n2\n", Dialect()),
        ("a,b\n1,2\n3,4,5\n6,7\n", Dialect()),
        ("a,b\n1,'t is\n2,'t was\n", Dialect()),
        ('a,path\n1,"C:\\dir\\"\n2,"D:\\"\n', Dialect()),
        ("#chrom,start\nx,1\ny,2\n", Dialect()),
        ("# by x, y\nid,n\n1,2\n3,4\n", Dialect(skip_rows=1)),
        ("id,n\n1,2\n# a note\n3,4\n", Dialect()),
        ("id,n\n1,#2\n2,#3\n", Dialect()),
        ("Report of, 2020\n\nid,n,m\n1,2,3\n4,5,6\n", Dialect(skip_rows=2)),
        # As spreadsheets pad a title.
        ("A title,,\n,,\nid,n,m\n1,2,3\n4,5,6\n", Dialect(skip_rows=2)),
        ("A title\nid,n,m\nx,y,z\nu,v,w\n", Dialect(skip_rows=1)),
        # A header with a stray quote, and one in another dialect, are no titles.
        ('"id,n,"m"\n1,2,"3"\n4,5,"6"\n', Dialect()),
        ("id n m\n5,2,9\n4,5,6\n", Dialect()),
        (",,1\n5,2,9\n4,5,6\n", Dialect(header=False)),
        ("a,b\n", Dialect()),
        ("", Dialect()),
    ],
)
def test_what_is_detected(text, dialect):
    assert detected(text).dialect == dialect


@pytest.mark.parametrize(
    ("rows", "there", "sure"),
    [
        ("a,b|1,x|2,y", True, True),
        ("5.1,3.5,setosa|4.9,3.0,setosa", False, True),
        ("5.1,3.5,setosa|4.9,3.0,setosa|5.1,3.5,setosa", False, True),
        ("a,b|x,y|z,w", True, True),
        ("yes,no|yes,yes|no,no", True, False),
        ("a,b|x,y|a,b", True, True),
        ("country,2019,2020|A,1,2|B,3,4", True, False),
        ("id,2019,2020|1,1.5,2|2,3,4", True, True),
        ("0,1,2|5,7,9|4,4,4", True, False),
        (",a,b|0,1,x|1,2,y", True, True),
        ("2024-01-01,x|2024-01-02,y", False, True),
        ("when,x|2024-01-02,y", True, True),
        ("5.1,3.5", False, True),
        ("a,b", True, True),
        ("true,x|false,y", False, True),
        ("1|2|3", False, True),
        ("n|2|3", True, True),
        ("?,1|3,2|4,5", False, True),
    ],
)
def test_headers_are_told_from_data(rows, there, sure):
    assert detect_header([row.split(",") for row in rows.split("|")]) == (there, sure)


_PIECES = st.sampled_from(
    ["", "a", "1.5", ",", ";", "\n", "\n\n", "\r\n", "\r", '"', "'", "\\", "#", "\x0b", "\u2028", " "]
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(_PIECES, max_size=20).map("".join),
    st.sampled_from(",;"),
    st.sampled_from(['"', "'", ""]),
    st.sampled_from(["", "\\"]),
    st.integers(0, 2),
)
def test_the_first_records_are_those_of_pythons_reader(text, delimiter, quote, escape, skipped):
    dialect = Dialect(delimiter, quote, escape, skip_rows=skipped)
    lines = io.StringIO(text, newline="")
    for _ in range(skipped):
        next(lines, None)
    reader = dialect.read_lines(lines)
    expected = []
    with contextlib.suppress(python_csv.Error):
        expected += ((cells, skipped + reader.line_num) for cells in reader)
    assert list(zip(*sniffing._records(text, dialect))) == expected


@settings(max_examples=500, deadline=None)
@given(st.lists(_PIECES, max_size=20).map("".join), st.sampled_from(",;^]-"))
def test_where_quotes_begin_values(text, delimiter):
    def begin(quote):
        return any(text[at] == quote and (not at or text[at - 1] in f"\n{delimiter}") for at in range(len(text)))

    if begin('"') or not begin("'"):
        assert sniffing._quotes(text, delimiter, Reading()) == ['"']
    quoted = delimiter.join(["'a b'"] * 3)
    assert sniffing._quotes(quoted, delimiter, Reading()) == ["'"]
    assert sniffing._quotes(f'{quoted}\n"a"', delimiter, Reading()) == ['"']


def test_unnamed_columns_get_names_that_no_other_has():
    assert name_columns(["", "a", " ", "column_2"]) == (["column_0", "a", "column_2_", "column_2"], [0, 2])


def test_an_index_without_a_name_is_called_column_0_with_a_finding(tmp_path):
    (tmp_path / "t.csv").write_text(",a,b\n0,1,x\n1,2,y\n")
    table, opened = table_of(tmp_path)
    assert table.to_pydict() == {"column_0": ["0", "1"], "a": ["1", "2"], "b": ["x", "y"]}
    [notice] = opened.notices
    assert (notice.rule, notice.severity, notice.column) == ("unnamed_column", "warning", "column_0")


def test_no_record_of_a_file_without_a_header_is_lost(tmp_path):
    (tmp_path / "t.csv").write_text("5.1,3.5,setosa\n4.9,3.0,virginica\n")
    table, opened = table_of(tmp_path)
    assert table.to_pydict() == {
        "column_0": ["5.1", "4.9"],
        "column_1": ["3.5", "3.0"],
        "column_2": ["setosa", "virginica"],
    }
    assert opened.elements[0].first_row == 1
    assert [(notice.rule, notice.severity) for notice in opened.notices] == [("csv_dialect", "warning")]
    table, opened = table_of(tmp_path, header=True)
    assert table.column_names == ["5.1", "3.5", "setosa"]
    assert not opened.notices


@pytest.mark.parametrize(
    ("text", "asked", "rows"),
    [
        ("a;b,c\n1;2,3\n", {"delimiter": ","}, {"a;b": ["1;2"], "c": ["3"]}),
        ("a,b\n'x','y'\n", {"quote": '"'}, {"a": ["'x'"], "b": ["'y'"]}),
        ("a,b\n'x','y'\n", {"quote": "'"}, {"a": ["x"], "b": ["y"]}),
        ('a,b\n"x,"y"\n', {"quote": ""}, {"a": ['"x'], "b": ['"y"']}),
        ('a,b\n"p\\"q r",y\n', {"escape": "\\"}, {"a": ['p"q r'], "b": ["y"]}),
        ("a,b\np^,q,y\n", {"escape": "^"}, {"a": ["p,q"], "b": ["y"]}),
        ("x,y\na,b\n1,2\n", {"skip_rows": 1}, {"a": ["1"], "b": ["2"]}),
        ("title\n\na,b\n1,2\n", {"skip_rows": 0, "delimiter": ","}, {"title": [None]}),
        ("a,b\n1,2\n", {"header": False}, {"column_0": ["a", "1"], "column_1": ["b", "2"]}),
        ("1,2\n3,4\n", {"header": True}, {"1": ["3"], "2": ["4"]}),
        ("a,b\n%x,y\n1,2\n", {"comment": "%"}, {"a": ["1"], "b": ["2"]}),
        ("a,b\n1,2\n#3,4\n#5\n", {"comment": "#"}, {"a": ["1"], "b": ["2"]}),
    ],
)
def test_settings_override_what_would_be_detected(tmp_path, text, asked, rows):
    (tmp_path / "t.csv").write_text(text)
    assert table_of(tmp_path, **asked)[0].to_pydict() == rows


@pytest.mark.parametrize(
    ("asked", "values", "kinds"),
    [
        ({"decimal": ","}, ["1,5", "2"], [pa.float64(), [1.5, 2.0]]),
        ({"decimal": ",", "thousands": "."}, ["1.234", "2"], [pa.int64(), [1234, 2]]),
        ({"decimal": ",", "thousands": "."}, ["1.234,5", "2"], [pa.float64(), [1234.5, 2.0]]),
        ({"thousands": ","}, ["1,234,567.25", "NA"], [pa.float64(), [1234567.25, None]]),
        ({"thousands": ","}, ["12,34", "5"], [pa.string(), ["12,34", "5"]]),
        ({"thousands": ","}, ["1,2", "x"], [pa.string(), ["1,2", "x"]]),
        ({}, ["1,234", "5"], [pa.string(), ["1,234", "5"]]),
        ({"thousands": ","}, ["9,007,199,254,740,993", "1.5"], [pa.string(), ["9,007,199,254,740,993", "1.5"]]),
    ],
)
def test_decimal_and_thousands(tmp_path, asked, values, kinds):
    (tmp_path / "t.csv").write_text("n;m\n" + "".join(f"{value};1\n" for value in values))
    reading = Reading(**asked)
    scans = scan_files(discover([str(tmp_path)]), "", reading, workers=1)
    for exact in (False, True):
        opened = open_sources(scans, exact=exact, workers=1)
        [batch] = [
            batch for element in opened.elements for batch, _, _ in read_element(element, opened.schema, opened.guessed)
        ]
        assert [batch.schema.field("n").type, batch["n"].to_pylist()] == kinds


def test_grouped_numbers_that_are_none_are_rejected():
    values = ["1,234", "1,23", "12,345.5", "", "1234", "0x1F"]
    data = "".join(f'"{value}",1\n' for value in values).encode()
    batch, _, rejections = csv.read_rows(
        data, ["n", "m"], {"n": pa.int64(), "m": pa.int64()}, Dialect(thousands=","), 2
    )
    assert batch["n"].to_pylist() == [1234, None, 1234]
    assert [(rejection.row, rejection.value) for rejection in rejections] == [(3, "1,23"), (4, "12,345.5"), (7, "0x1F")]


@pytest.mark.parametrize("text", ["0x1F", "0X1f", "-0x1F", "+5", " 0x1F", "007"])
def test_text_that_only_looks_like_a_number_stays_text(text):
    data = f"{text},1\n".encode()
    _, kinds = csv.infer_types(data, ["n", "m"], Dialect())
    assert kinds["n"] == pa.string()


def test_hexadecimal_text_is_no_declared_integer():
    batch, _, [rejection] = csv.read_rows(
        b"0x1F,1\n31,2\n", ["n", "m"], {"n": pa.int64(), "m": pa.int64()}, Dialect(), 2
    )
    assert batch["n"].to_pylist() == [31]
    assert rejection[1:] == ("n", "type: not an int64", "0x1F")


def test_a_file_in_doubt_follows_the_others(tmp_path):
    (tmp_path / "1.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "2.csv").write_text("a,b\n")
    (tmp_path / "3.csv").write_text("a,b\nyes,no\nb,b\n")
    table, opened = table_of(tmp_path)
    assert table.to_pydict() == {"a": ["1", "2", "yes", "b"], "b": ["x", "y", "no", "b"]}
    assert not opened.notices
    (tmp_path / "1.csv").unlink()
    (tmp_path / "2.csv").unlink()
    assert [notice.severity for notice in table_of(tmp_path)[1].notices] == ["warning"]


def test_doubts_name_the_choices(tmp_path):
    (tmp_path / "t.csv").write_text("a,x;b\n1,y;2\n3,z;4\n")
    [notice] = table_of(tmp_path)[1].notices
    assert notice.severity == "warning"
    assert "a comma" in notice.message and "a semicolon" in notice.message and "set delimiter" in notice.message


def test_what_looks_like_comments_is_pointed_out_and_not_left_out(tmp_path):
    (tmp_path / "t.csv").write_text("id,n\n1,2\n# a note\n3,4\n")
    _, opened = table_of(tmp_path)
    assert [notice.severity for notice in opened.notices if "set comment: '#'" in notice.message] == ["warning"]
    [element] = opened.elements
    [(batch, _, [rejection])] = read_element(element, opened.schema)
    assert batch.num_rows == 2 and rejection.value == "# a note"


def test_numbers_with_commas_are_pointed_out(tmp_path):
    (tmp_path / "t.csv").write_text("n;m;t\n1,5;1,234;1,5\n2;2;x\n")
    notices = [notice for notice in table_of(tmp_path)[1].notices if notice.rule == "csv_numbers"]
    assert [notice.column for notice in notices] == ["n", "m"]
    assert not [notice for notice in table_of(tmp_path, decimal=",")[1].notices if notice.rule == "csv_numbers"]


def test_too_many_skipped_rows(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(HeadwaterError, match="skip_rows is 9, but the file has only 3 lines"):
        table_of(tmp_path, skip_rows=9)


values = st.text(st.sampled_from("x,;'\"\\\n#|"), max_size=6)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.lists(st.tuples(values, values), min_size=1, max_size=12),
    dialect=st.builds(
        Dialect,
        delimiter=st.sampled_from(",;|"),
        quote=st.sampled_from("\"'"),
        escape=st.sampled_from(["", "\\"]),
        comment=st.sampled_from(["", "#"]),
    ),
    block_bytes=st.integers(9, 40),
)
def test_every_record_is_read_once_in_any_dialect(table, dialect, block_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", block_bytes)
    text = written([["a", "b"], *table], dialect.delimiter, dialect.quote, dialect.escape, quoting=python_csv.QUOTE_ALL)
    if dialect.comment:
        lines = written([["a", "b"]], dialect.delimiter, dialect.quote, quoting=python_csv.QUOTE_ALL)
        text = lines + "#\"\n# it's,a;note\\\n" + text[len(lines) :] + '#"'
    path = tmp_path / "t.csv"
    path.write_text(text)
    data = path.read_bytes()
    names, _, first = csv_ranges.read_header(str(path), data, dialect)
    assert names == ["a", "b"]
    blocks = [
        csv_ranges.scan_block(
            data[max(start, first if not start else 0) :][:block_bytes], dialect, data[start - 1 : start] or b"\n"
        )
        for start in range(0, len(data), block_bytes)
    ]
    blocks[0] = csv_ranges.scan_block(data[first:block_bytes], dialect)
    ranges = csv_ranges.chain_blocks(
        str(path), str(path), blocks, len(data), dialect, first, ended=data.endswith(b"\n")
    )
    assert [start for start, _, _ in ranges] == [first, *[stop for _, stop, _ in ranges[:-1]]]
    rows = []
    for start, stop, known in ranges:
        batch, found, rejections = csv.read_rows(data[start:stop], names, dict.fromkeys(names, pa.string()), dialect, 2)
        assert not rejections and known in (-1, batch.num_rows)
        rows += zip(*[column.to_pylist() for column in batch.columns])
    assert rows == [(a or None, b or None) for a, b in table]


def test_dialects_beside_duckdb(tmp_path):
    """DuckDB's sniffer chooses the same delimiter, quote and header over a grid of files."""
    import duckdb

    connection = duckdb.connect()
    rows = [["id", "name", "score"], *[[str(n), f"n {n}", f"{n}.5"] for n in range(20)]]
    for delimiter, quote, header, quoting in itertools.product(
        ",;\t|", "\"'", (True, False), (python_csv.QUOTE_MINIMAL, python_csv.QUOTE_NONNUMERIC, python_csv.QUOTE_ALL)
    ):
        text = written(rows if header else rows[1:], delimiter, quote, quoting=quoting)
        (tmp_path / "t.csv").write_text(text)
        theirs = connection.execute(f"select Delimiter, HasHeader from sniff_csv('{tmp_path}/t.csv')").fetchone()
        ours = detected(text).dialect
        assert (ours.delimiter, ours.header) == theirs == (delimiter, header)
        assert ours.quote == (quote if quote in text else '"')
