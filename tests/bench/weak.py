"""label: weak supervision without gold, and with a little, beside the majority, Snorkel, crowd-kit and plain models.

    python tests/bench/weak.py [--only apart,golden] [--folder F]

Snorkel runs in an environment of its own in the folder, which tests/bench/label.py makes, crowd-kit in the one that
`make test-peers` makes; each is left out where it is not there. So are real votes, which lie in the folder that
HEADWATER_VOTES names, or beside the project.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator

import numpy as np

_HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "support")]

from benches import Row, finish, main
from votes import generate, naive_bayes, plain_em, smoothed_majority, sparse

_REAL = pathlib.Path(os.environ.get("HEADWATER_VOTES") or _HERE.parents[2] / "shared/data/votes")
_CROWDKIT = pathlib.Path.home() / ".cache/headwater-peers/crowd-kit/bin/python"
_SEEDS, _DRAWS = 4, 10
_GOLD = (100, 500)


def bench_apart(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Log loss and accuracy without gold; the ratio is to smoothed majority, which it must not exceed."""
    snorkel = pathlib.Path(os.environ.get("HEADWATER_SNORKEL") or folder / "snorkel/bin/python")
    peers = {
        name: (str(python), str(_HERE.parent / "support" / script))
        for name, python, script in (
            ("Snorkel", snorkel, "snorkel_model.py"),
            ("Dawid-Skene", _CROWDKIT, "crowdkit_model.py"),
        )
        if python.exists()
    }
    for name, truth, votes, classes in _sets():
        found = {"majority": smoothed_majority(votes, classes), "plain EM": plain_em(votes, classes)}
        with tempfile.TemporaryDirectory() as work:
            np.save(f"{work}/votes.npy", votes)
            for peer, (python, script) in peers.items():
                finish([python, "-W", "ignore", script, f"{work}/votes.npy", f"{work}/found.npy", str(classes)])
                found[peer] = np.load(f"{work}/found.npy")
        own = _score(_ours(votes, classes), truth)
        for peer, posterior in found.items():
            other = _score(posterior, truth)
            bar = "≤ 1.00" if peer == "majority" else "≤ 1.05"
            yield f"{name}, log loss; {peer}", f"{own[1]:.3f}", f"{other[1]:.3f}", f"{own[1] / other[1]:.3f}", bar
        plain = _score(found["majority"], truth)
        label = f"{name}, accuracy; majority"
        yield label, f"{own[0]:.3f}", f"{plain[0]:.3f}", f"{own[0] - plain[0]:+.3f}", "≥ −.005"


def bench_golden(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Log loss with gold rows, means of draws, beside the best of models that take gold."""
    for name, truth, votes, classes in _sets():
        # It takes no gold.
        plain = smoothed_majority(votes, classes)
        for golden in (each for each in _GOLD if 1.5 * each < len(truth)):
            losses: dict[str, list[float]] = {}
            for draw in range(_DRAWS):
                gold = np.full(len(truth), -1, np.int8)
                places = np.random.default_rng(draw).permutation(len(truth))[:golden]
                gold[places] = truth[places]
                for model, posterior in (
                    ("ours", _ours(votes, classes, gold)),
                    ("naive Bayes", naive_bayes(votes, classes, gold)),
                    ("EM", plain_em(votes, classes, gold)),
                    ("Dawid-Skene", plain_em(votes, classes, gold, abstaining=False)),
                    ("majority", plain),
                ):
                    losses.setdefault(model, []).append(_score(posterior[gold < 0], truth[gold < 0])[1])
            own = np.array(losses.pop("ours"))
            best = min(losses, key=lambda model: np.mean(losses[model]))
            apart = own - losses[best]
            error = apart.std(ddof=1) / np.sqrt(_DRAWS)
            label = f"{name}, {golden} gold; {best}"
            yield label, f"{own.mean():.3f}", f"{np.mean(losses[best]):.3f}", f"{apart.mean():+.4f}", f"≤ {error:.4f}"


def _sets() -> Iterator[tuple[str, np.ndarray, np.ndarray, int]]:
    for path in sorted(_REAL.glob("*.csv")):
        rows = np.genfromtxt(path, delimiter=",", skip_header=1, filling_values=-1)
        truth, votes = rows[:, 1].astype(int), rows[:, 2:].astype(np.int8)
        covered = (votes >= 0).any(1)
        yield path.stem, truth[covered], votes[covered], int(max(truth.max(), votes.max())) + 1
    for kind in "ABC":
        truth, votes, _ = generate(kind, 20_000, 0)
        covered = (votes >= 0).any(1)
        yield kind, truth[covered].astype(int), votes[covered], 3
    for sides in ("one", "mixed", "all"):
        for seed in range(_SEEDS):
            truth, votes, classes = sparse(seed, 3_000, sides)
            yield f"sparse {sides} {seed}, {classes} classes", truth, votes, classes


def _ours(votes: np.ndarray, classes: int, gold: np.ndarray | None = None) -> np.ndarray:
    from headwater.components.label.weak import fitting, tally

    gold = np.full(len(votes), -1, np.int8) if gold is None else gold
    hashes = np.random.default_rng(99).integers(0, 2**63, len(votes)).astype(np.uint64)
    return fitting.fit(tally.tally(votes, gold, hashes, classes, 100_000)).predict(votes)


def _score(posterior: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    chance = np.maximum(posterior[np.arange(len(truth)), truth].astype(np.float64), 1e-9)
    return float((posterior.argmax(1) == truth).mean()), float(-np.log(chance).mean())


BENCHES = {"apart": bench_apart, "golden": bench_golden}

if __name__ == "__main__":
    sys.exit(main([], BENCHES))
