"""Object storage: the main pipeline on SeaweedFS beside local disk, bytes that move, many shards, long listings.

    python tests/bench/storage.py [--rows N] [--runs 3] [--only pipeline,bytes,shards,listing,credentials] [--folder F]

It needs the servers that `make test-storage` installs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "support"), str(_HERE.parent / "storage")]

import generator
from benches import Peak, Row, finish, main, ratio, run

_HEADWATER = [sys.executable, "-m", "headwater.pipelines.cli"]
_MIB = 1 << 20
_COLUMNS = slice(3, 6)


def bench_pipeline(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """The main pipeline, data_root at the store and on local disk in turn."""
    source = generator.write_parquet(folder / f"{options.rows}.parquet", options.rows)
    seconds: dict[str, list[float]] = {"local": [], "s3": []}
    with _store() as uri:
        for number in range(options.runs):
            for place in seconds:
                root = str(folder / "root") if place == "local" else f"{uri}/root-{number}"
                shutil.rmtree(folder / "root", ignore_errors=True)
                begun = time.perf_counter()
                finish([*_HEADWATER, "run", str(source), "--data-root", root, "--fail-on", "none"])
                seconds[place].append(time.perf_counter() - begun)
    shutil.rmtree(folder / "root", ignore_errors=True)
    yield ratio(f"main pipeline, {options.rows:,} rows, s3 beside local", seconds["s3"], seconds["local"], 1.5)


def bench_bytes(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """What the launcher would copy, and what the store serves for a few columns."""
    from proxy import Proxy

    source = generator.write_parquet(folder / f"{options.rows}.parquet", options.rows)
    with Proxy().running() as proxy, _store(proxy) as uri, tempfile.TemporaryDirectory() as out:
        steps = {
            "collect": [str(source), "--data-root", f"{uri}/bytes", "--name", "bytes"],
            "generate-statistics": [f"{out}/collect"],
            "infer-schema": [f"{out}/generate-statistics"],
            "validate": [f"{out}/generate-statistics", f"{out}/infer-schema"],
        }
        for step, arguments in steps.items():
            finish([*_HEADWATER, step, *arguments, "--output", f"{out}/{step}"])
            moved = sum(path.stat().st_size for path in pathlib.Path(out, step).rglob("*") if path.is_file())
            yield f"launcher moves after {step}", f"{moved / 1024:.1f} KiB", "", "", "< 64"
        proxy.reset()
        read = run("measure_columns", f"{out}/collect")
        served = sum(call.served for call in proxy.calls)
        yield (
            f"3 of {read['columns']} columns of {read['rows']:,} rows, served",
            f"{served / _MIB:.1f} MiB",
            f"{read['bytes'] / _MIB:.1f} MiB",
            f"{served / read['bytes']:.2f}",
            "≤ 0.25",
        )


def measure_columns(folder: str) -> dict:
    """Reads the chosen columns of a dataset."""
    from headwater.components.common.dataset import load_dataset, read_element

    dataset = load_dataset(folder)
    chosen = dataset.schema.empty_table().select(dataset.schema.names[_COLUMNS]).schema
    rows = size = 0
    for split in dataset.splits:
        for element in dataset.elements(split):
            rows += sum(batch.num_rows for batch in read_element(element, chosen))
            size += element.bytes
    return {"rows": rows, "bytes": size, "columns": len(dataset.schema)}


def bench_shards(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Datasets of 1,000 and of 10,000 shards: to open them, and their statistics."""
    source = generator.write_parquet(folder / "200.parquet", 200)
    with _store() as uri:
        found = {}
        for count in (1_000, 10_000):
            run("measure_multiply", source, f"{uri}/shards-{count}", count)
            opened = [run("measure_open", f"{uri}/shards-{count}")["seconds"] for _ in range(options.runs)]
            yield f"open a dataset of {count:,} shards", f"{statistics.median(opened):.2f} s", "", "", "< 1"
            found[count] = run("measure_statistics", f"{uri}/shards-{count}")
        less, more = found.values()
        growth = more["seconds"] / less["seconds"]
        yield "statistics, 10,000 beside 1,000 shards", *_pair(more, less, "seconds", "s"), f"{growth:.1f}", "~10"
        share = more["bytes"] / less["bytes"]
        yield "  their peak memory", *_pair(more, less, "bytes", "MiB", _MIB), f"{share:.2f}", ""


