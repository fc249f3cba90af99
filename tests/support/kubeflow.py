"""A server of Kubeflow Pipelines' API v2beta1, as far as `headwater submit` and `runs` use it.

Its answers have the shapes of backend/api/v2beta1 of kubeflow/pipelines: names in snake case but for `recurringRuns`, int64 as
text, times as RFC 3339, errors as google.rpc.Status, uploads as multipart with the field `uploadfile`. It refuses what the
API does not know: another path, another parameter, another key of a body.
"""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

_API = "/apis/v2beta1"
_TIME = "2026-03-01T06:00:00Z"
_LISTS = {"page_token", "page_size", "sort_by", "filter", "namespace"}


class Refused(Exception):
    """An answer that is no 200."""

    def __init__(self, code: int, message: str, grpc: int = 3):
        super().__init__(message)
        self.answer = code, {"error": message, "code": grpc, "message": message, "details": []}


class Kubeflow:
    """The server's state.

    Attributes:
      requests: what was asked so far: method, path and query without the API's prefix.
      several: whether it has several users.
      steps: the states of tasks, one entry a look at a run: (run's state, {task: state}); the last one stays.
      answers: by "METHOD /path" answers that come instead, each once: (code, body as text, content type).
      token: what the header `authorization` must be; empty for anything.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.several = False
        self.steps: list[tuple[str, dict[str, str]]] = [("SUCCEEDED", {})]
        self.answers: dict[str, list[tuple[int, str, str]]] = {}
        self.token = ""
        self.url = ""
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.recurring: dict[str, dict[str, Any]] = {}
        self.uploads: list[str] = []

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> dict[str, Any]:
        """What the API answers.

        Raises:
          Refused: it is not 200.
        """
        many = f"{method} {re.sub(r'/[a-z]+-[0-9]+', '/ID', path)}"
        last = path.rpartition("/")[2]
        if many == "GET /healthz":
            return {"multi_user": self.several, "commit_sha": "0a1b", "tag_name": "2.17.0"}
        if many == "GET /pipelines":
            return self._listed("pipelines", self.pipelines, query)
        if many == "POST /pipelines":
            _only(body, {"display_name", "name", "description", "namespace"})
            self._one_user(body.get("namespace"))
            return self._made("pipeline", self.pipelines, body)
        if many == "GET /pipelines/ID/versions":
            of = [each for each in self.versions.values() if each["pipeline_id"] == path.split("/")[2]]
            return self._listed("pipeline_versions", {each["pipeline_version_id"]: each for each in of}, query)
        if many == "POST /pipelines/upload_version":
            if set(query) - {"name", "pipelineid", "description", "display_name"}:
                raise Refused(400, f"unknown parameters {query}")
            if query["pipelineid"] not in self.pipelines:
                raise Refused(404, f"Pipeline {query['pipelineid']} not found.", 5)
            if any(each["display_name"] == query["name"] for each in self.versions.values()):
                raise Refused(409, f"Already exist error: The name {query['name']} already exist.", 6)
            self.uploads.append(body)
            made = {"pipeline_id": query["pipelineid"], "display_name": query["name"]}
            return self._made("pipeline_version", self.versions, made)
        return self._of_runs(many, last, query, body)

    def _of_runs(self, many: str, last: str, query: dict[str, str], body: Any) -> dict[str, Any]:
        if many == "GET /experiments":
            self._one_user(query.get("namespace"))
            return self._listed("experiments", self.experiments, query)
        if many == "POST /experiments":
            _only(body, {"display_name", "description", "namespace"})
            self._one_user(body.get("namespace"))
            return self._made("experiment", self.experiments, body)
        if many == "POST /runs":
            return self._started("run", self.runs, body, set())
        if many == "GET /runs":
            if query.pop("sort_by") != "created_at desc":
                raise Refused(400, "another order")
            of = {key: each for key, each in self.runs.items() if each["experiment_id"] == query["experiment_id"]}
            return self._listed(
                "runs", dict(reversed(of.items())), {k: v for k, v in query.items() if k != "experiment_id"}
            )
        if many == "GET /runs/ID":
            if last not in self.runs:
                raise Refused(404, f"Run {last} not found.", 5)
            return self._looked_at(self.runs[last])
        if many == "POST /recurringruns":
            more = {"trigger", "mode", "max_concurrency", "no_catchup"}
            return {**self._started("recurring_run", self.recurring, body, more), "status": "ENABLED"}
        if many == "GET /recurringruns":
            rest = {key: value for key, value in query.items() if key != "experiment_id"}
            return self._listed("recurringRuns", self.recurring, rest)
        if many == "DELETE /recurringruns/ID":
            del self.recurring[last]
            return {}
        raise Refused(404, "Not Found", 5)

    def _one_user(self, namespace: str | None) -> None:
        if namespace and not self.several:
            raise Refused(400, "Invalid input error: In single-user mode, the namespace must be empty.")
        if not namespace and self.several:
            raise Refused(400, "Invalid input error: An experiment cannot have an empty namespace in multi-user mode")

    def _listed(self, key: str, known: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        if set(query) - _LISTS:
            raise Refused(400, f"unknown parameters {query}")
        found = list(known.values())
        if query.get("filter"):
            [predicate] = json.loads(query["filter"])["predicates"]
            if predicate.keys() != {"operation", "key", "stringValue"} or predicate["operation"] != "EQUALS":
                raise Refused(400, "Invalid input error: another filter")
            found = [each for each in found if each[predicate["key"]] == predicate["stringValue"]]
        start, size = int(query.get("page_token") or 0), int(query.get("page_size") or 20)
        page = found[start : start + size]
        # An empty list is left out, and so is the token of a last page.
        more = {"next_page_token": str(start + size)} if start + size < len(found) else {}
        return {**({key: page} if page else {}), "total_size": len(found), **more}

    def _made(self, kind: str, known: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        if kind == "pipeline" and any(each["display_name"] == body["display_name"] for each in known.values()):
            raise Refused(409, "Already exist error: Failed to create a new pipeline.", 6)
        key = f"{kind.replace('_', '')}-{len(known) + 1}"
        known[key] = {**body, f"{kind}_id": key, "created_at": _TIME}
        return known[key]

    def _started(self, kind: str, known: dict[str, Any], body: dict[str, Any], more: set[str]) -> dict[str, Any]:
        _only(
            body,
            {"display_name", "experiment_id", "pipeline_version_reference", "runtime_config", "service_account"} | more,
        )
        if body["experiment_id"] not in self.experiments:
            raise Refused(404, "Experiment not found.", 5)
        if body["pipeline_version_reference"]["pipeline_version_id"] not in self.versions:
            raise Refused(404, "PipelineVersion not found.", 5)
        return self._made(kind, known, {**body, "state": "PENDING", "status": "ENABLED"})

    def _looked_at(self, run: dict[str, Any]) -> dict[str, Any]:
        state, tasks = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        details = [
            {
                "run_id": run["run_id"], "task_id": f"task-{number}", "display_name": name, "create_time": f"2026-03-01T06:00:{number:02}Z",
                "state": task_state, "execution_id": str(number), "inputs": {}, "outputs": {}, "child_tasks": [],
                **({"error": {"code": 13, "message": "main: Error (exit code 1)"}} if task_state == "FAILED" else {}),
            }
            for number, (name, task_state) in enumerate({"root-driver": "SUCCEEDED", **tasks}.items())
        ]  # fmt: skip
        return {**run, "state": state, "run_details": {"task_details": details}}


def _only(body: dict[str, Any], keys: set[str]) -> None:
    if set(body) - keys:
        raise Refused(400, f"unknown keys {sorted(set(body) - keys)}")


@contextlib.contextmanager
def kubeflow() -> Iterator[Kubeflow]:
    """The server, on loopback."""
    state = Kubeflow()

    class Handler(http.server.BaseHTTPRequestHandler):
        def _serve(self) -> None:
            split = urllib.parse.urlsplit(self.path)
            query = {name: values[0] for name, values in urllib.parse.parse_qs(split.query).items()}
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = split.path.removeprefix(_API)
            state.requests.append(f"{self.command} {path}" + (f"?{split.query}" if split.query else ""))
            prepared = state.answers.get(f"{self.command} {path}")
            if prepared:
                code, text, kind = prepared.pop(0)
                return self._send(code, text, kind)
            try:
                if not split.path.startswith(_API):
                    raise Refused(404, "Not Found", 5)
                if state.token and self.headers.get("authorization") != state.token:
                    raise Refused(401, "Unauthenticated", 16)
                return self._send(200, json.dumps(state.answer(self.command, path, query, self._body(content))))
            except Refused as error:
                return self._send(error.answer[0], json.dumps(error.answer[1]))

        def _body(self, content: bytes) -> Any:
            kind = self.headers.get("Content-Type", "")
            if kind.startswith("multipart/form-data"):
                message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
                    b"Content-Type: " + kind.encode() + b"\r\n\r\n" + content
                )
                [part] = message.iter_parts()
                assert part.get_param("name", header="content-disposition") == "uploadfile"
                return part.get_content() if isinstance(part.get_content(), str) else part.get_content().decode()
            return json.loads(content) if content else {}

        def _send(self, code: int, text: str, kind: str = "application/json") -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    # Looked at often, or each test would wait half a second for its end.
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
