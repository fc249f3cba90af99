"""The validators of kubeflow/pipelines-components on our folders, in a copy of that repository.

It is on no registry with its scripts: the variable PIPELINES_COMPONENTS names a clone of it.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess

import pytest
from servers import ROOT, environment_of

NAMES = ("collect", "generate_statistics", "infer_schema", "label", "validate")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the repository with our components in place of its own, and a way to call its scripts there."""
    python = environment_of("components") / "bin/python"
    given = os.environ.get("PIPELINES_COMPONENTS", "")
    if not given:
        pytest.skip("set PIPELINES_COMPONENTS to a clone of https://github.com/kubeflow/pipelines-components")
    copy = tmp_path_factory.mktemp("kubeflow") / "pipelines-components"
    shutil.copytree(given, copy, ignore=shutil.ignore_patterns(".git", "__pycache__", ".venv"))
    for metadata in [*copy.glob("components/*/*/metadata.yaml"), *copy.glob("pipelines/*/*/metadata.yaml")]:
        shutil.rmtree(metadata.parent)
    for name in NAMES:
        target = copy / "components/data_processing" / name
        shutil.copytree(ROOT / "components" / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        # Whoever submits a component names the owners.
        (target / "OWNERS").write_text("approvers:\n  - someone\n")

    def call(*words, code=0, **environment):
        done = subprocess.run(
            [str(python), *words], cwd=copy, env={**os.environ, **environment}, capture_output=True, text=True
        )
        assert code is None or done.returncode == code, done.stdout[-3_000:] + done.stderr[-3_000:]
        return done.stdout + done.stderr

    call.folder, call.programs = copy, python.parent
    return call


@pytest.mark.parametrize("name", NAMES)
def test_metadata_are_valid(repository, name):
    said = repository(
        "-m", "scripts.validate_metadata.validate_metadata", "--dir", f"components/data_processing/{name}"
    )
    assert "Validation successful" in said


def test_all_components_load_and_compile(repository):
    said = repository("-m", "scripts.compile_check.compile_check", "--include-flagless")
    assert "5 succeeded, 0 failed" in said
    for name in ("gate", "report", "validate"):
        assert f"{name} -> " in said
    assert "All validations passed" in repository(
        "-m", "scripts.validate_components.validate_components", "--directories", "components"
    )


def test_their_packages_list_takes_ours(repository):
    repository("-m", "scripts.sync_packages.sync_packages")
    said = repository("-m", "scripts.validate_package_entries.validate_package_entries")
    for name in NAMES:
        assert (
            f'"kfp_components.components.data_processing.{name}"' in (repository.folder / "pyproject.toml").read_text()
        ), said


def test_base_images_are_theirs_where_the_images_are_in_their_registry(repository):
    validator = ("-m", "scripts.validate_base_images.validate_base_images")
    assert "SUCCESS" in repository(*validator, HEADWATER_REGISTRY="ghcr.io/kubeflow")
    said = repository(*validator, code=1, HEADWATER_REGISTRY="registry.example.com/team")
    refused = set(re.findall(r"^  - (\S+) \[INVALID\]", said, re.MULTILINE))
    assert {each.partition(":")[0] for each in refused} == {
        "registry.example.com/team/headwater-core", "registry.example.com/team/headwater-tfdv",
    }  # fmt: skip


def test_the_import_guard_holds_for_the_faces_but_for_headwater_itself(repository):
    checker = ".github/scripts/check_imports/check_imports.py"
    files = [f"components/data_processing/{name}/{file}" for name in NAMES for file in ("component.py", "__init__.py")]
    said = repository(checker, *files, code=1)
    found = re.findall(r"imports non-stdlib module '(\w+)'", said)
    assert found == ["headwater"] * len(files)
    allowed = repository.folder / "with-headwater.yaml"
    allowed.write_text("modules: [kfp, headwater]\n")
    repository(checker, "--config", str(allowed), *files)


def test_a_readme_is_made_of_each_docstring(repository):
    for name in NAMES:
        component = f"components/data_processing/{name}"
        repository("-m", "scripts.generate_readme", "--component", component, "--fix")
        made = (repository.folder / component / "README.md").read_text()
        described = re.findall(r"^\| `(\w+)` \| `[^|]*` \| [^|]* \| (\S+)", made, re.MULTILINE)
        assert "project" in dict(described) and len(described) > 2, made


def test_yaml_and_python_pass_their_linters(repository):
    faces = [f"components/data_processing/{name}/component.py" for name in NAMES]
    metadata = [f"components/data_processing/{name}/metadata.yaml" for name in NAMES]
    for words in (
        ("yamllint", "-c", ".yamllint.yml", "--strict", *metadata),
        ("ruff", "format", "--check", *faces),
        # Where an import belongs depends on which package is at home.
        ("ruff", "check", "--config", "lint.isort.known-first-party = ['headwater']", *faces),
    ):
        done = subprocess.run(
            [str(pathlib.Path(repository.programs) / words[0]), *words[1:]],
            cwd=repository.folder, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
