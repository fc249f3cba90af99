"""The settings of active learning: the section `label.ask` of a project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import PLACE, checked
from headwater.components.label.asking.strategies import STRATEGIES
from headwater.components.label.classes import ClassName
from headwater.components.label.human.settings import Tasks, View

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

_INNER = ("margin", "entropy", "committee")
_PARTS = ("margin", "entropy", "clusters", "committee", "regions", "random")


class Sheet(pydantic.BaseModel):
    """How the rows are put to people.

    Attributes:
      format: "label_studio" (tasks and the labelling configuration of a project of Label Studio), "csv" or "jsonl".
      columns: the columns that are shown, in this order, each as "text", "image" (it holds URLs) or "table"; by default
        all that are neither private nor hidden, as a table. Labels and truth are always hidden.
      hidden: columns that are not shown although they are not private.
      question: what is asked.
      overlap: how many people answer each row.
      gold: a column that holds the class of some rows, and is missing on the others: those are mixed in as gold questions.
        It is never shown.
      gold_share: the share of gold questions among all tasks, in [0, 0.5].
      project: a name that tasks carry and answers bring back, so that those of another project are refused; by default the
        dataset's name and a digest of the classes.
    """

    model_config = _STRICT

    format: str = "label_studio"
    columns: dict[str, View] = {}
    hidden: list[str] = []
    question: Annotated[str, pydantic.Field(min_length=1)] = "Which class is it?"
    overlap: Annotated[int, pydantic.Field(ge=1, le=100)] = 1
    gold: str = ""
    gold_share: Annotated[float | int, pydantic.Field(ge=0, le=0.5)] = 0.0
    project: str = ""


class Ask(pydantic.BaseModel):
    """Which rows people are asked about next.

    Attributes:
      strategy: `margin`, `entropy`, `committee` (where models are unsure or disagree), `clusters` (what is typical and
        not labelled yet), `regions` (the space partitioned, a strategy in each part), `random`, or `mix`.
      rows: how many rows a round asks about.
      classes: the names of the classes; by default those of label's steps.
      budget: the most answers that all rounds ask for together; none for no limit.
      cost: of one answer, in any currency: what the expected gain is held against.
      least_gain: a round is said to be worth its cost while it is expected to gain this much accuracy for a unit of cost.
      answers: a column with the class of rows that people have answered, missing on the others, where no step of label
        brings their answers.
      answers_input: the name of the input that has this column, beside the dataset's key; the dataset itself by default.
      answered_by: the methods of label whose labels are answers: those rows are not asked about.
      learn_from: the methods of label whose labels are learnt from; by default those of `answered_by`.
      columns: the columns that are learnt from: names, or by name `number`, `category`, `text`, `embedding` or `auto`; by
        default all that are neither private nor of the key and have a distance.
      estimator: `package.module:function`, which gives an estimator of scikit-learn's kind with probabilities; by default
        a random forest.
      committee: such functions, one a member; a single one is fitted to several draws of the answers. By default forests,
        a linear model and neighbours.
      shares: of the strategies of a mix, by name; by default 0.7 of margin and 0.3 of
        committee, and of clusters the more, the fewer labels there are.
      regions: how many regions there are.
      inner: the strategy within regions: `margin`, `entropy` or `committee`.
      where: one SQL expression over the columns; only rows of which it is true are asked about.
      splits: the splits that rows are taken from; all by default.
      candidates: so many rows of greatest worth a batch is chosen from, and as many of each region; at least ten times
        `rows`.
      sample: so many rows stand for the whole pool where clusters are found and the gain is estimated.
      most_labelled: the most labelled rows that are learnt from.
      state: path or URI of a folder for what was asked in which round; by default beside the dataset's spans under its
        `data_root`. Without either, nothing is remembered from one round to the next.
      seed: of all that is drawn.
      tasks: how rows are put to people.
    """

    model_config = _STRICT

    strategy: str = "mix"
    rows: Annotated[int, pydantic.Field(ge=1, le=100_000)] = 100
    classes: list[ClassName] = []
    budget: Annotated[int, pydantic.Field(ge=1)] | None = None
    cost: Annotated[float | int, pydantic.Field(gt=0)] = 1
    least_gain: Annotated[float | int, pydantic.Field(ge=0)] = 0.0001
    answers: str = ""
    answers_input: str = ""
    answered_by: list[str] = ["human", "direct"]
    learn_from: list[str] = []
    columns: list[str] | dict[str, Literal["auto", "number", "category", "text", "embedding"]] = []
    estimator: str = ""
    committee: list[str] = []
    shares: dict[str, Annotated[float | int, pydantic.Field(gt=0)]] = {}
    regions: Annotated[int, pydantic.Field(ge=2, le=1_000)] = 8
    inner: str = "margin"
    where: str = ""
    splits: list[str] = []
    candidates: Annotated[int, pydantic.Field(ge=10, le=1_000_000)] = 2_000
    sample: Annotated[int, pydantic.Field(ge=100, le=100_000)] = 4_000
    most_labelled: Annotated[int, pydantic.Field(ge=100, le=1_000_000)] = 20_000
    state: Annotated[str, PLACE] = ""
    seed: Annotated[int, pydantic.Field(ge=0)] = 0
    tasks: Sheet = Sheet()

    @pydantic.field_validator("budget", mode="before")
    @classmethod
    def _not_nothing(cls, given: Any) -> Any:
        if given == 0 and not isinstance(given, bool):
            raise ValueError("nobody can be asked anything for a budget of 0; leave it out for no limit")
        return given

    @property
    def most(self) -> int:
        """How many rows a pool has at most."""
        return max(self.candidates, 10 * self.rows)


def check_ask(given: Mapping[str, Any], where: str = "label.ask") -> Ask:
    """The settings, checked as far as they can be without the data.

    Args:
      given: the settings.
      where: the key that they stand under, for errors.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    ask = checked(Ask, given, where)
    check_together(ask, where)
    return ask


