"""The section `platform`: what each task gets, and what is refused."""

from __future__ import annotations

import pytest

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.kubernetes_values import cpu_cores, memory_bytes
from headwater.components.common.platform import COMPONENTS, task_settings
from headwater.components.common.project import platform


def task(name: str, **settings):
    return task_settings(platform({"platform": settings}), name)


def test_defaults_suit_a_small_cluster_and_leave_little_to_tasks_that_need_little():
    for name in COMPONENTS:
        found = task(name)
        light = name in ("gate", "report")
        assert memory_bytes(found.resources.memory) == (512 << 20 if light else 4 << 30)
        assert found.resources.memory_request == found.resources.memory
        assert cpu_cores(found.resources.cpu_request) == cpu_cores(found.resources.cpu) / 4
        assert found.retries.count == (0 if name == "gate" else 2), "a gate fails on purpose"
        assert found.scratch == ("1Gi" if light else "10Gi")


def test_own_settings_go_before_those_of_all():
    given = {
        "resources": {"cpu": 4, "memory": "8Gi"},
        "timeout": "2h",
        "labels": {"team": "data", "tier": "batch"},
        "secrets": {"s3": {"key": "AWS_ACCESS_KEY_ID"}},
        "components": {
            "validate": {"resources": {"memory": "16Gi"}, "labels": {"tier": "checks"}, "timeout": "1h"},
            "gate": {"resources": {"memory": "1Gi"}},
        },
    }
    collect, validate, gate = (task(name, **given) for name in ("collect", "validate", "gate"))
    assert (collect.resources.memory, collect.resources.memory_request, collect.timeout) == ("8Gi", "8Gi", "2h")
    assert (validate.resources.memory, validate.resources.memory_request) == ("16Gi", "16Gi")
    assert (validate.resources.cpu, validate.resources.cpu_request, validate.timeout) == ("4", "1000m", "1h")
    assert validate.labels == {"team": "data", "tier": "checks"}
    # What is set for all is meant for the work.
    assert (gate.resources.memory, gate.resources.cpu, gate.timeout) == ("1Gi", "1", "30m")
    assert gate.secrets == collect.secrets == {"s3": {"key": "AWS_ACCESS_KEY_ID"}}


