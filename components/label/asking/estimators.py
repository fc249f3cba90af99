"""What learns from the labels that there are: the estimator that the user names, or a sound default, and committees of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.user_code import failure, find_function

MEMBERS = 7
"""How many members a committee has that is made of one estimator."""

_TREES = 100
_FEW_TREES = 25
_MOST_LEAVES = 500
_FOLDS, _MOST_HELD_OUT = 3, 1_000


@dataclasses.dataclass(frozen=True)
class Model:
    """A fitted estimator; picklable.

    Attributes:
      fitted: the estimator.
      known: the numbers of the classes that it knows, in its order.
      classes: how many classes there are.
      name: what it is called in messages.
    """

    fitted: Any
    known: np.ndarray
    classes: int
    name: str

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """The probabilities of all classes, float64, [rows, classes]; 0 of a class that it has not seen.

        Raises:
          HeadwaterError: the estimator fails, or gives what are no probabilities.
        """
        probabilities = np.zeros((len(vectors), self.classes))
        if not len(vectors):
            return probabilities
        try:
            with threadpool_limits(1):
                given = np.asarray(self.fitted.predict_proba(vectors), np.float64)
        except Exception as error:
            raise HeadwaterError(f"{self.name}: predict_proba failed: {_words(error, self.fitted)}") from None
        if given.shape != (len(vectors), len(self.known)) or not np.isfinite(given).all():
            raise HeadwaterError(
                f"{self.name}: predict_proba must give a finite probability of each class for each row"
            )
        probabilities[:, self.known] = given
        # Of a batch's size nothing may depend, and some libraries' last bits do.
        return np.round(probabilities, 9)


def check_estimator(where: str, name: str) -> Callable[[], Any]:
    """What makes the estimator that a setting names.

    Args:
      where: the setting, for errors.
      name: `package.module:function`; called without arguments it gives an estimator of scikit-learn's kind.

    Raises:
      HeadwaterError: there is no such function, or what it gives cannot be fitted or tells no probabilities.
    """
    make = find_function(where, name)
    try:
        made = make()
    except Exception as error:
        raise HeadwaterError(
            f"{where}: {name} must give an estimator when it is called without arguments; it failed: "
            f"{_words(error, make)}"
        ) from None
    if not hasattr(made, "fit"):
        raise HeadwaterError(f"{where}: {name} gives a {type(made).__name__}, which has no `fit`: not an estimator")
    if not hasattr(made, "predict_proba"):
        raise HeadwaterError(
            f"{where}: {name} gives a {type(made).__name__} without probabilities (it has no `predict_proba`); choose "
            "another estimator, or wrap it in sklearn.calibration.CalibratedClassifierCV"
        )
    return make


def fit(where: str, name: str, vectors: np.ndarray, codes: np.ndarray, classes: int, seed: int) -> Model:
    """Fits the estimator that a setting names, or the default where it names none.

    Args:
      where: the setting, for errors.
      name: as `check_estimator` takes it; empty for the default.
      vectors: of the labelled rows.
      codes: the numbers of their classes, of which there are at least two.
      classes: how many classes there are.
      seed: of the default.

    Raises:
      HeadwaterError: it fails.
    """
    made = check_estimator(where, name)() if name else forest(seed, len(codes))
    return _fitted(f"{where}: {name}" if name else "the default estimator", made, vectors, codes, classes)


def fit_committee(
    where: str, names: Sequence[str], vectors: np.ndarray, codes: np.ndarray, classes: int, seed: int
) -> list[Model]:
    """Fits the members of a committee: each of the estimators that settings name, or one of each of a few kinds.

    Of a single estimator each of `MEMBERS` learns from a draw of the rows, in which each class keeps its number of rows.
    """
    if len(names) == 1:
        chance = np.random.default_rng(seed)
        members = []
        for _ in range(MEMBERS):
            drawn = _drawn(codes, chance)
            made = check_estimator(where, names[0])()
            members.append(_fitted(f"{where}: {names[0]}", made, vectors[drawn], codes[drawn], classes))
        return members
    if names:
        return [_fitted(f"{where}: {name}", check_estimator(where, name)(), vectors, codes, classes) for name in names]
    return [
        _fitted("the default committee", made, vectors, codes, classes) for made in _default_committee(len(codes), seed)
    ]


def held_out(
    where: str, name: str, vectors: np.ndarray, codes: np.ndarray, classes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the estimator says of labelled rows that it has not learnt from, by cross-validation.

    Args:
      where, name, vectors, codes, classes, seed: as `fit` takes them.

    Returns:
      The probabilities of at most `_MOST_HELD_OUT` rows, and the numbers of their classes; none where the rows of a fold
      cannot be learnt from.
    """
    rows = np.random.default_rng(seed).permutation(len(codes))[:_MOST_HELD_OUT]
    vectors, codes, fold = vectors[rows], codes[rows], np.arange(len(rows)) % _FOLDS
    probabilities = np.zeros((len(rows), classes))
    for number in range(_FOLDS):
        own, others = fold == number, fold != number
        if not own.any() or len(np.unique(codes[others])) < 2:
            return probabilities[:0], codes[:0]
        made = check_estimator(where, name)() if name else forest(seed, int(others.sum()), _FEW_TREES)
        try:
            model = _fitted(name, made, vectors[others], codes[others], classes)
        except HeadwaterError:
            # Fewer rows than this estimator needs.
            return probabilities[:0], codes[:0]
        probabilities[own] = model.predict(vectors[own])
    return probabilities, codes


def forest(seed: int, rows: int, trees: int = _TREES) -> Any:
    """The default estimator: a random forest, which needs no scaling, no tuning and few labels.

    Args:
      seed: of its draws.
      rows: that it will learn from: of many, a leaf holds several, so that it stays small on its way to the workers.
      trees: how many.
    """
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(trees, min_samples_leaf=_leaf(rows), random_state=seed)


def _leaf(rows: int) -> int:
    return max(1, rows // _MOST_LEAVES)


def _default_committee(rows: int, seed: int) -> list[Any]:
    """Forests that each saw other rows, trees that split at random, and a model that is linear: what they agree on does
    not hang on one way to learn."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    forests = [forest(seed + number, rows, _FEW_TREES) for number in range(1, 4)]
    return [
        *forests,
        ExtraTreesClassifier(_FEW_TREES, min_samples_leaf=_leaf(rows), random_state=seed),
        ExtraTreesClassifier(_FEW_TREES, min_samples_leaf=_leaf(rows), random_state=seed + 1),
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)),
        make_pipeline(StandardScaler(), KNeighborsClassifier(min(5, rows), weights="distance")),
    ]


def _fitted(name: str, made: Any, vectors: np.ndarray, codes: np.ndarray, classes: int) -> Model:
    try:
        with threadpool_limits(1):
            made.fit(vectors, codes)
        known = np.asarray(made.classes_).astype(np.int64)
    except Exception as error:
        raise HeadwaterError(f"{name}: fit failed on {len(codes):,} labelled rows: {_words(error, made)}") from None
    return Model(made, known, classes, name)


def _drawn(codes: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Rows drawn with replacement within each class, so that no member lacks one."""
    drawn = [chance.choice(places, len(places)) for places in (np.flatnonzero(codes == c) for c in np.unique(codes))]
    return np.concatenate(drawn)


def _words(error: Exception, function: Any) -> str:
    # What an estimator says may quote the data.
    return failure(error, function, None)
