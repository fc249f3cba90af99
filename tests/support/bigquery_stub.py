"""A small read service of BigQuery on loopback: gRPC streams of Arrow, and the REST calls of a query."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types

_SERVICE = "google.cloud.bigquery.storage.v1.BigQueryRead"


class ReadService:
    """Serves one table in batches, dealt out to the streams that are asked for.

    Args:
      table: what is served.
      rows: of a batch.
      break_once: whether the first stream ends once with UNAVAILABLE after its first batch.
    """

    def __init__(self, table: pa.Table, rows: int = 100, break_once: bool = False):
        self._table, self._rows, self._break = table, rows, break_once
        self.requests: list[types.CreateReadSessionRequest] = []
        self.offsets: list[int] = []

    def create(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        request = types.CreateReadSessionRequest.deserialize(raw)
        self.requests.append(request)
        if not request.read_session.table.endswith("/tables/orders"):
            context.abort(grpc.StatusCode.NOT_FOUND, "Not found: Table other")
        names = list(request.read_session.read_options.selected_fields) or self._table.column_names
        self._chosen = self._table.select(names)
        self._streams = request.max_stream_count or 1
        session = types.ReadSession(
            name="session",
            arrow_schema=types.ArrowSchema(serialized_schema=self._chosen.schema.serialize().to_pybytes()),
            streams=[types.ReadStream(name=f"streams/{number}") for number in range(self._streams)],
        )
        return types.ReadSession.serialize(session)

    def read(self, raw: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        request = types.ReadRowsRequest.deserialize(raw)
        self.offsets.append(request.offset)
        number = int(request.read_stream.rpartition("/")[2])
        done = 0
        for place, batch in enumerate(self._chosen.combine_chunks().to_batches(self._rows)):
            if place % self._streams != number:
                continue
            if done >= request.offset:
                content = types.ArrowRecordBatch(
                    serialized_record_batch=batch.serialize().to_pybytes(), row_count=batch.num_rows
                )
                yield types.ReadRowsResponse.serialize(
                    types.ReadRowsResponse(arrow_record_batch=content, row_count=batch.num_rows)
                )
                if self._break:
                    self._break = False
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the stream broke")
            done += batch.num_rows


@contextlib.contextmanager
def serve(service: ReadService) -> Iterator[str]:
    """Runs the read service; gives host:port."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    handlers = {
        "CreateReadSession": grpc.unary_unary_rpc_method_handler(service.create),
        "ReadRows": grpc.unary_stream_rpc_method_handler(service.read),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextlib.contextmanager
def serve_queries(project: str, dataset: str, table: str) -> Iterator[tuple[str, list[str]]]:
    """Runs the REST calls of a query whose result is that table; gives the URL, and the queries that came."""
    queries: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            configuration = body["configuration"]["query"]
            queries.append(configuration["query"])
            configuration["destinationTable"] = {"projectId": project, "datasetId": dataset, "tableId": table}
            self._answer({**body, "status": {"state": "DONE"}, "statistics": {"query": {}}})

        def do_GET(self) -> None:
            self._answer(
                {
                    "jobComplete": True,
                    "totalRows": "0",
                    "jobReference": {"projectId": project, "jobId": "x"},
                    "schema": {},
                }
            )

        def _answer(self, content: dict) -> None:
            raw = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", queries
    finally:
        server.shutdown()
