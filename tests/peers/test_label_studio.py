"""Beside a real Label Studio server: a project of ours made through its API, answered by several people, its export read back.

The server runs from an environment of its own, on loopback, with SQLite in a folder of the test; `make test-peers` makes the
environment.
"""

from __future__ import annotations

import http.cookiejar
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from trips import collect_trips

from headwater.components.common.dataset import open_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import checked
from headwater.components.label import label_dataset
from headwater.components.label.human.adjudicating import to_adjudicate
from headwater.components.label.human.settings import Tasks
from headwater.components.label.human.tasks import write_tasks

STUDIO = pathlib.Path.home() / ".cache/headwater-peers/label-studio/bin/label-studio"
CLASSES = ["fine", '<late> & "more"', "$lost"]
PASSWORD = "only-on-loopback-1"
ROWS = 24
TRUTH = [CLASSES[number % 3] for number in range(ROWS)]
ADMIN = "admin@example.org"
PEOPLE = ("ann@example.org", "bob@example.org", "eve@example.org")
START_SECONDS = 900


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not STUDIO.exists():
        pytest.skip("Label Studio is not installed in its environment; `make test-peers` does that")
    folder = tmp_path_factory.mktemp("studio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "COLLECT_ANALYTICS": "0",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "0",
        "DJANGO_DB": "sqlite",
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "HOME": str(folder),
        "no_proxy": "127.0.0.1",
    }
    command = [str(STUDIO), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    command += ["--username", ADMIN, "--password", PASSWORD, "--log-level", "WARNING"]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    base = f"http://127.0.0.1:{port}"
    try:
        # Its first start makes the database.
        ends = time.monotonic() + START_SECONDS
        while not _is_up(base):
            if process.poll() is not None or time.monotonic() > ends:
                pytest.fail(f"the server did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(1)
        yield base
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _is_up(base: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base}/api/version", timeout=30) as answer:
            return answer.status == 200
    except OSError:
        return False


class Person:
    """Somebody who is logged in, or signs up."""

    def __init__(self, base: str, mail: str, new: bool = True):
        self._base = base
        self._cookies = http.cookiejar.CookieJar()
        self._open = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self._cookies)
        ).open
        page = f"{base}/user/{'signup' if new else 'login'}/"
        self._open(page, timeout=300).read()
        form = {"email": mail, "password": PASSWORD, "csrfmiddlewaretoken": self._token()}
        self._open(self._request(page, urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded"))
        assert self.call("GET", "/api/current-user/whoami")["email"] == mail

    def call(self, method: str, path: str, body=None):
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            with self._open(self._request(self._base + path, data, "application/json", method), timeout=300) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:2000]!r}") from None

    def raw(self, path: str) -> bytes:
        with self._open(self._request(self._base + path, None, "application/json", "GET"), timeout=300) as answer:
            return answer.read()

    def _token(self) -> str:
        return next((each.value or "" for each in self._cookies if each.name == "csrftoken"), "")

    def _request(self, url: str, data: bytes | None, kind: str, method: str = "POST") -> urllib.request.Request:
        headers = {"Content-Type": kind, "X-CSRFToken": self._token(), "Referer": self._base}
        return urllib.request.Request(url, data, headers, method=method)


@pytest.fixture(scope="module")
def trips(tmp_path_factory):
    return collect_trips(
        tmp_path_factory.mktemp("trips"),
        ROWS,
        photo=lambda n: f"https://example.org/{n}.png",
        mail=lambda n: f"person{n}@private.example",
        known=lambda n: TRUTH[n] if n % 4 == 0 else None,
        truth=lambda n: TRUTH[n],
        **{"said <b>": lambda n: f"trip {n} & <script>alert(1)</script>", "$amount": lambda n: n / 7},
    )


def annotation(answer: str, place: str) -> list[dict]:
    return [
        {
            "from_name": "answer",
            "to_name": place,
            "type": "choices",
            "value": {"choices": [answer]},
            "origin": "manual",
        }
    ]


