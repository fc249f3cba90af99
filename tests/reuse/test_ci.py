"""The CI of other repositories: the GitHub Action's own commands, and pre-commit itself with the hooks."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
ACTION = ROOT / "pipelines/github"
PRE_COMMIT = (
    pathlib.Path(os.environ.get("HEADWATER_REUSE", pathlib.Path.home() / ".cache/headwater-reuse"))
    / "ci/bin/pre-commit"
)


@pytest.fixture
def repository(tmp_path):
    """A repository with data and a project file."""
    rows = "".join(f"{number},{'abc'[number % 3]},{number % 7}\n" for number in range(200))
    repository = tmp_path / "repository"
    (repository / "data").mkdir(parents=True)
    (repository / "data/orders of monday.csv").write_text(f"id,kind,amount\n{rows}")
    (repository / "headwater.yaml").write_text("name: orders\nsources: [data/*.csv]\ncollect: {key: [id]}\n")
    subprocess.run(["git", "init", "-q"], cwd=repository, check=True)
    return repository


def act(repository, tmp, **inputs):
    """Runs the action's steps as a runner does: expressions are filled in, each `run` by bash, until one fails."""
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    known = {f"inputs.{name}": each["default"] for name, each in action["inputs"].items()}
    known |= {f"inputs.{name}": value for name, value in inputs.items()} | {"github.action_path": str(ACTION)}
    tmp.mkdir(exist_ok=True)
    files = {name: str(tmp / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash" and "${{" not in step["run"]
        given = {
            name: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: known[found[1]], text)
            for name, text in step["env"].items()
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=repository, env={**os.environ, **files, "RUNNER_TEMP": str(tmp), **given}, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            break
    told = {name: pathlib.Path(file).read_text() if os.path.exists(file) else "" for name, file in files.items()}
    return step["name"], done, told["GITHUB_STEP_SUMMARY"], told["GITHUB_OUTPUT"]


def test_the_action_passes_good_data_and_stops_bad_data(repository, tmp_path):
    last, done, summary, output = act(repository, tmp_path / "one")
    assert (last, done.returncode) == ("headwater run", 0), done.stderr
    assert "## ✅ headwater check: all well" in summary and "## ✅ orders, span 1" in summary
    assert output.startswith("verdict=Passed. First run")
    (repository / "data/orders of monday.csv").write_text("id,kind\n" + "".join(f"{number}\n" for number in range(50)))
    last, done, summary, output = act(repository, tmp_path / "two", sources="\ndata/orders of monday.csv\n")
    assert (last, done.returncode) == ("headwater run", 1), done.stderr
    assert "## ❌ orders, span 2" in summary and re.match(r"verdict=.*reject", output)


def test_the_action_stops_at_a_wrong_project(repository, tmp_path):
    (repository / "headwater.yaml").write_text("name: orders\nsources: [gone.csv]\n")
    last, done, summary, _ = act(repository, tmp_path / "one")
    assert (last, done.returncode) == ("headwater check", 2)
    assert "## ❌ headwater check: 1 problem" in summary


def test_a_value_of_an_input_is_no_command(repository, tmp_path):
    hostile = 'x"; touch hacked; $(touch hacked) `touch hacked`'
    act(repository, tmp_path / "one", sources=hostile, project=hostile, **{"data-root": hostile})
    assert not (repository / "hacked").exists()


@pytest.fixture
def hooks(repository):
    """Headwater's hooks as a repository of their own, which pre-commit clones."""
    if not PRE_COMMIT.exists():
        pytest.skip("pre-commit is not installed; `make test-reuse` installs it")
    source = repository.parent / "hooks"
    source.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", source)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "hooks"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    environment = {**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["PRE_COMMIT_HOME"] = str(repository.parent / "pre-commit")

    def run(hook, *arguments):
        subprocess.run(["git", "add", "."], cwd=repository, check=True)
        return subprocess.run(
            [str(PRE_COMMIT), "try-repo", str(source), hook, "--all-files", *arguments],
            cwd=repository, env=environment, capture_output=True, text=True,
        )  # fmt: skip

    return run


def test_pre_commit_runs_the_check(repository, hooks):
    assert "Passed" in hooks("headwater-check").stdout
    (repository / "headwater.yaml").write_text("name: orders\nsources: [data/*.csv]\ncolect: {key: [id]}\n")
    done = hooks("headwater-check")
    assert done.returncode == 1 and "did you mean 'collect'?" in done.stdout


def test_pre_commit_runs_the_pipeline_before_a_push(repository, hooks):
    done = hooks("headwater-run", "--hook-stage", "pre-push")
    assert done.returncode == 0 and "Passed" in done.stdout, done.stdout + done.stderr
    (repository / "data/orders of monday.csv").write_text("id,kind\n" + "".join(f"{number}\n" for number in range(50)))
    done = hooks("headwater-run", "--hook-stage", "pre-push")
    assert done.returncode == 1 and "Failed" in done.stdout
