"""What networks and stores do on bad days: the same result as without, or one clear error and then a good attempt."""

from __future__ import annotations

import os
import signal
import time

import pytest
from proxy import Fault
from steps import KINDS, LINES, Steps, check_clear, prepare

from headwater.components.common import results, storage, stores
from headwater.components.common.dataset import load_dataset, open_dataset, read_element
from headwater.components.common.ending import TERMINATED
from headwater.components.common.errors import HeadwaterError

EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
DENIED = {"s3": Fault(status=400, body=EXPIRED), "gs": Fault(status=401, body=b'{"error": {"code": 401}}')}
PASSING = {
    "429": Fault(status=429, body=b"slow down"),
    "429 without a body": Fault(status=429),
    "503": Fault(status=503, body=b"<Error><Code>SlowDown</Code></Error>"),
    "500": Fault(status=500),
    "hung up": Fault(away=True),
    "slow": Fault(pause=1.0),
    "reset in the middle of the request": Fault(reset=True),
    "answer cut short": Fault(cut=True),
}


@pytest.fixture(scope="module")
def remote(proxied, zygote, tmp_path_factory):
    uri, proxy = proxied
    steps = Steps(f"{uri}/faults", tmp_path_factory.mktemp("faults"))
    return steps, proxy, prepare(zygote, steps)


@pytest.fixture(autouse=True)
def sound(proxied):
    yield
    proxied[1].reset()


def attempt(remote, zygote, step: str, **environment: str) -> tuple[int, str]:
    steps, _, _ = remote
    return zygote.run(steps.argv(step), steps.folder / "log", env=environment)


def check_same(remote, step: str) -> None:
    steps, proxy, reference = remote
    proxy.reset()
    steps.check_whole(step)
    assert steps.told(step) == reference[step]


def check_next(remote, zygote, step: str) -> None:
    """The next attempt, of a store that is well, gives what an undisturbed run gives."""
    remote[1].reset()
    code, text = attempt(remote, zygote, step)
    assert code == 0, text
    check_same(remote, step)


def each_once() -> list:
    """All pairs of a step and a fault; those marked slow leave each fault once, and each step."""
    steps = list(KINDS)
    return [
        pytest.param(step, fault, marks=[] if row == column % len(steps) else pytest.mark.slow)
        for row, step in enumerate(steps)
        for column, fault in enumerate(PASSING)
    ]


@pytest.mark.parametrize(("step", "fault"), each_once())
def test_what_passes_is_waited_out(remote, zygote, step, fault):
    steps, proxy, _ = remote
    steps.clear(step)
    struck = set()

    def rule(call):
        # Every fifth call fails, at its first attempt.
        key = (call.method, call.path)
        if call.number % 5 == 2 and key not in struck:
            struck.add(key)
            return PASSING[fault]
        return None

    proxy.reset()
    proxy.rule = rule
    code, text = attempt(remote, zygote, step)
    assert len(struck) >= 1
    assert code == 0, text
    check_same(remote, step)


@pytest.mark.parametrize("step", KINDS)
def test_a_store_that_is_away_for_a_while_is_waited_for(remote, zygote, step):
    steps, proxy, _ = remote
    steps.clear(step)
    proxy.reset()
    back = [0.0]

    def rule(call):
        if call.number == 4:
            back[0] = time.monotonic() + 3
        return Fault(away=True) if time.monotonic() < back[0] else None

    proxy.rule = rule
    code, text = attempt(remote, zygote, step)
    assert code == 0, text
    check_same(remote, step)


@pytest.mark.parametrize("step", KINDS)
def test_a_store_that_stays_away_ends_in_one_clear_error(remote, zygote, step):
    steps, proxy, _ = remote
    steps.clear(step)
    proxy.reset()
    proxy.rule = lambda call: Fault(away=True) if call.number >= 3 else None
    code, text = attempt(remote, zygote, step, HEADWATER_STORE_RETRY_SECONDS="1")
    assert code == 2, text
    check_clear(text)
    assert "the store went on failing for" in text and "run it again when the store is back" in text
    check_next(remote, zygote, step)


@pytest.mark.parametrize("step", KINDS)
def test_credentials_that_expire_end_in_one_clear_error(remote, zygote, step):
    steps, proxy, _ = remote
    steps.clear(step)
    proxy.reset()
    proxy.rule = lambda call: DENIED[stores.scheme(steps.root)] if call.number >= 5 else None
    code, text = attempt(remote, zygote, step)
    assert code == 2, text
    check_clear(text)
    assert "the store refused it" in text
    check_next(remote, zygote, step)


@pytest.mark.parametrize("step", KINDS)
def test_a_step_that_is_terminated_leaves_nothing_half(remote, zygote, step):
    steps, proxy, _ = remote
    steps.clear(step)
    proxy.reset()
    pids: list[int] = []
    proxy.before = lambda call: os.kill(pids[0], signal.SIGTERM) if call.number == 6 and pids else None
    pids += zygote.start([{"argv": steps.argv(step), "log": str(steps.folder / "log")}])
    [code] = zygote.wait()
    assert code == TERMINATED
    check_clear((steps.folder / "log").read_text())
    proxy.reset()
    if steps.is_committed(step):
        steps.check_whole(step)
    check_next(remote, zygote, step)


