"""What breaks first as data grows: indexes, states, histories and requests of that size, made up and put to the code.

python tests/bench/limits.py            every simulation
python tests/bench/limits.py --model    the table: rows, what limits, and how far from it, by the constants in model.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import pathlib
import sys
import time
import tracemalloc
import types
from collections.abc import Iterator, Mapping
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))

import numpy as np
import pyarrow as pa
from counting_store import Counted

_ROOT = "counted://lake"
_SUM = "ab" * 32


def index(shards: int) -> dict[str, float]:
    """An index of so many shards: written, and read for their elements."""
    from headwater.components.common import dataset_index, results

    store = _store()
    made = [
        {
            "path": f"split=train/part-{number:05d}-{_SUM[:12]}.parquet",
            "rows": 100_000,
            "bytes": 12_000_000,
            "sha256": (told := hashlib.sha256(str(number).encode()).hexdigest()),
            "digest": told[:32],
            "source": f"s3://raw/orders/day={number // 24}/part-{number:05d}.csv",
            "start": 0,
            "stop": 16 << 20,
            "parts": [int(told[place : place + 8], 16) for place in range(0, 48, 4)],
        }
        for number in range(shards)
    ]
    begun = time.process_time()
    entry = dataset_index.write_index(f"{_ROOT}/data", "_shards-train.parquet", made)
    written = time.process_time() - begun
    result = results.Result(f"{_ROOT}/data", {"home": None, "kind": "dataset", "body": {}}, "")
    begun = time.process_time()
    elements = dataset_index.indexed_shards(dataset_index.read_index(result, entry), result.uri, 18)
    seconds = time.process_time() - begun
    assert len(elements) == shards
    del elements
    tracemalloc.start()
    elements = dataset_index.indexed_shards(dataset_index.read_index(result, entry), result.uri, 18)
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(elements) == shards
    size = len(store.content[f"{_ROOT}/data/_shards-train.parquet"])
    return {"written": written, "seconds": seconds, "bytes": size, "memory": memory}


def account(columns: int) -> float:
    """Bytes that one range more adds to what collect's writing gives back, of so many columns."""
    from headwater.components.collect.write.shards import Outcome

    def one(number: int) -> bytes:
        profile = {
            f"column_{each}": {"rows": 65_536, "missing": 3, "min": -1.5, "max": 1e6, "first": 1.25, "last": 2.5}
            | {"at_start": 1, "at_end": 1, "longest": 2}
            for each in range(columns)
        }
        shard = {"path": f"split=train/part-{number:05d}-{_SUM[:12]}.parquet", "rows": 52_428, "bytes": 12_000_000}
        shard |= {"sha256": _SUM, "digest": _SUM[:32], "parts": list(range(12)), "source": f"s3://raw/{number}.csv"}
        shard |= {"start": 0, "last": f"s3://raw/{number}.csv", "stop": 16 << 20}
        counts: dict[str, Any] = {"rejected": 0, "filtered": {}, "sentinels": {}, "unmatched": {}, "reasons": {}}
        counts |= {"profile": profile, "personal": {}}
        return Outcome([{"read": [65_536], "shards": {"train": shard, "eval": shard}}], counts, None, None).encode()

    few, many = (len(Outcome.merge([one(number) for number in range(count)])) for count in (16, 144))
    return (many - few) / 128


def manifest(sources: int) -> float:
    """Bytes of a manifest of so many source files beyond one of none."""
    from headwater.components.common import results

    listed = [
        {"uri": f"s3://raw/orders/{number:07d}.csv", "format": "csv", "bytes": 1, "sha256": _SUM, "rows": 100_000}
        for number in range(sources)
    ]
    return len(results.encode({"body": {"sources": listed}})) - len(results.encode({"body": {"sources": []}}))


