"""What the graphs call: work on each element once, merges along one tree, none of it done twice."""

from __future__ import annotations

from headwater.components.common import results
from headwater.components.common.dataset import load_dataset


def test_each_element_is_worked_on_once_and_merged_along_the_tree(in_process, check_calls):
    merged_by = check_calls(in_process)
    measured = [graph for graph in merged_by if graph.startswith("generate-statistics")]
    # What workers gave is merged by workers.
    driver = int((in_process / "driver").read_text())
    assert len(measured) == 3 and not any(driver in merged_by[graph] for graph in measured)


def test_an_element_of_the_statistics_is_neighbouring_shards(in_process):
    calls = [line.split("\t") for line in (in_process / "calls").read_text().splitlines()]
    elements = [kind for graph, kind, _ in calls if graph.startswith("generate-statistics") and kind == "element"]
    dataset = load_dataset(str(in_process / "data"))
    shards = sum(len(dataset.elements(split)) for split in dataset.splits)
    # Three graphs: slices are found, then measured, then looked at for their errors.
    assert shards == 2 * 37 and 3 * 2 * 16 < len(elements) < 3 * shards
    rows = results.load(str(in_process / "statistics"), "statistics").body["splits"]
    assert {split: entry["rows"] for split, entry in rows.items()} == {
        split: dataset.rows(split) for split in dataset.splits
    }
