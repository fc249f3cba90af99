"""A URI is a URI: every place that takes one takes a store's, and what comes out is what local files give."""

from __future__ import annotations

import json
import os
import pathlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from headwater.components.common import open_dataset, results, storage, stores
from headwater.components.common.dataset import load_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.pipelines.cli import FAILED, main

_RULES = {
    "rules": [{"name": "late", "row": "dep_delay < 60"}, {"name": "known", "references": {"columns": ["carrier"]}}]
}


def run_all(base: str, source: bytes) -> dict[str, str]:
    """Runs each component from the command line with nothing but URIs below `base`; gives what each is known by."""

    def put(name: str, content: bytes) -> str:
        storage.write_bytes(f"{base}/{name}", content)
        return f"{base}/{name}"

    flights = put("in/flights.csv", source)
    names, *lines = (line.decode().split(",") for line in source.splitlines())
    carriers = sorted({line[names.index('"carrier"')] for line in lines})
    lookup = put("in/carriers.csv", "\n".join(["carrier,size", *(f"{name},{len(name)}" for name in carriers)]).encode())
    rules = json.loads(json.dumps(_RULES))
    rules["rules"][1]["references"]["dataset"] = lookup
    settings = {
        "collect": {"lookups": {"c": {"source": lookup, "on": {"carrier": "carrier"}}}},
        "statistics": {"feature_allowlist": ["carrier", "dep_delay", "size"]},
        "schema": {"features": {"dep_delay": {"max": 5000}}},
        "validate": {"rows": rules},
    }
    project = ["--project", put("conf/headwater.yaml", yaml.safe_dump(settings).encode())]
    work = [
        [
            "collect",
            flights,
            "--name",
            "f",
            "--data-root",
            f"{base}/root",
            "--output",
            f"{base}/o/1",
            *project,
        ],
        ["generate-statistics", f"{base}/o/1", "--output", f"{base}/o/2", *project],
        ["infer-schema", f"{base}/o/2", "--output", f"{base}/o/3", *project],
        ["validate", f"{base}/o/2", f"{base}/o/3", "--output", f"{base}/o/4", *project]
        + ["--baseline", f"{base}/o/2", "--passed", f"{base}/o/5", "--quarantine", f"{base}/o/6"],
        ["infer-schema", f"{base}/o/2", "--output", f"{base}/o/7", "--mode", "propose", "--base-schema", f"{base}/o/3"],
        ["gate", f"{base}/o/4", "--fail-on", "none"],
        ["schema", "show", f"{base}/o/3"],
    ]
    for command in work:
        assert main(command) == 0, command
    kinds = {1: "dataset", 2: "statistics", 3: "schema", 4: "anomalies", 5: "dataset", 6: "dataset", 7: "schema"}
    found = {number: results.load(f"{base}/o/{number}", kind) for number, kind in kinds.items()}
    told = {
        f"{number} {path}": file["sha256"]
        for number, result in found.items()
        for path, file in result.manifest.get("files", {}).items()
        # Pages and bodies name the places that things lie in.
        if path.endswith((".pb", ".arrow", "schema.pbtxt"))
    }
    for number in (1, 5, 6):
        for split, entry in found[number].body["splits"].items():
            told[f"{number} {split}"] = entry["digest"]
    assert open_dataset(f"{base}/o/1").count_rows() == len(source.splitlines()) - 1
    rows = load_dataset(f"{base}/o/5").rows("train") + load_dataset(f"{base}/o/6").rows("train")
    assert rows == load_dataset(f"{base}/o/1").rows("train")
    assert storage.exists(found[1].home.report("dataset")) and storage.exists(found[4].home.report("anomalies"))
    return told


def test_every_place_takes_the_uri_of_a_store(store, few_flights, tmp_path):
    local = run_all(str(tmp_path / "local"), few_flights.read_bytes())
    assert len(local) > 12
    assert run_all(f"{store}/everywhere", few_flights.read_bytes()) == local


def test_minio_is_an_s3_with_an_endpoint(s3, few_flights, tmp_path):
    base = s3.replace("s3://", "minio://") + "/minio"
    assert run_all(base, few_flights.read_bytes()) == run_all(str(tmp_path / "l"), few_flights.read_bytes())


# Credentials that do not do. Nothing here measures time; each answer would take 19 s and more if a library looked.


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """An environment without any credentials, and without a machine that has an identity."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "STORAGE_", "CLOUDSDK_", "GCE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    stores.forget()
    yield monkeypatch
    stores.forget()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://bucket/x", "s3: there are no credentials.*AWS_ACCESS_KEY_ID.*the profile in ~/.aws, and the role"),
        ("minio://bucket/x", "s3: there are no credentials"),
        (
            "gs://bucket/x",
            r"gs: there are no credentials; tried .*GOOGLE_APPLICATION_CREDENTIALS \(not set\).*identity",
        ),
    ],
)
def test_no_credentials_are_told_with_what_was_tried(bare, uri, message):
    for call in (storage.read_bytes, storage.expand, lambda uri: storage.create(uri, b"")):
        with pytest.raises(HeadwaterError, match=message):
            call(uri)


def test_no_credentials_end_a_command_with_one_line(bare, capsys, tmp_path):
    assert main(["collect", "gs://bucket/in.csv", "--output", str(tmp_path / "o")]) == FAILED
    assert capsys.readouterr().err.startswith("error: gs: there are no credentials")


def test_wrong_keys_are_refused_and_not_shown(s3, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stranger")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    stores.forget()
    try:
        for call in (
            storage.read_bytes,
            storage.list_files,
            lambda uri: storage.create(uri, b""),
            lambda uri: storage.write_bytes(uri, b"x"),
        ):
            with pytest.raises(HeadwaterError, match="the store refused it.*tried the key in the variables") as caught:
                call(f"{s3}/wrong/key")
            assert "hunter2" not in str(caught.value)
    finally:
        monkeypatch.undo()
        stores.forget()


class Tokens(BaseHTTPRequestHandler):
    """Google's token server, which refuses."""

    asked = 0

    def do_POST(self):
        Tokens.asked += 1
        body = json.dumps({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def service_account(folder: pathlib.Path, token_uri: str) -> pathlib.Path:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "a@b.iam.gserviceaccount.com",
        "private_key": key.decode(),
        "private_key_id": "1",
        "token_uri": token_uri,
    }
    (folder / "account.json").write_text(json.dumps(account))
    return folder / "account.json"


def test_a_refused_service_account_is_told_at_once(bare, tmp_path):
    with HTTPServer(("127.0.0.1", 0), Tokens) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path = service_account(tmp_path, f"http://127.0.0.1:{server.server_address[1]}/token")
        bare.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        with pytest.raises(HeadwaterError, match="account.json cannot be used: .*invalid_grant") as caught:
            storage.read_bytes("gs://bucket/x")
        server.shutdown()
    assert Tokens.asked and "PRIVATE KEY" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "No such file"), ("{", "not a credentials file"), ("{}", "not a cred")]
)
def test_a_broken_credentials_file_is_told(bare, tmp_path, content, message):
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)
    bare.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(HeadwaterError, match=f"account.json cannot be used: .*{message}"):
        storage.read_bytes("gs://bucket/x")