def history(spans: int) -> dict[str, float]:
    """A new span of a dataset of so many: requests and bytes that collect with `span: auto` makes of its store."""
    from headwater.components.collect import collect_dataset

    store = _store()
    source = pathlib.Path("/tmp/headwater-limits.csv")
    source.write_text("id,value\n" + "".join(f"{number},{number % 7}\n" for number in range(1000)))
    result = collect_dataset(
        str(source), "/tmp/headwater-limits", data_root=_ROOT, name="orders", workers=1, analyse=False
    )
    store.lengthen(f"{_ROOT}/orders/span=1", result.fingerprint, spans)
    # The first run notes what spans of an earlier version lack; what each run asks for is the second's.
    for number, most in enumerate((5, 3), 1):
        store.reset()
        source.write_text("id,value\n" + "".join(f"{number},{number % most}\n" for number in range(1000)))
        begun = time.process_time()
        new = collect_dataset(
            str(source), "/tmp/headwater-limits", data_root=_ROOT, name="orders", span=-1, workers=1, analyse=False
        )
        assert new.body["span"] == spans + number
    asked = {f"{kind}s": count for kind, count in store.requests.items()}
    return {**asked, "bytes": sum(store.got.values()), "seconds": time.process_time() - begun}


def slices(distinct: int, states: int = 16) -> dict[str, float]:
    """The counts of slices by a column of so many distinct values, of which each state has as many."""
    from headwater.components.generate_statistics.measure import work

    values = pa.array([f"customer-{number:09d}" for number in range(distinct)])
    batch = pa.RecordBatch.from_arrays([values], ["customer"])
    begun = time.process_time()
    made = [work.count_rows([("customer",)], "train", number, iter([batch])) for number in range(states)]
    counted = time.process_time() - begun
    begun = time.process_time()
    merged = work.merge_counts(made)
    return {"counted": counted / states, "merged": time.process_time() - begun, "bytes": len(merged)}


