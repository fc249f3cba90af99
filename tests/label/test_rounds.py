"""What earlier labellings of a span made of the same label, on the page beside this one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.collect import collect_dataset
from headwater.components.common import storage
from headwater.components.label import label_dataset


def test_a_round_stands_beside_the_labelling_before_it(tmp_path):
    chance = np.random.default_rng(0)
    x = chance.normal(size=400)
    truth = np.where(x > 0, "yes", "no")
    pq.write_table(pa.table({"id": np.arange(400), "x": x, "truth": truth}), tmp_path / "rows.parquet")
    data = collect_dataset(
        str(tmp_path / "rows.parquet"), str(tmp_path / "data"), name="n", span=1, key=["id"], workers=1,
        data_root=str(tmp_path / "root"),
    )  # fmt: skip
    (tmp_path / "votes.csv").write_text("id,rater,answer\n" + "".join(f"{n},ana,{truth[n]}\n" for n in range(40)))
    shared = {"classes": ["no", "yes"], "truth": "truth"}
    weak = {
        **shared,
        "method": "weak_supervision",
        "model": "majority",
        "functions": [{"name": "f", "sql": "IF(x > 1, 'yes', 'no')"}],
    }
    people = {**shared, "method": "human", "votes": "votes", "kinds": {"generalist": {"trust": 0.9, "cost": 0.5}}}

    def labelled(name, steps):
        inputs = {"votes": str(tmp_path / "votes.csv")}
        return label_dataset(data.uri, str(tmp_path / name), steps=steps, inputs=inputs, workers=1)

    first = labelled("a", [weak])
    labelled("b", [{**weak, "label": "other"}])
    second = labelled("c", [people, weak])
    assert (
        first.body["earlier"] == []
        and "Before and after" not in storage.read_bytes(storage.join(first.uri, first.page)).decode()
    )
    [before] = second.body["earlier"]
    assert before["uri"] == first.uri and before["methods"] == ["weak_supervision"] and before["cost"] == 0
    assert before["accuracy"] == first.body["truth"]["accuracy"] < second.body["truth"]["accuracy"]
    page = storage.read_bytes(storage.join(second.uri, second.page)).decode()
    assert "Before and after" in page and '<th scope="row">3 (this one)</th>' in page and "<td>20</td></tr>" in page
