"""The notebooks as they are committed: readable on GitHub, small, and of no machine. tests/reuse executes them."""

from __future__ import annotations

import ast
import json
import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "pipelines/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param, json.loads(request.param.read_text(encoding="utf-8"))


def code_of(content):
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def test_a_notebook_is_readable_on_github(notebook):
    path, content = notebook
    assert path.stat().st_size < 300_000
    cells = code_of(content)
    # A whole run in order, from a new kernel.
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", {}) for output in outputs) or path.stem.startswith("your_own")
    for output in outputs:
        assert output["output_type"] in ("execute_result", "display_data", "stream") and output.get("name") != "stderr"
        assert set(output.get("data", {})) <= {"text/plain", "text/html", "image/png"}
        shown = json.dumps([output.get("text"), output.get("data", {}).get("text/html")])
        assert not re.search(r"<(script|iframe|object|embed|link)\b|https?://|/(home|root|tmp|work)/", shown)


def test_a_cell_is_short_and_words_stand_around_it(notebook):
    _, content = notebook
    assert content["cells"][0]["cell_type"] == "markdown" and content["cells"][0]["source"][0].startswith("# ")
    for cell in code_of(content):
        source = "".join(cell["source"])
        ast.parse(source)
        # Those that make rows are the longest.
        assert len(cell["source"]) <= 48 and max(map(len, source.splitlines())) <= 120
    words = sum(len("".join(cell["source"]).split()) for cell in content["cells"] if cell["cell_type"] == "markdown")
    assert words > 250


def test_the_readme_names_each_notebook_and_links_lead_somewhere():
    assert len(NOTEBOOKS) == 5
    for path in (FOLDER / "README.md", *NOTEBOOKS):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (FOLDER / target).exists(), f"{path.name} links to {target}"
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in NOTEBOOKS} == set(re.findall(r"\]\((\w+\.ipynb)\)", readme))
