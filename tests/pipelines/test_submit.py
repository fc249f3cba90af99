"""`headwater submit` and `headwater runs`, against a server of Kubeflow's API that refuses what the API does not know."""

from __future__ import annotations

import json
import pathlib
import re
import urllib.parse

import pytest
import yaml
from kubeflow import Kubeflow, kubeflow

from headwater.components.common import runs
from headwater.components.common.errors import HeadwaterError
from headwater.pipelines.cli import DONE, FAILED, NOT_BLESSED, main
from headwater.pipelines.cluster import building, following
from headwater.pipelines.cluster.schedules import parse_schedule

PROJECT = """\
name: orders
sources: ["s3://raw/orders.csv"]
platform: {data_root: "s3://lake/headwater", registry: reg.example.com/team, service_account: headwater}
"""
ALL = ("collect", "label", "generate-statistics", "infer-schema", "validate", "gate", "report")


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (
        "KF_PIPELINES_ENDPOINT",
        "HEADWATER_KFP_TOKEN",
        "HEADWATER_KFP_COOKIES",
        "KUBERNETES_SERVICE_HOST",
        "KUBECONFIG",
    ):
        monkeypatch.delenv(name, raising=False)
    pathlib.Path("headwater.yaml").write_text(PROJECT)
    # What a run leaves lies on this machine here, where a pod's store would be.
    monkeypatch.setattr(following.runs, "folder", lambda root, name, run: str(tmp_path / "lake" / name / "runs" / run))
    with kubeflow() as state:
        yield state


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch, request):
    """kfp compiles the same project once for all tests."""
    known = request.config.stash.setdefault(_KNOWN, {})
    real = building.compile_project

    def compile_project(project):
        key = json.dumps(project)
        if key not in known:
            known[key] = real(project)
        return known[key]

    monkeypatch.setattr(building, "compile_project", compile_project)


_KNOWN = pytest.StashKey[dict[str, str]]()


def submit(server: Kubeflow, *flags: str) -> int:
    return main(["submit", "--host", server.url, "--every", "0.01", *flags])


def asked(server: Kubeflow) -> list[str]:
    """The requests so far, without their queries."""
    found = [request.partition("?")[0] for request in server.requests]
    server.requests.clear()
    return found


def leave(kind: str, run: str = "run-1", **entry) -> None:
    path = pathlib.Path("lake", "orders", "runs", run, f"{kind}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    full = {
        "uri": f"s3://lake/{kind}",
        "page": f"s3://lake/{kind}.html",
        "span": 1,
        "refusal": "",
        "verdict": "",
        "severities": [],
    }
    path.write_text(json.dumps({**full, **entry}))


FIRST = [
    "GET /healthz", "GET /pipelines", "POST /pipelines", "GET /pipelines/pipeline-1/versions", "POST /pipelines/upload_version",
    "GET /experiments", "POST /experiments", "POST /runs",
]  # fmt: skip
AGAIN = ["GET /healthz", "GET /pipelines", "GET /pipelines/pipeline-1/versions", "GET /experiments", "POST /runs"]


def test_a_version_is_uploaded_once_per_content(server, capsys):
    assert submit(server, "--no-wait") == DONE
    assert asked(server) == FIRST
    [upload] = server.uploads
    pipeline, platform = yaml.safe_load_all(upload)
    assert pipeline["pipelineInfo"]["name"] == "headwater-orders" and "platforms" in platform
    [version] = server.versions.values()
    assert re.fullmatch(r"0\.2\.0-[0-9a-f]{12}", version["display_name"])
    [run] = server.runs.values()
    assert run["service_account"] == "headwater" and run["runtime_config"] == {"parameters": {}}
    assert run["pipeline_version_reference"] == {
        "pipeline_id": "pipeline-1", "pipeline_version_id": "pipelineversion-1",
    }  # fmt: skip
    told = capsys.readouterr().out
    assert f"{server.url}/#/runs/details/run-1" in told and "next        headwater runs run-1" in told

    assert submit(server, "--no-wait") == DONE
    assert asked(server) == AGAIN
    assert "which was there" in capsys.readouterr().out

    assert submit(server, "--no-wait", "--set", "validate.fail_on=none") == DONE
    assert asked(server) == [*AGAIN[:3], "POST /pipelines/upload_version", *AGAIN[3:]]
    assert len(server.pipelines) == 1 and len(server.versions) == 2 and len(server.runs) == 3


