"""Labelled rows in a trainer: the README's own lines for PyTorch, in an environment with PyTorch and pyarrow alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
from servers import HEADWATER, ROOT, environment_of

README = (ROOT / "components/README.md").read_text()

COUNT = """
import json

if __name__ == "__main__":
    told = {}
    for workers in (0, 2):
        parts = list(DataLoader(Ads(), batch_size=None, num_workers=workers))
        told[workers] = [sum(len(each[0]) for each in parts), int(sum(each[1].sum() for each in parts))]
    first = parts[0]
    told["types"] = [str(each.dtype) for each in first]
    model = torch.nn.Linear(1, 1).double()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        model(first[0][:, None]).squeeze(1), first[1].double(), first[2].double()
    )
    loss.backward()
    told["gradient"] = bool(model.weight.grad.abs().sum() > 0)
    told["batch"] = max(len(each[0]) for each in parts)
    print("TOLD", json.dumps(told))
"""


def block(*words):
    """The README's one block of code with all of these words."""
    [found] = [
        each for each in re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S) if all(w in each for w in words)
    ]
    return found


@pytest.fixture
def labelled(tmp_path):
    """What the README makes before it."""
    shutil.copy(ROOT / "pipelines/examples/ads.csv", tmp_path)
    [line] = re.findall(r"^headwater (collect ads.csv .*)$", README, re.M)
    subprocess.run([HEADWATER, *line.split()], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([sys.executable, "-c", block("label_dataset(")], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def test_pytorch_gets_each_labelled_row_once_whatever_its_workers(labelled):
    python = environment_of("torch") / "bin/python"
    (labelled / "train.py").write_text(block("DataLoader(") + COUNT)
    done = subprocess.run([str(python), "train.py"], cwd=labelled, capture_output=True, text=True)
    found = re.search(r"^TOLD (.*)$", done.stdout, re.MULTILINE)
    assert found, done.stderr[-3_000:]
    told = json.loads(found[1])
    expected = "from headwater.components.common import open_dataset\n" + (
        "rows = open_dataset('out/labels', 'train').to_table().to_pylist()\n"
        "rows = [row for row in rows if not row['label_abstain']]\n"
        "print([len(rows), sum(row['label'] == 'click' for row in rows)])"
    )
    counted = subprocess.run([sys.executable, "-c", expected], cwd=labelled, capture_output=True, text=True)
    assert told["0"] == told["2"] == json.loads(counted.stdout) and told["2"][0] > 200
    assert told["types"] == ["torch.float64", "torch.bool", "torch.float32"]
    assert told["gradient"] and told["batch"] == 64
