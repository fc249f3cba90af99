"""Runs in crowd-kit's environment: aggregates votes and measures agreement; JSON to stdout.

python crowdkit_side.py votes.npz
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pandas as pd
from crowdkit.aggregation import DawidSkene, MajorityVote
from crowdkit.metrics.data import alpha_krippendorff


def main(path: str) -> None:
    given = np.load(path)
    frame = pd.DataFrame({name: given[name] for name in ("task", "worker", "label")})
    wall, cpu = time.perf_counter(), time.process_time()
    model = DawidSkene(n_iter=100, tol=1e-5)
    probabilities = model.fit_predict_proba(frame)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    majority = MajorityVote().fit_predict_proba(frame)
    told = {"seconds": wall, "cpu": cpu}
    for name, found in (("dawid_skene", probabilities), ("majority", majority)):
        found = found.reindex(columns=sorted(frame["label"].unique()), fill_value=0.0).sort_index()
        np.save(f"{path}.{name}.npy", found.to_numpy())
    if len(frame) < 50_000:
        told["alpha"] = float(alpha_krippendorff(frame))
    print(json.dumps(told))


main(sys.argv[1])
