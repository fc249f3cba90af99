"""The project file as commands use it: found, checked with lines, overridden by --set and flags, drafted and described."""

from __future__ import annotations

import json
import pathlib
import random

import pytest

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.project import SECTIONS, marked, section
from headwater.components.common.settings import parse_config
from headwater.pipelines.cli import DONE, FAILED, main
from headwater.pipelines.project import NAME, describing
from headwater.pipelines.project.columns import NAMING
from headwater.pipelines.project.loading import load
from headwater.pipelines.project.model import json_schema, places, project_model

ROOT = pathlib.Path(__file__).resolve().parents[2]


def people(path: pathlib.Path, rows: int = 300, delimiter: str = ";", encoding: str = "latin-1") -> pathlib.Path:
    """Rows with a key, a time, a label, personal data, codes for missing values, decimal commas and umlauts."""
    chance = random.Random(3)
    lines = [["order_id", "placed_at", "email", "town", "age", "price", "zip", "churn"]]
    for number in range(rows):
        lines.append(
            [
                str(7_000 + number),
                f"2026-01-{1 + number % 28:02d} 10:{number % 60:02d}:00",
                f"person{number}@example.org",
                chance.choice(["Köln", "Wien", "Bern", "?"]),
                str(chance.choice([-1, *range(18, 80)])),
                f"{chance.uniform(1, 90):.2f}".replace(".", ","),
                f"0{1000 + number % 40}",
                chance.choice(["yes", "no"]),
            ]
        )
    path.write_text("".join(delimiter.join(line) + "\n" for line in lines), encoding=encoding)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people(tmp_path / "orders-2026-01.csv")
    return tmp_path


def said(capsys) -> tuple[str, str]:
    return tuple(capsys.readouterr())


# What a project may hold.


def test_the_model_has_the_sections_and_refers_to_every_component():
    schema = json_schema()
    assert tuple(schema["properties"]) == SECTIONS
    models = json.dumps(schema)
    for setting in (
        "volume_tolerance",
        "min_effect",
        "max_exact_values",
        "zero_means_missing",
        "url_env",
        "gold_input",
    ):
        assert f'"{setting}"' in models
    collect = schema["$defs"]["Collect"]
    assert collect["properties"]["key"]["description"] == "columns that identify a row; none to have `_row_id` made"
    assert collect["additionalProperties"] is False


def test_project_schema_is_what_editors_take(capsys):
    assert main(["project-schema"]) == DONE
    assert json.loads(said(capsys)[0]) == json_schema()


def test_each_example_of_a_readme_is_a_valid_project():
    import re

    for name in describing.READMES:
        text = (ROOT / name).read_text(encoding="utf-8")
        for block in re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            found = parse_config(name, block)
            assert set(found) <= set(SECTIONS), (name, block)
            project_model().model_validate(found)


@pytest.mark.parametrize("name", describing.READMES)
def test_the_tables_of_the_readmes_are_those_of_the_models(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert describing.written(text) == text, "stale: run make compile"
    if name != "README.md":
        assert "<!-- settings: " in text


def test_a_changed_model_changes_its_table():
    text = "<!-- settings: platform -->\nold\n<!-- /settings -->\n"
    assert "| `workers` | `0` | number of processes per Beam worker; 0 for one per core of" in describing.written(text)


# How it is found and put together.


def test_paths_are_taken_from_the_files_own_folder(here):
    folder = here / "data"
    folder.mkdir()
    (folder / NAME).write_text(
        "sources: [a.csv, s3://b/c.csv, /abs.csv]\n"
        "collect: {lookups: {w: {source: ../w.csv, on: {a: a}}}}\n"
        "label: {inputs: {clicks: clicks.csv}}\n"
        "schema: {base_schema: agreed/schema.pbtxt}\n"
        "validate: {baseline: previous, serving: {statistics: out/serving}}\n"
        "platform: {data_root: home}\n"
    )
    given = load(str(folder / NAME)).settings
    assert given["sources"] == [str(folder / "a.csv"), "s3://b/c.csv", "/abs.csv"]
    assert given["collect"]["lookups"]["w"]["source"] == str(folder / "../w.csv")
    assert given["label"]["inputs"] == {"clicks": str(folder / "clicks.csv")}
    assert given["schema"]["base_schema"] == str(folder / "agreed/schema.pbtxt")
    assert given["validate"] == {"baseline": "previous", "serving": {"statistics": str(folder / "out/serving")}}
    assert given["platform"]["data_root"] == str(folder / "home")
    assert ("validate", "baseline") not in dict(places(given))


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("validate.drift.min_effect=0.05", ("validate", "drift", "min_effect"), 0.05),
        ("collect.key=[a, b]", ("collect", "key"), ["a", "b"]),
        ("collect.missing={age: [-1]}", ("collect", "missing"), {"age": [-1]}),
        ('collect.types."a.b"=string', ("collect", "types", "a.b"), "string"),
        ("label.steps.0.label=late", ("label", "steps", 0, "label"), "late"),
        ("collect.delimiter=", ("collect", "delimiter"), ""),
        ("collect.as_of=2026-01-31", ("collect", "as_of"), "2026-01-31"),
        ("collect.analyse=false", ("collect", "analyse"), False),
    ],
)
def test_set_takes_values_of_yaml(here, text, path, value):
    (here / NAME).write_text("label: {steps: [{method: direct}]}\nvalidate: {drift: {season: 7}}\n")
    found = load(sets=[text]).settings
    for part in path:
        found = found[part]
    assert found == value
    assert load(sets=[text]).settings["validate"]["drift"].get("season") == 7