def test_a_project_goes_out_and_its_votes_come_back(server, trips, tmp_path):
    views = {"said <b>": "text", "photo": "image", "$amount": "table"}
    given = {
        "classes": CLASSES,
        "columns": views,
        "hidden": ["truth"],
        "gold": "known",
        "gold_share": 0.25,
        "overlap": 3,
    }
    ask = checked(Tasks, {**given, "question": "What <became> of it & $why?", "rows": 15})
    summary = write_tasks(trips, None, str(tmp_path / "tasks"), ask)
    assert (summary["rows"], summary["gold"]) == (15, 5)
    content = {name: (tmp_path / "tasks" / name).read_bytes() for name in summary["files"]}
    assert b"private.example" not in b"".join(content.values())

    admin = Person(server, ADMIN, new=False)
    project = admin.call("POST", "/api/projects/", content["project.json"])
    assert project["maximum_annotations"] == 3
    admin.call(
        "POST", f"/api/projects/{project['id']}/validate/", {"label_config": content["label_config.xml"].decode()}
    )
    imported = admin.call("POST", f"/api/projects/{project['id']}/import?commit_to_project=true", content["tasks.json"])
    assert imported["task_count"] == summary["tasks"]
    parsed = project["parsed_label_config"]["answer"]
    assert set(parsed["labels"]) == set(CLASSES) and parsed["to_name"] == ["text_1"]

    tasks = admin.call("GET", f"/api/tasks/?project={project['id']}&page_size=100&fields=all")["tasks"]
    assert len(tasks) == summary["tasks"]
    people = [Person(server, mail) for mail in PEOPLE]
    disputed = sorted(int(task["data"]["_key"]["id"]) for task in tasks)[1]
    for task in tasks:
        row = int(task["data"]["_key"]["id"])
        right = TRUTH[row]
        wrong = CLASSES[(CLASSES.index(right) + 1) % 3]
        assert task["data"]["text_1"] == f"trip {row} & <script>alert(1)</script>"
        for number, person in enumerate(people):
            body = {"result": annotation(right, "text_1"), "lead_time": 4.0 + number, "was_cancelled": False}
            if number == 2 and row == 4 or row == disputed and number:
                body["result"] = annotation(wrong if number == 1 else CLASSES[(CLASSES.index(right) + 2) % 3], "text_1")
            if number == 2 and row % 5 == 3:
                body.update(result=[], was_cancelled=True)
            person.call("POST", f"/api/tasks/{task['id']}/annotations/", body)

    export = admin.raw(f"/api/projects/{project['id']}/export?exportType=JSON&download_all_tasks=true")
    (tmp_path / "export.json").write_bytes(export)
    step = {"method": "human", "classes": CLASSES, "votes": "studio", "gold": "known", "truth": "truth"}
    inputs = {"studio": str(tmp_path / "export.json")}
    labels = label_dataset(trips, str(tmp_path / "labels"), steps=[step], inputs=inputs, workers=1)
    report = labels.body["steps"][0]
    cancelled = sum(int(task["data"]["_key"]["id"]) % 5 == 3 for task in tasks)
    assert report["voted"] == summary["tasks"] and report["counts"]["cancelled"] == cancelled
    assert report["votes"] == 3 * summary["tasks"] - cancelled and report["rater_count"] == 3
    assert report["counts"]["gold"] == sum(int(task["data"]["_key"]["id"]) % 4 == 0 for task in tasks) > 0
    assert sorted(each["seconds"] for each in report["raters"]) == [4, 5, 6]
    rows = open_dataset(labels.uri).to_table(columns=["id", "label"]).to_pylist()
    given = {row["id"]: row["label"] for row in rows if row["label"] is not None}
    assert len(given) == summary["tasks"]
    assert all(label == TRUTH[row] for row, label in given.items() if row != disputed)
    assert "example.org" not in json.dumps({**report, "rows": 0})
    if disputed % 4:
        assert disputed in to_adjudicate(labels)["id"].to_pylist()

    other = [{**step, "classes": CLASSES[:2]}]
    with pytest.raises(HeadwaterError, match="is a vote of the project"):
        label_dataset(trips, str(tmp_path / "other"), steps=other, inputs=inputs, workers=1)
