"""Which earlier span is the baseline after a rejected one, and after one that was accepted as it is."""

from __future__ import annotations

import pytest
from spans import orders, save_statistics

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Home
from headwater.components.infer_schema import accept_span, derive_schema
from headwater.components.validate import check_statistics
from headwater.components.validate.baselines import choose


@pytest.fixture
def shop(tmp_path):
    """Runs a span; gives its verdict. The first is accepted."""

    def run(span, frame, **settings):
        statistics = save_statistics(tmp_path, {"train": frame, "eval": frame.iloc[:400]}, span=span)
        number = len(list(tmp_path.iterdir()))
        schema = derive_schema(statistics.folder, str(tmp_path / f"schema-{number}"))
        return check_statistics(statistics.folder, schema.folder, str(tmp_path / f"verdict-{number}"), **settings)

    run(1, orders(1))
    accept_span(str(tmp_path / "root"), "orders", reason="agreed")
    return run


def spoilt(rows=1000):
    """All numbers moved, and a kind that is not in the schema."""
    frame = orders(2, rows)
    frame["amount"] += 3
    frame["quantity"] += 4
    frame.loc[::10, "kind"] = "gift"
    return frame


def drifted(verdict):
    return sorted(each["feature"] for each in verdict.body["findings"] if each["kind"] == "DRIFT")


def test_what_was_rejected_and_never_accepted_is_no_baseline(shop, tmp_path):
    bad = shop(2, spoilt())
    assert not bad.body["blessed"] and bad.body["passed_over"] == []
    good = shop(3, orders(3))
    assert "/span=1/" in good.body["baseline"]["uri"] and good.body["findings"] == []
    assert good.body["verdict"].startswith(
        "Passed. Span 2 was rejected and not accepted, so not compared with; the schema"
    )
    # Who names it means it.
    assert drifted(shop(3, orders(3), baseline="span:2")) == ["amount", "kind", "quantity"]
    home = Home(str(tmp_path / "root"), "orders", 4, 1)
    for reference, spans in (("previous", [3]), ("window:3", [1, 3]), ("season:2", [])):
        chosen = choose(reference, home)
        assert [each.home.span for each in (chosen.baseline.results if chosen.baseline else ())] == spans
        assert chosen.passed_over == (() if reference == "previous" else (2,))
    assert choose("latest", Home(home.data_root, "orders", 3, 1)).passed_over == (2,)


def test_where_all_was_rejected_there_is_nothing_to_compare_with(shop, tmp_path):
    other = tmp_path / "root/orders/span=1"
    shop(2, spoilt())
    other.rename(tmp_path / "gone")
    third = shop(3, orders(3))
    assert third.body["baseline"] is None and "Nothing to compare with: span 2 was rejected" in third.body["verdict"]
    with pytest.raises(HeadwaterError, match=r"every earlier span was rejected, and none accepted \(2\); accept one"):
        choose("previous", Home(str(tmp_path / "root"), "orders", 3, 1))


def test_after_an_accepted_exception_its_end_is_one_finding(shop, tmp_path):
    assert not shop(2, spoilt()).body["blessed"]
    accept_span(str(tmp_path / "root"), "orders", 2, reason="a sale")
    good = shop(3, orders(3))
    assert "/span=2/" in good.body["baseline"]["uri"] and good.body["blessed"]
    [found] = [each for each in good.body["findings"] if each["severity"] != "info"]
    assert (found["kind"], found["splits"]) == ("DRIFT_UNDONE", ["train", "eval"])
    assert "amount, kind, quantity are as in span 1 again; the baseline, span 2, had changed there" in found["message"]
    assert "--baseline span:1 compares with the span before it" in found["action"]
    assert [each["severity"] for each in shop(3, orders(3), baseline="span:1").body["findings"]] == []
    # What is new to both is told as ever.
    news = orders(4)
    news["quantity"] -= 3
    mixed = shop(3, news)
    assert (
        drifted(mixed) == ["quantity"] and [each["kind"] for each in mixed.body["findings"]].count("DRIFT_UNDONE") == 1
    )


def test_an_accepted_change_that_stays_is_the_new_normal(shop, tmp_path):
    shop(2, spoilt())
    accept_span(str(tmp_path / "root"), "orders", 2, reason="new prices")
    assert [each for each in shop(3, spoilt(900)).body["findings"] if each["severity"] != "info"] == []


def test_an_error_that_was_left_when_others_were_accepted_keeps_a_span_out(shop, tmp_path):
    frame = spoilt()
    frame.loc[::7, "country"] = "fr"
    bad = shop(2, frame)
    places = {each["feature"]: place for place, each in enumerate(bad.body["findings"])}
    accept_span(str(tmp_path / "root"), "orders", 2, reason="gifts", only=[places["kind"]])
    assert "/span=1/" in shop(3, orders(3)).body["baseline"]["uri"]
