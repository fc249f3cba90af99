"""Work spread over parts gives what one task gives, byte by byte, whatever the parts, their order, and what befalls them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid

import kfp
import pytest
import spreading
import yaml

from headwater.components.common import fanout, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics import compute
from headwater.pipelines import cli
from headwater.pipelines.cluster import parts
from headwater.pipelines.cluster.building import compile_project
from headwater.pipelines.cluster.fanning import rounds

NEWER = tuple(map(int, kfp.__version__.split(".")[:2])) >= (2, 14)
_ROWS, _FILES = 3_000, 20
_LATE = {"classes": ["on_time", "late"], "label": "punctual"}


def _project(folder, files, **more):
    functions = [
        {"name": "slow_start", "sql": "CASE WHEN dep_delay > 20 THEN 'late' END"},
        {"name": "early", "sql": "CASE WHEN dep_delay <= 0 THEN 'on_time' END"},
        {"name": "evening", "sql": "CASE WHEN hour >= 18 THEN 'late' ELSE 'on_time' END"},
        {"name": "far", "sql": "CASE WHEN distance > 2000 THEN 'on_time' END"},
    ]
    return {
        "name": "flights",
        "sources": [str(files)],
        "collect": {"span": 1, "key": ["carrier", "flight", "time_hour"], "duplicates": "drop"},
        "label": {"steps": [{"method": "weak_supervision", "functions": functions, **_LATE}]},
        "statistics": {"slices": [["carrier"]]},
        "validate": {
            "rows": {
                "rules": [
                    {"name": "soon", "row": "dep_delay < 120", "severity": "error"},
                    {"name": "once", "unique": ["carrier", "flight", "time_hour"]},
                ]
            }
        },
        "platform": {"data_root": str(folder), "workers": 1},
        **more,
    }


@pytest.fixture(scope="module")
def files(months, tmp_path_factory):
    """Flights in twenty files, with a row that is there twice."""
    folder = tmp_path_factory.mktemp("many")
    with open(months[1], encoding="utf-8") as whole:
        head, *lines = [line for line, _ in zip(whole, range(_ROWS + 1))]
    lines.append(lines[5])
    for number in range(_FILES):
        own = lines[number * len(lines) // _FILES : (number + 1) * len(lines) // _FILES]
        (folder / f"part-{number:02d}.csv").write_text(head + "".join(own), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def a_run(monkeypatch):
    """A run on a cluster."""
    monkeypatch.setenv("HEADWATER_RUN", str(uuid.uuid4()))
    _small_elements(monkeypatch)


def _small_elements(patch):
    """Makes elements of statistics small enough that there are several."""
    patch.setattr(compute, "LEAST_CELLS", 4_000)
    patch.setattr(compute, "LEAST_CELLS_OF_MANY", 4_000)


@pytest.fixture(scope="module")
def alone(files, tmp_path_factory):
    """What one task gives."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        _small_elements(patch)
        spreading.run(_project(folder, files))
    return spreading.content(folder)


