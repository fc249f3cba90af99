"""What runs in Snorkel's environment: its applier and its analysis, and our votes of its functions.

Usage: snorkel_side.py <rows>.parquet <folder>
"""

import json
import pathlib
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import snorkel_functions
from snorkel.labeling import LFAnalysis, PandasLFApplier

from headwater.components.label.weak.functions import Function, vote

rows, folder = sys.argv[1], pathlib.Path(sys.argv[2])
functions = [snorkel_functions.windy, snorkel_functions.far, snorkel_functions.near, snorkel_functions.said]
table = pq.read_table(rows)
frame = pd.DataFrame(table.to_pylist())
votes = PandasLFApplier(functions).apply(frame, progress_bar=False)
np.save(folder / "votes.npy", votes)
truth = np.array([["fine", "late"].index(each) for each in table["truth"].to_pylist()])
summary = LFAnalysis(votes, functions).lf_summary(truth)
(folder / "summary.json").write_text(json.dumps(json.loads(summary.to_json(orient="index"))))
named = [Function(name=each.name, snorkel=f"snorkel_functions:{each.name}") for each in functions]
batch = pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], names=table.column_names)
ours, failed = vote("steps.0", named, ["fine", "late"], batch)
assert not any(failed)
np.save(folder / "ours.npy", ours)