def skew(rows: int) -> dict[str, float]:
    """So many rows of one key among those to be compared: records of its partition, requests and seconds."""
    from headwater.components.collect.shape import duplicates
    from headwater.components.common.sources.files import Element, SourceFile

    store = _store()
    each = 100_000
    files = [SourceFile(f"{number}.csv", "csv", each) for number in range(rows // each)]
    keys = pa.RecordBatch.from_arrays([pa.array(["same"] * each)], ["key"])
    begun = time.process_time()
    drops = duplicates.find_duplicates(
        [Element(file, 0, each, 2, each) for file in files],
        lambda element: iter([(keys, np.arange(2, each + 2))]),
        f"{_ROOT}/scratch",
        workers=1,
    )
    seconds, spilled = time.process_time() - begun, sum(drops.own)
    assert len(drops.of(0)) == each - 1 and len(drops.of(len(files) - 1)) == each
    return {"records": rows - spilled, "seconds": seconds, "puts": store.requests["put"], "gets": store.requests["get"]}


def tree(items: int) -> dict[str, float]:
    """A merge tree over so many elements: its depth, merges, and the seconds of all of them over nothing."""
    from headwater.components.common.merge_tree import Tree

    count = 0

    def merge(parts: list[bytes]) -> bytes:
        nonlocal count
        count += 1
        return b""

    made = Tree(items)
    begun = time.process_time()
    made.joined({(0, number): b"" for number in range(items)}, merge)
    return {"depth": made.root[0], "merges": count, "seconds": time.process_time() - begun}


def requests() -> dict[str, dict[str, float]]:
    """Requests to a store for each range that collect writes: how many read, and how many write or list."""
    import tempfile

    from headwater.components.collect import collect_dataset
    from headwater.components.common.sources import joining
    from headwater.components.generate_statistics import compute_statistics

    joining.LEAST = 10**9
    found: dict[str, dict[int, tuple[int, int]]] = {"collect": {}, "generate-statistics": {}}
    for count in (10, 30):
        store = _store()
        for number in range(count):
            rows = "".join(f"{each},{each % 7}\n" for each in range(50))
            store.content[f"{_ROOT}/raw/{number:03d}.csv"] = f"id,value\n{rows}".encode()
        with tempfile.TemporaryDirectory() as place:
            store.reset()
            data = collect_dataset(f"{_ROOT}/raw/*.csv", place, data_root=_ROOT, workers=1, analyse=False)
            found["collect"][count] = _asked(store)
            store.reset()
            compute_statistics(data.uri, f"{place}/statistics", workers=1)
            found["generate-statistics"][count] = _asked(store)
    return {
        name: {"reads": (of[30][0] - of[10][0]) / 20, "writes": (of[30][1] - of[10][1]) / 20}
        for name, of in found.items()
    }


def _asked(store: Counted) -> tuple[int, int]:
    asked = store.requests
    return asked["get"] + asked["size"], asked["put"] + asked["create"] + asked["remove"] + asked["list"]


def _store() -> Counted:
    """A new store of made-up objects under `counted://`."""
    from headwater.components.common import stores

    class Files(Counted):
        def filesystem(self, scheme: str) -> Any:
            from pyarrow import fs

            none = types.SimpleNamespace(type=fs.FileType.NotFound)
            return types.SimpleNamespace(get_file_info=lambda paths: [none])

    store = Files()
    stores.STORES["counted"] = store
    return store


LIMITS = {
    "memory of a task": 4 << 30,
    "parts in one loop": 1 << 17,
    "requests a second": 5_000,
    "reads to compare keys": 10**8,
}
"""What there may be at most: the bytes that `platform.resources.memory` has by default; the names of parts, of 8 bytes, that an
object of Kubernetes holds in 1 MiB; the reads of one prefix before a store asks to slow down; and what takes six hours at that."""

_HEAD = (
    "rows × columns",
    "ranges",
    "source files in a manifest of 100,000 rows each, MB",
    "index of shards, MB",
    "memory of the driver, MB",
    "parts",
    "requests a second",
    "reads to compare keys",
    "what ends it first",
)


def limiting(constants: Mapping[str, Any]) -> Iterator[str]:
    """The table: rows, what is largest of such a run, and which of it there may not be so much of."""
    import model

    settings = model.Settings()
    yield f"| {' | '.join(_HEAD)} |"
    yield "| --- " * len(_HEAD) + "|"
    for shape in model.SIZES:
        ranges = model.elements("collect csv", shape, constants)
        shards = 2 * ranges
        at_rest = shards * constants["bytes of a shard in an index"]
        manifest = math.ceil(shape.rows / 100_000) * constants["bytes of a source in a manifest"]
        accounts = ranges * constants["bytes of a range's account"]
        # The accounts as bytes, and as Python's objects.
        memory = shards * constants["bytes of a shard in memory"] + 6 * accounts + 6 * manifest
        parts = math.ceil(shape.rows / settings.rows_of_a_part)
        cost = model.fanned("generate-statistics", shape, constants, settings)
        asked = model.requests("generate-statistics", shape, constants)[0] / cost.seconds
        keys = 2 * math.ceil(shape.rows / constants["graph"]["rows of a partition of keys"]) ** 2
        found = dict(zip(LIMITS, (memory, parts, asked, keys)))
        shares = {name: found[name] / most for name, most in LIMITS.items()}
        worst = max(shares, key=lambda name: shares[name])
        told = f"{worst}: {shares[worst]:,.1f} × what there is" if shares[worst] > 1 else "nothing"
        figures = [f"{each / 1e6:,.1f}" for each in (manifest, at_rest, memory)]
        figures += [f"{each:,.0f}" for each in (parts, asked, keys)]
        yield f"| {model.power(shape)} | {ranges:,} | {' | '.join(figures)} | {told} |"


SIMULATIONS = {
    "an index of 100,000 shards": lambda: index(100_000),
    "an index of 1,000,000 shards": lambda: index(1_000_000),
    "accounts, bytes a range": lambda: {"18 columns": account(18), "2,000 columns": account(2_000)},
    "a manifest of 100,000 source files": lambda: {"bytes": manifest(100_000)},
    "a history of 1,000 spans": lambda: history(1_000),
    "a history of 10,000 spans": lambda: history(10_000),
    "1,000,000 distinct slices": lambda: slices(1_000_000),
    "10,000,000 rows of one key": lambda: skew(10_000_000),
    "a tree of 1,000,000 elements": lambda: tree(1_000_000),
    "requests of a range": requests,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="store_true", help="the table by the model")
    parser.add_argument("--only", nargs="*", default=[], help=f"of {', '.join(SIMULATIONS)}")
    options = parser.parse_args()
    if options.model:
        print(*limiting(json.loads(pathlib.Path(__file__).with_name("model.json").read_text())), sep="\n")
        return
    for name, run in SIMULATIONS.items():
        if not options.only or name in options.only:
            told = ", ".join(
                f"{key} {value if isinstance(value, dict) else f'{value:,.6g}'}" for key, value in run().items()
            )
            print(f"{name:36} {told}", flush=True)


if __name__ == "__main__":
    main()
