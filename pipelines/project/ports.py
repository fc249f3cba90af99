"""What goes into a KFP component and what comes out, in words, from its docstring: the tables of the READMEs.

A README has a table between `<!-- component: NAME -->` and `<!-- /component -->`; `make compile` writes it anew.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

_MARKS = re.compile(r"(<!-- component: (\S+) -->\n).*?(<!-- /component -->)", re.DOTALL)


def table(component: Any) -> str:
    """The inputs and outputs of a component, as a table of Markdown."""
    return "\n".join(["| | input or output | type | |", "| --- | --- | --- | --- |", *_rows(component), ""])


def components() -> dict[str, Any]:
    """All components, by their names."""
    from headwater.components.collect.component import collect
    from headwater.components.generate_statistics.component import generate_statistics
    from headwater.components.infer_schema.component import infer_schema
    from headwater.components.label.component import label
    from headwater.components.validate.component import gate, report, validate

    found = (collect, label, generate_statistics, infer_schema, validate, gate, report)
    return {component.component_spec.name: component for component in found}


def written(text: str) -> str:
    """A README with its tables as the components have them now."""
    known = components() if _MARKS.search(text) else {}
    return _MARKS.sub(lambda mark: mark[1] + table(known[mark[2]]) + mark[3], text)


def descriptions(component: Any) -> dict[str, str]:
    """What a component's docstring says of each input and output."""
    described = {}
    for entry in re.split(r"\n(?=    \w+: )", inspect.cleandoc(component.python_func.__doc__))[1:]:
        name, _, text = entry.partition("\n\n")[0].strip().partition(": ")
        described[name] = " ".join(text.split())
    return described


def _rows(component: Any) -> Iterator[str]:
    spec, words = component.component_spec, descriptions(component)
    for way, ports in (("in", spec.inputs), ("out", spec.outputs)):
        for name, port in (ports or {}).items():
            kind = str(port.type).partition("@")[0].replace("typing.", "").replace("system.", "dsl.")
            text = words[name].replace("|", "\\|")
            yield f"| {way} | `{name}` | {kind} | {text} |"
