"""Collects a dataset twice on one runner; in the first run a worker is killed in the middle of its work.

    python run_killed.py SOURCE OUTPUT [Beam's options]

OUTPUT gets `data`; the file `failed` with what the first run said, and `left` with the manifests that it left; and `calls`, a
line for each element that was begun.
"""

from __future__ import annotations

import pathlib
import sys

from killing import killing

from headwater.components.common import beam


def main(source: str, output: str, *arguments: str) -> None:
    folder = pathlib.Path(output)
    folder.mkdir(parents=True)
    beam.map_merge = killing(beam.map_merge, str(folder / "calls"))
    from headwater.components.collect import collect_dataset

    options = {"beam_pipeline_args": list(arguments), "workers": 2}
    try:
        collect_dataset(source, str(folder / "data"), **options)
    except Exception as error:
        (folder / "failed").write_text(f"{type(error).__name__}: {error}")
        (folder / "left").write_text("\n".join(map(str, (folder / "data").rglob("_manifest.json"))))
    collect_dataset(source, str(folder / "data"), **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
