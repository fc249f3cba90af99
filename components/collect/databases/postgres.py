"""PostgreSQL through ADBC: Arrow batches as the server streams them, several key ranges side by side."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import re
import time
from collections.abc import Iterator
from typing import Annotated, Any

import pydantic

from headwater.components.common.errors import HeadwaterError

URI_VARIABLE = "HEADWATER_POSTGRES_URI"
"""Names the server and its credentials where the `PG*` variables do not."""

_SECONDS = 5
_TRIES = 3
# What ADBC hands over as plain Arrow types; everything else is exported as its text.
_PLAIN = {
    "bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "bpchar", "name", "bytea", "date", "time",
    "timestamp", "timestamptz",
}  # fmt: skip


class PostgresSource(pydantic.BaseModel):
    """A query.

    Attributes:
      query: one SELECT. Numbers of type numeric, JSON, UUIDs and the like come as text; cast them in the query for more.
      partition_column: a column of the query that its rows are parted by; all rows are one part by default.
      partitions: how many parts there are, of about as many rows each.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    query: str
    partition_column: str = ""
    partitions: Annotated[int, pydantic.Field(ge=1, le=1000)] = 4

    @property
    def uri(self) -> str:
        """What lineage records: never a credential."""
        host = os.environ.get("PGHOST", "localhost") if not os.environ.get(URI_VARIABLE) else "server"
        return f"postgres://{host}/{os.environ.get('PGDATABASE', '')}"

    def check(self) -> None:
        """Raises HeadwaterError where the driver is not installed."""
        if importlib.util.find_spec("adbc_driver_postgresql") is None:
            raise HeadwaterError("postgres: the driver is not installed: pip install 'headwater[postgres]'")

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[list[Part]]:
        """The parts, all of which see the database as it is now, for as long as this lasts.

        Raises:
          HeadwaterError: the server cannot be reached, or refuses the query.
        """
        query = self.query.strip().rstrip(";")
        with _connect() as connection, connection.cursor() as cursor, _clear(query):
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SELECT pg_export_snapshot()")
            [identity] = cursor.fetchone()
            cursor.execute(f"SELECT * FROM ({query}) AS q LIMIT 0")
            schema = cursor.fetch_record_batch().schema
            names = [_selected(field) for field in schema]
            wanted = f"SELECT {', '.join(names)} FROM ({query}) AS q"
            yield [Part(identity, query, wanted + where) for where in self._ranges(cursor, query, schema)]

    def _ranges(self, cursor: Any, query: str, schema: Any) -> list[str]:
        if not self.partition_column or self.partitions == 1:
            return [""]
        if self.partition_column not in schema.names:
            raise HeadwaterError(
                f"databases.postgres.partition_column: the query has no column {self.partition_column!r}; it has "
                f"{', '.join(schema.names)}"
            )
        column = _quoted(self.partition_column)
        shares = ", ".join(str(place / self.partitions) for place in range(1, self.partitions))
        cursor.execute(
            f"SELECT unnest(percentile_disc(ARRAY[{shares}]::float8[]) WITHIN GROUP (ORDER BY {column}))::text "
            f"FROM ({query}) AS q"
        )
        cuts = list(dict.fromkeys(text for (text,) in cursor.fetchall() if text is not None))
        if not cuts:
            return [""]
        texts = ["'" + cut.replace("'", "''") + "'" for cut in cuts]
        ranges = [f" WHERE {column} < {texts[0]} OR {column} IS NULL"]
        ranges += [f" WHERE {column} >= {low} AND {column} < {high}" for low, high in zip(texts, texts[1:])]
        return [*ranges, f" WHERE {column} >= {texts[-1]}"]


@dataclasses.dataclass(frozen=True)
class Part:
    """One range of a query's rows, read by itself."""

    snapshot: str
    query: str
    statement: str

    @contextlib.contextmanager
    def read(self) -> Iterator[Any]:
        """The rows as a `pyarrow.RecordBatchReader`, streamed."""
        with _connect() as connection, connection.cursor() as cursor, _clear(self.query):
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute(f"SET TRANSACTION SNAPSHOT '{self.snapshot}'")
            # The same rows in the same order, or `_row_id`s would not be the same.
            cursor.execute("SET LOCAL synchronize_seqscans = off")
            cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            cursor.execute(self.statement)
            yield cursor.fetch_record_batch()


def _connect() -> Any:
    try:
        import adbc_driver_postgresql.dbapi as driver
    except ImportError:
        raise HeadwaterError(
            "databases.postgres: the driver is not installed: pip install 'headwater[postgres]'"
        ) from None
    uri = os.environ.get(URI_VARIABLE) or "postgresql://"
    uri += ("&" if "?" in uri else "?") + f"connect_timeout={_SECONDS}"
    for number in range(_TRIES):
        try:
            return driver.connect(uri)
        except driver.Error as error:
            reason = str(error)
            if number + 1 == _TRIES or "authentication failed" in reason or "does not exist" in reason:
                raise HeadwaterError(f"databases.postgres: cannot connect: {_reason(reason)}") from None
            time.sleep(0.5 * 2**number)
    raise AssertionError


@contextlib.contextmanager
def _clear(query: str) -> Iterator[None]:
    import adbc_driver_postgresql.dbapi as driver

    try:
        yield
    except (driver.Error, OSError) as error:
        raise HeadwaterError(
            f"databases.postgres: the server refused the query {query!r}: {_reason(str(error))}"
        ) from None


def _reason(text: str) -> str:
    """A server's message in one line, without anything that may be a credential or a value."""
    line = re.sub(r"\s+", " ", text.partition("Query was:")[0].partition("DETAIL:")[0]).strip()
    line = re.sub(r"(?i)password=\S+", "password=…", line)
    return re.sub(r"//[^@\s]*@", "//…@", line)[:300]


def _selected(field: Any) -> str:
    name = _quoted(field.name)
    kind = (field.metadata or {}).get(b"POSTGRESQL:type", b"").decode()
    plain = kind.removesuffix("[]").lstrip("_") in _PLAIN
    return name if plain else f"{name}::text AS {name}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
