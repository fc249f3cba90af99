"""Executes notebooks, each in a folder of its own, and writes them with what they show: `make notebooks`.

What differs from one run to the next (times, versions, folders) is not kept, and what a reader on GitHub would not see, or
should not, is an error.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

_SECONDS = 900
# GitHub's viewer strips what could run, and with it a result's page.
_NOT_SHOWN = re.compile(r"<(script|iframe|object|embed)\b", re.I)
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: pathlib.Path) -> Any:
    """A notebook with the outputs of a run in an empty folder."""
    # Only the environment that `make notebooks` makes has them.
    import nbclient
    import nbformat
    from jupyter_client.manager import AsyncKernelManager

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        # No port is opened.
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{folder}/kernel")
        client = nbclient.NotebookClient(
            notebook,
            km=kernel,
            timeout=_SECONDS,
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
        )
        client.execute(cleanup_kc=True)
        troubles = [f"{path.name}: {trouble}" for trouble in _troubles(notebook, folder)]
    if troubles:
        raise SystemExit("\n".join(troubles))
    notebook.metadata = nbformat.from_dict(_METADATA)
    return notebook


def _troubles(notebook: Any, folder: str) -> Iterator[str]:
    """What should not be committed."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                yield f"cell {number} wrote to stderr: {output.text[:500]}"
            texts = [output.get("text", ""), *map(str, output.get("data", {}).values())]
            if "application/javascript" in output.get("data", {}):
                yield f"cell {number} loads a script"
            for text in texts:
                if _NOT_SHOWN.search(text):
                    yield f"cell {number} shows what GitHub's viewer does not: end it with a table, not with a result"
                if folder in text or os.path.expanduser("~/") in text:
                    yield f"cell {number} shows a path of this machine"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="+", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, help="folder to write to (default: where they are)")
    options = parser.parse_args()
    # Lines of progress have times in them.
    os.environ["HEADWATER_QUIET"] = "1"
    with tempfile.TemporaryDirectory() as own:
        # Whoever runs this may have kernels and startup files, which are no part of the notebooks.
        os.environ.update(JUPYTER_DATA_DIR=own, JUPYTER_CONFIG_DIR=own, JUPYTER_RUNTIME_DIR=own, IPYTHONDIR=own)
        # matplotlib says on stderr that it looks for fonts, where it has not done so before.
        import matplotlib.font_manager  # noqa: F401
        import nbformat

        for path in options.notebooks:
            target = (options.output or path.parent) / path.name
            nbformat.write(execute(path), target)
            print(f"{target.name}: {target.stat().st_size / 1000:,.0f} KB", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
