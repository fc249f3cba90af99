"""TFX itself on the results of a span: importers, ExampleValidator and Transform in a pipeline of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess

from servers import HEADWATER, ROOT, environment_of


def test_tfx_reads_statistics_schema_anomalies_and_rows(tmp_path):
    python = environment_of("tfx") / "bin/python"
    for name, kinds in (("good", "abc"), ("bad", "abz")):
        rows = "".join(f"{number},{kinds[number % 3]},{number % 7}.5\n" for number in range(300))
        (tmp_path / f"{name}.csv").write_text(f"id,kind,amount\n{rows}")
        (tmp_path / "headwater.yaml").write_text(
            f"name: orders\nsources: [{name}.csv]\ncollect: {{key: [id], splits: {{train: 8, eval: 2}}}}\n"
        )
        done = subprocess.run([HEADWATER, "run"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    span = tmp_path / ".headwater/orders/span=2/version=1"
    words = [str(python), str(ROOT / "tests/support/tfx_pipeline.py"), str(span), str(tmp_path / "tfx")]
    # Its dependencies are of a Python that some of them say to be too old.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    found = re.search(r"^TOLD (.*)$", done.stdout, re.MULTILINE)
    assert done.returncode == 0 and found, done.stdout[-3_000:] + done.stderr[-3_000:]
    told = json.loads(found[1])
    # ExampleValidator finds in our statistics, by our schema, what validate found; and our anomalies are read as its own.
    expected = {"kind": ["ENUM_TYPE_UNEXPECTED_STRING_VALUES"]}
    assert told["anomalies"] == {"eval": [expected, expected], "train": [expected, expected]}
    # Transform's features are the schema's, and its vocabulary that of the rows.
    assert told["raw"] == ["amount", "id", "kind"] and told["vocabulary"] == ["a", "b", "z"]
    assert told["transformed"] == ["amount", "kind"]
    assert "Only one file per dir is supported" in told["schema_with_more_files"]
