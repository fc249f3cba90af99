"""Real data for all tests."""

from __future__ import annotations

import pathlib
import sys
from collections import Counter

import pytest


@pytest.fixture(scope="session")
def months(tmp_path_factory) -> dict[int, pathlib.Path]:
    """Flights from New York in January (27,004 rows) and July (29,425 rows) 2013, as CSV by month."""
    from headwater.pipelines.sample import write_months

    return write_months(tmp_path_factory.mktemp("flights"))


@pytest.fixture(scope="session")
def few_flights(months, tmp_path_factory) -> pathlib.Path:
    """The first 2,000 flights of January."""
    path = tmp_path_factory.mktemp("few") / "few.csv"
    with open(months[1], encoding="utf-8") as whole:
        path.write_text("".join(line for line, _ in zip(whole, range(2001))), encoding="utf-8")
    return path


# Files that take longest, first: what starts last should be short.
_LONGEST = (
    "test_bench",
    "pipelines/test_readmes",
    "pipelines/test_run",
    "pipelines/test_fanout",
    "label/test_asking",
    "label/test_direct",
    "validate/test_concept",
    "security/test_pickles",
    "collect/test_json",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what `sweep` leaves out, and puts the longest files first, for workers that run side by side."""
    seen: Counter[str] = Counter()
    for item in items:
        sweep = item.get_closest_marker("sweep")
        if sweep:
            test = item.nodeid.partition("[")[0]
            if seen[test] % sweep.args[0]:
                item.add_marker("slow")
            seen[test] += 1

    def place(item) -> int:
        return next((place for place, name in enumerate(_LONGEST) if name in item.nodeid), len(_LONGEST))

    items.sort(key=place)


def pytest_sessionfinish(session):
    """Fails the run if a checkout's folders were imported as packages of their own beside `headwater.*`."""
    checkout = pathlib.Path(__file__).resolve().parents[1]
    folders = tuple(str(checkout / name) + "/" for name in ("components", "pipelines"))
    twice = [
        name
        for name, module in list(sys.modules.items())
        if not name.startswith("headwater.") and str(getattr(module, "__file__", None) or "").startswith(folders)
    ]
    if twice:
        session.exitstatus = 1
        print(f"\nerror: imported as second modules, which breaks pickles and isinstance: {', '.join(sorted(twice))}")
