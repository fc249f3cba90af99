"""The commands accept and review, on the terminal as a person uses them."""

from __future__ import annotations

import io
import json
import pathlib

import pytest
import yaml
from spans import orders, save_statistics

from headwater.components.common import results
from headwater.components.infer_schema import accept_span, derive_schema
from headwater.components.validate import check_statistics
from headwater.pipelines.cli import main

UNTIL = "2999-12-31"


def spoilt():
    """A new kind, countries gone, quantities shifted far and amounts a little."""
    frame = orders(2).drop(columns=["country"])
    frame.loc[::10, "kind"] = "gift"
    frame["quantity"] += 3
    frame["amount"] += 1
    return frame


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A working folder whose data root has a span that was accepted, and one with findings."""
    monkeypatch.chdir(tmp_path)
    first = save_statistics(tmp_path, {"train": orders(1), "eval": orders(3)}, span=1)
    (tmp_path / "root").rename(tmp_path / ".headwater")
    (tmp_path / "root").symlink_to(tmp_path / ".headwater")
    derive_schema(first.folder, "s1")
    accept_span("root", "orders", reason="agreed")
    judge(tmp_path, "s2")
    return tmp_path


def judge(folder: pathlib.Path, name: str) -> results.Result:
    """The second span's verdict under the settings of the project file."""
    path = folder / "headwater.yaml"
    project = yaml.safe_load(path.read_text()) if path.exists() else {}
    second = save_statistics(folder, {"train": spoilt(), "eval": spoilt()}, span=2)
    schema = derive_schema(second.folder, name, curation=project.get("schema"))
    config = {key: value for key, value in project.get("validate", {}).items() if key != "rows"}
    return check_statistics(second.folder, schema.folder, f"{name}-anomalies", config=config)


def left(verdict):
    return {(f["feature"], f["kind"]) for f in verdict.body["findings"] if f["severity"] in ("error", "warning")}


def review(monkeypatch, *answers, more=()):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{answer}\n" for answer in answers)))
    return main(["review", "--name", "orders", "--span", "2", "--data-root", "root", "--who", "Ada", *more])