def shards(steps: Steps) -> list[str]:
    return [shard.uri for shard in load_dataset(steps.place("collect")).elements("train")]


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_shard_is_told_by_its_name(remote, zygote, damage):
    steps, _, _ = remote
    [uri, *_] = shards(steps)
    content = storage.read_bytes(uri)
    middle = len(content) // 2
    other = {
        "truncated": content[:middle],
        "altered": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "missing": b"",
    }[damage]
    storage.delete(uri)
    if damage != "missing":
        storage.write_bytes(uri, other)
    try:
        steps.clear("generate-statistics")
        code, text = attempt(remote, zygote, "generate-statistics")
        assert code == 2, text
        check_clear(text)
        assert uri in text and ("no such file" if damage == "missing" else "the file was altered") in text
    finally:
        storage.write_bytes(uri, content)
    check_next(remote, zygote, "generate-statistics")


@pytest.mark.parametrize(
    ("step", "needs", "path"),
    [
        ("infer-schema", "generate-statistics", "Split-train/FeatureStats.pb"),
        ("validate", "generate-statistics", "Split-eval/FeatureStats.pb"),
        ("validate", "infer-schema", "schema.pbtxt"),
    ],
)
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_input_is_told_by_its_name(remote, zygote, step, needs, path, damage):
    steps, _, _ = remote
    steps.clear(step)
    uri = storage.join(steps.place(needs), path)
    content = storage.read_bytes(uri)
    storage.delete(uri)
    if damage == "truncated":
        storage.write_bytes(uri, content[:-2])
    try:
        code, text = attempt(remote, zygote, step)
        assert code == 2, text
        assert uri in text and ("no such file" if damage == "missing" else "altered") in text
        check_clear(text)
    finally:
        storage.write_bytes(uri, content)
    check_next(remote, zygote, step)


def test_rows_stay_at_the_store(remote):
    steps, _, _ = remote
    for step in ("collect", "label"):
        assert [path.name for path in (steps.folder / step).rglob("*")] == [results.MANIFEST]


# By reference.


def test_a_dataset_passes_as_a_few_kilobytes_and_columns_are_read_alone(proxied, tmp_path):
    uri, proxy = proxied
    from headwater.components.collect import collect_dataset

    source = tmp_path / "wide.csv"
    names = [f"c{n}" for n in range(18)]
    rows = "\n".join(",".join(str((row * 7919 + n * 104_729) % 1_000_003) for n in range(18)) for row in range(60_000))
    source.write_text(",".join(names) + "\n" + rows + "\n")
    result = collect_dataset(str(source), str(tmp_path / "out"), data_root=f"{uri}/wide", name="wide", workers=1)
    moved = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    # What the launcher would copy, of a dataset of megabytes.
    assert moved < 64 << 10
    opened = load_dataset(str(tmp_path / "out"))
    whole = sum(entry["bytes"] for entry in result.body["splits"].values())
    assert whole > 2 << 20
    chosen = opened.schema.empty_table().select(["c1", "c7", "c12"]).schema
    proxy.reset()
    read = [
        batch
        for split in opened.splits
        for element in opened.elements(split)
        for batch in read_element(element, chosen)
    ]
    served = sum(call.served for call in proxy.calls)
    assert sum(batch.num_rows for batch in read) == 60_000
    assert served <= 0.25 * whole
    assert open_dataset(result.uri).to_table(columns=["c1"]).num_rows == 60_000


def test_an_answer_that_is_lost_does_not_lose_the_dataset(proxied, zygote, tmp_path):
    """The manifest is written, the answer to it is not heard, and the call is made again: it finds its own work."""
    uri, proxy = proxied
    steps = Steps(f"{uri}/lost", tmp_path)
    lost = []

    def rule(call):
        if call.method in ("PUT", "POST") and not lost and committing[0]:
            lost.append(call)
            return Fault(cut=True)
        return None

    committing = [False]
    # The page for people is written last before the manifest.
    proxy.after = lambda call: committing.__setitem__(0, committing[0] or "reports" in call.path)
    proxy.rule = rule
    code, text = zygote.run(steps.argv("collect"), tmp_path / "log")
    proxy.reset()
    assert code == 0, text
    steps.check_whole("collect")
    assert open_dataset(steps.place("collect")).count_rows() == len(LINES) - 1
    assert len(shards(steps)) >= 1 and results.load(steps.place("collect"), "dataset").body["accepted"]


def test_errors_hold_no_signed_address(proxied, monkeypatch):
    uri, proxy = proxied
    monkeypatch.setenv("HEADWATER_STORE_RETRY_SECONDS", "0")
    proxy.rule = lambda call: Fault(away=True)
    for call in (storage.read_bytes, storage.list_files, storage.delete, lambda uri: storage.create(uri, b"x")):
        with pytest.raises(HeadwaterError) as caught:
            call(f"{uri}/x")
        assert "Signature" not in str(caught.value) and "Credential" not in str(caught.value)
    stores.forget()
