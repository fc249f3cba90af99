"""images/OPERATING.md and images/kubernetes: what they show is what the cluster and the command line take."""

from __future__ import annotations

import json
import pathlib
import re
import shlex

import pytest
import yaml
from kubernetes import client

from headwater.components.common.platform import Platform
from headwater.components.common.settings import parse_config
from headwater.pipelines.cli import _parser
from headwater.pipelines.cluster.checking import check_for_cluster
from headwater.pipelines.project.model import check

IMAGES = pathlib.Path(__file__).resolve().parents[2] / "images"
PAGE = (IMAGES / "OPERATING.md").read_text(encoding="utf-8")
MANIFESTS = sorted((IMAGES / "kubernetes").glob("*.yaml"))
README = (IMAGES.parent / "README.md").read_text(encoding="utf-8")
PROJECTS = [
    *re.findall(r"```yaml\n(.*?)```", PAGE, re.S),
    *re.findall(r"<!-- file: cluster.yaml -->\n```yaml\n(.*?)```", README, re.S),
]


class _Answer:
    def __init__(self, data: str):
        self.data = data


def manifests() -> list[dict]:
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def kept(document: dict) -> dict:
    """What Kubernetes' models keep of a manifest; they refuse what they need and miss, and drop what they do not know."""
    api = client.ApiClient()
    return api.sanitize_for_serialization(api.deserialize(_Answer(json.dumps(document)), f"V1{document['kind']}"))


@pytest.mark.parametrize("document", manifests(), ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_a_manifest_is_what_kubernetes_models_know(document):
    assert kept(document) == document
    assert document["metadata"]["namespace"] == "kubeflow"


def test_a_wrong_manifest_would_be_noticed():
    [job] = [each for each in manifests() if each["kind"] == "CronJob"]
    assert kept({**job, "spec": {**job["spec"], "shedule": "x"}}) != {**job, "spec": {**job["spec"], "shedule": "x"}}
    with pytest.raises(ValueError, match="schedule"):
        kept({**job, "spec": {"jobTemplate": job["spec"]["jobTemplate"]}})


def test_the_recurring_gc_is_a_command_and_as_restricted_as_the_image():
    [job] = [each for each in manifests() if each["kind"] == "CronJob"]
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    options = _parser().parse_args(container["command"][1:])
    assert options.delete and options.data_root == "s3://lake/headwater"
    assert container["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsUser"] == 65532
    assert {"mountPath": "/tmp", "name": "scratch"} in container["volumeMounts"]


@pytest.mark.parametrize("text", PROJECTS)
def test_the_projects_are_right_and_name_secrets_that_are_there(text):
    project = parse_config("the page", text)
    check(project)
    check_for_cluster(project)
    platform = Platform(**project["platform"])
    known = {each["metadata"]["name"]: each["stringData"] for each in manifests() if each["kind"] == "Secret"}
    for secret, keys in platform.secrets.items():
        assert set(keys) <= set(known[secret])
    accounts = {each["metadata"]["name"] for each in manifests() if each["kind"] == "ServiceAccount"}
    assert platform.service_account in accounts
    [policy] = [each for each in manifests() if each["kind"] == "NetworkPolicy"]
    if platform.labels:
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= platform.labels.items()


def test_the_pages_commands_are_the_command_lines():
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
    ours = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("headwater ")]
    assert len(ours) > 4
    for arguments in ours:
        assert _parser().parse_args(arguments).command
    assert [line.rpartition("# ")[2].split()[0] for line in lines if re.search(r"# +\d+", line)] == [
        str(number) for number in range(1, 11)
    ]


def test_every_file_that_the_page_names_is_there():
    for name in re.findall(r"\]\((\S+?)\)", PAGE):
        assert (IMAGES / name).exists(), name
    for name in re.findall(r"(?:images|tests|pipelines)/[\w./-]+\.(?:yaml|py)", PAGE):
        assert (IMAGES.parent / name).exists(), name
    assert (
        len(re.findall(r"^\| .+ \| .+ \| .+ \|$", PAGE.partition("## Troubleshooting")[2].partition("## ")[0], re.M))
        > 10
    )
