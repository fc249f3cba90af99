"""The command line itself: help, suggestions, JSON with stable keys, what goes to stdout and stderr, and exit codes."""

from __future__ import annotations

import json
import pathlib
import random
import shutil
import subprocess

import pytest

from headwater.pipelines import cli, completion
from headwater.pipelines.cli import DONE, FAILED, INTERRUPTED, NOT_BLESSED, main

KEYS = ["command", "exit_code", "uri", "page", "findings", "refusal"]
FINDING = {"component", "severity", "kind", "split", "feature", "message", "action"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Orders, a day with a new category, and a file of which too much is rejected."""
    folder = tmp_path_factory.mktemp("cli")
    for day, kinds in (("monday", "abc"), ("tuesday", "abcdefgh")):
        chance = random.Random(day)
        lines = [f"{number},{chance.choice(kinds)},{chance.gauss(5, 1):.2f}" for number in range(400)]
        (folder / f"{day}.csv").write_text("\n".join(["id,kind,amount", *lines]) + "\n")
    (folder / "ragged.csv").write_text("a,b\n" + "1,2\n" * 50 + "1\n" * 10)
    (folder / "headwater.yaml").write_text("collect: {key: [id]}\nplatform: {workers: 1}\n")
    return folder


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def told(capsys, *arguments: str, code: int = DONE) -> dict:
    """What a command prints as JSON: one value, alone on stdout."""
    assert main([*arguments, "--json"]) == code, capsys.readouterr()
    return json.loads(capsys.readouterr().out)


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    return end.value.code


@pytest.fixture(scope="module")
def made(folder):
    """Monday's statistics and schema, and Tuesday's verdict against them."""
    import os

    before = os.getcwd()
    os.chdir(folder)
    try:
        for command in (
            ["collect", "monday.csv", "--output", "m/data"],
            ["generate-statistics", "m/data", "--output", "m/statistics"],
            ["infer-schema", "m/statistics", "--output", "m/schema"],
            ["collect", "tuesday.csv", "--output", "t/data"],
            ["generate-statistics", "t/data", "--output", "t/statistics"],
            ["infer-schema", "t/statistics", "--output", "t/schema", "--base-schema", "m/schema/schema.pbtxt"],
            ["validate", "t/statistics", "t/schema", "--output", "t/anomalies", "--baseline", "m/statistics"],
        ):
            assert main([*command, "--quiet"]) == DONE, command
    finally:
        os.chdir(before)
    return folder


def test_version_and_bare_help(capsys):
    import importlib.metadata

    assert ended("--version") == 0
    assert capsys.readouterr().out == f"headwater {importlib.metadata.version('headwater')}\n"
    assert main([]) == DONE
    out = capsys.readouterr().out
    assert out.startswith("usage: headwater") and "check settings, sources, credentials" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu", "a.csv"], "error: there is no command 'rnu'; did you mean 'run'?"),
        (["valdiate"], "error: there is no command 'valdiate'; did you mean 'validate'?"),
        (["run", "a.csv", "--proejct", "x"], "error: there is no flag --proejct; did you mean --project?"),
        (["run", "a.csv", "--span=1", "--wrokers=2"], "error: there is no flag --wrokers; did you mean --workers?"),
        (
            ["gate", "x", "--fail-on", "eror"],
            "error: --fail-on: there is no choice 'eror'; did you mean 'error'?",
        ),
        (["schema", "shwo"], "error: there is no command 'shwo'; did you mean 'show'?"),
        (["run", "a.csv", "--xyzzy"], "error: there is no flag --xyzzy; see `headwater run --help`"),
        (
            ["run", "a.csv", "--span", "one"],
            "error: argument --span: invalid int value: 'one'; see `headwater run --help`",
        ),
        (["gate"], "error: the following arguments are required: anomalies; see `headwater gate --help`"),
        (["gate", "a", "b"], "error: there are too many arguments: b; see `headwater gate --help`"),
    ],
)
def test_what_is_mistyped_is_one_line_that_suggests(capsys, arguments, message):
    assert ended(*arguments) == 2
    assert capsys.readouterr().err == message + "\n"


def test_collect_says_what_was_done_and_as_json(capsys):
    assert main(["collect", "monday.csv", "--output", "c"]) == DONE
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "collected   400 read, 400 written, 0 rejected"
    assert out.splitlines()[-1].startswith("page        c/_page") and "result      c" in out
    assert "collect: write: 400 rows" in err and "collect: write" not in out
    again = told(capsys, "collect", "monday.csv", "--output", "c2")
    assert list(again)[: len(KEYS)] == KEYS and again["command"] == "collect"
    assert again["accounts"] == {"read": 400, "written": 400, "rejected": 0, "filtered": {}} and again["accepted"]
    assert sum(again["splits"].values()) == 400


def test_quiet_says_the_result_alone(capsys):
    assert main(["collect", "monday.csv", "--output", "q", "--quiet"]) == DONE
    out, err = capsys.readouterr()
    assert err == "" and out.startswith("collected")


def test_what_is_not_accepted_exits_1(capsys):
    found = told(capsys, "collect", "ragged.csv", "--output", "r", "--project", "none", code=NOT_BLESSED)
    assert found["exit_code"] == NOT_BLESSED and "10 of 60 records" in found["refusal"]
    assert main(["collect", "ragged.csv", "--output", "r2", "--set", "collect.key=[]"]) == NOT_BLESSED
    assert "not accepted: 10 of 60 records" in capsys.readouterr().err


def test_an_error_as_json_has_its_message(capsys):
    found = told(capsys, "collect", "nowhere.csv", "--output", "n", code=FAILED)
    assert list(found) == ["command", "exit_code", "error"] and "nowhere.csv: there is no such file" in found["error"]


def test_errors_at_work_name_the_line_of_the_setting(capsys, made):
    (made / "weights.yaml").write_text("statistics:\n  weight_feature: wieght\n")
    command = ["generate-statistics", "m/data", "--output", "w", "--project", "weights.yaml"]
    assert main(command) == FAILED
    assert (
        "error: weights.yaml, line 2: statistics.weight_feature: there is no column 'wieght'" in capsys.readouterr().err
    )
    assert main([*command, "--set", "statistics.weight_feature=kind"]) == FAILED
    assert "error: --set statistics.weight_feature: column 'kind' is " in capsys.readouterr().err


def test_every_component_ends_alike(capsys, made):
    """What was done, findings with their severity, and the page."""
    commands = {
        "generate-statistics": (["m/data", "--output", "m/statistics"], "measured    3 features of 400 rows: train "),
        "merge-statistics": (
            ["m/statistics", "t/statistics", "--output", "both"],
            "merged      3 features of 800 rows: ",
        ),
        "infer-schema": (["m/statistics", "--output", "m/schema"], "schema      inferred from the data"),
        "validate": (
            ["t/statistics", "t/schema", "--output", "t/anomalies", "--baseline", "m/statistics"],
            "validated   ",
        ),
    }
    for command, (arguments, first) in commands.items():
        assert main([command, *arguments]) == DONE
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(first), lines
        page = lines[-1].removeprefix("page        ")
        assert pathlib.Path(page).read_text().startswith("<!doctype html>"), lines
    findings = [line for line in lines if line.startswith(("findings    ", " " * 12)) and "compared with" not in line]
    assert findings and all(line[12:].startswith(("error    ", "warning  ", "info     ", "… and")) for line in findings)
    assert any("kind" in line for line in findings)


def test_the_json_of_every_component_has_the_same_keys(capsys, made):
    own = {
        ("generate-statistics", "m/data", "--output", "m/statistics"): {"splits"},
        ("merge-statistics", "m/statistics", "t/statistics", "--output", "both"): {"splits"},
        ("infer-schema", "m/statistics", "--output", "m/schema"): {"mode", "files"},
        ("validate", "t/statistics", "t/schema", "--output", "t/anomalies", "--baseline", "m/statistics"): {
            "blessed", "verdict", "checks", "results",
        },
        ("gate", "t/anomalies", "--fail-on", "none"): {"blessed", "verdict", "fail_on"},
    }  # fmt: skip
    for command, more in own.items():
        found = told(capsys, *command)
        assert list(found)[: len(KEYS)] == KEYS and set(found) == {*KEYS, *more}, command
        assert found["command"] == command[0] and found["exit_code"] == DONE
        assert pathlib.Path(found["page"]).exists()
        assert all(set(each) == FINDING for each in found["findings"])
    assert found["findings"][0]["component"] == "anomalies"


def test_the_gate_that_is_closed_exits_1_in_both_forms(capsys, made):
    found = told(capsys, "gate", "t/anomalies", "--fail-on", "warning", code=NOT_BLESSED)
    assert found["refusal"] == found["verdict"] and found["findings"]
    assert main(["gate", "t/anomalies", "--set", "validate.fail_on=warning"]) == NOT_BLESSED
    assert "error: train, eval/kind: " in capsys.readouterr().err


def test_other_commands_print_json_too(capsys, made):
    assert told(capsys, "schema", "show", "m/schema", "--as", "duckdb")["schema"].startswith("CREATE TABLE")
    assert told(capsys, "schema", "diff", "m/schema", "t/schema") == []
    assert told(capsys, "verify", "m/data")["problems"] == []
    assert isinstance(told(capsys, "lineage", "m/statistics"), (dict, list))
    assert told(capsys, "completion", "bash")["script"].startswith("# Headwater's commands for bash")
    assert told(capsys, "check", "monday.csv")["problems"] == []


def test_completion_knows_every_command_and_flag(capsys, tmp_path):
    commands = {each.words: each for each in completion.walk(cli._parser())}
    assert {"run", "init", "check", "schema show", "completion"} <= set(commands)
    for shell in completion.SHELLS:
        assert main(["completion", shell]) == DONE
        script = capsys.readouterr().out
        for each in commands.values():
            for flag in each.flags:
                assert flag in script or f"-l {flag[2:]}" in script or not flag.startswith("--")
        program = shutil.which("bash" if shell != "fish" else "fish")
        if program and shell != "zsh":
            (tmp_path / shell).write_text(script)
            assert subprocess.run([program, "-n", str(tmp_path / shell)], capture_output=True).stderr == b""


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["headwater", "ru"], {"run", "runs"}),
        (["headwater", "gate", "--fail"], {"--fail-on"}),
        (["headwater", "gate", "--fail-on", "w"], {"warning"}),
        (["headwater", "schema", "sh"], {"show"}),
        (["headwater", "completion", "z"], {"zsh"}),
        (["headwater", "run", "--set", "validate.drift.mi"], {"validate.drift.min_effect="}),
        (["headwater", "validate", "--set", "nam"], {"name="}),
    ],
)
def test_completion_in_bash(capsys, tmp_path, monkeypatch, typed, completed):
    monkeypatch.chdir(tmp_path)
    assert main(["completion", "bash"]) == DONE
    words = " ".join(typed)
    script = capsys.readouterr().out + (
        f"COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _headwater; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert set(done.stdout.split()) == completed, done.stderr


def test_ctrl_c_is_one_line(capsys, monkeypatch):
    """A real KeyboardInterrupt, raised by a signal to this process while the command works."""
    import signal

    from headwater.pipelines import projects

    monkeypatch.setattr(projects, "load_of", lambda *_: signal.raise_signal(signal.SIGINT))
    # A process that a script started in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["check"]) == INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.startswith("error: interrupted")


def test_a_project_file_in_a_folder_of_data_is_no_data(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    shutil.copy("monday.csv", tmp_path / "in")
    (tmp_path / "in/headwater.yaml").write_text("name: inside\ncollect: {key: [id]}\n")
    import os

    os.chdir(tmp_path)
    assert main(["collect", "in", "--output", "out", "--workers", "1", "--quiet"]) == DONE
    assert "collected   400 read" in capsys.readouterr().out
