"""Snorkel's label model, for an environment that has it and torch: what it makes of votes, and how long that takes.

Usage: snorkel_model.py <votes>.npy <posterior>.npy <classes>
"""

import json
import sys
import time

import numpy as np
from snorkel.labeling.model import LabelModel

votes = np.load(sys.argv[1])
begun = time.perf_counter()
model = LabelModel(cardinality=int(sys.argv[3]), verbose=False)
model.fit(votes.astype(int), n_epochs=500, seed=0, progress_bar=False)
posterior = model.predict_proba(votes.astype(int))
seconds = time.perf_counter() - begun
np.save(sys.argv[2], posterior.astype(np.float32))
print(json.dumps({"seconds": seconds}))
