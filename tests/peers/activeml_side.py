"""What runs in scikit-activeml's environment: rounds by one of its strategies with a random forest.

Usage: activeml_side.py <rows>.npz <strategy> <seed> <labels to end with>
"""

import json
import sys

import numpy as np
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import QueryByCommittee, RandomSampling, TypiClust, UncertaintySampling
from skactiveml.utils import MISSING_LABEL
from sklearn.ensemble import RandomForestClassifier

EACH = 20

path, strategy, seed, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rows = np.load(path)
width = rows["pool"].std(0)
scaled = [(rows[name] - rows["pool"].mean(0)) / np.where(width > 0, width, 1) for name in ("pool", "held")]
pool, held = scaled
codes, truth = rows["codes"], rows["truth"]
classes = np.unique(np.concatenate([codes, truth]))


def forest(number=0, trees=100):
    made = RandomForestClassifier(trees, random_state=seed + number)
    return SklearnClassifier(made, classes=classes, random_state=seed + number)


asks = {
    "margin": lambda: UncertaintySampling(method="margin_sampling", random_state=seed),
    "entropy": lambda: UncertaintySampling(method="entropy", random_state=seed),
    "committee": lambda: QueryByCommittee(random_state=seed),
    "typiclust": lambda: TypiClust(random_state=seed),
    "random": lambda: RandomSampling(random_state=seed),
}[strategy]()
known = np.full(len(pool), MISSING_LABEL)
known[rows["first"]] = codes[rows["first"]]
accuracies = []
while True:
    own = ~np.isnan(known)
    model = RandomForestClassifier(100, random_state=seed).fit(pool[own], codes[own])
    accuracies.append(float((model.predict(held) == truth).mean()))
    if own.sum() >= last:
        break
    more = {}
    if strategy in ("margin", "entropy"):
        more = {"clf": forest()}
    elif strategy == "committee":
        more = {"ensemble": [forest(number, 25).fit(pool, known) for number in range(1, 8)], "fit_ensemble": False}
    picked = asks.query(X=pool, y=known, batch_size=EACH, **more)
    known[picked] = codes[picked]
print(json.dumps(accuracies))
