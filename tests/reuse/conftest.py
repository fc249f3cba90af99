"""Data that the tests of other people's tools share."""

from __future__ import annotations

import pytest


@pytest.fixture
def orders(tmp_path):
    """Three days of orders, of which the second has a column that is not there any more, and a project beside them."""
    rows = "".join(f"{number},{'abc'[number % 3]},{number % 7}\n" for number in range(300))
    for day, text in (
        ("01", f"id,kind,amount\n{rows}"),
        ("02", "id,kind,amount\n" + "".join(f"{n},a\n" for n in range(90))),
        ("03", f"id,kind,amount\n{rows}"),
    ):
        folder = tmp_path / f"in/2026-02-{day}"
        folder.mkdir(parents=True)
        (folder / "orders.csv").write_text(text)
    pattern = tmp_path / "in/{YYYY}-{MM}-{DD}/*.csv"
    (tmp_path / "headwater.yaml").write_text(
        f"name: orders\nsources: ['{pattern}']\ncollect: {{key: [id]}}\nplatform: {{workers: 1}}\n"
    )
    return tmp_path
