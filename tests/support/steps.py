"""The components as steps over a data_root, each a command line that is run in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from headwater.components.common import results, storage
from headwater.components.common.dataset_index import carried_splits, other_files, shard_index
from headwater.components.common.maintenance import verify
from headwater.components.common.results import Home

KINDS = {
    "collect": "dataset",
    "label": "labels",
    "generate-statistics": "statistics",
    "infer-schema": "schema",
    "validate": "anomalies",
}
LINES = ["id,amount,word,day", *(f"{n},{n % 13 + n / 7},w{n % 3},2026-01-{1 + n % 9:02}" for n in range(300))]
EVENTS = [
    "id,at,size",
    *(f"{n},2026-01-{1 + n % 9 + n % 2:02},{('small', 'large')[n % 5 > 1]}" for n in range(0, 300, 4)),
]
STEPS = """
label:
  steps:
  - method: direct
    classes: [small, large]
    feedback: events
    served: day
    occurred: at
    window: 2d
    outcome: size
  - method: weak_supervision
    classes: [small, large]
    functions:
    - {name: high, threshold: {column: amount, above: 20, vote: large}}
    - {name: low, threshold: {column: amount, below: 15, vote: small}}
    - {name: word, lookup: {column: word, values: {w0: small, w2: large}}}
    - {name: turn, sql: "CASE WHEN id % 7 < 2 THEN 'small' WHEN id % 7 > 4 THEN 'large' END"}
"""
_ENVIRONMENT = ("AWS_", "STORAGE_", "GOOGLE_", "HEADWATER_")


class Zygote:
    """Starts processes from one that has imported everything."""

    def __enter__(self) -> Zygote:
        self._process = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        json.loads(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()

    def start(self, commands: list[dict[str, Any]]) -> list[int]:
        """Starts command lines at once; gives their process ids."""
        own = {name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT)}
        self._process.stdin.write(
            json.dumps([{**each, "env": {**own, **each.get("env", {})}} for each in commands]) + "\n"
        )
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def wait(self) -> list[int]:
        """The exit codes of those that were started last; negative for a signal."""
        return json.loads(self._process.stdout.readline())

    def run(self, argv: list[str], log: pathlib.Path, **more: Any) -> tuple[int, str]:
        """Runs one command line; gives its exit code and what it printed."""
        self.start([{"argv": argv, "log": str(log), **more}])
        [code] = self.wait()
        return code, log.read_text()


@dataclasses.dataclass(frozen=True)
class Steps:
    """All components over one root, each fed by the one before it.

    Attributes:
      root: URI of the data_root.
      folder: local folder for sources and outputs.
    """

    root: str
    folder: pathlib.Path

    def argv(self, step: str, output: str = "") -> list[str]:
        """The command line of a step, with manifests alone as its inputs, as Kubeflow's launcher passes them."""
        here = {name: str(self.folder / name) for name in KINDS}
        for copied in (path for name in KINDS for path in sorted((self.folder / name).rglob("*"), reverse=True)):
            if copied.is_dir():
                copied.rmdir()
            elif copied.name != results.MANIFEST:
                copied.unlink()
        output = output or here[step]
        source = self.folder / "rides.csv"
        if not source.exists():
            source.write_text("\n".join(LINES) + "\n")
        tail = ["--output", output]
        if step == "collect":
            own = ["--name", "rides", "--span", "1", "--data-root", self.root, "--key", "id", "--workers", "1"]
            return ["collect", str(source), *own, "--splits", "train=6,eval=1,test=1,gold=1,rest=1", *tail]
        if step == "label":
            given, events = self.folder / "steps.yaml", self.folder / "events.csv"
            given.write_text(STEPS)
            events.write_text("\n".join(EVENTS) + "\n")
            # Rows of the last two days wait, and so do their events.
            own = ["--input", f"events={events}", "--as-of", "2026-01-09"]
            return [step, here["collect"], "--project", str(given), *own, "--workers", "1", *tail]
        if step == "generate-statistics":
            return [step, here["label"], "--workers", "1", *tail]
        if step == "infer-schema":
            return [step, here["generate-statistics"], *tail]
        return [step, here["generate-statistics"], here["infer-schema"], "--workers", "1", *tail]

    def home(self, version: int = 1) -> Home:
        return Home(self.root, "rides", 1, version)

    def place(self, step: str) -> str:
        """URI of the folder of a step's result."""
        return self.home().folder(KINDS[step])

    def is_committed(self, step: str) -> bool:
        return storage.exists(storage.join(self.place(step), results.MANIFEST))

    def clear(self, step: str) -> None:
        """Removes a step's result."""
        storage.delete_folder(self.place(step))
        storage.delete(self.home().report(KINDS[step]))

    def told(self, step: str) -> dict[str, Any]:
        """What a step's result is known by, which every run must give."""
        result = results.load(self.place(step), KINDS[step])
        known: dict[str, Any] = {"fingerprint": result.fingerprint}
        for path, file in result.manifest.get("files", {}).items():
            known[path] = file["sha256"]
        if step in ("collect", "label"):
            for carried, splits in ((False, result.body["splits"]), (True, carried_splits(result))):
                for split in splits:
                    shards = shard_index(result, split, carried=carried)
                    known[f"{split}, {carried}"] = [(shard["rows"], shard["sha256"]) for shard in shards]
            known["other"] = [file["sha256"] for file in other_files(result)]
        return known

    def check_whole(self, step: str) -> None:
        """What is committed is whole, and the first version is the only one."""
        found = verify(self.place(step))
        assert found.problems == []
        kind = KINDS[step]
        assert [home.version for home in results.committed(self.root, "rides", kind)] == [1]


def prepare(zygote: Zygote, steps: Steps) -> dict[str, dict[str, Any]]:
    """Runs all steps once; gives what each is known by."""
    known = {}
    for step in KINDS:
        code, text = zygote.run(steps.argv(step), steps.folder / "log")
        assert code == 0, text
        known[step] = steps.told(step)
    return known


def check_clear(text: str) -> None:
    """One sentence, no traceback and no secret."""
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in text
    assert "secret" not in text
