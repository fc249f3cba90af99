#!/opt/headwater/bin/python
"""Starts a worker of Beam's in a container: /opt/apache/beam/boot, as runners that are given --sdk_container_image call it.

Beam's own is a program of Go's that makes a virtual environment and installs what the pipeline asks for. This image has
no installer and a file system that is only read, so this one does the rest: it asks the runner for the pipeline's options
and endpoints, fetches the files that were staged, and starts the worker, anew when it dies.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys

_ATTEMPTS = 4
_SECONDS_TO_CONNECT = 120
_TO_INSTALL = ("requirements.txt", "extra_packages.txt", "workflow.tar.gz", "dataflow_python_sdk.tar")


def main() -> int:
    parser = argparse.ArgumentParser(prog="boot", description=__doc__.partition("\n")[0])
    parser.add_argument("--worker_pool", action="store_true", help="serve workers at port 50000, on request")
    parser.add_argument("--id", default="", help="the worker's id")
    for service in ("provision", "control", "logging", "artifact"):
        parser.add_argument(f"--{service}_endpoint", default="", help="address, as host:port")
    parser.add_argument("--semi_persist_dir", default="/tmp", help="folder for staged files (default: %(default)s)")
    options = parser.parse_args()
    if options.worker_pool:
        pool = ["-m", "apache_beam.runners.worker.worker_pool_main", "--service_port=50000"]
        os.execv(sys.executable, [sys.executable, *pool, f"--container_executable={os.path.abspath(__file__)}"])
    if not options.id or not options.provision_endpoint:
        print("error: a worker needs --id and --provision_endpoint, which a runner of Beam's gives", file=sys.stderr)
        return 2
    return _run([options.id, *_prepare(options)])


def _prepare(options: argparse.Namespace) -> list[str]:
    """Sets the variables that the worker reads, fetches its files, and gives the ids of workers to start beside it."""
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2 as provision
    from apache_beam.portability.api import beam_provision_api_pb2_grpc as provision_grpc
    from apache_beam.portability.api import endpoints_pb2
    from google.protobuf import json_format, text_format

    identity = [("worker_id", options.id)]
    with grpc.insecure_channel(options.provision_endpoint) as channel:
        service = provision_grpc.ProvisionServiceStub(channel)
        info = service.GetProvisionInfo(
            provision.GetProvisionInfoRequest(),
            metadata=identity,
            timeout=_SECONDS_TO_CONNECT,
            wait_for_ready=True,
        ).info
    staged = pathlib.Path(options.semi_persist_dir, "staged")
    staged.mkdir(parents=True, exist_ok=True)
    if info.dependencies:
        _fetch(info, info.artifact_endpoint.url or options.artifact_endpoint, identity, staged)
    settings = staged.parent / f"pipeline-options-{os.getpid()}.json"
    settings.write_text(json_format.MessageToJson(info.pipeline_options), encoding="utf-8")

    def written(url: str) -> str:
        return text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url))

    os.environ.update(
        PIPELINE_OPTIONS_FILE=str(settings),
        SEMI_PERSISTENT_DIRECTORY=options.semi_persist_dir,
        LOGGING_API_SERVICE_DESCRIPTOR=written(info.logging_endpoint.url or options.logging_endpoint),
        CONTROL_API_SERVICE_DESCRIPTOR=written(info.control_endpoint.url or options.control_endpoint),
        RUNNER_CAPABILITIES=" ".join(info.runner_capabilities),
    )
    if info.status_endpoint.url:
        os.environ["STATUS_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(info.status_endpoint)
    for name in ("job_name", "job_id"):
        if name in info.metadata:
            os.environ[name.upper()] = info.metadata[name]
    return list(info.sibling_worker_ids)


def _fetch(info, endpoint, identity, folder):
    """Writes what was staged for the pipeline into a folder."""
    import grpc
    from apache_beam.portability import common_urns
    from apache_beam.portability.api import beam_artifact_api_pb2 as artifacts
    from apache_beam.portability.api import beam_artifact_api_pb2_grpc as artifacts_grpc
    from apache_beam.portability.api import beam_runner_api_pb2 as runner_api

    with grpc.insecure_channel(endpoint) as channel:
        service = artifacts_grpc.ArtifactRetrievalServiceStub(channel)
        wanted = artifacts.ResolveArtifactsRequest(
            artifacts=info.dependencies, preferred_urns=[common_urns.artifact_types.FILE.urn]
        )
        for each in service.ResolveArtifacts(wanted, metadata=identity).replacements:
            role = runner_api.ArtifactStagingToRolePayload.FromString(each.role_payload)
            name = role.staged_name or os.path.basename(
                runner_api.ArtifactFilePayload.FromString(each.type_payload).path
            )
            if name in _TO_INSTALL or name.endswith(".whl"):
                sys.exit(
                    f"error: the pipeline brings {name}, and this image has nothing that installs: build one from it"
                )
            if os.path.basename(name) != name or name in ("", ".", ".."):
                sys.exit(f"error: the pipeline brings a file of the name {name!r}, which is not one within a folder")
            with open(folder / name, "wb") as file:
                for part in service.GetArtifact(artifacts.GetArtifactRequest(artifact=each), metadata=identity):
                    file.write(part.data)


def _run(workers: list[str]) -> int:
    """Runs workers until they end; one that fails is started again, some times. They are stopped as this process is."""
    running: dict[int, tuple[str, int]] = {}

    def start(worker: str, attempt: int) -> None:
        command = [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"]
        # A pool starts this process with a pipe as its output that nobody reads.
        child = subprocess.Popen(command, env={**os.environ, "WORKER_ID": worker}, stdout=sys.stderr)
        running[child.pid] = (worker, attempt)

    def stop(*_: object) -> None:
        for process in running:
            os.kill(process, signal.SIGTERM)
        sys.exit(128 + signal.SIGTERM)

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    for worker in workers:
        start(worker, 1)
    while running:
        process, status = os.wait()
        worker, attempt = running.pop(process, ("", 0))
        if status and attempt == _ATTEMPTS:
            print(f"error: worker {worker} has ended {attempt} times with an error", file=sys.stderr)
            stop()
        if status and worker:
            start(worker, attempt + 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
