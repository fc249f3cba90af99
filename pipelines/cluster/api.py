"""Kubeflow Pipelines' API v2beta1, by kfp's client: what `submit` and `runs` ask of it, and what goes wrong in a sentence.

The credentials are those of `kfp.Client`: the service account's token in a pod, kfp's context file, Identity-Aware Proxy by
its variables; or a token or cookies in the variables `TOKEN` and `COOKIES`.
"""

from __future__ import annotations

import contextlib
import json
import os
import urllib.parse
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from headwater.components.common.errors import HeadwaterError

HOST = "KF_PIPELINES_ENDPOINT"
TOKEN = "HEADWATER_KFP_TOKEN"
COOKIES = "HEADWATER_KFP_COOKIES"
_SERVICE_ACCOUNT = "KF_PIPELINES_SA_TOKEN_PATH"
_SERVICE_ACCOUNT_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"
_TIMEOUT = (10, 60)
_PAGE = 100
_MOST_PAGES = 50


class Away(HeadwaterError):
    """The server cannot be reached, or has trouble of its own: to be tried again."""


class Exists(HeadwaterError):
    """Somebody made it in the meantime."""


class Kubeflow:
    """A Kubeflow Pipelines server, as one user of one namespace sees it.

    Args:
      host: its address; empty for the variable `HOST`, then for that of the cluster this process is in or kubectl's.
      namespace: whose runs; used where the server has several users.

    Raises:
      HeadwaterError: there is no such server, or no way in.
    """

    def __init__(self, host: str, namespace: str):
        host = host or os.environ.get(HOST, "")
        _check_host(host)
        self._client = _client(host)
        self.host = self._client._existing_config.host.rstrip("/")
        self._several = self._health()
        self.namespace = namespace if self._several else ""
        if self._several and not namespace:
            raise HeadwaterError("--namespace: this Kubeflow has several users; give the namespace of your profile")

    def link(self, kind: str, key: str) -> str:
        """The address of a page of the UI."""
        return f"{self._client._get_url_prefix()}/#/{kind}/details/{key}"

    def _health(self) -> bool:
        """Whether it has several users; asks whether it is there at all."""
        with self._asking("healthz"):
            answer = self._client._healthz_api.healthz_service_get_healthz(_preload_content=False)
        try:
            health = json.loads(answer.data)
        except ValueError:
            health = None
        if not isinstance(health, Mapping):
            raise HeadwaterError(
                f"--host: {self.host} answers with a page and not as Kubeflow Pipelines does: it is another service, or "
                f"one that asks for a login; give its address with a token in {TOKEN}, or cookies in {COOKIES}"
            )
        return bool(health.get("multi_user") or health.get("multiUser"))

    def pipeline(self, name: str) -> str:
        """The id of a pipeline; empty for none."""
        ask = self._client._pipelines_api.pipeline_service_list_pipelines
        with self._asking(f"looking for the pipeline {name}"):
            pipelines = ask(namespace=self.namespace, filter=_named(name)).pipelines or []
        return pipelines[0].pipeline_id if pipelines else ""

    def create_pipeline(self, name: str, title: str) -> str:
        """Makes a pipeline without versions; gives its id."""
        from kfp_server_api import V2beta1Pipeline

        # Positional below: the releases of kfp call the argument by different names.
        body = V2beta1Pipeline(display_name=name, description=title, namespace=self.namespace or None)
        if "name" in V2beta1Pipeline.openapi_types:
            body.name = name
        with self._asking(f"creating the pipeline {name}"):
            return self._client._pipelines_api.pipeline_service_create_pipeline(body).pipeline_id

    def version(self, pipeline: str, name: str) -> str:
        """The id of a version; empty for none."""
        ask = self._client._pipelines_api.pipeline_service_list_pipeline_versions
        with self._asking(f"looking for the version {name}"):
            versions = ask(pipeline_id=pipeline, filter=_named(name)).pipeline_versions or []
        return versions[0].pipeline_version_id if versions else ""

    def upload(self, pipeline: str, name: str, file: str) -> str:
        """Uploads a version; gives its id."""
        send = self._client._upload_api.upload_pipeline_version
        with self._asking(f"uploading the version {name}"):
            return send(file, name=name, pipelineid=pipeline).pipeline_version_id

    def experiment(self, name: str) -> str:
        """The id of an experiment; empty for none."""
        ask = self._client._experiment_api.experiment_service_list_experiments
        with self._asking(f"looking for the experiment {name}"):
            experiments = ask(namespace=self.namespace, filter=_named(name)).experiments or []
        return experiments[0].experiment_id if experiments else ""

    def create_experiment(self, name: str) -> str:
        """Makes an experiment; gives its id."""
        from kfp_server_api import V2beta1Experiment

        body = V2beta1Experiment(display_name=name, namespace=self.namespace or None)
        with self._asking(f"creating the experiment {name}"):
            return self._client._experiment_api.experiment_service_create_experiment(body).experiment_id

    def start(self, name: str, experiment: str, pipeline: str, version: str, service_account: str | None) -> str:
        """Starts a run of a version; gives its id."""
        from kfp_server_api import V2beta1Run

        body = V2beta1Run(**_what(name, experiment, pipeline, version, service_account))
        with self._asking("starting the run"):
            return self._client._run_api.run_service_create_run(body).run_id

    def schedule(
        self, name: str, experiment: str, pipeline: str, version: str, service_account: str | None, cron: str
    ) -> str:
        """Starts a recurring run, which makes up for nothing that it missed; gives its id."""
        import kfp_server_api as api

        body = api.V2beta1RecurringRun(
            **_what(name, experiment, pipeline, version, service_account),
            trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
            mode="ENABLE",
            max_concurrency="1",
            no_catchup=True,
        )
        with self._asking("creating the recurring run"):
            made = self._client._recurring_run_api.recurring_run_service_create_recurring_run(body)
        return made.recurring_run_id

    def schedules(self, experiment: str, name: str) -> list[Any]:
        """The recurring runs of a name in an experiment."""
        ask = self._client._recurring_run_api.recurring_run_service_list_recurring_runs
        with self._asking("looking for recurring runs"):
            return ask(experiment_id=experiment, filter=_named(name), page_size=_PAGE).recurring_runs or []

    def unschedule(self, key: str) -> None:
        """Ends a recurring run; the runs that it started stay."""
        with self._asking("deleting the earlier recurring run"):
            self._client._recurring_run_api.recurring_run_service_delete_recurring_run(recurring_run_id=key)

    def run(self, key: str) -> Any:
        """A run with its tasks."""
        with self._asking(f"looking at the run {key}"):
            return self._client._run_api.run_service_get_run(run_id=key)

    def runs(self, experiment: str, most: int) -> list[Any]:
        """The latest runs of an experiment, the newest first."""
        listed: list[Any] = []
        token = ""
        for _ in range(_MOST_PAGES):
            with self._asking("listing runs"):
                answer = self._client._run_api.run_service_list_runs(
                    experiment_id=experiment,
                    page_token=token,
                    page_size=min(_PAGE, most - len(listed)),
                    sort_by="created_at desc",
                )
            listed += answer.runs or []
            token = answer.next_page_token or ""
            if not token or len(listed) >= most:
                break
        return listed[:most]

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Puts what a call of the API raises in a sentence."""
        import urllib3
        from kfp_server_api import ApiException

        try:
            yield
        except ApiException as error:
            raise self._refused(what, error.status, _words(error)) from None
        except urllib3.exceptions.LocationValueError:
            raise HeadwaterError(f"--host: {self.host} is not an address") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise Away(
                f"--host: {self.host} cannot be reached ({type(reason).__name__}); is it up, and is the port forwarded? "
                "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80 makes it http://localhost:8080"
            ) from None

    def _refused(self, what: str, status: int, words: str) -> HeadwaterError:
        told = f": {words}" if words else ""
        if status == 401:
            return HeadwaterError(
                f"{what}: {self.host} does not know who you are (401){told}; set {TOKEN} to a token or {COOKIES} to the "
                "cookies of a login"
            )
        if status == 403:
            place = f" in the namespace {self.namespace}" if getattr(self, "namespace", "") else ""
            return HeadwaterError(
                f"{what}: forbidden (403){told}; your account or service account needs the role kubeflow-edit{place}"
            )
        if status == 404 and what == "healthz":
            return HeadwaterError(
                f"--host: there is no Kubeflow Pipelines at {self.host}: /apis/v2beta1/healthz is not found (404); on a "
                "whole Kubeflow its address ends in /pipeline"
            )
        if status == 404:
            return HeadwaterError(f"{what}: not found (404){told}")
        if status == 409 or "already exist" in words.lower():
            return Exists(f"{what}: it exists{told}")
        if status in (429, 500, 502, 503, 504):
            return Away(f"{what}: {self.host} has trouble ({status}){told}")
        return HeadwaterError(f"{what}: {self.host} answered {status}{told}")


def _what(name: str, experiment: str, pipeline: str, version: str, service_account: str | None) -> dict[str, Any]:
    from kfp_server_api import V2beta1PipelineVersionReference, V2beta1RuntimeConfig

    reference = V2beta1PipelineVersionReference(pipeline_id=pipeline, pipeline_version_id=version)
    return {
        "display_name": name,
        "experiment_id": experiment,
        "pipeline_version_reference": reference,
        # The project is the pipeline's default.
        "runtime_config": V2beta1RuntimeConfig(parameters={}),
        "service_account": service_account,
    }


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _words(error: Any) -> str:
    """What the server says: the message of its status, on one line."""
    try:
        body = json.loads(error.body)
        text = str(body.get("error_message") or body.get("message") or body.get("error") or "")
    except (TypeError, ValueError, AttributeError):
        return ""
    return " ".join(text.split())[:500]


def _check_host(host: str) -> None:
    if not host:
        if os.environ.get("KUBERNETES_SERVICE_HOST") or os.path.exists(
            os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
        ):
            return
        raise HeadwaterError(
            f"--host: give the address of Kubeflow Pipelines, as http://localhost:8080, or set {HOST}; kubectl "
            "port-forward -n kubeflow svc/ml-pipeline-ui 8080:80 opens that one"
        )
    parsed = urllib.parse.urlsplit(host if "://" in host else f"https://{host}")
    try:
        valid = parsed.scheme in ("http", "https") and bool(parsed.hostname) and (parsed.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or any(character.isspace() for character in host):
        raise HeadwaterError(
            f"--host: {host!r} is not an address; it must be like https://kubeflow.example.com/pipeline"
        )


def _client(host: str) -> Any:
    import kfp

    class Client(kfp.Client):
        """kfp's, which neither asks the server nor writes a file when it is made."""

        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
            return _NotAsked

        def set_user_namespace(self, namespace: str) -> None:
            self._context_setting["namespace"] = namespace

    credentials = None
    token = os.environ.get(TOKEN) or None
    path = os.environ.get(_SERVICE_ACCOUNT, _SERVICE_ACCOUNT_TOKEN)
    if host and not token and os.path.exists(path):
        from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

        credentials = ServiceAccountTokenVolumeCredentials(path=path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = Client(
            host=host or None, existing_token=token, cookies=os.environ.get(COOKIES) or None, credentials=credentials
        )
    transport = client._healthz_api.api_client.rest_client
    ask = transport.request

    def request(*arguments: Any, **named: Any) -> Any:
        # kfp's own calls would wait for ever.
        return ask(*arguments, **{**named, "_request_timeout": named.get("_request_timeout") or _TIMEOUT})

    transport.request = request
    return client


class _NotAsked:
    multi_user = False
