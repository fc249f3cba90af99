"""Compiles the components and the main pipeline to the YAML that is published with them; writes the READMEs' tables."""

from __future__ import annotations

import pathlib
import sys

_ROOT = pathlib.Path(__file__).resolve().parent.parent
COMMITTED_WITH = "2.13"
"""The kfp release that compiles the committed YAML."""

_FILES = {
    "collect": "collect/component.yaml",
    "label": "label/component.yaml",
    "generate-statistics": "generate_statistics/component.yaml",
    "infer-schema": "infer_schema/component.yaml",
    "validate": "validate/component.yaml",
    "gate": "validate/gate.yaml",
    "report": "validate/report.yaml",
}


def targets(root: pathlib.Path = _ROOT) -> dict[pathlib.Path, object]:
    """What is compiled, by the file it is compiled to."""
    from headwater.pipelines.main import headwater_pipeline
    from headwater.pipelines.project.ports import components

    compiled = {root / "components" / _FILES[name]: component for name, component in components().items()}
    return {**compiled, root / "pipelines/headwater.yaml": headwater_pipeline}


def main() -> int:
    """Compiles all; refuses another kfp than the committed YAML's."""
    import kfp
    from kfp import compiler

    if not kfp.__version__.startswith(f"{COMMITTED_WITH}."):
        print(
            f"error: committed YAML must be compiled with kfp {COMMITTED_WITH}; this is {kfp.__version__}",
            file=sys.stderr,
        )
        return 2
    from headwater.pipelines.elyra import definitions
    from headwater.pipelines.project.describing import write

    for path, component in targets().items():
        compiler.Compiler().compile(component, str(path))
        print(f"{path.relative_to(_ROOT)}")
    for name, text in definitions().items():
        (_ROOT / "pipelines/elyra" / name).write_text(text, encoding="utf-8")
        print(f"pipelines/elyra/{name}")
    for name in write(_ROOT):
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