def test_flags_go_before_set_and_set_before_the_file(here):
    (here / NAME).write_text("name: a\ncollect: {key: [x], types: {zip: string}}\n")
    project = load(sets=["name=b", "collect.key=[y]"], flags=[(("collect", "key"), ["z"])])
    assert project.settings == {"name": "b", "collect": {"key": ["z"], "types": {"zip": "string"}}}
    more = load(flags=[(("collect", "types"), {"tel": "string"})])
    assert more.settings["collect"]["types"] == {"zip": "string", "tel": "string"}


def test_splits_keep_their_order_on_the_way_to_kubeflow(here):
    (here / NAME).write_text("collect: {splits: {zeta: 3, alpha: 1}}\n")
    assert load().settings["collect"]["splits"] == "zeta=3,alpha=1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("collect:\n  kye: [id]\n", "headwater.yaml, line 2: collect.kye: there is no such setting; did you mean 'key'?"),
        ("colect: {}\n", "headwater.yaml, line 1: colect: there is no such section; did you mean 'collect'?"),
        ("key: [id]\n", "headwater.yaml, line 1: key: there is no such section; did you mean collect.key?"),
        ("platform:\n  fail_on: none\n", "line 2: platform.fail_on: there is no such setting; did you mean validate.fail_on?"),
        ("validate:\n  drift:\n    min_effect: a\n", "headwater.yaml, line 3: validate.drift.min_effect: input should"),
        ("alerts:\n- to: slack\n  url_env: A\n- {to: pigeon}\n", "headwater.yaml, line 4: alerts.1.to: there is no channel"),
        ("label:\n  steps:\n  - method: direkt\n    classes: [a, b]\n", "line 3: label.steps.0.method: there is no method"),
        ("schema:\n  features:\n    a.b: {colour: 1}\n", "headwater.yaml, line 3: schema.features.a.b.colour: there is no"),
        ("statistics: {slices: [[]]}\n", "headwater.yaml, line 1: statistics.slices: a slice must name at least one"),
        ("collect: {splits: train}\n", "headwater.yaml, line 1: collect.splits: 'train' should be NAME=WEIGHT"),
        ("platform: {workers: -1}\n", "headwater.yaml, line 1: platform.workers: input should be greater than or equal"),
        ("sources: a.csv\n", "headwater.yaml, line 1: sources: must be a list"),
        ("sources: [{postgres: {quary: x}}]\n", "sources.0.postgres.quary: there is no such setting; did you mean 'query'?"),
        ("- a\n", "headwater.yaml: must be a mapping of sections: name, sources, collect"),
        ("name: a b\n", "headwater.yaml, line 1: name: "),
        ("collect: [\n", "headwater.yaml, line 2: is not valid YAML"),
        ("name: a\nname: b\n", "headwater.yaml, line 2: the key 'name' is given twice; line 1 has it too"),
    ],
)  # fmt: skip
def test_what_is_wrong_names_file_line_key_and_the_nearest_right_one(here, capsys, text, message):
    (here / NAME).write_text(text)
    assert main(["run"] if "sources" in text else ["run", "orders-2026-01.csv"]) == FAILED
    out, err = said(capsys)
    assert message in err and out == "" and len(err.splitlines()) == 1


def test_what_set_got_wrong_names_set(here, capsys):
    assert main(["run", "orders-2026-01.csv", "--set", "validate.drift.min_efect=1"]) == FAILED
    assert "error: --set validate.drift.min_efect: there is no such setting; did you mean" in said(capsys)[1]
    assert main(["run", "orders-2026-01.csv", "--set", "validate"]) == FAILED
    assert "'validate' must be KEY=VALUE, as in validate.drift.min_effect=0.05" in said(capsys)[1]


