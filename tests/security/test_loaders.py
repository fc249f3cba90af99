"""Nothing that is read can name code: what could load it from data is used nowhere, or only as listed here."""

from __future__ import annotations

import ast
import pathlib

import pytest

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import read_config

ROOT = pathlib.Path(__file__).resolve().parents[2]

LOADERS = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "code", "runpy",
    "xml", "lxml", "tarfile", "subprocess", "ctypes",
}  # fmt: skip
"""Modules that are imported nowhere."""

CALLS = {"eval", "exec", "compile", "__import__", "import_module", "from_string", "Template", "system", "popen"}
"""Functions that make code of what they are given, by their last name."""

ALLOWED = {
    # It looks its names up in a table of its own.
    ("components/common/lazy.py", "import_module"),
    # Functions that a setting names.
    ("components/common/user_code.py", "import_module"),
    # Functions that this process's user handed over, on their way to its own workers.
    ("components/common/user_code.py", "cloudpickle"),
    # What this process fitted, on its way to its own workers: they know its SHA-256.
    ("components/label/asking/sharing.py", "cloudpickle"),
    # The modules of settings, by a list of their own.
    ("pipelines/project/describing.py", "import_module"),
    ("pipelines/project/model.py", "import_module"),
    # It writes a configuration, and reads none.
    ("components/label/human/forms/label_studio.py", "xml"),
    # kfp's compiler and the compiler of Avro's schemas, which makes decoders of ours.
    ("pipelines/compile.py", "compile"),
    ("pipelines/cluster/building.py", "compile"),
    ("components/common/sources/formats/avro_schema.py", "compile"),
}


def uses(tree: ast.AST):
    """The names of modules that are imported and of functions that are called; of some calls, how."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (("import", alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "import", (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call):
            target = node.func
            name = getattr(target, "attr", getattr(target, "id", ""))
            owner = getattr(getattr(target, "value", None), "id", "")
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if owner == "re":
                continue
            yield "call", name
            if owner == "np" and name == "load" and given.get("allow_pickle") != "False":
                yield "call", "np.load without allow_pickle=False"
            if owner == "yaml" and "load" in name and (len(node.args) < 2 or ast.unparse(node.args[1]) != "Loader"):
                yield "call", "yaml.load without the safe loader"
            if owner == "jinja2" and name == "Environment" and given.get("autoescape") != "True":
                yield "call", "jinja2 without escaping"


def test_code_that_loads_code():
    found = set()
    modules = [path for folder in ("components", "pipelines") for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 150
    for path in modules:
        place = path.relative_to(ROOT).as_posix()
        for kind, name in uses(ast.parse(path.read_text())):
            if (name in LOADERS) if kind == "import" else (name in CALLS or " " in name):
                found.add((place, name))
    assert found == ALLOWED


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.mkdir [{}]", "a: !!python/name:os.mkdir", "a: !!python/module:antigravity"]
)
def test_a_tag_makes_no_object(text, tmp_path):
    marker = tmp_path / "made"
    (tmp_path / "c.yaml").write_text(text.format(marker))
    with pytest.raises(HeadwaterError, match="could not determine a constructor for the tag"):
        read_config(str(tmp_path / "c.yaml"))
    assert not marker.exists()
