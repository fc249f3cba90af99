"""What more workers than cores do to a graph, by counts: none of it depends on how fast this machine is."""

import functools
import os
import time

import pytest
from jobs import bracket, double, fail_before, join, slow_first

from headwater.components.common import beam, timings
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.merge_tree import GROUP, Tree
from headwater.components.common.pool import FAILED, WORKED
from headwater.components.common.scheduling import Job, Scheduler
from headwater.components.common.scheduling import join as join_nodes

WORKERS = [2, 4, 8, 16, 32]


def _merges(items):
    total, width = 0, items
    while width > 1 or not total:
        width = -(-width // GROUP)
        total += width
    return total


@pytest.mark.parametrize("workers", WORKERS)
def test_workers_merge_what_they_did(workers):
    items, tree = 300, Tree(300)
    with timings.recorded() as record:
        found = beam.map_merge("t", list(range(items)), double, bracket, sizes=[1] * items, workers=workers)
    assert found == tree.joined({(0, each): double(each) for each in range(items)}, bracket)[tree.root]
    (own,) = record.passes
    assert (own.elements, own.processes) == (items, workers)
    # Each element once and each merge of the tree once, all of them by workers.
    assert sum(note.elements for note in own.notes) == items
    assert sum(note.merges for note in own.notes) == _merges(items)
    processes = {note.process for note in own.notes}
    assert os.getpid() not in processes and len(processes) <= workers
    # What comes back is less than one result an element, until there are nearly as many workers as elements.
    runs = [note for note in own.notes if note.kind == "work"]
    assert len(runs) == len(list(tree.runs(workers))) <= items / GROUP + GROUP * workers
    # What waits for a merge is a few results a level and a worker, whatever the elements.
    assert own.held <= 2 * GROUP * tree.root[0] + 2 * GROUP * workers


@pytest.mark.parametrize("items", [1, 3, 4, 17, 300, 4097])
@pytest.mark.parametrize("processes", [0, 1, *WORKERS, 200])
def test_runs_are_nodes_of_the_tree_and_get_shorter(items, processes):
    runs = list(Tree(items).runs(processes))
    assert [start for start, _ in runs] + [items] == [0] + [stop for _, stop in runs]
    lengths = [stop - start for start, stop in runs]
    for (start, _), length in zip(runs, lengths):
        assert length in (1, GROUP, GROUP**2) and start % length == 0
    assert lengths == sorted(lengths, reverse=True)
    if processes:
        # The last round is full but for one element: no process has to do more than its share of the rest and one run.
        left = items
        for length in lengths:
            assert length == 1 or length <= left / processes
            left -= length
    else:
        assert set(lengths) == {1}


@pytest.mark.parametrize("count", [1, 7, 256])
def test_runs_for_processes_elsewhere_are_all_of_a_length(count):
    for items in (1, 5, 255, 256, 1025, 10_000):
        runs = list(Tree(items).equal_runs(count))
        assert [start for start, _ in runs] + [items] == [0] + [stop for _, stop in runs]
        lengths = {stop - start for start, stop in runs[:-1]}
        assert len(lengths) <= 1
        assert min(items, count) <= len(runs) < GROUP * count + 1 or items < count * GROUP


def test_memory_does_not_follow_from_the_elements():
    held = []
    for items in (200, 2_000):
        with timings.recorded() as record:
            beam.map_merge("t", list(range(items)), double, join, sizes=[1] * items, workers=2)
        held.append(record.passes[0].held)
    assert held[1] <= held[0] + 2 * GROUP * (Tree(2_000).root[0] - Tree(200).root[0] + 2)


def test_the_first_failure_is_told_and_little_is_begun_after_it(tmp_path):
    work = functools.partial(fail_before, str(tmp_path / "failed"), 3)
    with timings.recorded() as record, pytest.raises(HeadwaterError, match="item 3 is bad"):
        beam.map_merge("t", list(range(2_000)), work, join, sizes=[1] * 2_000, workers=2)
    assert sum(note.elements for note in record.passes[0].notes) <= 2_000 / 4


def test_the_earlier_of_two_failures_is_told_though_it_comes_later():
    job = Job("t", list(range(8)), [1] * 8, slow_first, join, 2)
    scheduler = Scheduler(job)
    try:
        for start, stop in [(0, 1), (1, 2)]:
            scheduler.add_own(start, stop)
        assert scheduler.finish() == {(0, 0): FAILED + b"item 0 is bad"}
    finally:
        scheduler.close()


def test_bundles_of_any_elements_become_one_result():
    # As an engine deals them out: each bundle merges what meets in it, and levels merge the rest.
    tree, dealt = Tree(100), [list(range(number, 100, 3)) for number in range(3)] + [[]]
    nodes = {}
    for bundle in dealt:
        scheduler = Scheduler(Job("t", (), (), double, bracket, 0, total=100))
        for number in bundle:
            scheduler.add(number, [number])
        nodes.update(scheduler.finish())
        scheduler.close()
    whole = tree.joined({(0, each): double(each) for each in range(100)}, bracket)
    assert join_nodes(tree, bracket, nodes) == {node: WORKED + content for node, content in whole.items()}
    assert join_nodes(tree, bracket, {**nodes, (0, 7): FAILED + b"a", (0, 5): FAILED + b"b"}) == {(0, 5): FAILED + b"b"}


def test_what_is_told_of_time_adds_up():
    record = timings.Record(0.0, 10.0, cpu=3.0)
    notes = [
        timings.Note(1, "work", 2.0, 6.0, 3.5, elements=4),
        timings.Note(2, "work", 2.0, 5.0, 2.5, elements=3),
        timings.Note(1, "merge", 7.0, 8.0, 1.0, merges=1),
    ]
    record.passes.append(timings.Pass("t", 7, 2, 1.0, 9.0, notes))
    found = timings.summary(record)
    assert found == timings.Summary(wall=10.0, busy=8.0, cpu=7.0, own=3.0, alone=5.0, last=1.0, uneven=1.0, idle=4.0)
    assert found.serial == 6 / 13


def test_time_spent_within_an_element_is_noted_with_it():
    stretch = timings.Stretch("work")
    assert list(timings.drawn("drawing", iter([1, 2]))) == [1, 2]
    with timings.spent("reading"):
        time.sleep(0.001)
    note = stretch.end(elements=1)
    assert dict(note.parts)["reading"] > 0 and dict(note.parts)["drawing"] > 0 and not timings.parts()
