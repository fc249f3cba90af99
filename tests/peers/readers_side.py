"""What runs in the readers' environment: one file read by one reader, as JSON that tells every value exactly.

Usage: readers_side.py <reader> <file>

Numbers are told as Python's `repr` tells them, times as ISO in UTC (naive where they have no zone), bytes as hexadecimal.
"""

import datetime
import decimal
import json
import sys


def plain(value):
    """A value as JSON keeps it, equal for equal values whichever reader gave it."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return f"{value // datetime.timedelta(microseconds=1)} us"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(plain(name)): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        # A map is pairs to one reader, and a dictionary to another.
        if value and all(isinstance(each, tuple) and len(each) == 2 for each in value):
            return {str(plain(key)): plain(each) for key, each in value}
        return [plain(each) for each in value]
    if isinstance(value, (int, float, decimal.Decimal)):
        return repr(value) if not isinstance(value, decimal.Decimal) else str(value)
    return str(value)


def read_duckdb(path):
    import duckdb

    functions = {"csv": "read_csv", "json": "read_json", "jsonl": "read_json", "parquet": "read_parquet"}
    duckdb.execute("SET TimeZone = 'UTC'")
    found = duckdb.execute(f"SELECT * FROM {functions[path.rsplit('.', 1)[-1]]}(?)", [path])
    return [column[0] for column in found.description], found.fetchall()


def read_pyarrow(path):
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    if path.endswith(".parquet"):
        table = pyarrow.parquet.ParquetFile(path).read()
    elif path.endswith(".csv"):
        table = pyarrow.csv.read_csv(path)
    else:
        table = pyarrow.json.read_json(path)
    return table.column_names, list(zip(*[column.to_pylist() for column in table.columns]))


def read_polars(path):
    import polars

    readers = {"csv": polars.read_csv, "parquet": polars.read_parquet, "jsonl": polars.read_ndjson}
    frame = readers[path.rsplit(".", 1)[-1]](path)
    return frame.columns, frame.rows()


def read_fastavro(path):
    import fastavro

    with open(path, "rb") as stream:
        rows = list(fastavro.reader(stream))
    names = list(rows[0]) if rows else []
    return names, [tuple(row[name] for name in names) for row in rows]


if __name__ == "__main__":
    reader, file = sys.argv[1:]
    columns, records = globals()[f"read_{reader}"](file)
    print(json.dumps({"columns": columns, "rows": [[plain(value) for value in record] for record in records]}))