def test_what_is_reserved_counts_where_it_is_set_beside_its_limit():
    given = {
        "resources": {"memory": "8Gi", "memory_request": "2Gi", "cpu_request": "100m"},
        "components": {"validate": {"resources": {"memory": "4Gi"}}},
    }
    collect, validate = task("collect", **given).resources, task("validate", **given).resources
    assert (collect.memory, collect.memory_request, collect.cpu_request) == ("8Gi", "2Gi", "100m")
    assert (validate.memory, validate.memory_request, validate.cpu_request) == ("4Gi", "4Gi", "100m")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"resurces": {}}, "platform.resurces: there is no such setting; did you mean 'resources'?"),
        ({"resources": {"mem": "4Gi"}}, "platform.resources.mem: there is no such setting; did you mean 'memory'?"),
        (
            {"components": {"validate": {"retry": {"count": 1}}}},
            "platform.components.validate.retry: there is no such setting; did you mean 'retries'?",
        ),
        (
            {"components": {"generate_statistics": {}}},
            "platform.components: there is no task 'generate_statistics'; did you mean 'generate-statistics'?",
        ),
        (
            {"resources": {"memory": "900Mi"}},
            "platform.resources.memory: infer-schema needs at least 1Gi; given: 900Mi",
        ),
        (
            {"components": {"gate": {"resources": {"memory": "64Mi"}}}},
            "platform.components.gate.resources.memory: gate needs at least 256Mi; given: 64Mi",
        ),
        ({"resources": {"memory": "4 GB"}}, "platform.resources.memory: must be an integer with Mi, Gi or Ti"),
        ({"resources": {"memory": 0.5}}, "platform.resources.memory: input should be a valid string; given: 0.5"),
        ({"resources": {"cpu": "two"}}, "platform.resources.cpu: must be a number of cores"),
        ({"resources": {"cpu": "10m"}}, "platform.resources.cpu: collect needs at least 100m; given: 10m"),
        (
            {"resources": {"memory": "4Gi", "memory_request": "5Gi"}},
            "memory_request: collect reserves 5Gi, which is more",
        ),
        (
            {"resources": {"cpu": "1", "cpu_request": "2"}},
            "cpu_request: collect reserves 2, which is more than its limit 1",
        ),
        ({"image": "reg.example.com/team/headwater"}, "platform.image: needs a tag that never moves"),
        ({"image": "reg.example.com/team/headwater:latest"}, "platform.image: needs a tag that never moves"),
        ({"image": "reg.example.com/Team/headwater:1"}, "platform.image: is not the name of an image"),
        ({"image": "headwater:0.2.0:1"}, "platform.image: is not the name of an image"),
        ({"image": "headwater@sha256:12"}, "platform.image: is not the name of an image"),
        ({"registry": "https://reg.example.com"}, "platform.registry: is not a registry's address"),
        ({"secrets": {"s3": None}}, "platform.secrets: the secret 's3' needs its keys"),
        ({"secrets": {"s3": {}}}, "platform.secrets: the secret 's3' needs its keys"),
        (
            {"secrets": {"s3": {"key": "AWS KEY"}}},
            "platform.secrets: the key 'key' of the secret 's3' needs the name of an",
        ),
        ({"secrets": {"s3": {"a b": "KEY"}}}, "platform.secrets: the secret 's3' cannot have a key 'a b'"),
        ({"secrets": {"S3": {"key": "KEY"}}}, "platform.secrets: 'S3' is not the name of a secret"),
        (
            {"secrets": {"one": {"a": "KEY"}, "two": {"b": "KEY"}}},
            "the secret 'one' both fill the variable KEY",
        ),
        (
            {"secrets": {"one": {"a": "KEY"}}, "env": {"KEY": "x"}},
            "the secret 'one' and env both fill the variable KEY",
        ),
        ({"secret_files": {"gcs": "/tmp"}}, "platform.secret_files: the secret 'gcs' needs a folder of its own"),
        ({"env": {"A-B": "x"}}, "platform.env: 'A-B' is not the name of an environment variable"),
        ({"timeout": "6"}, "platform.timeout: '6' is not a duration"),
        ({"timeout": 90}, "platform.timeout: needs a unit, as 90m; given: 90"),
        ({"timeout": "0s"}, "platform.timeout: must be at least 1s"),
        ({"retries": {"count": -1}}, "platform.retries.count: input should be greater than or equal to 0"),
        ({"retries": {"max_backoff": "2h"}}, "platform.retries.max_backoff: must be at most 1h"),
        (
            {"tolerations": [{"operator": "Exists", "value": "x"}]},
            "platform.tolerations.0: a toleration with the operator",
        ),
        ({"tolerations": [{"value": "x"}]}, "platform.tolerations.0: a toleration needs a key"),
        (
            {"tolerations": [{"key": "a", "seconds": 3}]},
            "platform.tolerations.0: only a toleration with the effect NoExecute",
        ),
        ({"labels": {"team": "da ta"}}, "platform.labels: team: 'da ta' is not the value of a label"),
        ({"node_selector": {"po ol": "x"}}, "platform.node_selector: 'po ol' is not the key of a label"),
        ({"annotations": {"/x": "y"}}, "platform.annotations: '/x' is not the key of an annotation"),
        ({"scratch": "1Mi"}, "platform.scratch: collect needs at least 64Mi; given: 1Mi"),
        ({"service_account": "Head Water"}, "platform.service_account: is not the name of a Kubernetes object"),
        ({"image_pull_policy": "Sometimes"}, "platform.image_pull_policy: input should be 'IfNotPresent'"),
    ],
)
def test_what_is_wrong_is_one_message(given, message):
    with pytest.raises(HeadwaterError) as error:
        platform({"platform": given})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "image",
    [
        "headwater:0.2.0",
        "localhost:5000/headwater-core:0.2.0",
        "ghcr.io/team/head_water/core:v1.2-rc_3",
        "headwater@sha256:" + "0f" * 32,
        "reg.example.com:443/a/b/c:1@sha256:" + "0f" * 32,
    ],
)
def test_names_of_images_that_are_right(image):
    assert task("collect", image=image).image == image


def test_quantities_are_kubernetes_own():
    assert [memory_bytes(text) for text in ("1024", "1Ki", "2Mi", "3Gi", "1G", "5M")] == [
        1024, 1024, 2 << 20, 3 << 30, 10**9, 5 * 10**6,
    ]  # fmt: skip
    assert [cpu_cores(text) for text in ("2", "0.5", "250m")] == [2, 0.5, 0.25]
