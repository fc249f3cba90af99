"""Collects a dataset, labels it in two ways and computes its statistics on one runner, and notes what the graphs called.

    python run_graphs.py SOURCE OUTPUT [Beam's options]

OUTPUT gets `data`, `labels`, `feedback`, `statistics`, the file `calls`, and `driver` with this process's number.
"""

from __future__ import annotations

import os
import pathlib
import sys

from noted_calls import noted

from headwater.components.common import beam

STEPS = [
    {
        "method": "weak_supervision",
        "classes": ["late", "on_time"],
        "functions": [
            {"name": "departure", "sql": "CASE WHEN dep_delay > 10 THEN 'late' WHEN dep_delay < 0 THEN 'on_time' END"},
            {"name": "evening", "threshold": {"column": "hour", "above": 17, "vote": "late"}},
            {"name": "morning", "threshold": {"column": "hour", "below": 10, "vote": "on_time"}},
            {"name": "carrier", "lookup": {"column": "carrier", "values": {"EV": "late", "DL": "on_time"}}},
        ],
    }
]


# Flights of the last day wait, and so do their landings.
AS_OF = "2013-02-01T05:00:00Z"


def main(source: str, output: str, *arguments: str) -> None:
    folder = pathlib.Path(output)
    folder.mkdir(parents=True)
    (folder / "driver").write_text(str(os.getpid()))
    # Before anything takes it by name.
    beam.map_merge = noted(beam.map_merge, str(folder / "calls"))
    from headwater.components.collect import collect_dataset
    from headwater.components.generate_statistics import compute
    from headwater.components.label import attribution, label_dataset
    from headwater.pipelines.sample import FEEDBACK, write_landings

    # So that little data has as many elements as much has.
    compute.LEAST_CELLS, compute.ELEMENTS = 1, 40
    config = {"slices": [["carrier"]], "weight_feature": "distance", "worst_slices": {"errors": "flight"}}
    options = {"beam_pipeline_args": list(arguments), "workers": 2}
    dataset = collect_dataset(source, str(folder / "data"), **options)
    label_dataset(dataset.folder, str(folder / "labels"), steps=STEPS, **options)
    # So that little data is matched in several partitions.
    attribution.PARTITION_ROWS = 7_000
    landings = {"landings": str(write_landings(folder)[1])}
    step = {**FEEDBACK, "on": {name: name for name in ("carrier", "flight", "time_hour")}}
    label_dataset(dataset.folder, str(folder / "feedback"), steps=[step], inputs=landings, as_of=AS_OF, **options)
    compute.compute_statistics(dataset.folder, str(folder / "statistics"), config=config, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
