"""Compiles the components and the main pipeline to the YAML that is published with them; writes the READMEs' tables."""

from __future__ import annotations

import pathlib
import sys

_ROOT = pathlib.Path(__file__).resolve().parent.parent
COMMITTED_WITH = "2.13"
"""The kfp release that compiles the committed YAML."""


def targets(root: pathlib.Path = _ROOT) -> dict[pathlib.Path, object]:
    """What is compiled, by the file it is compiled to."""
    from headwater.components.collect.component import collect
    from headwater.components.generate_statistics.component import generate_statistics
    from headwater.components.infer_schema.component import infer_schema
    from headwater.components.label.component import label
    from headwater.components.validate.component import gate, report, validate
    from headwater.pipelines.main import headwater_pipeline

    return {
        root / "components/collect/component.yaml": collect,
        root / "components/label/component.yaml": label,
        root / "components/generate_statistics/component.yaml": generate_statistics,
        root / "components/infer_schema/component.yaml": infer_schema,
        root / "components/validate/component.yaml": validate,
        root / "components/validate/gate.yaml": gate,
        root / "components/validate/report.yaml": report,
        root / "pipelines/headwater.yaml": headwater_pipeline,
    }


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
    from headwater.pipelines.project.describing import write

    for path, component in targets().items():
        compiler.Compiler().compile(component, str(path))
        print(f"{path.relative_to(_ROOT)}")
    for name in write(_ROOT):
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