def test_a_value_is_never_dumped_whole(here, capsys):
    (here / NAME).write_text("collect: {season: [" + ", ".join(["'secret words'"] * 50) + "]}\n")
    assert main(["run", "orders-2026-01.csv"]) == FAILED
    assert said(capsys)[1].count("secret") <= 4


def test_kfp_leaves_marked_settings_alone():
    project = {"collect": {"rename": {"python3": "a python3.11"}}, "sources": ["/opt/python3/x.csv"]}
    assert "python3" not in json.dumps(marked(project))
    assert section(marked(project), "collect") == project["collect"]


def test_a_component_alone_takes_its_own_sections():
    from headwater.components.collect.settings import from_project
    from headwater.components.validate.judging import fail_on
    from headwater.components.validate.settings import from_project as of_validate

    project = {
        "collect": {"season": 7.0},
        "validate": {"baseline": "none", "fail_on": "warning", "drift": {"season": 7}},
    }
    assert from_project(project, ["a.csv"])["season"] == 7
    assert of_validate(project)["config"] == {"drift": {"season": 7}} and fail_on(project) == "warning"
    with pytest.raises(HeadwaterError, match="validate.fail_on: input should be 'error', 'warning' or 'none'"):
        fail_on({"validate": {"fail_on": "never"}})


# init and check


def test_init_writes_what_the_data_shows_and_it_works_as_written(here, capsys):
    assert main(["init", "orders-2026-01.csv", "--json"]) == DONE
    out, err = said(capsys)
    told = json.loads(out)
    assert told["key"] == ["order_id"] and told["time"] == ["placed_at"] and told["label"][0] == "churn"
    assert told["private"] == {"email": "email"} and told["types"] == {"zip": "string"}
    assert told["missing"] == {"town": ["?"], "age": [-1]}
    assert told["reading"] == {"delimiter": ";", "encoding": "cp1252", "decimal": ","}
    text = (here / NAME).read_text()
    assert text.startswith("# yaml-language-server: $schema=.headwater.schema.json\n")
    assert "# 300 distinct values in 300 rows, none missing" in text and "name: orders\n" in text
    assert json.loads((here / ".headwater.schema.json").read_text()) == json_schema()
    project_model().model_validate(parse_config(NAME, text))
    assert main(["check"]) == DONE
    assert "all well" in said(capsys)[0]
    # Collected as written, the codes are missing, the commas decimal, and the addresses redacted.
    assert main(["collect", "--output", "out", "--workers", "1", "--set", "platform.data_root=", "--quiet"]) == DONE
    from headwater.components.common import open_dataset

    rows = open_dataset("out").to_table()
    assert str(rows.schema.field("price").type) == "double" and str(rows.schema.field("zip").type) == "string"
    assert (
        set(rows["town"].to_pylist()) == {"Köln", "Wien", "Bern", None}
        and min(rows["age"].drop_null().to_pylist()) == 18
    )
    assert set(rows["email"].to_pylist()) == {"[redacted]"}


def test_init_elsewhere_writes_sources_as_seen_from_there(here, capsys):
    (here / "conf").mkdir()
    assert main(["init", "orders-2026-01.csv", "--output", "conf/headwater.yaml", "--quiet"]) == DONE
    assert "- ../orders-2026-01.csv\n" in (here / "conf/headwater.yaml").read_text()
    assert load("conf/headwater.yaml").settings["sources"] == [str(here / "conf/../orders-2026-01.csv")]
    assert main(["check", "--project", "conf/headwater.yaml"]) == DONE


def test_init_replaces_nothing_unless_told(here, capsys):
    (here / NAME).write_text("name: mine\n")
    assert main(["init", "orders-2026-01.csv"]) == FAILED
    assert "headwater.yaml: the file exists; --force replaces it" in said(capsys)[1]
    assert (here / NAME).read_text() == "name: mine\n"
    assert main(["init", "orders-2026-01.csv", "--force", "--name", "sales", "--quiet"]) == DONE
    assert "name: sales\n" in (here / NAME).read_text()


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        (["shop,day,sold", *(f"s{n % 5},2026-01-{1 + n // 5:02d},{n % 3}" for n in range(100))], ["shop", "day"]),
        (["a,b", *(f"{n % 2},{n % 3}" for n in range(100))], []),
        (["id,born", *(f"{n},{f'19{60 + n % 30}-02-03' if n % 9 else '1900-01-01'}" for n in range(60))], ["id"]),
        (["x: y,yes,on", *(f"{n},{n % 2},{n % 3}" for n in range(50))], ["x: y"]),
    ],
)  # fmt: skip
def test_init_of_other_data(here, capsys, lines, key):
    (here / "t.csv").write_text("\n".join(lines) + "\n")
    assert main(["init", "t.csv", "--json"]) == DONE
    assert json.loads(said(capsys)[0])["key"] == key
    written = parse_config(NAME, (here / NAME).read_text())
    project_model().model_validate(written)
    assert main(["check"]) == DONE
    if "born" in lines[0]:
        assert written["collect"]["missing"] == {"born": ["1900-01-01"]}
        assert (
            main(["collect", "--output", "dated", "--workers", "1", "--set", "platform.data_root=", "--quiet"]) == DONE
        )
        from headwater.components.common import open_dataset

        assert open_dataset("dated").to_table()["born"].null_count == 7


