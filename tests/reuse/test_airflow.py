"""headwater.airflow in Airflow itself: DAGs run by `dag.test()`, and by a scheduler with all that belongs to it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import textwrap

import pytest
from servers import HEADWATER, ROOT, environment_of, free_port, started, until

FIRST = 20_485
"""2026-02-01 as days since 1970-01-01."""

HEAD = """
import datetime
import os

from airflow.sdk import DAG, Asset, task

from headwater.airflow import HeadwaterBranch, HeadwaterOperator, HeadwaterSpanSensor

root = os.environ["ORDERS"]
given = dict(project=f"{root}/headwater.yaml", data_root=f"{root}/store")
ready = Asset("orders")


def leave(name, **more):
    with open(f"{root}/{name}", "a") as file:
        file.write(f"{more}\\n")
"""

DAILY = """
with DAG(
    "daily", schedule="0 0 * * *", start_date=datetime.datetime(2026, 2, 1), end_date=datetime.datetime(2026, 2, 3),
    catchup=True, max_active_runs=1,
):
    there = HeadwaterSpanSensor(task_id="there", span="{{ ds }}", poke_interval=2, **given)
    check = HeadwaterOperator(task_id="check", span="{{ ds }}", outlets=[ready], retries=1, retry_delay=datetime.timedelta(seconds=1), **given)

    @task(trigger_rule="all_done")
    def after(ds=None):
        leave("after", day=ds)

    there >> check >> after()

with DAG("train", schedule=[ready], start_date=datetime.datetime(2026, 2, 1)):

    @task
    def train(triggering_asset_events=None):
        for events in triggering_asset_events.values():
            for event in events:
                leave("trained", **event.extra)

    train()
"""

BRANCH = """
with DAG("branch", schedule=None, start_date=datetime.datetime(2026, 2, 1)) as dag:
    check = HeadwaterOperator(task_id="check", span="{{ ds }}", on_bad="pass", **given)
    way = HeadwaterBranch(task_id="way", of="check", blessed="use", rejected="ask")

    @task
    def use():
        leave("used")

    @task
    def ask():
        leave("asked")

    check >> way >> [use(), ask()]

with DAG("parts", schedule=None, start_date=datetime.datetime(2026, 2, 1)) as parts:
    collect = HeadwaterOperator(task_id="collect", command="collect", span="{{ ds }}", **given)
    measure = HeadwaterOperator(
        task_id="measure", command="generate-statistics", given=["{{ ti.xcom_pull('collect')['uri'] }}"], **given
    )
    collect >> measure
"""

CONTAINERS = """
from airflow.providers.docker.operators.docker import DockerOperator
from docker.types import Mount

from headwater.airflow import command_line, span_of

words = command_line("run", span="{{ span_of(ds) }}", **given)
with DAG(
    "docker", schedule=None, start_date=datetime.datetime(2026, 2, 1), user_defined_macros={"span_of": span_of}
) as dag:
    check = DockerOperator(
        task_id="check", image=os.environ["IMAGE"], command=words, skip_on_exit_code=1, auto_remove="force",
        mounts=[Mount(root, root, "bind")], mount_tmp_dir=False, network_mode="host", do_xcom_push=False,
    )

    @task
    def train():
        leave("trained")

    check >> train()
"""

POD = """
import json

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes import client
from kubernetes.client import models as k8s

from headwater.airflow import command_line

pod = KubernetesPodOperator(
    task_id="check", name="orders", namespace="data", image=os.environ["IMAGE"], skip_on_exit_code=1,
    config_file=f"{root}/kubeconfig", arguments=command_line("run", span=int(os.environ["SPAN"]), **given),
    env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name="headwater-s3"))],
    container_resources=k8s.V1ResourceRequirements(limits={"cpu": "2", "memory": "4Gi"}),
    container_security_context={"readOnlyRootFilesystem": True, "runAsNonRoot": True},
    volumes=[k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource())],
    volume_mounts=[k8s.V1VolumeMount(name="tmp", mount_path="/tmp")],
).build_pod_request_obj()
print("POD", json.dumps(client.ApiClient().sanitize_for_serialization(pod)))
"""

WITH_DOCKER = str(ROOT / "images/with-docker.sh")


@pytest.fixture
def image():
    """The image of this tree's version."""
    name = f"headwater-tfdv:{importlib.metadata.version('headwater')}"
    found = subprocess.run([WITH_DOCKER, "docker", "image", "inspect", name], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"no image {name}: {found.stderr.strip().splitlines()[-1]}; `make images` builds it")
    return name


