"""headwater.celery with Celery's own workers, on Redis and RabbitMQ from Debian."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess

import pytest
from servers import HEADWATER, ROOT, environment_of, free_port, kill, server, started, until

FIRST = 20_485
"""2026-02-01 as days since 1970-01-01."""

APP = """
import celery
import os
import re

import headwater.celery

app = celery.Celery("data", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
if "EVERY" in os.environ:
    root = os.getcwd()
    app.conf.beat_schedule = {
        "orders": headwater.celery.beat(float(os.environ["EVERY"]), f"{root}/headwater.yaml", data_root=f"{root}/store")
    }


@app.task
def train(anomalies):
    open("trained", "w").write(str(anomalies))
    return "trained"
"""


@contextlib.contextmanager
def redis(folder):
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed (Debian: redis-server)")
    port = free_port()
    words = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with server(words, folder / "redis.log", port):
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def rabbit(folder):
    script = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    if not os.path.exists(script):
        pytest.skip("rabbitmq-server is not installed (Debian: rabbitmq-server)")
    port, nodes, epmd = free_port(), free_port(), free_port()
    base = folder / "rabbit"
    base.mkdir()
    given = {
        "RABBITMQ_NODENAME": f"test{port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port), "RABBITMQ_DIST_PORT": str(nodes), "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_MNESIA_BASE": str(base), "RABBITMQ_LOG_BASE": str(base),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(base / "plugins"), "RABBITMQ_CONFIG_FILE": str(base / "none"), "HOME": str(base),
    }  # fmt: skip
    try:
        with server([script], folder / "rabbit.log", port, env={**os.environ, **given}):
            yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        subprocess.run(["epmd", "-port", str(epmd), "-kill"], capture_output=True)


class Queue:
    """An app on a broker: its workers, and what is asked of it from outside, by Celery's own Python."""

    def __init__(self, folder, broker, backend):
        self.folder = folder
        self.python = environment_of("celery") / "bin/python"
        self.environment = {
            **os.environ, "BROKER": broker, "BACKEND": backend, "HEADWATER_COMMAND": HEADWATER, "PYTHONPATH": f"{ROOT}:{folder}",
        }  # fmt: skip
        (folder / "data.py").write_text(APP)

    def worker(self, name, processes=1, **more):
        words = [str(self.python), "-m", "celery", "-A", "data", "worker", "-n", f"{name}@%h", "-c", str(processes)]
        environment = {**self.environment, **more}
        return started([*words, "--loglevel", "INFO"], self.folder / f"{name}.log", cwd=self.folder, env=environment)

    def ask(self, code):
        """What a program with the app at hand prints as JSON."""
        program = f"import json\nfrom data import app, train\nfrom headwater import celery as tasks\nfrom celery.result import AsyncResult\n{code}"
        done = subprocess.run(
            [str(self.python), "-c", program], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def send(self, code):
        """Sends a task or a chain; gives the id of the last result."""
        return self.ask(f"print(json.dumps(({code}).id))")

    def state(self, number):
        return self.ask(
            f"r = AsyncResult({number!r}); i = r.info\n"
            "print(json.dumps([r.state, i if isinstance(i, dict) else [type(i).__name__, str(i)]]))"
        )

    def ended(self, number, seconds=400):
        def found():
            state = self.state(number)
            return state if state[0] in ("SUCCESS", "FAILURE", "REVOKED") else None

        return until(found, seconds)


@pytest.fixture
def queue(tmp_path, orders):
    with redis(tmp_path) as url:
        yield Queue(orders, url, url)


def given(folder, span=FIRST, **more):
    words = [f"{str(folder / 'headwater.yaml')!r}", f"data_root={str(folder / 'store')!r}", f"span={span}"]
    return ", ".join([*words, *(f"{name}={value!r}" for name, value in more.items())])


def headwater(*words):
    done = subprocess.run([HEADWATER, *words, "--json"], capture_output=True, text=True)
    return json.loads(done.stdout)


def stored(folder):
    """How often each span lies under the data root, and whether all is whole."""
    found = headwater("ls", str(folder / "store"))
    assert subprocess.run([HEADWATER, "verify", str(folder / "store")], capture_output=True).returncode == 0
    return [(each["span"], each["version"], each["blessed"]) for each in found]


def test_a_run_its_progress_and_its_small_result(queue, orders):
    with queue.worker("one"):
        sent = queue.send(f"tasks.run.delay({given(orders)})")
        progress = until(lambda: (state := queue.state(sent))[0] == "PROGRESS" and state[1])
        assert set(progress) == {"line", "seconds"} and progress["line"]
        state, result = queue.ended(sent)
    assert state == "SUCCESS", result
    assert result["blessed"] and result["verdict"].startswith("Passed") and len(json.dumps(result)) < 4_000
    assert set(result["results"]) == {"dataset", "statistics", "schema", "anomalies"}
    assert stored(orders) == [(FIRST, 1, True)]


def test_a_chain_of_components_starts_the_trainer_with_good_data_alone(queue, orders):
    with queue.worker("one"):
        good = queue.send(f"(tasks.pipeline({given(orders)}) | train.s()).delay()")
        assert queue.ended(good) == ["SUCCESS", ["str", "trained"]]
        made = (orders / "trained").read_text()
        assert "'anomalies'" in made and str(orders / "store") in made
        (orders / "trained").unlink()
        bad = queue.send(f"(tasks.pipeline({given(orders, FIRST + 1)}) | train.s()).delay()")
        # Celery gives the failure of one task to all that would follow.
        state, why = queue.ended(bad)
    assert state == "FAILURE" and why[0] == "NotBlessed" and "rejected" in why[1]
    assert not (orders / "trained").exists()


@pytest.mark.parametrize("wrong", ["project", "span"])
def test_what_is_wrong_is_said_by_the_task(queue, orders, wrong):
    with queue.worker("one"):
        words = given(orders, 7) if wrong == "span" else "'/no/such.yaml', data_root='/tmp/none'"
        state, why = queue.ended(queue.send(f"tasks.run.delay({words})"))
    assert state == "FAILURE" and why[0] == "HeadwaterFailed"
    assert ("has no span 7" if wrong == "span" else "/no/such.yaml") in why[1]


def test_a_worker_without_the_command_says_so(queue, orders):
    with queue.worker("one", HEADWATER_COMMAND="/no/such/headwater"):
        state, why = queue.ended(queue.send(f"tasks.run.delay({given(orders)})"))
    assert state == "FAILURE" and "there is no command '/no/such/headwater'; install Headwater" in why[1]


def commands_of(folder):
    """The headwater commands that work on this folder."""
    found = subprocess.run(["pgrep", "-f", f"headwater run.*{folder}"], capture_output=True, text=True)
    return found.stdout.split()


def test_a_time_limit_ends_the_command_as_well(queue, orders):
    with queue.worker("one"):
        sent = queue.send(
            f"tasks.run.apply_async([{str(orders / 'headwater.yaml')!r}], dict(data_root={str(orders / 'store')!r}, span={FIRST}), soft_time_limit=2)"
        )
        until(lambda: commands_of(orders))
        state, why = queue.ended(sent)
        assert state == "FAILURE" and why[0] == "SoftTimeLimitExceeded"
        until(lambda: not commands_of(orders), 30)
        # What it left is no obstacle.
        assert queue.ended(queue.send(f"tasks.run.delay({given(orders)})"))[0] == "SUCCESS"
    assert stored(orders) == [(FIRST, 1, True)]


def test_a_worker_killed_in_mid_task_is_followed_by_another(tmp_path, orders):
    with rabbit(tmp_path) as broker, redis(tmp_path) as backend:
        queue = Queue(orders, broker, backend)
        with queue.worker("one") as first:
            sent = queue.send(f"tasks.run.delay({given(orders)})")
            until(lambda: list(orders.glob("store/orders/*/*/data/split=*")))
            kill(first)
            until(lambda: not commands_of(orders), 30)
        assert queue.state(sent)[0] in ("STARTED", "PROGRESS")
        with queue.worker("two"):
            state, result = queue.ended(sent)
        assert state == "SUCCESS" and result["blessed"], result
    assert stored(orders) == [(FIRST, 1, True)]


def test_a_task_redelivered_while_it_runs_makes_one_dataset(queue, orders):
    # As a broker does it that takes the first worker for lost: the same message, to another one.
    again = f"[{str(orders / 'headwater.yaml')!r}], dict(data_root={str(orders / 'store')!r}, span={FIRST})"
    with queue.worker("one"), queue.worker("two"):
        sent = queue.send(f"[tasks.run.apply_async({again}, task_id='same') for _ in 'ab'][0]")
        until(lambda: len(commands_of(orders)) > 1, 120)
        until(lambda: not commands_of(orders))
        assert queue.ended(sent)[0] == "SUCCESS"
    assert stored(orders) == [(FIRST, 1, True)]


def test_the_beat_runs_every_span_that_waits_in_order(queue, orders):
    words = [str(queue.python), "-m", "celery", "-A", "data", "beat", "-s", str(orders / "beat")]
    with (
        queue.worker("one", EVERY="5"),
        started(words, orders / "beat.log", cwd=orders, env={**queue.environment, "EVERY": "5"}),
    ):
        until(lambda: not waiting(orders), 600)
    found = {
        each["span"]: each["state"]
        for each in headwater(
            "spans", "--project", str(orders / "headwater.yaml"), "--set", f"platform.data_root={orders / 'store'}"
        )["spans"]
    }
    assert found == {FIRST: "passed", FIRST + 1: "refused", FIRST + 2: "passed"}
    assert [each[:2] for each in stored(orders)] == [(FIRST + number, 1) for number in range(3)]


def waiting(folder):
    told = headwater(
        "spans",
        "--waiting",
        "--project",
        str(folder / "headwater.yaml"),
        "--set",
        f"platform.data_root={folder / 'store'}",
    )
    return told["spans"]


def test_ten_datasets_at_once_on_two_workers(queue, orders):
    with queue.worker("one", 2), queue.worker("two", 2):
        names = [f"d{number}" for number in range(10)]
        sent = [queue.send(f"tasks.run.delay({given(orders, settings={'name': name})})") for name in names]
        assert [queue.ended(each, 900)[0] for each in sent] == ["SUCCESS"] * 10
    found = headwater("ls", str(orders / "store"))
    assert sorted((each["name"], each["span"], each["version"]) for each in found) == [
        (name, FIRST, 1) for name in names
    ]


def test_the_readme_s_app_has_the_tasks():
    text = (ROOT / "headwater/celery/README.md").read_text()
    [block] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    check = "print(sorted(n for n in app.tasks if n[0] == 'h'), [t.task for t in headwater.celery.pipeline(data_root='r').tasks])"
    done = subprocess.run(
        [str(environment_of("celery") / "bin/python"), "-c", f"{block}\n{check}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == f"['headwater.run', 'headwater.spans', 'headwater.step'] {['headwater.step'] * 5}\n", (
        done.stderr
    )
