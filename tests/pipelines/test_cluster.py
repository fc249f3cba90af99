"""`headwater compile`: the pipeline of a project with its platform, as a cluster takes it."""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl

from headwater.pipelines.cli import DONE, FAILED, main
from headwater.pipelines.compile import targets

ROOT = pathlib.Path(__file__).resolve().parents[2]

PROJECT = """\
name: web.Orders
sources: ["s3://raw/orders/{YYYY}-{MM}-{DD}.csv"]
collect: {key: [id], private: {mail: hash}}
validate: {drift: {min_effect: 0.2}}
alerts:
- {to: slack, url_env: SLACK}
platform:
  data_root: s3://lake/headwater
  workers: 2
  registry: reg.example.com/team
  image_pull_secrets: [reg]
  service_account: headwater
  resources: {cpu: 3, memory: 6Gi, memory_request: 2Gi}
  retries: {count: 4, backoff: 1m}
  timeout: 90m
  scratch: 20Gi
  secrets:
    s3-keys: {accesskey: AWS_ACCESS_KEY_ID, secretkey: AWS_SECRET_ACCESS_KEY}
    hashing: {key: HEADWATER_PRIVACY_KEY}
    slack: {url: SLACK}
  secret_files: {gcs: /etc/gcs}
  env: {AWS_ENDPOINT_URL: "http://store:9000"}
  node_selector: {pool: batch}
  tolerations: [{key: batch, value: "yes", effect: NoSchedule}]
  labels: {team: data}
  annotations: {example.com/owner: ana}
  components:
    validate: {resources: {memory: 12Gi}, image: "reg.example.com/other/validate:1.2"}
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "headwater.yaml"
    path.write_text(PROJECT)
    return path


def compiled(*flags: str) -> tuple[dict[str, Any], dict[str, Any]]:
    assert main(["compile", "-o", "pipeline.yaml", "--quiet", *flags]) == DONE
    pipeline, platform = yaml.safe_load_all(pathlib.Path("pipeline.yaml").read_text())
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> tuple[dict[str, Any], dict[str, Any]]:
    """The project as it is, compiled."""
    with contextlib.chdir(tmp_path_factory.mktemp("plain")):
        pathlib.Path("headwater.yaml").write_text(PROJECT)
        return compiled()


def tasks_of(pipeline: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every task, those of tasks that are pipelines themselves as well."""
    for dag in (pipeline["root"], *pipeline["components"].values()):
        yield from dag.get("dag", {}).get("tasks", {}).items()


def test_each_task_gets_what_the_platform_says(plain):
    pipeline, executors = plain
    containers = {name: each["container"] for name, each in pipeline["deploymentSpec"]["executors"].items()}
    assert set(containers) == set(executors) and len(containers) == 7
    collect, validate, gate = (containers[f"exec-{name}"] for name in ("collect", "validate", "gate"))
    assert collect["image"].startswith("reg.example.com/team/headwater")
    assert validate["image"] == "reg.example.com/other/validate:1.2"
    assert collect["resources"] | {
        "resourceCpuLimit": "3", "resourceCpuRequest": "750m", "resourceMemoryLimit": "6Gi",
        "resourceMemoryRequest": "2Gi",
    } == collect["resources"]  # fmt: skip
    assert validate["resources"]["resourceMemoryLimit"] == "12Gi"
    assert gate["resources"]["resourceMemoryLimit"] == "512Mi"
    assert {"name": "AWS_ENDPOINT_URL", "value": "http://store:9000"} in collect["env"]

    own = executors["exec-collect"]
    assert own["activeDeadlineSeconds"] == "5400" and executors["exec-report"]["activeDeadlineSeconds"] == "1800"
    assert own["emptyDirMounts"] == [{"mountPath": "/tmp", "sizeLimit": "20Gi", "volumeName": "scratch"}]
    filled = {pair["envVar"]: each["secretName"] for each in own["secretAsEnv"] for pair in each["keyToEnv"]}
    assert filled == {
        "AWS_ACCESS_KEY_ID": "s3-keys", "AWS_SECRET_ACCESS_KEY": "s3-keys", "HEADWATER_PRIVACY_KEY": "hashing",
        "SLACK": "slack",
    }  # fmt: skip
    assert own["secretAsVolume"][0]["mountPath"] == "/etc/gcs"
    assert own["imagePullSecret"][0]["secretName"] == "reg"
    assert own["nodeSelector"]["labels"] == {"pool": "batch"}
    assert own["tolerations"] == [{"key": "batch", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}]
    assert own["podMetadata"] == {"labels": {"team": "data"}, "annotations": {"example.com/owner": "ana"}}
    for each in executors.values():
        assert each["fieldPathAsEnv"] == [{"name": "HEADWATER_RUN", "fieldPath": "metadata.labels['pipeline/runid']"}]

    retried = {name: task.get("retryPolicy", {}).get("maxRetryCount", 0) for name, task in tasks_of(pipeline)}
    assert retried | {"collect": 4, "validate": 4, "report": 4, "gate": 0} == retried
    [policy] = [task["retryPolicy"] for name, task in tasks_of(pipeline) if name == "collect"]
    assert (policy["backoffDuration"], policy["backoffFactor"], policy["backoffMaxDuration"]) == ("60s", 2.0, "600s")


