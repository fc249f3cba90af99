"""Collects a dataset and computes its statistics on one runner, and notes what the graphs called.

    python run_graphs.py SOURCE OUTPUT [Beam's options]

OUTPUT gets `data`, `statistics`, the file `calls`, and `driver` with this process's number.
"""

from __future__ import annotations

import os
import pathlib
import sys

from counted import counted
from headwater.components.common import beam


def main(source: str, output: str, *arguments: str) -> None:
    folder = pathlib.Path(output)
    folder.mkdir(parents=True)
    (folder / "driver").write_text(str(os.getpid()))
    # Before anything takes it by name.
    beam.map_merge = counted(beam.map_merge, str(folder / "calls"))
    from headwater.components.collect import collect_dataset
    from headwater.components.generate_statistics import compute

    # So that little data has as many elements as much has.
    compute.LEAST_CELLS, compute.ELEMENTS = 1, 40
    config = {"slices": [["carrier"]], "weight_feature": "distance", "worst_slices": {"errors": "flight"}}
    options = {"beam_pipeline_args": list(arguments), "workers": 2}
    dataset = collect_dataset(source, str(folder / "data"), **options)
    compute.compute_statistics(dataset.folder, str(folder / "statistics"), config=config, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
