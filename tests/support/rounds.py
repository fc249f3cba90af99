"""Rounds of active learning with an oracle that answers: what strategies are measured by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

FIRST, EACH, LAST = 20, 20, 180
SEEDS = range(5)


def digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits: 1,797 rows of 64 columns, 10 classes."""
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def clustered(seed: int, rows: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of unequal size (Zipf), width and class, with columns of noise and some labels that are wrong."""
    chance = np.random.default_rng(1_000 + seed)
    clusters, classes, own, noise = 60, 10, 8, 2
    shares = 1 / np.arange(1, clusters + 1) ** 0.6
    centres = chance.normal(size=(clusters, own)) * 1.5
    label = chance.permutation(np.arange(clusters) % classes)
    width = chance.uniform(0.2, 0.5, clusters)
    of = chance.choice(clusters, rows, p=shares / shares.sum())
    columns = centres[of] + chance.normal(size=(rows, own)) * width[of][:, None]
    codes = label[of]
    wrong = chance.random(rows) < 0.05
    codes[wrong] = chance.integers(0, classes, wrong.sum())
    return np.hstack([columns, chance.normal(size=(rows, noise))]), codes


SETS: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {"digits": digits, "clusters": clustered}


def split(name: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Columns and classes of the pool, then of the rows that accuracy is measured on."""
    columns, codes = SETS[name](seed)
    order = np.random.default_rng(seed).permutation(len(columns))
    held, pool = order[: len(order) * 3 // 10], order[len(order) * 3 // 10 :]
    return columns[pool], codes[pool], columns[held], codes[held]


def curve(name: str, seed: int, strategy: str, *, cold: bool = False, last: int = LAST) -> list[float]:
    """Accuracy of the default estimator after each round.

    Args:
      name: a key of `SETS`.
      seed: of the split, of the first rows and of the strategy.
      strategy: its name.
      cold: whether the first rows are chosen by clusters; else they are drawn, the same for all strategies.
      last: with how many labels to end.
    """
    from headwater.components.common import hashing
    from headwater.components.label.asking import estimators
    from headwater.components.label.asking.choosing import choose, pools_of
    from headwater.components.label.asking.diversity import centres_of
    from headwater.components.label.asking.strategies import STRATEGIES, Rows, Space, Told

    columns, codes, held, truth = split(name, seed)
    width = columns.std(0)
    vectors = ((columns - columns.mean(0)) / np.where(width > 0, width, 1)).astype(np.float32)
    others = ((held - columns.mean(0)) / np.where(width > 0, width, 1)).astype(np.float32)
    hashes = hashing.mix(np.arange(len(vectors), dtype=np.uint64) + np.uint64(1_000_003 * (seed + 1)))
    place = {int(each): number for number, each in enumerate(hashes)}
    classes = int(codes.max()) + 1
    space = Space(centres_of(vectors, 8, seed))
    labelled = np.random.default_rng(100 + seed).permutation(len(vectors))[:FIRST]
    if cold:
        told = Told(FIRST, vectors[:0], classes, seed=seed)
        pools = pools_of("clusters", Rows(vectors, hashes), space, {}, len(vectors))
        labelled = np.array([place[each.hash] for each in choose("clusters", pools, told)])
    found = []
    while True:
        model = estimators.fit("", "", vectors[labelled], codes[labelled], classes, seed)
        found.append(float((model.predict(others).argmax(1) == truth).mean()))
        if len(labelled) >= last:
            return found
        left = np.setdiff1d(np.arange(len(vectors)), labelled)
        learns = STRATEGIES[strategy].LEARNS
        members = None
        if learns == "committee":
            committee = estimators.fit_committee("", (), vectors[labelled], codes[labelled], classes, seed)
            members = np.stack([each.predict(vectors[left]) for each in committee])
        known = model.predict(vectors[left]) if learns != "nothing" else None
        rows = Rows(vectors[left], hashes[left], known, members)
        told = Told(EACH, vectors[labelled], classes, seed=seed)
        picked = choose(strategy, pools_of(strategy, rows, space, {}, len(left)), told)
        assert len({each.hash for each in picked}) == EACH, "a batch has as many rows as were asked for"
        labelled = np.concatenate([labelled, [place[each.hash] for each in picked]])
