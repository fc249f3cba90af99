"""BigQuery through its Storage Read API: the Arrow streams of one session, side by side."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import re
from collections.abc import Iterator
from typing import Annotated, Any

import pydantic

from headwater.components.common.errors import HeadwaterError

STORAGE_HOST = "BIGQUERY_STORAGE_EMULATOR_HOST"
"""host:port of a read service without encryption and credentials, for tests."""

_TABLE = re.compile(r"([^.`]+)\.([^.`]+)\.([^.`]+)")


class BigQuerySource(pydantic.BaseModel):
    """A table, or a query.

    Attributes:
      table: `project.dataset.table`.
      query: a SELECT, run first; its result is read like a table.
      columns: the columns of a table; all by default.
      row_restriction: a condition on a table's rows, in BigQuery's SQL.
      streams: how many streams are read side by side, at most.
      project: the project that pays; the table's by default.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    table: str = ""
    query: str = ""
    columns: list[str] = []
    row_restriction: str = ""
    streams: Annotated[int, pydantic.Field(ge=1, le=1000)] = 4
    project: str = ""

    @pydantic.model_validator(mode="after")
    def _one(self) -> BigQuerySource:
        if bool(self.table) == bool(self.query):
            raise ValueError("needs either `table` or `query`, not both")
        if self.table and not _TABLE.fullmatch(self.table):
            raise ValueError("table: must read project.dataset.table")
        if self.query and (self.columns or self.row_restriction):
            raise ValueError(
                "columns and row_restriction can only be given with `table`; write them into the query instead"
            )
        return self

    @property
    def uri(self) -> str:
        """What lineage records."""
        return f"bigquery://{self.table or 'query'}"

    def check(self) -> None:
        """Raises HeadwaterError where the client is not installed, or the credentials are not where they are said to be."""
        try:
            there = importlib.util.find_spec("google.cloud.bigquery_storage") is not None
        except ModuleNotFoundError:
            there = False
        if not there:
            raise HeadwaterError("bigquery: the client is not installed: pip install 'headwater[bigquery]'")
        file = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        if file and not os.path.isfile(file):
            raise HeadwaterError("bigquery: GOOGLE_APPLICATION_CREDENTIALS names a file that does not exist")

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[list[Part]]:
        """The streams of one session: all see the table as it was when the session began.

        Raises:
          HeadwaterError: there are no credentials, no such table, or no permission.
        """
        with _clear():
            table = self.table or _run_query(self.query, self.project)
            # The validator checked a table's name, and BigQuery's own of a result are such.
            named = _TABLE.fullmatch(table)
            assert named is not None
            project, dataset, name = named.groups()
            client, types = _client()
            session = client.create_read_session(
                parent=f"projects/{self.project or project}",
                read_session=types.ReadSession(
                    table=f"projects/{project}/datasets/{dataset}/tables/{name}",
                    data_format=types.DataFormat.ARROW,
                    read_options={"selected_fields": self.columns, "row_restriction": self.row_restriction},
                ),
                max_stream_count=self.streams,
            )
        schema = bytes(session.arrow_schema.serialized_schema)
        yield [Part(stream.name, schema) for stream in session.streams] or [Part("", schema)]


@dataclasses.dataclass(frozen=True)
class Part:
    """One stream of a session; the empty name stands for a table without rows."""

    stream: str
    schema: bytes

    @contextlib.contextmanager
    def read(self) -> Iterator[Any]:
        """The rows as a `pyarrow.RecordBatchReader`; the client resumes a stream that breaks."""
        import pyarrow as pa

        schema = pa.ipc.read_schema(pa.BufferReader(self.schema))
        with _clear():
            yield pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def _batches(self, schema: Any) -> Iterator[Any]:
        import pyarrow as pa

        if not self.stream:
            return
        client, _ = _client()
        for response in client.read_rows(self.stream):
            content = pa.BufferReader(bytes(response.arrow_record_batch.serialized_record_batch))
            yield pa.ipc.read_record_batch(content, schema)


def _client() -> tuple[Any, Any]:
    try:
        from google.cloud import bigquery_storage_v1 as api
    except ImportError:
        raise HeadwaterError(
            "databases.bigquery: the client is not installed: pip install 'headwater[bigquery]'"
        ) from None
    host = os.environ.get(STORAGE_HOST)
    if not host:
        return api.BigQueryReadClient(), api.types
    import grpc
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    return api.BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=grpc.insecure_channel(host))), api.types


def _run_query(query: str, project: str) -> str:
    from google.cloud import bigquery

    anonymous = None
    if os.environ.get("BIGQUERY_EMULATOR_HOST"):
        from google.auth.credentials import AnonymousCredentials

        anonymous = AnonymousCredentials()
    job = bigquery.Client(project=project or None, credentials=anonymous).query(query)
    job.result()
    table = job.destination
    return f"{table.project}.{table.dataset_id}.{table.table_id}"


@contextlib.contextmanager
def _clear() -> Iterator[None]:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except GoogleAuthError as error:
        raise HeadwaterError(
            "databases.bigquery: no credentials were found; set GOOGLE_APPLICATION_CREDENTIALS or use workload "
            "identity: "
            f"{str(error).splitlines()[0]}"
        ) from None
    except GoogleAPIError as error:
        raise HeadwaterError(f"databases.bigquery: {str(error).splitlines()[0][:300]}") from None
