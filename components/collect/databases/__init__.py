"""Databases as sources: a query or a table is exported once, within one snapshot, and then read like Parquet files.

What stands in a database moves; what was exported does not, so it has a fingerprint like any file.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from headwater.components.collect.databases.bigquery import BigQuerySource
from headwater.components.collect.databases.postgres import PostgresSource
from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import checked
from headwater.components.common.sources import SourceFile
from headwater.components.common.sources.formats import parquet

if TYPE_CHECKING:
    import pyarrow as pa


class Part(Protocol):
    """A part of a database's rows; it pickles."""

    def read(self) -> contextlib.AbstractContextManager[pa.RecordBatchReader]:
        """The rows, for as long as this lasts. Runs on a worker."""


class Database(Protocol):
    """The settings of one database, a pydantic model. A new kind is a module here, and its line in `DATABASES`."""

    @property
    def uri(self) -> str:
        """What lineage records: never a credential."""

    def check(self) -> None:
        """Raises HeadwaterError where it is known without a connection that there will be none."""

    def snapshot(self) -> contextlib.AbstractContextManager[Sequence[Part]]:
        """The parts, all of which see the database as it is now, for as long as this lasts."""


DATABASES: dict[str, type[Any]] = {
    "postgres": PostgresSource,
    "bigquery": BigQuerySource,
}
"""By the names that settings have."""

ROWS_OF_GROUP = 1 << 17
"""The most rows of a row group of an export."""


def parse_source(given: Mapping[str, Any], where: str = "databases") -> Database:
    """A database source as a user gives it: `{"postgres": {…}}` or `{"bigquery": {…}}`.

    Args:
      given: it.
      where: the key that it stands under, for errors.

    Raises:
      HeadwaterError: names the key that is wrong.
    """
    if not isinstance(given, Mapping) or len(given) != 1 or next(iter(given)) not in DATABASES:
        raise HeadwaterError(f"{where}: each must be one of {', '.join(DATABASES)} with its settings")
    [(kind, settings)] = given.items()
    return checked(DATABASES[kind], settings, f"{where}.{kind}")


def export_databases(given: Sequence[Mapping[str, Any]], folder: str, **beam: Any) -> list[SourceFile]:
    """Exports databases as Parquet files, the parts of each side by side.

    Args:
      given: as `parse_source` takes them.
      folder: URI of a scratch folder that every worker reaches.
      **beam: options of `beam.map_merge`.

    Raises:
      HeadwaterError: a database cannot be reached, or refuses.
    """
    from headwater.components.common.beam import map_merge

    files = []
    for number, source in enumerate([parse_source(each) for each in given]):
        with source.snapshot() as parts:
            items = [
                (part, storage.join(folder, f"database-{number}-{place:04d}.parquet"))
                for place, part in enumerate(parts)
            ]
            lines = map_merge(
                "collect: export", items, _export, b"\n".join, sizes=[1] * len(items), unit="parts", **beam
            )
        for place, line in enumerate(lines.splitlines()):
            size = json.loads(line)
            files.append(SourceFile(f"{source.uri}#{place:04d}", parquet.FORMAT.name, size, place=items[place][1]))
    return files


def _export(item: tuple[Any, str]) -> bytes:
    """Writes one part as a Parquet file, batch by batch; gives its size in bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    part, uri = item
    with storage.open_output(uri) as stream, part.read() as reader:
        schema = pa.schema([pa.field(field.name, field.type) for field in reader.schema])
        with pq.ParquetWriter(stream, schema, version="2.6") as writer:
            for batch in reader:
                plain = pa.RecordBatch.from_arrays(batch.columns, schema=schema)
                writer.write_table(pa.Table.from_batches([plain]), row_group_size=ROWS_OF_GROUP)
    with storage.open_input(uri) as stream:
        return json.dumps(stream.size()).encode()