def test_a_run_is_followed_to_its_verdict(server, capsys):
    server.steps = [
        ("PENDING", {}),
        ("RUNNING", {"collect": "RUNNING"}),
        ("RUNNING", {"collect": "SUCCEEDED", "label": "RUNNING"}),
        ("SUCCEEDED", dict.fromkeys(ALL, "SUCCEEDED")),
    ]
    leave("dataset")
    leave("anomalies", verdict="Passed: 2 warnings", severities=["warning"])
    assert submit(server) == DONE
    assert asked(server) == [*FIRST, *["GET /runs/run-1"] * 4]
    told = capsys.readouterr()
    progress = [line for line in told.err.splitlines() if ": " in line]
    assert progress[:3] == ["collect: running", "collect: succeeded", "label: running"]
    assert "gate: succeeded" in progress and "root-driver" not in told.err
    assert "verdict     Passed: 2 warnings" in told.out
    assert "pages       s3://lake/anomalies.html\n            s3://lake/dataset.html" in told.out


FAILED_GATE = {**dict.fromkeys(ALL, "SUCCEEDED"), "gate": "FAILED"}


@pytest.mark.parametrize(
    ("state", "tasks", "left", "flags", "code", "verdict"),
    [
        ("FAILED", FAILED_GATE, {"anomalies": {"verdict": "Rejected: 1 error", "severities": ["error"]}}, [], NOT_BLESSED, "Rejected: 1 error"),
        ("FAILED", FAILED_GATE, {}, [], NOT_BLESSED, "Rejected: the gate failed"),
        ("FAILED", {"collect": "SUCCEEDED", "label": "FAILED"}, {"dataset": {"refusal": "too many"}}, [], NOT_BLESSED, "Refused: too many"),
        ("FAILED", {"collect": "FAILED"}, {}, [], FAILED, "Failed: collect failed: main: Error (exit code 1)"),
        ("CANCELED", {"collect": "CANCELED"}, {}, [], FAILED, "Failed: the run was canceled"),
        ("SUCCEEDED", {}, {}, [], DONE, "Passed"),
        (
            "SUCCEEDED", {}, {"anomalies": {"verdict": "Passed: 1 warning", "severities": ["warning"]}},
            ["--set", "validate.fail_on=warning"], NOT_BLESSED, "Passed: 1 warning",
        ),
        (
            "FAILED", {"train": "FAILED"}, {"anomalies": {"verdict": "Passed", "severities": []}}, [], FAILED, "Passed",
        ),
    ],
)  # fmt: skip
def test_the_exit_code_is_that_of_run(server, capsys, state, tasks, left, flags, code, verdict):
    server.steps = [(state, tasks)]
    for kind, entry in left.items():
        leave(kind, **entry)
    assert submit(server, "--json", *flags) == code
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == code and told["verdict"] == verdict and told["state"] == state
    assert told["run"] == "run-1" and told["url"].endswith("/#/runs/details/run-1")


def test_a_namespace_is_named_where_there_are_several_users_alone(server, capsys):
    assert submit(server, "--no-wait", "--namespace", "team-a") == DONE
    assert not any("namespace=team-a" in request for request in server.requests)
    server.several = True
    server.pipelines.clear(), server.experiments.clear(), server.versions.clear()
    capsys.readouterr()
    assert submit(server, "--no-wait") == FAILED
    assert "--namespace: this Kubeflow has several users" in capsys.readouterr().err
    server.requests.clear()
    assert submit(server, "--no-wait", "--namespace", "team-a") == DONE
    asking = [request for request in server.requests if re.match(r"GET /(pipelines|experiments)\?", request)]
    assert len(asking) == 2 and all("namespace=team-a" in request for request in asking)
    assert [each["namespace"] for each in (*server.pipelines.values(), *server.experiments.values())] == ["team-a"] * 2