def test_accept_shows_what_changes_and_the_same_run_passes(shop, capsys):
    assert main(["accept", "--name", "orders", "--span", "2", "--data-root", "root", "--reason", "new shop"]) == 0
    out = capsys.readouterr().out
    assert " kind: values widened, with 'gift'" in out and " country: no longer validated, deprecated" in out
    assert "accepted for this span alone, as no schema speaks of it" in out and "warning  train, eval/quantity: " in out
    assert "new shop" in out and "span=2/version=2/schema\nnext        run the same command again\n" in out
    # Each of them on a line of its own.
    told = [line.removeprefix("accepted:").split()[:4] for line in out.splitlines() if line.startswith("accepted:")]
    assert [(severity, "".join(rest).partition(":")[0]) for severity, *rest in told] == [
        ("error", "train,eval/country"),
        ("error", "train,eval/kind"),
        # What has the same cause stands below it.
        ("warning", "train,eval/kind"),
        ("warning", "train,eval/quantity"),
        ("warning", "train,eval/amount"),
    ]
    assert left(judge(shop, "again")) == set()
    assert main(["accept", "--name", "orders", "--data-root", "root", "--reason", "x"]) == 0
    assert capsys.readouterr().out.startswith("schema      orders, span 2: nothing is left to accept\naccepted    by ")
    assert main(["accept", "--name", "orders", "--data-root", "root", "--reason", "x", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["exit_code"], told["changes"], told["accepted"]["why"]) == (0, [], "new shop")


def test_the_span_that_was_accepted_is_named_where_others_have_its_schema(shop, capsys):
    assert main(["accept", "--name", "orders", "--span", "1", "--data-root", "root", "--reason", "again"]) == 0
    assert ", for span 1: agreed" in capsys.readouterr().out
    assert main(["accept", "--name", "orders", "--span", "2", "--data-root", "root", "--reason", "new"]) == 0
    save_statistics(shop, {"train": spoilt()}, span=3)
    derive_schema(str(next(shop.glob("statistics-3-*"))), "s3")
    # The third span's data fits what the second one changed.
    for span, reason in (("3", "new"), ("2", "new")):
        assert main(["accept", "--name", "orders", "--span", span, "--data-root", "root", "--reason", "x"]) == 0
        assert f"span {span}: nothing is left" in (out := capsys.readouterr().out) and f", for span 2: {reason}" in out


def test_accept_says_what_is_wrong(shop, capsys):
    for arguments, message in (
        (["--name", "orders", "--span", "9"], "--span: dataset 'orders' has no span 9 with a schema; it has 1, 2"),
        (["--name", "data"], "has no dataset 'data' with a schema; it has orders"),
        (["--name", "orders", "--output", "x"], "--output: a span's schema is written under the data root"),
    ):
        assert main(["accept", *arguments, "--data-root", "root", "--reason", "x"]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["accept", "--name", "orders"])


def test_each_finding_can_be_settled_in_its_own_way(shop, monkeypatch, capsys):
    path = shop / "headwater.yaml"
    path.write_text("# ours\nvalidate:\n  drift: {max_p: 0.01}\n")
    answers = [
        *("c", "colour: 1", "c", "required: false, deprecated: true"),
        *("q", "", "0.2", UNTIL),
        *("i", "", UNTIL, "i", "known since May", "soon", UNTIL),
        *("a", "it is so now"),
    ]
    assert review(monkeypatch, *answers) == 0
    out, said = capsys.readouterr()
    assert "error: curation.features.country.colour: there is no such setting" in said
    assert "error: config.acknowledged.0.reason" in said and "must be a date; example: 2026-12-31" in said
    assert "settings    written to headwater.yaml" in out and "it is so now" in out
    assert path.read_text().startswith("# ours\nvalidate:\n  drift: {max_p: 0.01}\n")
    project = yaml.safe_load(path.read_text())
    assert project["schema"] == {"features": {"country": {"required": False, "deprecated": True}}}
    rule, *_ = project["validate"]["rows"]["rules"]
    assert rule == {
        "name": "kind since orders, span 2",
        "row": "\"kind\" IN ('book', 'film', 'game')",
        "tolerance": 0.2,
    }
    first, second = project["validate"]["acknowledged"]
    assert (first["feature"], first["reason"]) == ("kind", "its rows are quarantined")
    assert second == {
        "kind": "DRIFT",
        "feature": "quantity",
        "check": "drift",
        "reason": "known since May",
        "until": UNTIL,
    }
    verdict = judge(shop, "again")
    assert left(verdict) == set() and verdict.body["blessed"]


def test_what_is_not_answered_is_left(shop, monkeypatch, capsys):
    before = sorted(path for path in shop.rglob("*"))
    assert review(monkeypatch) == 0
    out, said = capsys.readouterr()
    assert "the rest is left as it is" in said and out == "review      nothing is changed\n"
    assert review(monkeypatch, "?", "", "s", "x") == 0
    assert sorted(path for path in shop.rglob("*")) == before
    # Nothing is accepted without a reason, which may be given beforehand.
    assert review(monkeypatch, "a", "x") == 2
    assert "--reason: nobody said why" in capsys.readouterr().err
    assert review(monkeypatch, "a", "x", more=("--reason", "as the shop said")) == 0
    assert "as the shop said" in capsys.readouterr().out and len(left(judge(shop, "again"))) > 1


def test_help_is_there_and_a_wrong_date_asks_for_the_date_alone(shop, monkeypatch, capsys):
    assert review(monkeypatch, "?", "h", "help", "zz", "i", "known since May", "soon", "2020-01-01", UNTIL, "x") == 0
    said = capsys.readouterr().err
    assert said.count("  accept      the data is right: ") == 4 and "  exit        leave the rest as it is" in said
    assert "until: 'soon' must be a date; example: 2026-12-31" in said
    assert "until: 2020-01-01 has passed; it must be today or later" in said
    [entry] = yaml.safe_load((shop / "headwater.yaml").read_text())["validate"]["acknowledged"]
    assert (entry["reason"], str(entry["until"])) == ("known since May", UNTIL)
    assert said.count("why it does not count") == 1


def test_a_span_without_a_verdict_has_nothing_to_review(shop, capsys):
    assert main(["review", "--name", "orders", "--span", "1", "--data-root", "root"]) == 2
    assert "there is no verdict on span 1 of dataset 'orders' to review" in capsys.readouterr().err
