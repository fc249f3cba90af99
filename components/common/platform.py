"""The section `platform` of a project: where results lie, how work is spread, and how a cluster runs each task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.kubernetes_values import (
    Annotations,
    Cpu,
    Duration,
    Environment,
    Image,
    Labels,
    Memory,
    Name,
    Registry,
    SecretFiles,
    Secrets,
    cpu_cores,
    memory_bytes,
)
from headwater.components.common.settings import PLACE, meant
from headwater.components.common.times import seconds

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

_LONGEST_BACKOFF = 3600

COMPONENTS = ("collect", "label", "generate-statistics", "infer-schema", "validate", "gate", "report", "trainer")
"""The tasks that `components` may name."""


class Resources(pydantic.BaseModel):
    """What a task may use.

    Attributes:
      cpu: the limit, in cores (`500m` is half of one); by default 2.
      cpu_request: how much is reserved; by default a quarter of `cpu`.
      memory: the limit, by default 4Gi; the setting to raise where a task is out of memory.
      memory_request: how much is reserved; by default all of `memory`.
    """

    model_config = _STRICT

    cpu: Cpu | None = None
    cpu_request: Cpu | None = None
    memory: Memory | None = None
    memory_request: Memory | None = None


class Retries(pydantic.BaseModel):
    """How a task that failed is tried again: also one whose pod was preempted or killed.

    Attributes:
      count: how many times; by default 2.
      backoff: how long to wait before the first time; by default 30s.
      factor: by how much the wait grows each time; by default 2.
      max_backoff: the longest wait, at most 1h; by default 10m.
    """

    model_config = _STRICT

    count: Annotated[int, pydantic.Field(ge=0, le=100)] | None = None
    backoff: Duration | None = None
    factor: Annotated[float | int, pydantic.Field(ge=1)] | None = None
    max_backoff: Duration | None = None

    @pydantic.field_validator("max_backoff")
    @classmethod
    def _short(cls, text: str | None) -> str | None:
        if text is not None and seconds(text) > _LONGEST_BACKOFF:
            raise ValueError("must be at most 1h, which is Kubeflow's longest")
        return text


class Toleration(pydantic.BaseModel):
    """A taint of nodes on which tasks may run all the same.

    Attributes:
      key: the taint's key; left out for all, with the operator `Exists`.
      operator: `Equal` or `Exists`.
      value: the taint's value, with `Equal`.
      effect: `NoSchedule`, `PreferNoSchedule` or `NoExecute`; left out for all.
      seconds: how long a task may stay after a taint with `NoExecute`; left out for ever.
    """

    model_config = _STRICT

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: Annotated[int, pydantic.Field(ge=0)] | None = None

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Toleration:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("a toleration with the operator Exists has no value")
        if self.operator == "Equal" and not self.key:
            raise ValueError("a toleration needs a key, or the operator Exists for every taint")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("only a toleration with the effect NoExecute has seconds")
        return self


class Task(pydantic.BaseModel):
    """How a cluster runs a task.

    Attributes:
      image: the image with its tag or digest, in place of the one that `registry` gives.
      image_pull_secrets: names of the secrets for the registry.
      image_pull_policy: `IfNotPresent`, `Always` or `Never`.
      resources: CPU and memory; of all tasks but gate and report, which get 1 core and 512Mi.
      retries: how a task that failed is tried again; of all tasks but gate, which fails on purpose.
      timeout: how long an attempt may take; by default 6h, of gate and report 30m whatever is set for all.
      scratch: size of the emptyDir at `/tmp`, the only place that is written; by default 10Gi, of gate and report 1Gi
        whatever is set for all.
      secrets: by a secret's name its keys, each with the environment variable that it fills.
      secret_files: by a secret's name the folder where its keys are files, as a Google service account's
        (`{gcs: /etc/gcs}`, with `GOOGLE_APPLICATION_CREDENTIALS` in `env`).
      env: other environment variables, as HEADWATER_LOG or AWS_ENDPOINT_URL; nothing secret.
      node_selector: labels that a node must have.
      tolerations: taints of nodes on which tasks may run all the same.
      labels, annotations: of the pods.
    """

    model_config = _STRICT

    image: Image | None = None
    image_pull_secrets: list[Name] | None = None
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] | None = None
    resources: Resources = Resources()
    retries: Retries = Retries()
    timeout: Duration | None = None
    scratch: Memory | None = None
    secrets: Secrets = {}
    secret_files: SecretFiles = {}
    env: Environment = {}
    node_selector: Labels = {}
    tolerations: list[Toleration] | None = None
    labels: Labels = {}
    annotations: Annotations = {}


class Fanout(pydantic.BaseModel):
    """How work is spread over pods. Results have the same bytes as without, whatever the number of parts.

    Attributes:
      rows: about how many rows a part has. What has fewer is not spread.
      parallelism: the most parts at once; 0 for as many as there are.
    """

    model_config = _STRICT

    rows: Annotated[int, pydantic.Field(ge=1)] = 10_000_000
    parallelism: Annotated[int, pydantic.Field(ge=0)] = 16


class _Home(pydantic.BaseModel):
    # A base of its own, so that these come first in the tables.
    model_config = _STRICT

    data_root: Annotated[str, PLACE] = ""
    workers: Annotated[int, pydantic.Field(ge=0)] = 0
    beam_pipeline_args: list[str] = []
    trainer: Annotated[str, PLACE] = ""
    fanout: Fanout | None = None
    registry: Registry | None = None
    service_account: Name | None = None


class Platform(Task, _Home):
    """Where and how the work is done, here and on a cluster.

    Attributes:
      data_root: path or URI of the durable home of all results: local, gs:// or s3://.
      workers: number of processes per Beam worker; 0 for one per core of the pod or machine, fewer where
        memory is short.
      beam_pipeline_args: Beam's options, as in `--runner=FlinkRunner`.
      fanout: spreads collect, label, generate-statistics and the rules for rows over pods on a cluster.
      trainer: path or URI of a compiled component, which gets what is blessed; with it the pipeline is the guarded one.
      registry: where `make publish` pushed the images, as registry.example.com/team.
      service_account: the Kubernetes service account of the runs that `headwater submit` creates.
      components: by the name of a task (collect, …, validate, gate, report, trainer) the settings of the cluster that it has of its
        own: those from `image` to `annotations`.
    """

    components: dict[str, Task] = {}

    @pydantic.field_validator("components")
    @classmethod
    def _known(cls, components: dict[str, Task]) -> dict[str, Task]:
        for name in components:
            if name not in COMPONENTS:
                raise ValueError(f"there is no task {name!r}{meant(name, COMPONENTS, 'tasks')}")
        return components


_WORK = Task(
    resources=Resources(cpu="2", memory="4Gi"),
    retries=Retries(count=2, backoff="30s", factor=2, max_backoff="10m"),
    timeout="6h",
    scratch="10Gi",
)
_LIGHT = Task(
    resources=Resources(cpu="1", memory="512Mi"),
    retries=_WORK.retries,
    timeout="30m",
    scratch="1Gi",
)
DEFAULTS = {
    **dict.fromkeys(COMPONENTS, _WORK),
    "gate": _LIGHT.model_copy(update={"retries": Retries(count=0)}),
    "report": _LIGHT,
}
"""What a task gets where the project does not say; it suits a small cluster."""

NEEDS = {
    **dict.fromkeys(("collect", "label", "generate-statistics"), Resources(cpu="100m", memory="512Mi")),
    **dict.fromkeys(("infer-schema", "validate"), Resources(cpu="100m", memory="1Gi")),
    **dict.fromkeys(("gate", "report"), Resources(cpu="50m", memory="256Mi")),
    "trainer": Resources(cpu="1m", memory="1Mi"),
}
"""The least that a task starts with: its imports, without any data."""

_LEAST_SCRATCH = "64Mi"
_OWN = {"gate": ("resources", "retries", "scratch", "timeout"), "report": ("resources", "scratch", "timeout")}


def task_settings(platform: Platform, name: str) -> Task:
    """What a task gets: its own settings, then those of all tasks, then the defaults.

    Args:
      platform: the project's section.
      name: one of `COMPONENTS`.
    """
    own = platform.components.get(name, Task())
    # What is set for all is meant for the work, and not for tasks that need little.
    skipped = _OWN.get(name, ())
    layers = (own, platform, DEFAULTS[name])
    merged: dict[str, Any] = {}
    for key in Task.model_fields:
        values = [getattr(layer, key) for layer in layers if not (layer is platform and key in skipped)]
        if key in ("resources", "retries"):
            model = Resources if key == "resources" else Retries
            merged[key] = model(**_first(values))
        elif isinstance(values[0], dict):
            merged[key] = {name: value for layer in reversed(values) for name, value in layer.items()}
        else:
            merged[key] = next((value for value in values if value is not None), None)
    return Task(**{**merged, "resources": _requested(merged["resources"], own, platform if not skipped else None)})


def _first(values: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for value in reversed(values):
        merged.update(value.model_dump(exclude_none=True))
    return merged


def _requested(resources: Resources, *layers: Task | None) -> Resources:
    """The resources with what is reserved, which counts only where it is set beside or above the limit that counts."""
    given: dict[str, str | None] = {}
    for limit, request in (("cpu", "cpu_request"), ("memory", "memory_request")):
        given[request] = None
        for layer in layers:
            if layer is None:
                continue
            if getattr(layer.resources, request) is not None:
                given[request] = getattr(layer.resources, request)
                break
            if getattr(layer.resources, limit) is not None:
                break
    assert resources.cpu is not None and resources.memory is not None, "the defaults have both"
    quarter = f"{max(1, round(cpu_cores(resources.cpu) * 250))}m"
    return resources.model_copy(
        update={
            "cpu_request": given["cpu_request"] or quarter,
            "memory_request": given["memory_request"] or resources.memory,
        }
    )


def check_tasks(platform: Platform) -> None:
    """Refuses what Kubernetes would not start, or what a task could not even import its libraries with.

    Raises:
      HeadwaterError: names the setting, the task, and what would be right.
    """
    for name in COMPONENTS:
        problem = _problem(task_settings(platform, name), name)
        if problem:
            key, message = problem
            own = _has(platform.components.get(name, Task()), key)
            raise HeadwaterError(f"platform.{f'components.{name}.' if own else ''}{key}: {message}")


def _has(task: Task, key: str) -> bool:
    value: Any = task
    for part in key.split("."):
        value = getattr(value, part)
    return bool(value)


def _problem(task: Task, name: str) -> tuple[str, str] | None:
    own, need = task.resources, NEEDS[name]
    assert own.cpu and own.memory and own.cpu_request and own.memory_request and task.scratch
    assert need.cpu and need.memory, "the least is known of all"
    if memory_bytes(own.memory) < memory_bytes(need.memory):
        return "resources.memory", f"{name} needs at least {need.memory}; given: {own.memory}"
    if cpu_cores(own.cpu) < cpu_cores(need.cpu):
        return "resources.cpu", f"{name} needs at least {need.cpu}; given: {own.cpu}"
    if memory_bytes(own.memory_request) > memory_bytes(own.memory):
        message = f"{name} reserves {own.memory_request}, which is more than its limit {own.memory}"
        return "resources.memory_request", message
    if cpu_cores(own.cpu_request) > cpu_cores(own.cpu):
        message = f"{name} reserves {own.cpu_request}, which is more than its limit {own.cpu}"
        return "resources.cpu_request", message
    if memory_bytes(task.scratch) < memory_bytes(_LEAST_SCRATCH):
        return "scratch", f"{name} needs at least {_LEAST_SCRATCH}; given: {task.scratch}"
    filled = dict.fromkeys(task.env, "env")
    for secret, keys in task.secrets.items():
        for variable in keys.values():
            if variable in filled:
                return "secrets", f"the secret {secret!r} and {filled[variable]} both fill the variable {variable}"
            filled[variable] = f"the secret {secret!r}"
    return None