def test_a_schedule_makes_a_recurring_run_in_place_of_earlier_ones(server, capsys):
    assert submit(server, "--schedule", "0 6 * * *") == DONE
    assert asked(server)[-2:] == ["GET /recurringruns", "POST /recurringruns"]
    [recurring] = server.recurring.values()
    assert recurring["trigger"] == {"cron_schedule": {"cron": "0 0 6 * * *"}}, "Kubeflow's first field is of seconds"
    assert recurring["mode"] == "ENABLE" and recurring["no_catchup"] is True and recurring["max_concurrency"] == "1"
    assert not server.runs and "#/recurringrun/details/recurringrun-1" in capsys.readouterr().out

    assert submit(server, "--schedule", "0 6 * * *") == DONE
    assert asked(server)[-1] == "GET /recurringruns" and "as it was" in capsys.readouterr().out

    assert submit(server, "--schedule", "30 7 * * mon-fri", "--json") == DONE
    assert asked(server)[-2:] == ["POST /recurringruns", "DELETE /recurringruns/recurringrun-1"]
    assert json.loads(capsys.readouterr().out)["schedule"] == "0 30 7 * * mon-fri"
    assert [each["trigger"]["cron_schedule"]["cron"] for each in server.recurring.values()] == ["0 30 7 * * mon-fri"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("6 o'clock", "has 2 fields; cron has 5"),
        ("0 25 * * *", "hour: '25' is not one of 0 to 23"),
        ("0 6 * * 7", "day of the week: '7' is not one of 0 to 6 or sun to sat"),
        ("*/0 * * * *", "minute: the step '0' must be an integer of at least 1"),
        ("30-10 * * * *", "minute: '30-10' ends before it begins"),
        ("0 6 31 feb *", "never comes: no such month has day 31"),
        ("0 6 ** * *", "day of the month: '**' does not parse"),
        ("@every 1h", "'@every 1h' is unknown"),
        ("", "cron has 5"),
    ],
)
def test_a_schedule_that_does_not_parse_is_refused_before_anything_is_asked(server, capsys, text, message):
    with pytest.raises(HeadwaterError, match=re.escape(message)):
        parse_schedule(text)
    if text:
        assert submit(server, "--schedule", text) == FAILED
        assert message in capsys.readouterr().err and not server.requests


def test_schedules_that_parse():
    for text, parsed in (
        ("0 6 * * *", "0 0 6 * * *"),
        ("  */15   8-18 * * mon-fri ", "0 */15 8-18 * * mon-fri"),
        ("10 0 6 1,15 JAN-jun ?", "10 0 6 1,15 JAN-jun ?"),
        ("0 6 29 2 *", "0 0 6 29 2 *"),
        ("0 6 31 2 mon", "0 0 6 31 2 mon"),
        ("@daily", "@daily"),
    ):
        assert parse_schedule(text) == parsed


def error_of(server: Kubeflow, capsys, *flags: str) -> str:
    assert submit(server, *flags) == FAILED
    error = capsys.readouterr().err
    [line] = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in error
    return line


def status(code: int, message: str) -> tuple[int, str, str]:
    return code, json.dumps({"error": message, "code": 7, "message": message, "details": []}), "application/json"


def test_what_the_server_refuses_is_one_message(server, capsys):
    forbidden = "User 'ana' is not authorized with reason: cannot create resource \"runs\""
    server.answers = {"POST /runs": [status(403, forbidden)]}
    assert error_of(server, capsys, "--no-wait") == (
        f"error: starting the run: forbidden (403): {forbidden}; your account or service account needs the role kubeflow-edit"
    )
    server.answers = {"GET /healthz": [(404, "404 page not found", "text/plain")]}
    assert "there is no Kubeflow Pipelines at" in error_of(server, capsys)
    server.answers = {"GET /healthz": [(200, "<!doctype html><title>Dex</title>", "text/html")]}
    assert "answers with a page and not as Kubeflow Pipelines does" in error_of(server, capsys)
    server.answers = {"POST /pipelines/upload_version": [status(400, "Invalid input error: the spec is wrong")]}
    server.versions.clear()
    assert error_of(server, capsys).endswith("answered 400: Invalid input error: the spec is wrong")
    assert main(["runs", "run-9", "--host", server.url]) == FAILED
    assert "looking at the run run-9: not found (404): Run run-9 not found." in capsys.readouterr().err


def test_a_token_or_cookies_open_the_door(server, capsys, monkeypatch, tmp_path):
    server.token = "Bearer key-of-ana"
    error = error_of(server, capsys, "--no-wait")
    assert "does not know who you are (401): Unauthenticated; set HEADWATER_KFP_TOKEN" in error
    monkeypatch.setenv("HEADWATER_KFP_TOKEN", "key-of-ana")
    assert submit(server, "--no-wait") == DONE
    told = capsys.readouterr()
    assert "key-of-ana" not in told.out + told.err
    # A pod's own: the file is read anew for every request.
    monkeypatch.delenv("HEADWATER_KFP_TOKEN")
    (tmp_path / "token").write_text("key-of-ana")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    assert submit(server, "--no-wait") == DONE