@pytest.mark.parametrize(
    "wanted", [1, pytest.param(2, marks=pytest.mark.slow), 7, pytest.param(64, marks=pytest.mark.slow)]
)
def test_parts_give_what_one_task_gives(files, alone, tmp_path, wanted):
    counts = spreading.run(_project(tmp_path, files), -(-(_ROWS + 1) // wanted), lambda names: reversed(names))
    assert spreading.content(tmp_path) == alone
    # A part is no less than an element, and a pass over few bytes is not spread.
    assert min(counts.values()) >= min(wanted, _FILES) if wanted > 1 else not any(counts.values()), counts
    # Nothing is left of what tasks shared.
    assert not [path for path in tmp_path.rglob("fanout-*/*")]


def test_parts_that_run_twice_or_die_on_the_way_change_nothing(files, alone, tmp_path):
    draw = random.Random(5)
    killed = []

    def hurt(component, project, name, **inputs):
        if component in ("collect", "label") and not any(component in each for each in killed):
            _kill_on_its_way(component, project, name, inputs)
            killed.append(f"{component} {name}")
        parts.part(component, project, name, **inputs)
        if draw.random() < 0.3:
            parts.part(component, project, name, **inputs)

    spreading.run(_project(tmp_path, files), 400, lambda names: draw.sample(names, len(names)), hurt)
    assert spreading.content(tmp_path) == alone and len(killed) == 2


def _kill_on_its_way(component, project, name, inputs):
    """Starts a part as a process of its own, and kills it once it has written something but has not ended."""
    code = (
        f"from headwater.pipelines.cluster import parts; parts.part({component!r}, {project!r}, {name!r}, **{inputs!r})"
    )
    before = set(_files(project))
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    while process.poll() is None and set(_files(project)) == before:
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _files(project):
    return [file.uri for file in storage.list_files(project["platform"]["data_root"])]


def test_what_no_part_did_the_component_does_itself(files, alone, tmp_path):
    project = _project(tmp_path, files)
    names = parts.plan("collect", project, 400)
    for name in names[::2]:
        parts.part("collect", project, name)
    spreading.run(project)
    assert spreading.content(tmp_path) == alone


def test_files_that_change_during_a_run_stop_it(files, tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    for file in files.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    project = _project(tmp_path / "root", source)
    names = parts.plan("collect", project, 400)
    with open(source / "part-00.csv", "a", encoding="utf-8") as file:
        file.write((files / "part-01.csv").read_text().splitlines()[3] + "\n")
    with pytest.raises(HeadwaterError, match="the input is not what it was when this run began"):
        parts.part("collect", project, names[0])


def test_a_part_of_another_pass_is_refused(files, tmp_path):
    project = _project(tmp_path, files)
    parts.plan("collect", project, 400)
    for name in ("0-999", "3-0"):
        with pytest.raises(HeadwaterError, match=f"part: {name} does not belong to pass 0"):
            parts.part("collect", project, name)
    with pytest.raises(HeadwaterError, match="part: 'all' does not name a part"):
        parts.part("collect", project, "all")


def test_a_part_that_is_not_what_it_should_be_is_not_merged(files, tmp_path):
    project = _project(tmp_path, files)
    names = parts.plan("collect", project, 400)
    for name in names:
        parts.part("collect", project, name)
    folder = fanout.folder_of("collect", project)
    storage.write_bytes(f"{folder}/pass-00/part-00001", storage.read_bytes(f"{folder}/pass-00/part-00000"))
    with pytest.raises(HeadwaterError, match="part-00001: it does not hold the elements"):
        parts.plan("collect", project, 400)


def test_parts_need_a_run_and_a_place_to_meet(files, tmp_path, monkeypatch):
    with pytest.raises(HeadwaterError, match="data_root"):
        parts.plan("collect", {**_project(tmp_path, files), "platform": {}}, 400)
    with pytest.raises(HeadwaterError, match="rows: a part needs"):
        parts.plan("collect", _project(tmp_path, files), 0)
    monkeypatch.delenv("HEADWATER_RUN")
    with pytest.raises(HeadwaterError, match="no run"):
        parts.plan("collect", _project(tmp_path, files), 400)


def test_another_dataset_of_the_same_run_adopts_nothing(files, tmp_path):
    # A guarded pipeline measures the rows in quarantine, too.
    project = _project(tmp_path, files)
    keys = {fanout.folder_of("label", project, uri) for uri in ("/lake/a", "/lake/b", "")}
    assert len(keys) == 3


def test_the_compiled_pipeline_has_a_round_for_each_pass(files, tmp_path):
    project = _project("s3://lake/headwater", "s3://raw/flights")
    project["platform"]["fanout"] = {"rows": 5_000_000, "parallelism": 7}
    plain = yaml.safe_load_all(compile_project(_project("s3://lake/headwater", "s3://raw/flights")))
    spec = next(iter(yaml.safe_load_all(compile_project(project))))
    tasks = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    assert len(tasks) == 6 + sum(rounds(name, project) for name in spreading.ORDER)
    assert [rounds(name, project) for name in spreading.ORDER] == [4, 2, 2, 3]
    last = [name for name in tasks if name.startswith("collect-parts")][-1]
    assert tasks["collect"]["dependentTasks"] == [last]
    loop = next(
        task
        for component in spec["components"].values()
        for task in component.get("dag", {}).get("tasks", {}).values()
        if "parameterIterator" in task
    )
    assert loop["iteratorPolicy"] == {"parallelismLimit": 7}
    assert not any("parts" in name for name in next(iter(plain))["components"])


def test_a_project_without_work_of_a_component_has_no_rounds_of_it():
    assert [rounds(name, {"collect": {}}) for name in spreading.ORDER] == [2, 0, 1, 0]


@pytest.mark.parametrize("given", [[], ["--set", "platform.fanout.rows=5"]])
def test_the_command_spreads_what_the_project_does_not(tmp_path, given):
    project = _project("s3://lake/headwater", "s3://raw/flights")
    (tmp_path / "headwater.yaml").write_text(yaml.safe_dump(project))
    asked = [
        "compile",
        "--project",
        str(tmp_path / "headwater.yaml"),
        "--quiet",
        *given,
        "-o",
        str(tmp_path / "p.yaml"),
    ]
    spread = []
    for flag in ([], ["--fanout"]):
        assert cli.main([*asked, *flag]) == 0
        spread.append('"parameterIterator"' in json.dumps(next(iter(yaml.safe_load_all((tmp_path / "p.yaml").open())))))
    assert spread == [bool(given), True]


@pytest.mark.slow
@pytest.mark.skipif(not NEWER, reason="the local runner of kfp 2.13 has no dsl.ParallelFor")
def test_the_compiled_pipeline_gives_what_one_task_gives(tmp_path):
    from kfp import components, local

    (tmp_path / "files").mkdir()
    for number in range(6):
        rows = "".join(f"{number * 100 + row},{row / 2},{'ab'[row % 2]}\n" for row in range(100))
        (tmp_path / f"files/part-{number}.csv").write_text(f"id,x,c\n{rows}")
    functions = [{"name": f"above_{k}", "sql": f"CASE WHEN x > {k} THEN 'a' ELSE 'b' END"} for k in (10, 20, 30)]
    steps = [{"method": "weak_supervision", "classes": ["a", "b"], "label": "y", "functions": functions}]
    contents = []
    for name, spread in (("whole", {}), ("spread", {"fanout": {"rows": 250, "parallelism": 2}})):
        root = tmp_path / name
        platform = {"data_root": str(root / "home"), "workers": 1, **spread}
        project = {"name": "made", "sources": [str(tmp_path / "files")], "collect": {"span": 1, "key": ["id"]}}
        text = compile_project({**project, "label": {"steps": steps}, "platform": platform})
        pipeline = yaml.safe_dump(next(iter(yaml.safe_load_all(text))), sort_keys=False)
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root / "root"), raise_on_error=False)
        components.load_component_from_text(pipeline)()
        contents.append(spreading.content(root / "home"))
        done = [path for path in (root / "root").rglob("executor_output.json") if path.parent.name.startswith("part")]
        # Three of each pass over rows: collect's writing, label's votes and writing. Statistics are one element.
        assert len(done) == (9 if spread else 0)
    assert contents[0] == contents[1]