@pytest.fixture
def airflow(orders):
    """A home for Airflow, and a way to call it."""
    python = environment_of("airflow") / "bin/python"
    home = orders / "airflow"
    (home / "dags").mkdir(parents=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "ORDERS": str(orders), "HEADWATER_COMMAND": HEADWATER,
        "PYTHONPATH": str(ROOT), "AIRFLOW__CORE__UNIT_TEST_MODE": "False", "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(orders / "lineage.jsonl"), "append": True}),
        "PATH": f"{python.parent}:{os.environ['PATH']}", "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    }  # fmt: skip

    class Airflow:
        folder = orders

        def call(self, *words, code=0):
            done = subprocess.run(
                [str(python), "-m", "airflow", *words], env=environment, cwd=orders, capture_output=True, text=True
            )
            assert code is None or done.returncode == code, done.stdout[-3_000:] + done.stderr[-3_000:]
            return done.stdout

        def write(self, text):
            (home / "dags/data.py").write_text(HEAD + text)

        def test(self, dag, day, within=()):
            """`dag.test()` of a day, perhaps within another command; each task's state."""
            program = textwrap.dedent(f"""
                import datetime, json, sys
                sys.path.insert(0, {str(home / "dags")!r})
                import data
                from airflow.sdk import DAG
                dag = next(each for each in vars(data).values() if isinstance(each, DAG) and each.dag_id == {dag!r})
                run = dag.test(logical_date=datetime.datetime.fromisoformat({day!r}).replace(tzinfo=datetime.timezone.utc))
                print("STATES", json.dumps({{t.task_id: t.state for t in run.get_task_instances()}}))
            """)
            words = [*within, str(python), "-c", program]
            done = subprocess.run(words, env=environment, cwd=orders, capture_output=True, text=True)
            found = re.search(r"^STATES (.*)$", done.stdout, re.MULTILINE)
            assert found, done.stdout[-3_000:] + done.stderr[-3_000:]
            return json.loads(found[1]), done.stdout + done.stderr

    own = Airflow()
    own.python, own.environment, own.home = python, environment, home
    own.call("db", "migrate")
    return own


def test_a_branch_on_the_verdict_and_components_one_by_one(airflow, orders):
    airflow.write(BRANCH)
    airflow.call("dags", "reserialize")
    states, _ = airflow.test("branch", "2026-02-01")
    assert states == {"check": "success", "way": "success", "use": "success", "ask": "skipped"}
    states, log = airflow.test("branch", "2026-02-02")
    assert states == {"check": "success", "way": "success", "use": "skipped", "ask": "success"}
    assert (orders / "used").exists() and (orders / "asked").exists() and "rejected" in log
    states, _ = airflow.test("parts", "2026-02-01")
    assert states == {"collect": "success", "measure": "success"}
    uri = orders / f"store/orders/span={FIRST}/version=1/statistics"
    assert (uri / "_manifest.json").exists()
    # What OpenLineage's provider tells is what `headwater lineage` tells.
    told = [json.loads(line) for line in (orders / "lineage.jsonl").read_text().splitlines()]
    done = [each for each in told if each["eventType"] == "COMPLETE" and each["job"]["name"] == "branch.check"]
    own = json.loads(
        subprocess.run(
            [HEADWATER, "lineage", str(uri.parent), "--format", "openlineage"], capture_output=True, text=True
        ).stdout
    )
    made = {(each["namespace"], each["name"]) for event in own for each in event["outputs"]}
    assert {(each["namespace"], each["name"]) for each in done[0]["outputs"]} == made and len(made) == 4
    sources = {each["name"] for event in own for each in event["inputs"]} - {name for _, name in made}
    assert {each["name"] for each in done[0]["inputs"]} == sources and len(sources) == 1


def test_what_is_wrong_is_said_once_and_not_tried_again(airflow, orders):
    airflow.write(
        """
with DAG("wrong", schedule=None, start_date=datetime.datetime(2026, 2, 1), default_args={"retries": 3}) as wrong:
    HeadwaterOperator(task_id="span", span="soon", **given)
    HeadwaterOperator(task_id="project", project="/no/such.yaml", data_root=f"{root}/store")
    HeadwaterOperator(task_id="command", executable="/no/such/headwater", **given)
"""
    )
    states, log = airflow.test("wrong", "2026-02-01")
    assert set(states.values()) == {"failed"}
    assert "span: 'soon' is neither a number nor a date" in log and "/no/such.yaml" in log
    assert "there is no command '/no/such/headwater'; install Headwater into an environment of its own" in log


@pytest.mark.parametrize(
    ("words", "said"),
    [("on_bad='stop', data_root='x'", "on_bad: must be one of fail, skip, pass"), ("", "data_root: a run needs one")],
)
def test_a_dag_with_a_wrong_operator_does_not_load(airflow, words, said):
    airflow.write(f"""
with DAG("wrong", schedule=None, start_date=datetime.datetime(2026, 2, 1)):
    HeadwaterOperator(task_id="a", {words})
""")
    airflow.call("dags", "reserialize", code=None)
    # The table breaks lines within words.
    assert said.replace(" ", "") in "".join(
        airflow.call("dags", "list-import-errors", "--output", "json", code=None).split()
    )


def test_docker_operator_skips_the_trainer_where_a_span_is_not_blessed(airflow, orders, image):
    for each in (orders, *orders.rglob("in/**/*")):
        each.chmod(0o777 if each.is_dir() else 0o666)
    airflow.write(CONTAINERS)
    airflow.environment["IMAGE"] = image
    states, log = airflow.test("docker", "2026-02-01", within=[WITH_DOCKER])
    assert states == {"check": "success", "train": "success"}, log[-3_000:]
    states, log = airflow.test("docker", "2026-02-02", within=[WITH_DOCKER])
    assert states == {"check": "skipped", "train": "skipped"}, log[-3_000:]
    assert {each.name for each in (orders / "store/orders").iterdir()} == {f"span={FIRST}", f"span={FIRST + 1}"}


def test_a_pod_of_kubernetes_pod_operator_is_valid_and_its_container_runs(airflow, orders, image):
    for each in (orders, *orders.rglob("in/**/*")):
        each.chmod(0o777 if each.is_dir() else 0o666)
    airflow.environment.update(IMAGE=image, SPAN=str(FIRST))
    # It is read, and nobody is called.
    (orders / "kubeconfig").write_text(
        "{apiVersion: v1, kind: Config, current-context: none, users: [], "
        "clusters: [{name: none, cluster: {server: 'http://127.0.0.1:9'}}], contexts: [{name: none, context: {cluster: none, user: ''}}]}"
    )
    done = subprocess.run(
        [str(airflow.python), "-c", HEAD + POD], env=airflow.environment, cwd=orders, capture_output=True, text=True
    )
    pod = json.loads(re.search(r"^POD (.*)$", done.stdout, re.MULTILINE)[1])
    [container] = pod["spec"]["containers"]
    assert container["image"] == image and not container["command"]
    assert container["resources"]["limits"]["memory"] == "4Gi" and pod["spec"]["restartPolicy"] == "Never"
    # No cluster is here, but its kubelet starts what Docker starts.
    words = ["docker", "run", "--rm", "--network", "none", "--read-only", "-v", "/tmp", "-v", f"{orders}:{orders}"]
    ran = subprocess.run([WITH_DOCKER, *words, image, *container["args"]], capture_output=True, text=True)
    assert ran.returncode == 0 and json.loads(ran.stdout)["blessed"] is True, ran.stdout + ran.stderr


def test_a_scheduler_fills_in_three_spans_and_starts_the_trainer_with_good_ones(airflow, orders):
    airflow.write(DAILY)
    port = free_port()
    environment = {
        **airflow.environment,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
    }
    words = [str(airflow.python), "-m", "airflow", "standalone"]
    with started(words, orders / "standalone.log", env=environment, cwd=orders):
        # The first task is killed in its work, and tried again.
        until(lambda: list(orders.glob("store/orders/*/*/data/split=*")), 600)
        subprocess.run(["pkill", "-KILL", "-f", f"headwater run.*{orders}"])
        until(lambda: (orders / "after").exists() and len((orders / "after").read_text().splitlines()) == 3, 900)
        until(lambda: (orders / "trained").exists() and (orders / "trained").read_text().count("verdict") == 2, 300)
    found = json.loads(
        subprocess.run([HEADWATER, "ls", str(orders / "store"), "--json"], capture_output=True, text=True).stdout
    )
    assert [(each["span"], each["version"], each["blessed"]) for each in found] == [
        (FIRST, 1, True),
        (FIRST + 1, 1, None),
        (FIRST + 2, 1, True),
    ]
