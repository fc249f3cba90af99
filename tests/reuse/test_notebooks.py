"""The notebooks, executed by nbclient in empty folders: what they show is what is committed, and what it should be."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "pipelines/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PACKAGES = pathlib.Path(os.environ.get("HEADWATER_REUSE", pathlib.Path.home() / ".cache/headwater-reuse")) / "notebooks"

SHOWN = {
    "census_income": {
        "first": r"Passed: 3 warnings.*native-country\W.*missing in 7 %.*Armed-Forces.*Gig-work",
        "second": r"Rejected: 2 errors.*age.*small value: 0.*age.*large value: 460",
        "third": r"\(True, 'Passed\.",
        "serving": r"Rejected: 1 error.*label\s+Column dropped",
        "environments": r"TRAINING → Rejected: 1 error.*SERVING → Passed",
        "skew": r"Rejected: 1 error\..*native-country.*L-infinity 0\.0\d+, above the schema's threshold of 0.01",
        "drift": r"Rejected: 1 error, 1 warning.*native-country.*L-infinity 0\.1\d.*'1 to 22'",
        "frozen": r"native-country.*skew_comparator.*threshold: 0.01.*drift_comparator.*threshold: 0.01",
    },
    "hospital_diabetes": {
        "first": r"Passed: 3 warnings.*gender.*Unknown/Invalid.*glimepiride.*Up.*medical_specialty.*Hematology",
        "curated": r"Rejected: 1 error.*error\s+gender\s+values that are not in the schema: Unknown/Invalid",
        "clean": r"'Passed\.",
        "environments": r"evaluation as TRAINING: Passed.*serving as TRAINING: Rejected: 1 error.*serving as SERVING: Passed",
        "moved": r"Rejected: 2 errors\..*payer_code.*L-infinity 0\.\d+.*diag_1.*L-infinity 0\.\d+",
        "frozen": "^True$",
    },
    "labels_from_zero": {
        "functions": r"99\.\d % covered.*anger.*praise.*stars.*waited.*returns",
        "labelled": r"'weak_supervision': 3\d\d\d",
        "with-people": r"'human': 100.*ann.*bob.*cem",
        "with-more": r"'human': 200",
        "spread": r"'abstained': 0.*'human': 200, 'propagate': 3800",
    },
    "drift_and_relabelling": {
        "verdicts": r"3\s+DRIFT\s+channel.*4\s+LABEL_DRIFT\s+urgency.*4\s+CONCEPT_DRIFT\s+product",
        "where": r"""^\(CAST\("product" AS VARCHAR\) = 'router'\)\nlabel recent rows.*headwater ask … --where""",
        "ask": r"^150 of \d,\d\d\d tickets of that kind.*\n\d\d\d of 4,000 old labels go",
    },
    "your_own_check_and_method": {
        "rule": r"Rejected: 1 error, 1 warning.*rows\s+RULE_BROKEN.*15 of 4,000 rows.*drift\s+DRIFT.*'West'",
        "check": r"Rejected: 1 error, 1 warning.*custom\s+SILENT_DEPOT.*West sent 0\.\d% of all",
        "monday": r"'Passed\.",
        "accuracy": r"\d\d% of the rows have a label, and 9\d\.\d% of those are right",
        "error": r"careless.*failed with KeyError: 'parcel' \(the cell, line 2\)",
    },
}
"""By notebook and by the tag of a cell, what it must show."""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Gives a notebook as it comes out, which is executed once."""
    if not (PACKAGES / "nbclient").exists():
        pytest.skip("nbclient is not installed; `make test-reuse` installs it")
    output, made = tmp_path_factory.mktemp("executed"), {}

    def of(name):
        if name not in made:
            done = run(FOLDER / f"{name}.ipynb", "--output", str(output))
            assert done.returncode == 0, done.stderr
            made[name] = read(output / f"{name}.ipynb")
        return made[name]

    return of


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(FOLDER / "execute.py"), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(PACKAGES)}, capture_output=True, text=True,
    )  # fmt: skip


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def said(output):
    """What an output shows, as text; of an image, that there is one, since its bytes follow the version of matplotlib."""
    data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
    return {**data, "text": "".join(output.get("text", "")), **({"image/png": "…"} if "image/png" in data else {})}


def differences(committed, made):
    """The cells that show something else than what is committed."""
    found = []
    for number, (one, other) in enumerate(zip(committed["cells"], made["cells"], strict=True), 1):
        before, after = ([said(output) for output in cell.get("outputs", ())] for cell in (one, other))
        if one["source"] != other["source"] or before != after:
            found.append(f"cell {number} ({''.join(one['source'])[:50]!r}): {before} → {after}")
    return found


def outputs_of(notebook, tag):
    [cell] = [cell for cell in notebook["cells"] if tag in cell["metadata"].get("tags", ())]
    return [said(output) for output in cell["outputs"]]


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_committed_is_what_comes_out(executed, name):
    assert not differences(read(FOLDER / f"{name}.ipynb"), executed(name)), "run `make notebooks`"


@pytest.mark.parametrize("name", SHOWN)
def test_cells_show_what_they_should(executed, name):
    for tag, pattern in SHOWN[name].items():
        outputs = outputs_of(executed(name), tag)
        text = "\n".join(each["text"] or each["text/plain"] for each in outputs)
        # pandas breaks wide tables into parts; the HTML has each row in one.
        table = re.sub(r"<[^>]+>|\n", " ", " ".join(each.get("text/html", "") for each in outputs))
        assert re.search(pattern, text, re.S) or re.search(pattern, f"{text} {table}", re.S), f"{tag}: {text}"


def test_each_step_of_labelling_is_better_than_the_one_before(executed):
    text = "".join(each.get("text/plain", "") for each in outputs_of(executed("labels_from_zero"), "accuracy"))
    found = [float(number) for number in re.findall(r"\b[01]\.\d+", text)]
    assert len(found) == 4 and found == sorted(found) and found[0] > 0.9 and found[-1] > 0.98


def test_labels_where_it_drifted_help_most(executed):
    text = "".join(each.get("text/plain", "") for each in outputs_of(executed("drift_and_relabelling"), "after"))
    served, anywhere, there, instead = (float(number) for number in re.findall(r"\b0\.\d+", text))
    assert served <= anywhere + 0.01 < there < instead - 0.04


def small(tmp_path, *sources):
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": text, "execution_count": None, "outputs": []}
        for n, text in enumerate(sources)
    ]
    path = tmp_path / "small.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def test_what_must_not_be_committed_is_refused(tmp_path):
    if not (PACKAGES / "nbclient").exists():
        pytest.skip("nbclient is not installed; `make test-reuse` installs it")
    path = small(
        tmp_path, "import sys, os\nprint('x', file=sys.stderr)", "print(os.getcwd())",
        "from IPython.display import HTML\nHTML('<iframe></iframe>')", "print('fine')",
    )  # fmt: skip
    done = run(path)
    assert done.returncode == 1
    assert [line.partition(":")[2].split()[1] for line in done.stderr.splitlines() if "small.ipynb:" in line] == [
        "1",
        "2",
        "3",
    ]
    assert read(path)["cells"][3]["outputs"] == [], "nothing is written"


def test_each_notebook_is_here():
    assert {path.stem for path in NOTEBOOKS} == set(SHOWN)


def test_a_stale_output_is_noticed():
    committed, stale = read(NOTEBOOKS[0]), read(NOTEBOOKS[0])
    assert not differences(committed, stale)
    cell = next(cell for cell in stale["cells"] if cell.get("outputs"))
    cell["outputs"] = []
    assert len(differences(committed, stale)) == 1