def test_init_of_what_is_not_there(here, capsys):
    assert main(["init", "nowhere.csv"]) == FAILED
    assert "nowhere.csv: there is no such file or folder" in said(capsys)[1]
    (here / "empty.csv").write_text("a,b\n")
    assert main(["init", "empty.csv"]) == FAILED
    assert not (here / NAME).exists()


def test_check_names_every_problem_at_once(here, capsys, monkeypatch):
    monkeypatch.delenv("NO_SUCH_HOOK", raising=False)
    monkeypatch.delenv("HEADWATER_PRIVACY_KEY", raising=False)
    (here / NAME).write_text(
        "sources: [orders-2026-01.csv, gone.csv]\n"
        "collect:\n"
        "  delimiter: ;\n"
        "  key: [order]\n"
        "  private: {email: hash}\n"
        "  lookups: {w: {source: weather.csv, on: {town: town}, columns: [temp]}}\n"
        "  derived:\n"
        "  - {name: warm, expression: temp > 20}\n"
        "  - {name: old, expression: agee > 60}\n"
        "  filters: [{name: kept, keep: random() > 0.5}]\n"
        "validate: {rows: {rules: [{name: a, row: 'warm AND zip ='}]}}\n"
        "alerts: [{to: slack, url_env: NO_SUCH_HOOK}]\n"
    )
    assert main(["check", "--json"]) == FAILED
    told = json.loads(said(capsys)[0])
    assert told["exit_code"] == FAILED
    for line, problem in (
        (1, "gone.csv: there is no such file or folder"),
        (4, "collect.key: there is no column 'order'; the columns are order_id, placed_at"),
        (5, "HEADWATER_PRIVACY_KEY"),
        (6, "collect.lookups.w.source: "),
        (9, "collect.derived.1.expression: there is no column 'agee'"),
        (10, "collect.filters.0.keep: the function random() is not allowed"),
        (11, "validate.rows.rules.0.row: "),
        (12, "alerts.0.url_env: the environment variable NO_SUCH_HOOK is not set"),
    ):
        assert any(problem in each for each in told["problems"]), (line, problem, told["problems"])
    assert sum("there is no column" in each for each in told["problems"]) == 2


def test_check_without_anything_to_check(here, capsys):
    for arguments in ([], ["--project", "none"]):
        assert main(["check", *arguments]) == FAILED
        assert "error: there is nothing to check: neither a project file (headwater.yaml" in said(capsys)[1]
    assert main(["check", "gone.csv", "--project", "none"]) == FAILED
    assert "gone.csv: there is no such file or folder" in said(capsys)[0]
    assert main(["check", "orders-2026-01.csv", "--project", "none"]) == DONE
    # Of data whose columns only reading tells, no name is called wrong.
    (here / "a.jsonl").write_text('{"x": 1}\n')
    assert (
        main(["check", "a.jsonl", "--set", "collect.filters=[{name: f, keep: x > 0}]", "--set", "collect.key=[y]"])
        == DONE
    )


