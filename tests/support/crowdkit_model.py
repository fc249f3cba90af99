"""crowd-kit's Dawid and Skene, for an environment that has it: what it makes of votes.

Usage: crowdkit_model.py <votes>.npy <posterior>.npy <classes>
"""

import sys

import numpy as np
import pandas as pd
from crowdkit.aggregation import DawidSkene

votes = np.load(sys.argv[1])
rows, functions = np.nonzero(votes >= 0)
table = pd.DataFrame({"task": rows, "worker": functions, "label": votes[rows, functions].astype(int)})
found = DawidSkene(n_iter=100).fit_predict_proba(table)
found = found.reindex(index=range(len(votes)), columns=range(int(sys.argv[3]))).fillna(0)
np.save(sys.argv[2], found.to_numpy().astype(np.float32))
