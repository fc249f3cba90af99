"""Runs the benches, keeps their figures in results.json, warns of ratios that got worse, and writes README's tables.

    python tests/bench/run.py [full|quick] [--only collect,peers]

Figures of a bench replace its earlier ones of the same suite; which bench was measured when, on which machine and with which
versions stands beside them. Only ratios of ours to a peer of the same run are compared, since machines differ.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

_HERE = pathlib.Path(__file__).parent
RESULTS = _HERE / "results.json"
README = _HERE.parents[1] / "README.md"
_BEGIN, _END = "<!-- by `make bench` -->\n", "<!-- until here -->\n"

SUITES: dict[str, dict[str, list[str]]] = {
    "full": {
        "collect": [],
        "generate_statistics": [],
        "peers": [],
        "validate": [],
        "false_alarms": ["--simulations", "20"],
        "storage": [],
        "label": [],
        "asking": [],
        "weak": [],
        "propagate": [],
        "start": [],
        "human": [],
    },
    "quick": {
        "collect": ["--rows", "500000", "--only", "csv,parquet,lookup"],
        "generate_statistics": ["--rows", "500000", "--big", "2500000", "--only", "duckdb,wide"],
        "peers": ["--rows", "500000", "--peers", "DuckDB,polars,pandas"],
        "validate": ["--rows", "500000", "--only", "rules"],
        "start": ["--only", "processes", "--runs", "3"],
    },
}
"""The benches of each suite, and their options; quick is what five minutes hold."""

_WORSE = 1.15
_PACKAGES = ("headwater", "apache-beam", "duckdb", "numpy", "pyarrow", "tensorflow-data-validation")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=list(SUITES), nargs="?", default="full")
    parser.add_argument("--only", default="", help="names of benches, comma between them")
    options = parser.parse_args()
    benches = SUITES[options.suite]
    chosen = options.only.split(",") if options.only else list(benches)
    if unknown := sorted(set(chosen) - set(benches)):
        parser.error(f"--only: there is no {', '.join(unknown)}; the names are {', '.join(benches)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    before = results.get(options.suite, {})
    after = dict(before)
    failed = []
    for name in chosen:
        print(f"\n{name}", flush=True)
        found = measured(name, benches[name])
        if found is None:
            failed.append(name)
        else:
            after[name] = found
    for line in worse(before, after):
        print(f"warning: {line}")
    results[options.suite] = after
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if "peers" in results.get("full", {}):
        README.write_text(with_tables(README.read_text(), results["full"]["peers"]))
    for name in failed:
        print(f"{name}: ended with an error", file=sys.stderr)
    return bool(failed)


def measured(name: str, arguments: list[str]) -> dict | None:
    """The rows of a bench, and what they were measured with; nothing if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder, "rows.json")
        command = [sys.executable, str(_HERE / f"{name}.py"), *arguments, "--json", str(place)]
        if subprocess.run(command).returncode:
            return None
        rows = json.loads(place.read_text())
    return {"date": f"{datetime.date.today()}", "machine": _machine(), "versions": _versions(), "rows": rows}


def worse(before: dict, after: dict) -> Iterator[str]:
    """Of what both have timed beside a peer: where ours takes a larger share of the peer's time than it did."""
    for name, found in after.items():
        earlier = {row["what"]: row for row in before.get(name, {}).get("rows", [])}
        for row in found["rows"]:
            then = earlier.get(row["what"], {})
            if "seconds" in row and "seconds" in then:
                was, now = _share(then), _share(row)
                if now > _WORSE * was:
                    yield f"{name}: {row['what']}: {now:.2f} of the peer's time, {was:.2f} before ({now / was - 1:+.0%})"


def _share(row: dict) -> float:
    seconds = row["seconds"]
    return seconds["ours"]["median"] / seconds["peer"]["median"]


def with_tables(text: str, peers: dict) -> str:
    """README with the tables of whole processes between their marks."""
    start, stop = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    return text[:start] + "\n" + "\n".join(tables(peers)) + "\n" + text[stop:]


def tables(peers: dict) -> Iterator[str]:
    """A table a task, a line a tool; for each number of rows its median seconds, their quartiles, and ours over it."""
    found: dict[str, dict[str, dict[str, dict]]] = {}
    left_out = []
    for row in peers["rows"]:
        work, _, tool = row["what"].partition("; ")
        task, _, size = work.partition(", ")
        if "seconds" in row:
            found.setdefault(task, {}).setdefault(tool, {})[size] = row
        else:
            left_out.append(f"{tool.replace(': left out, ', ' (')})")
    for task, tools in found.items():
        sizes = list(dict.fromkeys(size for row in tools.values() for size in row))
        yield f"| {task} | " + " | ".join(f"{size} | ours ÷ it" for size in sizes) + " |"
        yield "| --- |" + " --: |" * (2 * len(sizes))
        own = [_own([row[size]["seconds"]["ours"] for row in tools.values() if size in row]) for size in sizes]
        yield "| **Headwater** | " + " | ".join(f"{text} | " for text in own) + " |"
        for tool, row in tools.items():
            cells = [
                f"{_spread(row[size]['seconds']['peer'])} | {_share(row[size]):.2f}" if size in row else "— | "
                for size in sizes
            ]
            yield f"| {tool} | " + " | ".join(cells) + " |"
        yield ""
    machine, versions = peers["machine"], peers["versions"]
    yield (
        f"On {machine['cores']} cores of {machine['processor']}, {machine['memory']} GiB; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; {peers['date']}."
    )
    if left_out:
        yield f"Left out: {'; '.join(dict.fromkeys(left_out))}."


def _spread(side: dict) -> str:
    low, high = side["quartiles"]
    return f"{side['median']:.2f} s ({low:.2f}–{high:.2f})"


def _own(sides: list[dict]) -> str:
    quartiles = [statistics.median(each) for each in zip(*(side["quartiles"] for side in sides))]
    return _spread({"median": statistics.median(side["median"] for side in sides), "quartiles": quartiles})


def _machine() -> dict:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "system": platform.system(),
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "memory": round(memory),
        "load": round(os.getloadavg()[1], 1),
    }


def _versions() -> dict:
    sys.path.insert(0, str(_HERE))
    import peers

    versions = {"Python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    for tool in (*peers.STATISTICS, *peers.PARQUET):
        if tool.requirements:
            name, _, version = tool.requirements[0].partition("==")
            versions[name] = version
    return versions


if __name__ == "__main__":
    sys.exit(main())