def test_check_knows_every_column_that_a_setting_names(here, capsys):
    (here / "headwater.yaml").write_text(
        "sources: [orders-2026-01.csv]\n"
        "collect:\n"
        "  delimiter: ;\n"
        "  rename: {town: city}\n"
        "  lookups: {w: {source: orders-2026-01.csv, on: {citty: town}, columns: [temp]}}\n"
        "  derived: [{name: warm, expression: temp > 20}]\n"
        "  private: {emial: redact}\n"
        "  split: {by: time, column: place_at, cuts: ['2026-01-20']}\n"
        "  event_time: placedat\n"
        "  missing: {agee: [-1]}\n"
        "  label: churned\n"
        "label: {steps: [{method: weak_supervision, classes: [a, b], label: worth, functions: [\n"
        "  {name: f, threshold: {column: prize, above: 1, vote: a}}]}]}\n"
        "statistics: {slices: [[citi], {name: n, where: worth = 'a' AND ag > 1}], weight_feature: pricee, private: [zipp]}\n"
        "schema: {features: {ages: {min: 0}, country: {deprecated: true}}}\n"
        "validate:\n"
        "  acknowledged: [{kind: DRIFT, feature: pricce, reason: r, until: 2999-01-01}]\n"
        "  concept: {label: worht}\n"
        "  rows: {rules: [{name: u, unique: [orderid]}, {name: r, row: worth_probability > emai}]}\n"
    )
    assert main(["check", "--json"]) == FAILED
    problems = json.loads(said(capsys)[0])["problems"]
    for key, wrong, right in (
        ("collect.lookups.w.on", "citty", "city"),
        ("collect.private", "emial", "email"),
        ("collect.split.column", "place_at", "placed_at"),
        ("collect.event_time", "placedat", "placed_at"),
        ("collect.missing", "agee", "age"),
        ("collect.label", "churned", "churn"),
        ("label.steps.0.functions.0.threshold.column", "prize", "price"),
        ("statistics.slices.0", "citi", "city"),
        ("statistics.weight_feature", "pricee", "price"),
        ("statistics.private", "zipp", "zip"),
        ("schema.features", "ages", "age"),
        ("validate.acknowledged.0.feature", "pricce", "price"),
        ("validate.concept.label", "worht", "worth"),
        ("validate.rows.rules.0.unique", "orderid", "order_id"),
    ):
        [found] = [each for each in problems if f" {key}: there is no column {wrong!r}" in each]
        assert found.startswith("headwater.yaml, line ") and found.endswith(f"did you mean {right!r}?"), found
    for key, wrong in (("statistics.slices.1.where", "ag"), ("validate.rows.rules.1.row", "emai")):
        assert any(f"{key}: there is no column {wrong!r}" in each for each in problems), problems
    assert sum("there is no column" in each for each in problems) == 16


def test_every_setting_that_is_held_against_the_columns_is_one_of_the_models():
    schema = json_schema()

    def kinds(node):
        if "$ref" in node:
            yield from kinds(schema["$defs"][node["$ref"].rpartition("/")[2]])
        yield node
        for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
            yield from kinds(choice)

    for pattern in NAMING:
        nodes = [schema]
        for part in pattern.split("."):
            inner = [each for node in nodes for each in kinds(node)]
            names = ("items", "additionalProperties") if part == "*" else ()
            nodes = [each[name] for each in inner for name in names if isinstance(each.get(name), dict)]
            nodes += [each["properties"][part] for each in inner if part in each.get("properties", {})]
        assert nodes, pattern


def test_check_of_a_database(here, capsys, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(here / "gone.json"))
    (here / NAME).write_text("sources:\n- bigquery: {table: p.d.t}\n- postgres: {quary: SELECT 1}\n")
    assert main(["check"]) == FAILED
    out = said(capsys)[0]
    assert "headwater.yaml, line 2: sources.0.bigquery: " in out and ("does not exist" in out or "not installed" in out)
    assert "headwater.yaml, line 3: sources.1.postgres.quary: there is no such setting; did you mean 'query'?" in out


def test_check_imports_nothing_heavy(here):
    import subprocess
    import sys

    (here / NAME).write_text(
        "sources: [orders-2026-01.csv]\ncollect: {delimiter: ;, derived: [{name: a, expression: age}]}\n"
    )
    script = (
        "import sys\nfrom headwater.pipelines.cli import main\n"
        "assert main(['check']) == 0\nassert main(['run', 'nothere.csv']) == 2\n"
        "print([n for n in ('kfp', 'tensorflow', 'apache_beam', 'sklearn', 'scipy.stats') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=here)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


@pytest.mark.slow
def test_what_init_wrote_runs_and_tells_its_json(here, capsys):
    assert main(["init", "orders-2026-01.csv", "--quiet"]) == DONE
    said(capsys)
    assert main(["run", "--json", "--quiet", "--set", "platform.workers=1"]) == DONE
    out, err = said(capsys)
    told = json.loads(out)
    assert err == "" and told["passed"] and told["blessed"] and told["accounts"]["read"] == 300
    assert set(told["results"]) == {"dataset", "statistics", "schema", "anomalies"}
    assert all(pathlib.Path(each["page"]).exists() for each in told["results"].values())
    assert told["results"]["dataset"]["uri"] == str(here / ".headwater/orders/span=1/version=1/data")
