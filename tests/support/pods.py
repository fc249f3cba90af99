"""A stand-in for Kubeflow: the compiled pipeline's own commands, in the order of its graph, with the launcher's JSON.

Each task runs as a pod runs it, in a container of the image that the pipeline names, or as a process of this environment.
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]

USER = "65532:65532"
POD = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none"),
    *("--shm-size", "64m", "--user", USER, "-v", "/tmp"),
)
"""Options of `docker run` that make a container what a careful platform's pod is."""


class Done(NamedTuple):
    """A task that has ended.

    Attributes:
      code: its exit code.
      log: what it printed.
      last_words: what it left for the kubelet.
    """

    code: int
    log: str
    last_words: str

    @property
    def last_line(self) -> str:
        """The last line of its log."""
        return self.log.rstrip().rpartition("\n")[2]


Run = Callable[[str, Sequence[str], pathlib.Path], Done]
"""Runs a command, given an image and the folder that it shares with the tasks before it."""


def docker(*arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess:
    """Calls Docker's client."""
    client = os.environ.get("DOCKER", "docker")
    return subprocess.run([client, *arguments], capture_output=True, text=True, check=check, **options)


def image(name: str) -> str:
    """An image of this tree's version; skips the test where it was not built."""
    version = next(line for line in (ROOT / "setup.py").read_text().splitlines() if line.startswith("VERSION"))
    full = f"{name}:{version.split(chr(34))[1]}"
    if not shutil.which(os.environ.get("DOCKER", "docker")):
        pytest.skip("there is no Docker here")
    if docker("info", check=False).returncode:
        pytest.skip("no Docker daemon answers; make test-images starts one")
    if docker("image", "inspect", full, check=False).returncode:
        pytest.skip(f"{full} is not built; make images builds it")
    return full


def in_a_pod(image: str, command: Sequence[str], shared: pathlib.Path) -> Done:
    """Runs a command as a pod does. What was in `shared` is taken over by the pod's user first, as a store would serve it."""
    for each in [shared, *shared.rglob("*")]:
        os.chmod(each, 0o777 if each.is_dir() else 0o666)
    with tempfile.NamedTemporaryFile() as log:
        os.chmod(log.name, 0o666)
        done = docker(
            *("run", "--rm", *POD, "-v", f"{shared}:{shared}", "-v", f"{log.name}:/dev/termination-log"),
            *("--env", "HOME", image, *command),
            check=False,
            env={name: value for name, value in os.environ.items() if name != "HOME"},
        )
        return Done(done.returncode, done.stdout + done.stderr, pathlib.Path(log.name).read_text())


def here(image: str, command: Sequence[str], shared: pathlib.Path) -> Done:
    """Runs a command as a process of this environment."""
    first = os.path.dirname(sys.executable)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{first}:{os.environ['PATH']}"},
        check=False,
    )
    return Done(done.returncode, done.stdout + done.stderr, "")


class Pipeline:
    """A run of the compiled main pipeline, task by task.

    Args:
      folder: for its artifacts.
      project: the pipeline's parameter.
      run: how a task is run.
      number: how a number of the settings is written: Kubeflow's launcher writes some as `100` and some as `100.0`.
      compiled: the pipeline.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        project: Mapping[str, Any],
        run: Run,
        number: type = int,
        compiled: pathlib.Path = ROOT / "pipelines/headwater.yaml",
    ):
        with open(compiled, encoding="utf-8") as file:
            self._spec = next(yaml.safe_load_all(file))
        self._folder, self._project, self._run = folder, _numbers(project, number), run
        self.artifacts: dict[tuple[str, str], dict[str, Any]] = {}
        self.parameters: dict[tuple[str, str], Any] = {}
        self.done: dict[str, Done] = {}

    def to_its_end(self, until: str = "") -> Pipeline:
        """Runs the tasks in their order up to one, or up to one that fails."""
        for name in self.tasks():
            if self.run(name).code or name == until:
                break
        return self

    def tasks(self) -> Iterator[str]:
        """The tasks' names, each after those that it needs."""
        waiting = collections.deque(self._spec["root"]["dag"]["tasks"].items())
        seen: set[str] = set()
        while waiting:
            name, task = waiting.popleft()
            if seen.issuperset(task.get("dependentTasks", ())):
                seen.add(name)
                yield name
            else:
                waiting.append((name, task))

    def run(self, name: str) -> Done:
        """Runs one task; it may be run again, as a pod that was lost is."""
        task = self._spec["root"]["dag"]["tasks"][name]
        component = self._spec["components"][task["componentRef"]["name"]]
        container = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        given = self._executor_input(name, task, component, folder)
        arguments = [each.replace("{{$}}", json.dumps(given)) for each in container["args"]]
        done = self._run(container["image"], [*container["command"], *arguments], self._folder.parent)
        self.done[name] = done
        made = pathlib.Path(given["outputs"]["outputFile"])
        if not done.code and made.exists():
            output = json.loads(made.read_text())
            self.artifacts.update(
                {(name, key): value["artifacts"][0] for key, value in output.get("artifacts", {}).items()}
            )
            self.parameters.update({(name, key): value for key, value in output.get("parameterValues", {}).items()})
        return done

    def path(self, task: str, artifact: str) -> pathlib.Path:
        """Where an artifact lies."""
        return pathlib.Path(self.artifacts[task, artifact]["uri"])

    def _executor_input(
        self, name: str, task: Mapping[str, Any], component: Mapping[str, Any], folder: pathlib.Path
    ) -> dict[str, Any]:
        inputs, outputs = task.get("inputs", {}), component.get("outputDefinitions", {})
        parameters, artifacts = {}, {}
        for key, source in inputs.get("parameters", {}).items():
            from_task = source.get("taskOutputParameter")
            if from_task:
                parameters[key] = self.parameters[from_task["producerTask"], from_task["outputParameterKey"]]
            else:
                parameters[key] = source.get("runtimeValue", {}).get("constant", self._project)
        for key, source in inputs.get("artifacts", {}).items():
            found = source["taskOutputArtifact"]
            artifacts[key] = {"artifacts": [self.artifacts[found["producerTask"], found["outputArtifactKey"]]]}
        return {
            "inputs": {"parameterValues": parameters, "artifacts": artifacts},
            "outputs": {
                "parameters": {
                    key: {"outputFile": str(folder / f"{key}.txt")} for key in outputs.get("parameters", {})
                },
                "artifacts": {
                    key: {
                        "artifacts": [
                            {"name": key, "type": each["artifactType"], "uri": str(folder / key), "metadata": {}}
                        ]
                    }
                    for key, each in outputs.get("artifacts", {}).items()
                },
                "outputFile": str(folder / "executor_output.json"),
            },
        }


def _numbers(value: Any, number: type) -> Any:
    if isinstance(value, Mapping):
        return {name: _numbers(part, number) for name, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part, number) for part in value]
    return number(value) if isinstance(value, int) and not isinstance(value, bool) else value
