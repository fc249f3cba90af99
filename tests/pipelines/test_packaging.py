"""The built wheel, in an environment that has its dependencies and not this checkout."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import site
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> pathlib.Path:
    """The Python of a new environment with the wheel installed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("components", "headwater", "pipelines"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "README.md"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "setup.py", "-q", "bdist_wheel", "--dist-dir", str(folder)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    [packages] = (folder / "venv/lib").glob("python*/site-packages")
    shutil.unpack_archive(wheel, packages, "zip")
    # The dependencies are this environment's; a path line brings in packages and no editable install's hook.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return folder / "venv/bin/python"


def run(python: pathlib.Path, *arguments: str, cwd: pathlib.Path) -> subprocess.CompletedProcess:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    return subprocess.run([str(python), *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_wheel_brings_its_yaml_and_pages(installed, tmp_path):
    script = (
        "import pathlib, headwater.components.common.results as r\n"
        "root = pathlib.Path(r.__file__).parents[2]\n"
        "print(root)\n"
        "print(*sorted(str(p.relative_to(root)) for s in ('*.yaml', '*.html', '*.js') for p in root.rglob(s)))\n"
    )
    output = run(installed, "-c", script, cwd=tmp_path)
    root, files = output.stdout.splitlines()
    assert pathlib.Path(root).is_relative_to(installed.parents[1]), output.stderr
    assert files.split() == [
        "components/collect/component.yaml",
        "components/collect/metadata.yaml",
        "components/collect/templates/page.html",
        "components/common/templates/base.html",
        "components/common/templates/cards.html",
        "components/common/templates/cards.js",
        "components/common/templates/chart.html",
        "components/common/templates/start.html",
        "components/generate_statistics/component.yaml",
        "components/generate_statistics/metadata.yaml",
        "components/generate_statistics/templates/page.html",
        "components/generate_statistics/templates/page.js",
        "components/infer_schema/component.yaml",
        "components/infer_schema/metadata.yaml",
        "components/infer_schema/templates/page.html",
        "components/label/component.yaml",
        "components/label/metadata.yaml",
        "components/label/templates/ask.html",
        "components/label/templates/direct.html",
        "components/label/templates/human.html",
        "components/label/templates/macros.html",
        "components/label/templates/page.html",
        "components/label/templates/propagate.html",
        "components/label/templates/weak_supervision.html",
        "components/validate/component.yaml",
        "components/validate/gate.yaml",
        "components/validate/metadata.yaml",
        "components/validate/report.yaml",
        "components/validate/templates/index.html",
        "components/validate/templates/page.html",
        "components/validate/templates/run.html",
        "pipelines/elyra/collect.yaml",
        "pipelines/elyra/gate.yaml",
        "pipelines/elyra/generate_statistics.yaml",
        "pipelines/elyra/infer_schema.yaml",
        "pipelines/elyra/label.yaml",
        "pipelines/elyra/validate.yaml",
        "pipelines/headwater.yaml",
    ]


def test_the_package_knows_its_version_without_importing_anything(installed, tmp_path):
    script = "import sys, headwater; print(headwater.__version__, 'pyarrow' in sys.modules)"
    output = run(installed, "-c", script, cwd=tmp_path)
    version = re.search(r'VERSION = "(.*)"', (ROOT / "setup.py").read_text())[1]
    assert output.stdout.split() == [version, "False"], output.stderr


@pytest.mark.slow
def test_the_wheel_runs_the_pipeline(installed, few_flights, tmp_path):
    output = run(installed, "-m", "headwater.pipelines.cli", "run", str(few_flights), cwd=tmp_path)
    assert output.returncode == 0, output.stdout + output.stderr
    assert "gate        passed" in output.stdout
    assert (tmp_path / ".headwater/data/span=1/version=1/reports/statistics.html").exists()


def test_opening_a_dataset_needs_pyarrow_alone(installed, few_flights, tmp_path):
    from headwater.components.collect import collect_dataset

    collect_dataset(str(few_flights), str(tmp_path / "data"), workers=1)
    script = (
        "import sys\n"
        "class Away:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('kfp', 'apache_beam', 'tensorflow', 'pydantic', 'jinja2', 'pandas', 'boto3', 'google.cloud'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Away())\n"
        "from headwater.components.common import open_dataset\n"
        "print(open_dataset('data').count_rows(), open_dataset('data', 'train').to_table().num_columns)\n"
    )
    output = run(installed, "-c", script, cwd=tmp_path)
    assert output.stdout.split() == ["2000", "19"], output.stderr
