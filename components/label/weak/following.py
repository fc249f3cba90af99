"""Following: how much each of three models counts in what is said without gold, from what votes show of themselves.

Without gold nobody can tell votes that share a hidden cause from votes that are right together: both agree, and both fit a
latent class. How often which of them is met with is a prior, and this is one: over simulated sets of votes of several
kinds (functions that follow hidden causes, words of topics, raters and hard rows, thresholds on the same columns, rows
that look like another class to everybody, and votes that are independent indeed), the weights of a log-linear pool were
fitted to what can be seen of the votes, so that the pool loses least to the majority, and then least to the best of other
models (tests/bench/weak_following.py, which prints the table below anew). It is stacking (Wolpert, "Stacked
generalization", Neural Networks 5, 1992) over sets in place of rows, "amortised" since no set has gold of its own; the pool
is that of Genest and Zidek ("Combining probability distributions", Statistical Science 1, 1986).
"""

from __future__ import annotations

import numpy as np

from headwater.components.label.weak.model import FLOOR

MODELS = ("majority", "firm", "em")
"""What is pooled: the majority, EM that hardly leaves it (`FIRM_VOTES`), and EM."""

FIRM_VOTES = 1_000.0
"""So many votes of each function has the majority's view of it in the firm model."""

_TABLE = {
    "always": (2.581, -5.762, -4.941),
    "rows": (-0.033, 0.349, -0.146),
    "functions": (0.195, -0.717, -0.001),
    "classes": (-0.405, 2.248, 0.559),
    "votes a row": (-0.151, -0.653, 0.460),
    "contested": (-1.263, -1.700, 1.397),
    "agreement": (-0.023, 0.224, -2.802),
    "narrow": (0.035, -0.916, 0.126),
    "unidentified": (0.718, 4.122, -6.270),
    "consistency": (-2.466, 3.134, 3.565),
    "dependence": (0.561, 0.856, -1.224),
    "entropy": (-0.031, 0.439, 1.679),
    "least accuracy": (0.806, -2.443, -1.930),
}


def seen(
    votes: np.ndarray,
    rows: float,
    classes: int,
    narrow: float,
    unidentified: float,
    ratios: np.ndarray,
    dependent: float,
    posterior: np.ndarray,
) -> dict[str, float]:
    """What votes show of themselves, by name.

    Args:
      votes: int8, [rows, functions], of rows with a vote.
      rows: how many such rows there are, where `votes` are a sample.
      classes: how many there are.
      narrow: the share of votes by functions that vote for one class.
      unidentified: the share of votes for classes that are not identified.
      ratios: consistency of halves, one a split.
      dependent: the temperature at which functions predict each other best.
      posterior: EM's, [rows, classes].
    """  # fmt: skip
    counts = np.stack([(votes == number).sum(1) for number in range(classes)], 1)
    cast = counts.sum(1)
    several = cast > 1
    pairs = float((cast * (cast - 1)).sum())
    agreement = float((counts * (counts - 1)).sum()) / max(pairs, 1.0)
    chance = float(((counts.sum(0) / max(1, cast.sum())) ** 2).sum())
    entropy = -(posterior * np.log(np.maximum(posterior, FLOOR))).sum(1).mean() / np.log(classes)
    own = np.where(votes >= 0, np.take_along_axis(posterior, np.maximum(votes, 0).astype(np.intp), 1), 0.0)
    voted = (votes >= 0).sum(0)
    return {
        "always": 1.0,
        "rows": float(np.log(rows)),
        "functions": float(np.log(votes.shape[1])),
        "classes": float(np.log(classes)),
        "votes a row": float(np.log(cast.mean())),
        "contested": float((counts.max(1) < cast)[several].mean()) if several.any() else 0.0,
        "agreement": float(np.clip((agreement - chance) / max(1e-3, 1 - chance), -1, 1)),
        "narrow": min(1.0, 3 * narrow),
        "unidentified": unidentified,
        "consistency": float(np.clip(ratios.mean(), 0, 1)),
        "dependence": float(np.log(dependent)),
        "entropy": float(entropy),
        "least accuracy": float((own.sum(0) / np.maximum(voted, 1))[voted > 0].min()),
    }


def strengths(found: dict[str, float]) -> dict[str, float]:
    """The weight of each of `MODELS`, at least 0: softplus of what the table makes of what is seen."""
    sums = np.sum([value * np.array(_TABLE[name]) for name, value in found.items() if name in _TABLE], 0)
    return dict(zip(MODELS, np.logaddexp(0, sums).tolist()))
