"""Votes with known truth, and what an oracle that knows how they were made says of them."""

from __future__ import annotations

import numpy as np

CLASSES, FUNCTIONS = 3, 20
PRIOR = np.array([0.5, 0.3, 0.2])
COVERAGE, NARROW_COVERAGE = 0.6, 0.21
COPIED = 0.8
COPIES = ((16, 17), (18, 19))


def generate(kind: str, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes of a kind.

    "A": accuracies from .40 to .75, errors uniform; functions 18 and 20 copy 17 and 19. "B": each function and class its
    own accuracy and errors; the same copies. "C": each function votes for one class, at precisions from .40 to .75.

    Returns:
      The truth, int8; the votes, int8, [rows, functions], -1 to abstain; and log P(outcome of each group | class) by
      group, for `oracle`.
    """
    chance = np.random.default_rng(seed)
    truth = chance.choice(CLASSES, rows, p=PRIOR).astype(np.int8)
    accuracies = np.linspace(0.40, 0.75, FUNCTIONS)
    if kind == "C":
        return truth, *_narrow(truth, accuracies, chance)
    confusion = np.empty((FUNCTIONS, CLASSES, CLASSES))
    for number in range(FUNCTIONS):
        for true in range(CLASSES):
            accuracy = accuracies[number] if kind == "A" else chance.uniform(0.35, 0.75)
            errors = np.full(CLASSES - 1, 1 / (CLASSES - 1)) if kind == "A" else chance.dirichlet([1] * (CLASSES - 1))
            confusion[number, true] = np.insert(errors * (1 - accuracy), true, accuracy)
    voted = chance.random((rows, FUNCTIONS)) < COVERAGE
    votes = np.full((rows, FUNCTIONS), -1, np.int8)
    for number in range(FUNCTIONS):
        drawn = (chance.random(rows)[:, None] > confusion[number].cumsum(1)[truth]).sum(1).clip(0, CLASSES - 1)
        votes[:, number] = np.where(voted[:, number], drawn, -1)
    for one, other in COPIES:
        copied = (chance.random(rows) < COPIED) & voted[:, one] & voted[:, other]
        votes[copied, other] = votes[copied, one]
    return truth, votes, _tables(confusion)


def oracle(votes: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """P(class | votes) by the way that the votes were made; float64, [rows, classes]."""
    total = np.tile(np.log(PRIOR), (len(votes), 1))
    codes = votes.astype(np.int64) + 1
    for group, table in tables:
        code = codes[:, group[0]]
        for number in group[1:]:
            code = code * (CLASSES + 1) + codes[:, number]
        total += table[code]
    total = np.exp(total - total.max(1, keepdims=True))
    return total / total.sum(1, keepdims=True)


def _tables(confusion: np.ndarray) -> list[tuple[tuple[int, ...], np.ndarray]]:
    paired = {number for pair in COPIES for number in pair}
    width = CLASSES + 1
    found = []
    for number in sorted(set(range(FUNCTIONS)) - paired):
        table = np.vstack([np.full(CLASSES, 1 - COVERAGE), COVERAGE * confusion[number].T])
        found.append(((number,), np.log(table)))
    for one, other in COPIES:
        joint = np.zeros((width, width, CLASSES))
        joint[0, 0] = (1 - COVERAGE) ** 2
        joint[1:, 0] = COVERAGE * (1 - COVERAGE) * confusion[one].T
        joint[0, 1:] = COVERAGE * (1 - COVERAGE) * confusion[other].T
        for true in range(CLASSES):
            first, second = confusion[one, true], confusion[other, true]
            joint[1:, 1:, true] = COVERAGE**2 * (COPIED * np.diag(first) + (1 - COPIED) * np.outer(first, second))
        found.append(((one, other), np.log(joint.reshape(-1, CLASSES))))
    return found


def _narrow(truth: np.ndarray, precisions: np.ndarray, chance: np.random.Generator):
    votes = np.full((len(truth), FUNCTIONS), -1, np.int8)
    tables = []
    for number, precision in enumerate(precisions):
        own = number % CLASSES
        right = NARROW_COVERAGE * precision / PRIOR[own]
        wrong = NARROW_COVERAGE * (1 - precision) / (1 - PRIOR[own])
        votes[:, number] = np.where(chance.random(len(truth)) < np.where(truth == own, right, wrong), own, -1)
        table = np.full((CLASSES + 1, CLASSES), 1e-300)
        table[own + 1] = np.where(np.arange(CLASSES) == own, right, wrong)
        table[0] = 1 - table[own + 1]
        tables.append(((number,), np.log(table)))
    return votes, tables


def sparse(seed: int, rows: int, sides: str = "one") -> tuple[np.ndarray, np.ndarray, int]:
    """Votes as real functions give them: few, dependent, and often for one class alone.

    2 to 7 classes, unbalanced; 5 to 30 functions with 1.5 to 4 votes a row (to 9 of two-sided ones); functions of a group
    follow a hidden cause in place of the class, more or less often, and vote where it is on topic; every fourteenth
    function or so is worse than chance.

    Args:
      seed: of everything.
      rows: how many there are before those without a vote are left out.
      sides: "one": each function votes for one class; "all": for every class; "mixed".

    Returns:
      The truth; the votes, int8, [rows, functions]; the number of classes.
    """
    chance = np.random.default_rng(seed)
    classes = int(chance.choice([2, 2, 2, 3, 4, 5, 6, 7]))
    shares = np.maximum(chance.dirichlet(np.full(classes, chance.choice([1.5, 4, 20]))), 0.03)
    shares /= shares.sum()
    truth = chance.choice(classes, rows, p=shares)
    functions = int(chance.integers(max(5, classes), 30))
    groups = int(chance.integers(2, max(3, functions // 2) + 1))
    group, follows = chance.integers(0, groups, functions), chance.choice([0.2, 0.4, 0.7])
    causes = [
        np.where(chance.random(rows) < accuracy, truth, (truth + chance.integers(1, classes, rows)) % classes)
        for accuracy in chance.uniform(0.55, 0.95, groups)
    ]
    topics = [chance.random(rows) < share for share in chance.uniform(0.2, 0.7, groups)]
    coverage = np.exp(chance.normal(0, 0.7, functions))
    coverage = np.minimum(coverage / coverage.sum() * chance.uniform(1.5, 9 if sides == "all" else 4), 0.9)
    low, high = chance.choice([0.5, 0.6, 0.7]), chance.choice([0.8, 0.9, 0.97])
    votes = np.full((rows, functions), -1, np.int8)
    for number in range(functions):
        accuracy = 0.7 / classes if chance.random() < 0.07 else chance.uniform(max(low, 1 / classes + 0.1), high)
        seen = np.where(chance.random(rows) < follows, causes[group[number]], truth)
        on_topic = np.where(topics[group[number]], 1.3, 0.5)
        if sides == "one" or (sides == "mixed" and chance.random() < 0.6):
            own = number if number < classes else int(chance.choice(classes))
            base = max((seen == own).mean(), 1e-3)
            right, wrong = accuracy * coverage[number] / base, (1 - accuracy) * coverage[number] / (1 - base)
            voted = chance.random(rows) < np.minimum(np.where(seen == own, right, wrong) * on_topic, 0.95)
            votes[voted, number] = own
        else:
            drawn = np.where(chance.random(rows) < accuracy, seen, (seen + chance.integers(1, classes, rows)) % classes)
            voted = chance.random(rows) < coverage[number] * on_topic
            votes[voted, number] = drawn[voted]
    covered = (votes >= 0).any(1)
    return truth[covered], votes[covered], classes


def smoothed_majority(votes: np.ndarray, classes: int) -> np.ndarray:
    """Each class's votes and one more, as shares; float64, [rows, classes]."""
    counts = np.stack([(votes == number).sum(1) for number in range(classes)], 1) + 1.0
    return counts / counts.sum(1, keepdims=True)


def plain_em(votes: np.ndarray, classes: int, gold: np.ndarray | None = None, abstaining: bool = True) -> np.ndarray:
    """Dawid and Skene's EM from the majority, without a prior: with abstaining as an outcome, or of votes alone."""
    rows, functions = votes.shape
    ones = (votes[:, :, None] == np.arange(-1, classes)).reshape(rows, -1).astype(np.float64)
    known = np.zeros(rows, bool) if gold is None else gold >= 0
    posterior = smoothed_majority(votes, classes)
    counts = ones.sum(0).reshape(functions, classes + 1, 1) / rows
    for _ in range(200):
        posterior[known] = np.eye(classes)[gold[known]] if gold is not None else posterior[known]
        parts = (ones.T @ posterior).reshape(functions, classes + 1, classes) + (counts + 1e-6 if abstaining else 0.01)
        parts[:, 0] *= abstaining
        logs = np.log(np.maximum(parts / parts.sum(1, keepdims=True), 1e-12))
        logs[:, 0] *= abstaining
        shares = (posterior.sum(0) + 1) / (rows + classes)
        total = np.log(shares) + ones @ logs.reshape(-1, classes)
        before, posterior = posterior, np.exp(total - total.max(1, keepdims=True))
        posterior /= posterior.sum(1, keepdims=True)
        if np.abs(posterior - before)[~known].sum(1).mean() < 1e-5:
            break
    return posterior


def naive_bayes(votes: np.ndarray, classes: int, gold: np.ndarray) -> np.ndarray:
    """Naive Bayes from gold alone, every count one more."""
    known = gold >= 0
    ones = (votes[:, :, None] == np.arange(-1, classes)).astype(np.float64)
    certain = np.eye(classes)[gold[known]]
    parts = np.einsum("rfo,rc->foc", ones[known], certain) + 1
    logs = np.log(parts / parts.sum(1, keepdims=True)).reshape(-1, classes)
    total = np.log((certain.sum(0) + 1) / (known.sum() + classes)) + ones.reshape(len(votes), -1) @ logs
    found = np.exp(total - total.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)