def measure_multiply(source: str, target: str, count: str) -> dict:
    """Makes a dataset of as many shards, each with a few rows, all alike."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from headwater.components.collect import collect_dataset
    from headwater.components.common import results, storage
    from headwater.components.common.dataset_index import SHARD_SCHEMA, shard_index
    from headwater.components.common.shard_file import describe

    with tempfile.TemporaryDirectory() as out:
        result = collect_dataset(source, out, splits={"all": 1}, workers=1)
        [first, *_] = shard_index(result, "all")
        content = storage.read_bytes(first["uri"])
        first |= describe(content)
        shards = [{**first, "path": f"split=all/part-{n:05d}.parquet"} for n in range(int(count))]
        for shard in shards:
            storage.write_bytes(storage.join(target, shard["path"]), content)
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(shards, SHARD_SCHEMA), sink)
        index = sink.getvalue().to_pybytes()
        manifest = json.loads(storage.read_bytes(storage.join(out, results.MANIFEST)))
        entry = manifest["body"]["splits"]["all"]
        entry |= {"index_sha256": storage.sha256(index), "shards": len(shards), "rows": first["rows"] * len(shards)}
        storage.write_bytes(storage.join(target, entry["index"]), index)
        storage.write_bytes(storage.join(target, results.MANIFEST), results.encode(manifest))
    return {}


def measure_open(uri: str) -> dict:
    """Seconds to open a dataset and to have its elements."""
    from headwater.components.common.dataset import load_dataset

    begun = time.perf_counter()
    assert load_dataset(uri).elements("all")
    return {"seconds": time.perf_counter() - begun}


def measure_statistics(uri: str) -> dict:
    """Statistics of a dataset."""
    from headwater.components.generate_statistics import compute_statistics

    with tempfile.TemporaryDirectory() as out, Peak() as peak:
        begun = time.perf_counter()
        compute_statistics(uri, out)
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "bytes": peak.bytes}


def bench_listing(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """`headwater gc`, dry, over listings of 100,000 and of 1,000,000 keys that a server makes up."""
    found = {}
    for count in (100_000, 1_000_000):
        with _made_up(count) as environment:
            found[count] = run_with(environment, "measure_garbage", "s3://bucket/root")
            assert found[count]["files"] == count, found[count]
    less, more = found.values()
    growth = more["seconds"] / less["seconds"]
    yield "gc, 1,000,000 beside 100,000 keys", *_pair(more, less, "seconds", "s"), f"{growth:.1f}", "~10"
    share = more["bytes"] / less["bytes"]
    yield "  their peak memory", *_pair(more, less, "bytes", "MiB", _MIB), f"{share:.2f}", "~1"


def measure_garbage(root: str) -> dict:
    """What `headwater gc` finds."""
    from headwater.components.common.maintenance import find_garbage

    with Peak() as peak:
        begun = time.perf_counter()
        files = sum(1 for _ in find_garbage(root))
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "bytes": peak.bytes, "files": files}


def bench_credentials(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """How long the command line takes to say that there are no credentials."""
    import subprocess

    nothing = {"PATH": "/usr/bin:/bin", "HOME": str(folder / "nobody"), "AWS_EC2_METADATA_DISABLED": "false"}
    for uri in ("s3://bucket/x", "gs://bucket/x"):
        seconds = []
        for _ in range(options.runs):
            begun = time.perf_counter()
            done = subprocess.run([*_HEADWATER, "ls", uri], env=nothing, capture_output=True, text=True)
            seconds.append(time.perf_counter() - begun)
            assert done.returncode == 2 and "there are no credentials" in done.stderr, done.stderr
        yield f"no credentials, {uri[:2]}: told after", f"{statistics.median(seconds):.2f} s", "", "", "≤ 3"


def run_with(environment: dict[str, str], name: str, *arguments: Any) -> dict:
    """As `run`, with variables."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        for key, value in environment.items():
            patch.setenv(key, value)
        return run(name, *arguments)


@contextlib.contextmanager
def _store(proxy: Any = None) -> Iterator[str]:
    from conftest import seaweedfs

    with tempfile.TemporaryDirectory() as folder, seaweedfs(pathlib.Path(folder), proxy) as uri:
        yield uri


@contextlib.contextmanager
def _made_up(count: int) -> Iterator[dict[str, str]]:
    """An S3 whose one folder holds `count` old shards of an attempt that died, made up as they are listed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _lister(count))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
    finally:
        server.shutdown()
        server.server_close()


def _lister(count: int) -> type[BaseHTTPRequestHandler]:
    keys_a_page = 1_000
    markers: dict[str, str] = {}

    def entry(key: str, when: str) -> str:
        return f"<Contents><Key>{key}</Key><LastModified>{when}</LastModified><Size>9</Size></Contents>"

    class Lister(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            start = int(query.get("continuation-token", ["0"])[0])
            if query["prefix"][0].endswith("_scratch/"):
                body, more = "".join(entry(key, when) for key, when in markers.items()), 0
            else:
                stop = min(start + keys_a_page, count)
                folder = "root/rides/span=1/version=1/data/split=all"
                body = "".join(
                    entry(f"{folder}/part-{n:07d}-abc.parquet", "2020-01-01T00:00:00.000Z") for n in range(start, stop)
                )
                more = stop if stop < count else 0
            token = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
            truncated = "true" if more else "false"
            self._say(
                200,
                f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{token}{body}</ListBucketResult>".encode(),
            )

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            key = urlsplit(self.path).path.partition("/bucket/")[2]
            markers[key] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
            self._say(200, b"")

        def do_DELETE(self) -> None:
            markers.pop(urlsplit(self.path).path.partition("/bucket/")[2], None)
            self._say(204, b"")

        def do_HEAD(self) -> None:
            self._say(404, b"")

        def _say(self, status: int, content: bytes) -> None:
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Lister


def _pair(ours: dict, other: dict, name: str, unit: str, size: int = 1) -> tuple[str, str]:
    return tuple(f"{each[name] / size:.{0 if size > 1 else 2}f} {unit}" for each in (ours, other))


BENCHES = {
    "pipeline": bench_pipeline,
    "bytes": bench_bytes,
    "shards": bench_shards,
    "listing": bench_listing,
    "credentials": bench_credentials,
}

if __name__ == "__main__":
    sys.exit(main([measure_columns, measure_multiply, measure_open, measure_statistics, measure_garbage], BENCHES))