def test_a_server_that_is_away_at_first_ends_it_and_while_a_run_goes_on_is_waited_for(server, capsys, monkeypatch):
    gone = server.url.rpartition(":")[0] + ":1"
    assert main(["submit", "--host", gone]) == FAILED
    assert f"--host: {gone} cannot be reached (NewConnectionError)" in capsys.readouterr().err
    trouble = status(503, "upstream connect error")
    server.answers = {"GET /runs/run-1": [trouble, trouble]}
    assert submit(server) == DONE
    assert asked(server).count("GET /runs/run-1") == 3
    monkeypatch.setattr(following, "_PATIENCE", 0.0)
    server.answers = {"GET /runs/run-2": [trouble] * 9}
    assert "has trouble (503): upstream connect error; the run goes on: `headwater runs run-2`" in error_of(
        server, capsys
    )


def test_what_somebody_else_made_in_the_meantime_is_taken(server, capsys):
    assert submit(server, "--no-wait") == DONE
    asked(server)
    empty = (200, "{}", "application/json")
    server.answers = {"GET /pipelines": [empty], "GET /pipelines/pipeline-1/versions": [empty]}
    assert submit(server, "--no-wait") == DONE
    assert asked(server)[1:7] == [
        "GET /pipelines", "POST /pipelines", "GET /pipelines",
        "GET /pipelines/pipeline-1/versions", "POST /pipelines/upload_version", "GET /pipelines/pipeline-1/versions",
    ]  # fmt: skip
    server.answers = {"GET /pipelines": [empty, empty]}
    assert "it exists: Already exist error" in error_of(server, capsys)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--host", "not a host"], "--host: 'not a host' is not an address"),
        (["--host", "ftp://kubeflow"], "--host: 'ftp://kubeflow' is not an address"),
        (["--host", "http://kubeflow:port"], "--host: 'http://kubeflow:port' is not an address"),
        ([], "--host: give the address of Kubeflow Pipelines, as http://localhost:8080, or set KF_PIPELINES_ENDPOINT"),
        (["--set", "sources=[]"], "sources: name files, folders or URIs"),
        (["--set", "sources=[a.csv]"], "--set sources.0: a.csv lies on this machine"),
        (
            ["--set", "platform.resources.memory=8"],
            "--set platform.resources.memory: collect needs at least 512Mi; given: 8",
        ),
    ],
)
def test_what_is_wrong_here_is_told_before_anything_is_asked(server, capsys, flags, message):
    assert main(["submit", *flags]) == FAILED
    assert message in capsys.readouterr().err and not server.requests


def test_runs_are_listed_by_pages_the_newest_first_and_one_can_be_followed(server, capsys, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url)
    assert main(["runs"]) == DONE
    assert "there is no run of headwater-orders yet" in capsys.readouterr().out
    for _ in range(3):
        assert submit(server, "--no-wait") == DONE
    monkeypatch.setattr("headwater.pipelines.cluster.api._PAGE", 2)
    capsys.readouterr(), server.requests.clear()
    assert main(["runs"]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["run-3", "run-2", "run-1"]
    pages = [urllib.parse.parse_qs(request.partition("?")[2]) for request in server.requests if "GET /runs?" in request]
    assert [page.get("page_token") for page in pages] == [None, ["2"]]
    assert main(["runs", "--most", "1", "--json"]) == DONE
    assert [each["run"] for each in json.loads(capsys.readouterr().out)["runs"]] == ["run-3"]
    leave("anomalies", "run-2", verdict="Rejected: 1 error", severities=["error"])
    assert main(["runs", "run-2", "--every", "0.01"]) == NOT_BLESSED
    assert "verdict     Rejected: 1 error" in capsys.readouterr().out


def test_what_a_run_left_at_a_store_that_is_closed_here_is_a_note(server, capsys, monkeypatch):
    def closed(*_):
        raise HeadwaterError("s3://lake: there are no credentials")

    monkeypatch.setattr(runs, "recorded", closed)
    assert submit(server) == DONE
    assert "note        what the run left cannot be read from here: s3://lake: there are no" in capsys.readouterr().out
