"""The commands that findings advise work as they are, pasted into a terminal; and `--output` gets what it asked for."""

from __future__ import annotations

import json
import shlex

import pytest
from spans import orders, save_statistics

from headwater.components.infer_schema import accept_span, derive_schema
from headwater.pipelines.cli import main


def gifts():
    frame = orders(2)
    frame.loc[::10, "kind"] = "gift"
    return frame


def follow(advice):
    """Runs the commands of an advice."""
    commands = advice.partition("if the data is right: ")[2].partition("; if not")[0]
    for command in commands.split(" && "):
        program, *words = shlex.split(command.replace("…", "gifts are sold now"))
        assert program == "headwater" and main(words) == 0


def validate(capsys, statistics, schema):
    assert main(["validate", statistics, schema, "--output", "out/verdict", "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    return told, [each["action"] for each in told["findings"] if each["kind"].startswith("ENUM")]


@pytest.mark.parametrize("folder", ["out", "out of it"])
def test_without_a_data_root_a_proposal_is_accepted(tmp_path, monkeypatch, capsys, folder):
    monkeypatch.chdir(tmp_path)
    first = save_statistics(tmp_path, {"train": orders(1)})
    second = save_statistics(tmp_path, {"train": gifts()})
    schema = derive_schema(first.folder, f"{folder}/schema").folder
    told, [advice] = validate(capsys, second.folder, schema)
    follow(advice)
    capsys.readouterr()
    assert validate(capsys, second.folder, f"{folder}/schema-proposal-accepted")[1] == []
    assert told["uri"] == str(tmp_path / "out/verdict")


def test_under_a_data_root_the_advice_names_it_wherever_one_works(tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "root").mkdir()
    (tmp_path / "root").rename(tmp_path / ".headwater")
    (tmp_path / "root").symlink_to(tmp_path / ".headwater")
    first = save_statistics(tmp_path, {"train": orders(1)}, span=1)
    derive_schema(first.folder, "s1")
    accept_span("../.headwater", "orders", reason="agreed")
    second = save_statistics(tmp_path, {"train": gifts()}, span=2)
    schema = derive_schema(second.folder, "s2").folder
    (tmp_path / "elsewhere/headwater.yaml").write_text("platform: {data_root: lake}\n")
    told, [advice] = validate(capsys, second.folder, schema)
    assert told["uri"].endswith("/orders/span=2/version=1/anomalies")
    # The folder that was asked for has it all.
    folder = tmp_path / "elsewhere/out/verdict"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"_manifest.json", "page.html", "Split-train/SchemaDiff.pb"}
    follow(advice)
    capsys.readouterr()
    assert validate(capsys, second.folder, derive_schema(second.folder, "s3").folder)[1] == []
    monkeypatch.chdir(tmp_path)
    assert main(["gate", "elsewhere/out/verdict", "--fail-on", "warning", "--json"]) == 0


def test_what_is_printed_leaves_out_the_root_that_is_taken_anyway(tmp_path, monkeypatch):
    from headwater.pipelines.arguments import shown

    for name, text, expected in (
        ("plain", "run --data-root {}/.headwater --reason", "run --reason"),
        ("other", "run --data-root {}/.headwater2", "run --data-root .headwater2"),
        ("set", "run --data-root {}/lake", "run"),
        ("set", "run --data-root {}/.headwater", "run --data-root .headwater"),
    ):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        if name == "set":
            (folder / "headwater.yaml").write_text("platform: {data_root: lake}\n")
        monkeypatch.chdir(folder)
        assert shown(text.format(folder)) == expected
