"""The model of time and money: it grows with rows, its parts add up, and every constant and setting counts."""

import copy
import dataclasses
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "bench"))

import benches  # noqa: E402
import limits  # noqa: E402
import model  # noqa: E402
import model_fit  # noqa: E402
from model import ENGINES, SIZES, WAYS, Settings, Shape, cpu  # noqa: E402

CONSTANTS = json.loads(model.CONSTANTS.read_text())


def _leaves(found, path=()):
    for name, value in found.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, name))
        elif isinstance(value, (int, float)):
            yield (*path, name)


def _some():
    """The constants, none of them so small that a measurement found nothing."""
    made = copy.deepcopy(CONSTANTS)
    made["seconds"]["generate-statistics"]["element"] = 1e-3
    return made


def _doubled(path):
    changed = _some()
    *above, last = path
    place = changed
    for name in above:
        place = place[name]
    place[last] *= 2
    return changed, place[last]


def _all(constants, settings=Settings()):
    files = [sum(cpu(way, Shape(1e6), constants, files=1_000).values()) for way in WAYS]
    return files, [run(way, shape, constants, settings) for run in ENGINES.values() for way in WAYS for shape in SIZES]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("way", WAYS)
def test_more_rows_take_more(engine, way):
    costs = [ENGINES[engine](way, Shape(10.0**power), CONSTANTS, Settings()) for power in range(5, 13)]
    for less, more in zip(costs, costs[1:]):
        assert more.core_seconds >= less.core_seconds > 0 and more.dollars >= less.dollars > 0
    assert costs[-1].seconds > costs[0].seconds or way in model.OF_COLUMNS


@pytest.mark.parametrize("way", WAYS)
def test_parts_add_up(way):
    parts = cpu(way, Shape(2_500_000), CONSTANTS)
    own = CONSTANTS["seconds"][way]
    cells = sum(own["cell"][kind] * 2_500_000 * columns for kind, columns in model.KINDS.items())
    count = model.elements(way, Shape(2_500_000), CONSTANTS)
    total = own["start"] + 18 * own["column"] + cells + count * own["element"]
    assert sum(parts.values()) == pytest.approx(total)
    # One core that never waits has all of it to do, but what is merged last; two and more start side by side.
    settings = Settings(cores=1, busy=1, latency=0)
    alone = model.one_machine(way, Shape(2_500_000), CONSTANTS, settings)
    begin = model.begun(way, CONSTANTS, 1)
    assert (
        begin >= own["start"] >= own["start"] / 2 <= model.begun(way, CONSTANTS, 2) == model.begun(way, CONSTANTS, 64)
    )
    total += begin - own["start"]
    assert (
        total <= alone.seconds + 1e-9
        and alone.seconds <= total + own["element"] * model.merges(count, CONSTANTS) + 1e-9
    )
    reads, writes = model.requests(way, Shape(2_500_000), CONSTANTS)
    paid = (
        alone.core_seconds / 3600 * settings.core_hour + reads * settings.reads / 1e3 + writes * settings.writes / 1e3
    )
    assert alone.dollars == pytest.approx(paid)


def test_every_constant_counts():
    before, tables = _all(_some()), model.written(model.PAGE.read_text(), _some())
    for path in _leaves({name: value for name, value in CONSTANTS.items() if name != "about"}):
        changed, value = _doubled(path)
        if value:
            assert _all(changed) != before or model.written(tables, changed) != tables, path


def test_every_setting_counts():
    before = _all(CONSTANTS)
    stored = list(model.totals(CONSTANTS, Settings()))
    for field in dataclasses.fields(Settings):
        changed = dataclasses.replace(Settings(), **{field.name: getattr(Settings(), field.name) / 2})
        assert _all(CONSTANTS, changed) != before or list(model.totals(CONSTANTS, changed)) != stored, field.name


def test_kinds_are_those_of_the_table():
    from generator import batches

    names = next(batches(10)).schema.names
    own = {kind: [name for name in names if name.startswith(model.PREFIXES[kind])] for kind in model.KINDS}
    assert {kind: len(columns) for kind, columns in own.items()} == model.KINDS
    assert sorted(name for columns in own.values() for name in columns) == sorted(names)


def test_a_prediction_that_is_far_off_is_counted(tmp_path, monkeypatch, capsys):
    told = {way: sum(cpu(way, Shape(1_000), CONSTANTS).values()) for way in WAYS}
    told["label"] *= 1.3
    told["validate"] /= 1.1
    monkeypatch.setattr(model, "least", lambda runs, way, *_: (told[way], told[way]))
    assert model.check(tmp_path, CONSTANTS, [1_000], 1) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if " label " in line][0].split("wall")[0].rstrip().endswith("-23%")


def test_the_fit_finds_the_constants_that_runs_were_made_of(tmp_path, monkeypatch):
    def prepared(folder, rows, kind="", columns=0):
        return tmp_path / f"{kind or 'all'}-{columns}-{rows}.parquet"

    def least(runs, way, path, folder, *more):
        own = CONSTANTS["seconds"][way]
        kind, columns, rows = path.stem.split("-")
        cells = model_fit._cells(int(rows), kind if kind in model.KINDS else "", int(columns))
        spread = sum(own["cell"][name] * count for name, count in cells.items())
        of_columns = own["column"] * (int(columns) or model.KINDS.get(kind, 18))
        return own["start"] + of_columns + spread, own["clock"] + of_columns + spread / benches.THREADS

    fakes = {"prepared": prepared, "least": least, "as_csv": lambda path: path, "_of_indexes": dict, "_requests": dict}
    fakes["_sizes"] = lambda folder, name: CONSTANTS["bytes"][name]
    fakes["_of_a_file"] = lambda way, folder, runs: 0.0
    for name, fake in fakes.items():
        monkeypatch.setattr(model_fit, name, fake)
    state = tmp_path / "model" / prepared(None, model_fit.LARGE).stem / "statistics/Split-train/State.arrow"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"")
    found = model_fit.constants(tmp_path, 1)["seconds"]
    for way, own in CONSTANTS["seconds"].items():
        assert found[way]["cell"] == pytest.approx(own["cell"], rel=0.01), way
        for name in ("start", "clock", "column"):
            assert found[way][name] == pytest.approx(own[name], rel=0.01), (way, name)


def test_what_ends_it_first_is_what_there_is_least_of(monkeypatch):
    lines = list(limits.limiting(CONSTANTS))
    assert lines[2].endswith("| nothing |") and lines[-2].endswith("× what there is |")
    monkeypatch.setitem(limits.LIMITS, "memory of a task", 1)
    assert "memory of a task" in list(limits.limiting(CONSTANTS))[2]


def test_the_page_has_the_tables_of_the_committed_constants():
    page = model.PAGE.read_text()
    assert model.written(page, CONSTANTS) == page