def check_together(ask: Ask, where: str = "label.ask") -> None:
    """What no single key tells.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    from headwater.components.label.asking.estimators import check_estimator

    _check_name(f"{where}.strategy", ask.strategy, tuple(STRATEGIES))
    _check_name(f"{where}.inner", ask.inner, _INNER)
    for name in ask.shares:
        _check_name(f"{where}.shares", name, _PARTS)
    if ask.shares and ask.strategy != "mix":
        raise HeadwaterError(f"{where}.shares: only a mix has shares, but the strategy is {ask.strategy}")
    if ask.answers_input and not ask.answers:
        raise HeadwaterError(
            f"{where}.answers: must name the column of the input {ask.answers_input!r} that holds the class"
        )
    twice = next((name for name in ask.classes if ask.classes.count(name) > 1), None)
    if twice is not None or len(ask.classes) == 1:
        raise HeadwaterError(
            f"{where}.classes: "
            + (f"the class {twice!r} is given twice" if twice is not None else "there must be at least two classes")
        )
    if ask.estimator:
        check_estimator(f"{where}.estimator", ask.estimator)
    for number, name in enumerate(ask.committee):
        check_estimator(f"{where}.committee.{number}", name)
    sheet_of(ask, ask.classes or ["one", "other"], (), where)


def sheet_of(ask: Ask, classes: list[str], hidden: tuple[str, ...], where: str = "label.ask") -> Tasks:
    """The settings of `write_tasks`.

    Args:
      ask: the settings.
      classes: the answers to choose from.
      hidden: further columns that must not be shown.
      where: the key that they stand under, for errors.

    Raises:
      HeadwaterError: names the key that is wrong.
    """
    own = ask.tasks.model_dump()
    own["hidden"] = list(dict.fromkeys([*own["hidden"], *hidden]))
    return checked(Tasks, {**own, "classes": list(classes), "cost": ask.cost, "seed": ask.seed}, f"{where}.tasks")


def _check_name(where: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise HeadwaterError(f"{where}: there is no strategy {name!r} here; those are {', '.join(known)}")