def test_the_project_is_the_default_without_what_only_the_cluster_reads(project):
    pipeline, _ = compiled("--set", "collect.span=3")
    assert pipeline["pipelineInfo"]["name"] == "headwater-web-orders"
    assert pipeline["pipelineInfo"]["displayName"] == "Headwater: web.Orders"
    [(name, parameter)] = pipeline["root"]["inputDefinitions"]["parameters"].items()
    given = parameter["defaultValue"]
    assert name == "project" and parameter["description"].startswith("All settings")
    assert given["collect"]["span"] == 3 and given["validate"] == {"drift": {"min_effect": 0.2}}
    assert given["platform"] == {"data_root": "s3://lake/headwater", "workers": 2}


def test_no_task_is_cached_whose_key_does_not_hold_what_it_reads(plain):
    pipeline, _ = plain
    cached = {name for name, task in tasks_of(pipeline) if task.get("cachingOptions", {}).get("enableCache")}
    assert cached == {"generate-statistics"}


def test_a_report_ends_every_run(plain):
    pipeline, _ = plain
    report = pipeline["root"]["dag"]["tasks"]["report"]
    assert report["dependentTasks"] == ["exit-handler-1"]
    assert report["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert report["inputs"]["parameters"]["status"] == {"taskFinalStatus": {"producerTask": "exit-handler-1"}}


def test_the_same_project_compiles_to_the_same_and_no_secret_is_in_them(plain, project, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    assert compiled() == plain
    assert "do-not-tell" not in pathlib.Path("pipeline.yaml").read_text()


def test_what_is_published_has_no_platform():
    for path in targets(ROOT):
        [document] = yaml.safe_load_all(path.read_text())
        assert "platforms" not in document
        for executor in document["deploymentSpec"]["executors"].values():
            assert "resources" not in executor["container"]


@dsl.component(base_image="reg.example.com/ml/trainer:3", install_kfp_package=False)
def train(dataset: dsl.Input[dsl.Dataset], schema: str, model: dsl.Output[dsl.Model], rate: float = 0.1):
    """Somebody's trainer."""
    print(dataset.uri, schema, rate, model.path)


@dsl.component(base_image="reg.example.com/ml/trainer:3", install_kfp_package=False)
def choosy(dataset: dsl.Input[dsl.Dataset], epochs: int):
    print(dataset.uri, epochs)


def test_what_is_blessed_goes_on_to_the_trainer_and_what_is_not_to_those_who_look_into_it(project):
    compiler.Compiler().compile(train, "trainer.yaml")
    pipeline, executors = compiled("--set", "platform.trainer=trainer.yaml", "--set", "platform.env={MODE: fast}")
    components, tasks = pipeline["components"], dict(tasks_of(pipeline))
    conditions = {
        task["taskInfo"]["name"]: (task["triggerPolicy"]["condition"], task["componentRef"]["name"])
        for task in tasks.values()
        if "condition" in task.get("triggerPolicy", {})
    }
    blessed, component = conditions["blessed"]
    assert blessed.endswith("== true")
    [(name, task)] = components[component]["dag"]["tasks"].items()
    assert name == "train" and set(task["inputs"]["artifacts"]) == {"dataset"}
    assert set(task["inputs"]["parameters"]) == {"schema"}
    other, component = conditions["not blessed"]
    assert other.endswith("== false") and "gate" in components[component]["dag"]["tasks"]
    quarantined, component = conditions["quarantined"]
    assert quarantined.endswith("> 0")
    told = {task["taskInfo"]["name"] for task in components[component]["dag"]["tasks"].values()}
    assert told == {"quarantine-report", "relabel"}
    # The trainer's image is its own; all else it gets like the others.
    container = pipeline["deploymentSpec"]["executors"]["exec-train"]["container"]
    assert (
        container["image"] == "reg.example.com/ml/trainer:3" and {"name": "MODE", "value": "fast"} in container["env"]
    )
    assert executors["exec-train"]["secretAsEnv"] == executors["exec-collect"]["secretAsEnv"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("memory: 6Gi", "memry: 6Gi", "headwater.yaml, line 13: platform.resources.memry: there is no such setting; did you mean 'memory'?"),
        ("    validate: {res", "    valdate: {res", "line 27: platform.components: there is no task 'valdate'; did you mean 'validate'?"),
        ("memory: 12Gi", "memory: 512Mi", "line 28: platform.components.validate.resources.memory: validate needs at least 1Gi"),
        ("validate:1.2", "validate", "line 28: platform.components.validate.image: needs a tag that never moves"),
        ("slack: {url: SLACK}", "slack:", "line 17: platform.secrets: the secret 'slack' needs its keys"),
        ("    slack: {url: SLACK}\n", "", "line 6: alerts.0.url_env: validate needs the environment variable SLACK"),
        ("    hashing: {key: HEADWATER_PRIVACY_KEY}\n", "", "line 3: collect.private: collect needs the environment variable"),
        ("s3://lake/headwater", "results", "line 8: platform.data_root: results lies on this machine"),
        ("  data_root: s3://lake/headwater\n", "", "platform.data_root: tasks on a cluster share no disk"),
        ("s3://raw/orders/{YYYY}-{MM}-{DD}.csv", "orders.csv", "line 2: sources.0: orders.csv lies on this machine"),
        ("key: [id]", "key: [id], lookups: {c: {source: c.csv, on: {id: id}}}", "line 3: collect.lookups.c.source: c.csv lies on"),
        ("timeout: 90m", "timeout: 90", "line 15: platform.timeout: needs a unit, as 90m"),
    ],
)  # fmt: skip
def test_what_no_pod_could_do_is_one_message_with_its_line(project, capsys, old, new, message):
    assert old in PROJECT
    project.write_text(PROJECT.replace(old, new))
    assert main(["compile", "--quiet"]) == FAILED
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not pathlib.Path("pipeline.yaml").exists()


def test_a_trainer_that_does_not_fit_is_refused(project, capsys):
    compiler.Compiler().compile(choosy, "trainer.yaml")
    for flags, message in (
        (
            ["platform.trainer=trainer.yaml"],
            "choosy needs the input 'epochs', which this pipeline does not have; it has",
        ),
        (["platform.trainer=none.yaml"], "none.yaml: there is no such file"),
        (["platform.trainer=headwater.yaml"], "headwater.yaml is not a component's YAML"),
        (["platform.trainer=trainer.yaml", "validate.fail_on=warning"], "leave validate.fail_on at error"),
    ):
        assert main(["compile", *(part for flag in flags for part in ("--set", flag))]) == FAILED
        error = capsys.readouterr().err
        assert "--set platform.trainer: " in error and message in error


def test_images_without_a_registry_are_worth_a_note(project, capsys):
    project.write_text(PROJECT.replace("  registry: reg.example.com/team\n", ""))
    assert main(["compile", "--json"]) == DONE
    told = capsys.readouterr()
    assert "note: the images have no registry" in told.err
    assert json.loads(told.out)["uri"] == "pipeline.yaml"
