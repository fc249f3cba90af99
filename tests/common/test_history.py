"""What a new span asks of a store does not grow with the spans, the shards or the rows that are there."""

import json

import pytest
from counting_store import Counted

from headwater.components.collect import collect_dataset
from headwater.components.collect.write.shards import Outcome
from headwater.components.common import results, storage, stores
from headwater.components.generate_statistics import compute, compute_statistics

ROOT = "counted://lake"


@pytest.fixture
def store(monkeypatch):
    made = Counted()
    monkeypatch.setitem(stores.STORES, "counted", made)
    return made


def _collect(tmp_path, seed, span=-1):
    (tmp_path / "rows.csv").write_text("id,value\n" + "".join(f"{n},{n % seed}\n" for n in range(100)))
    return collect_dataset(
        str(tmp_path / "rows.csv"), str(tmp_path / "out"), data_root=ROOT, name="orders", span=span, workers=1,
        analyse=False,
    )  # fmt: skip


def _lengthen(store, result, spans):
    """As many spans as that, each with a manifest of its own, as a version without notes left them."""
    store.lengthen(f"{ROOT}/orders/span=1", result.fingerprint, spans)
    for uri in [uri for uri in store.content if "/_made/" in uri]:
        del store.content[uri]
    store.reset()


def _asked(store):
    return sum(store.requests.values())


def test_the_next_span_reads_no_manifest_of_all_before(store, tmp_path):
    asked = {}
    for spans in (100, 400):
        store.content.clear()
        first = _collect(tmp_path, 3)
        _lengthen(store, first, spans)
        # Once the history is read, for it was written without notes.
        assert _collect(tmp_path, 5).body["span"] == spans + 1
        assert _asked(store) > 4 * spans
        store.reset()
        assert _collect(tmp_path, 7).body["span"] == spans + 2
        asked[spans] = _asked(store)
        store.reset()
        # The same content again, the first and the latest.
        assert _collect(tmp_path, 3).body["span"] == 1 and _collect(tmp_path, 7).body["span"] == spans + 2
        assert _asked(store) < 100
    assert asked[400] <= asked[100] + 3, asked


def test_what_was_removed_is_collected_anew(store, tmp_path):
    first, second = _collect(tmp_path, 3), _collect(tmp_path, 5)
    storage.delete_folder(f"{ROOT}/orders/span=1")
    assert first.body["span"] == 1 and second.body["span"] == 2
    assert _collect(tmp_path, 3).body["span"] == 3 and _collect(tmp_path, 5).body["span"] == 2


def test_a_note_of_a_dead_attempt_counts_for_nothing(store, tmp_path):
    first = _collect(tmp_path, 3)
    home = first.home
    results._note(results.Home(ROOT, "orders", 9, 1), "f" * 64)
    assert results.made_of(ROOT, "orders", "f" * 64) is None
    assert results.made_of(ROOT, "orders", first.fingerprint) == home


def test_statistics_that_are_there_read_no_row_again(store, tmp_path, monkeypatch):
    data = _collect(tmp_path, 3)
    first = compute_statistics(data.uri, str(tmp_path / "first"), workers=1)
    store.reset()
    monkeypatch.setattr(compute, "map_merge", None)
    again = compute_statistics(data.uri, str(tmp_path / "again"), workers=1)
    assert (again.uri, again.sha256) == (first.uri, first.sha256)
    assert not [uri for uri in store.got if "/part-" in uri]
    assert (tmp_path / "again/_manifest.json").read_bytes() == storage.read_bytes(f"{first.uri}/_manifest.json")


def test_statistics_of_other_settings_are_made(store, tmp_path):
    data = _collect(tmp_path, 3)
    first = compute_statistics(data.uri, str(tmp_path / "first"), workers=1)
    other = compute_statistics(data.uri, str(tmp_path / "other"), config={"slices": [["value"]]}, workers=1)
    assert first.home.version == 1 and other.home.version == 2


def test_what_is_counted_does_not_grow_with_ranges():
    def one(number):
        profile = {f"column_{each}": {"rows": 10, "missing": number % 2} for each in range(200)}
        counts = {
            "rejected": 1, "filtered": {"small": 2}, "sentinels": {}, "unmatched": {}, "reasons": {"type": 1},
            "profile": profile, "personal": {"column_0": {"email": 3, "email:distinct": number}},
        }  # fmt: skip
        return Outcome([{"read": [10], "shards": {}}], counts, None, None).encode()

    merged = Outcome.merge([Outcome.merge([one(n) for n in range(16)]), Outcome.merge([one(n) for n in range(16, 64)])])
    outcome = Outcome.decode(merged)
    assert len(outcome.records) == 64 and len(merged) < 64 * 50 + len(json.dumps(outcome.counts)) + 100
    assert outcome.counts["rejected"] == 64 and outcome.counts["filtered"] == {"small": 128}
    assert outcome.counts["profile"]["column_7"] == {"rows": 640, "missing": 32}
    assert outcome.counts["personal"]["column_0"] == {"email": 192, "email:distinct": 63}
