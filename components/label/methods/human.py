"""People's votes: rows go out as tasks, answers come back, and what raters agree on becomes the label."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pydantic

from headwater.components.common import storage
from headwater.components.common.dataset import Dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import percent
from headwater.components.common.partitions import PartitionResults
from headwater.components.label.classes import ABSTAIN
from headwater.components.label.gold import ByKey, check_named, of_step
from headwater.components.label.human import agreement, joining, raters
from headwater.components.label.human.adjudicating import listed
from headwater.components.label.human.aggregation import AGGREGATIONS, Kinds
from headwater.components.label.human.forms.label_studio import FORM as LABEL_STUDIO
from headwater.components.label.human.raters import KINDS, Kind, RaterName
from headwater.components.label.human.reading import Source, source_of
from headwater.components.label.human.settings import project_of
from headwater.components.label.methods import STRICT, Context, Fitted, Item, Labels, Step

TITLE = "people's votes"
SUITS = ("months", "weeks")

_Text = Annotated[str, pydantic.Field(min_length=1)]
_LOW_ALPHA = 0.667
_MOST_RATERS, _MOST_NAMED = 500, 5
_MOST_CELLS = 40_000_000

_PROBLEMS = {
    "constant": ("answer the same to almost everything", "ask what they see, and leave their votes out"),
    "alternating": ("give answers in turn, as a script does", "leave their votes out"),
    "guessing": ("are right no more often than by guessing", "ask what they see, or leave their votes out"),
    "too_fast": ("answer in less than a quarter of the usual time", "look at some of their answers"),
    "worse": ("are right less often in the second half of their votes", "ask whether something changed"),
}


class Settings(pydantic.BaseModel):
    """The settings of people's votes.

    Attributes:
      votes: the name of the input that has the votes: Label Studio's export as JSON, or a table with a row a vote.
      answer: the column of answers; of Label Studio the control that takes them.
      rater: the column that says who voted.
      seconds: the column that says how long a vote took; "seconds" by default, if there is one.
      time: the column that says when a vote was given; "time" by default, if there is one.
      project: the name that tasks of this dataset carry, if it is not the one that they get by default; votes that carry
        another are refused.
      unknown_rows: whether votes for rows that the dataset does not have are "refuse"d or "skip"ped.
      raters: the kind of raters, by their names.
      raters_input: the name of an input that says so: columns `rater` and `kind`.
      kind: the kind of raters of whom nothing is said.
      kinds: what kinds there are, by name; by default expert (a trust of 0.95), generalist (0.8) and user (0.65), whose votes
        cost nothing.
      kinds[].trust: how often one of them is taken to be right before any vote is looked at, above chance and below 1.
      kinds[].cost: of one vote, in any currency.
      aggregation: "dawid_skene", which learns how often each rater confuses what; or "majority".
      gold: a column that holds the class of some rows, and is missing on the others; those rows keep it, and raters are
        judged by it.
      gold_input: the name of the input that has this column, beside the dataset's key; the dataset itself by default.
      min_votes: a row with fewer votes abstains.
      min_probability: a row whose label's probability is less abstains, in [0, 1].
      scale: how far apart answers are when agreement is measured: "nominal" (the same or not), "ordinal" (the classes stand
        in their order) or "interval" (they are numbers).
      adjudicate: the most rows that are listed to be asked about once more, those that raters disagree on most.
      sample_votes: the most votes that raters are judged by; all rows get labels by what was learnt from those.
    """

    model_config = STRICT

    votes: _Text
    answer: _Text = "answer"
    rater: _Text = "rater"
    seconds: str = ""
    time: str = ""
    project: str = ""
    unknown_rows: Literal["refuse", "skip"] = "refuse"
    raters: dict[RaterName, str] = {}
    raters_input: str = ""
    kind: str = "generalist"
    kinds: dict[str, Kind] = {}
    aggregation: str = "dawid_skene"
    gold: str = ""
    gold_input: str = ""
    min_votes: Annotated[int, pydantic.Field(ge=1)] = 1
    min_probability: Annotated[float | int, pydantic.Field(ge=0, le=1)] = 0.0
    scale: Literal["nominal", "ordinal", "interval"] = "nominal"
    adjudicate: Annotated[int, pydantic.Field(ge=0, le=1_000)] = 100
    sample_votes: Annotated[int, pydantic.Field(ge=1_000)] = 5_000_000

    @property
    def all_kinds(self) -> dict[str, Kind]:
        """The kinds that there are."""
        return self.kinds or KINDS

    @pydantic.field_validator("aggregation")
    @classmethod
    def _aggregation(cls, name: str) -> str:
        if name not in AGGREGATIONS:
            raise ValueError(f"must be one of {', '.join(AGGREGATIONS)}")
        return name


def check(where: str, settings: Settings, classes: Sequence[str]) -> None:
    """What can be known without the data.

    Raises:
      HeadwaterError: names the key.
    """
    listed_kinds = f"the kinds are {', '.join(settings.all_kinds)}"
    if settings.kind not in settings.all_kinds:
        raise HeadwaterError(f"{where}.kind: there is no kind {settings.kind!r}; {listed_kinds}")
    for rater, kind in settings.raters.items():
        if kind not in settings.all_kinds:
            raise HeadwaterError(
                f"{where}.raters: the rater {raters.shown(rater)} is of the kind {kind!r}; {listed_kinds}"
            )
    for name, each in settings.all_kinds.items():
        if each.trust <= 1 / len(classes):
            raise HeadwaterError(
                f"{where}.kinds.{name}.trust: {each.trust:g} must be above chance, which is {1 / len(classes):.2g} with {len(classes)} classes"
            )
    check_named(where, settings.gold, settings.gold_input)
    if settings.scale == "interval" and _values(classes) is None:
        raise HeadwaterError(f"{where}.scale: interval needs classes that are numbers; given: {', '.join(classes)}")


def open_input(settings: Settings, name: str, uri: str) -> Dataset | None:
    """An export of Label Studio's, where the input of votes is one; None where it is to be read as any table."""
    return LABEL_STUDIO.open(storage.normalise(uri)) if name == settings.votes else None


def prepare(step: Step, context: Context) -> _Prepared:
    """Holds the settings against the columns of rows and votes.

    Raises:
      HeadwaterError: an input or a column is missing or of the wrong type.
    """
    settings, where, dataset = step.settings, step.where, context.dataset
    votes = context.input(f"{where}.votes", settings.votes)
    project = project_of(settings.project, dataset.result.body.get("name") or "", step.classes)
    columns = {name: getattr(settings, name) for name in ("answer", "rater", "seconds", "time")}
    source = source_of(f"{where}.votes", dataset, votes, columns, step.classes, project)
    of = dict(settings.raters)
    if settings.raters_input:
        key = f"{where}.raters_input"
        of.update(raters.read_kinds(key, context.input(key, settings.raters_input), list(settings.all_kinds)))
    gold, given = of_step(step, context)
    private = frozenset(dataset.result.body.get("private") or {})
    return _Prepared(step, source, dataset.schema, tuple(dataset.key), of, gold, given, private)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    step: Step
    source: Source
    schema: pa.Schema
    key: tuple[str, ...]
    kinds: Mapping[str, str]
    gold: str
    given: ByKey | None
    private: frozenset[str]
    user_code: Sequence[str] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """One for each kind of raters: what most of the kind say."""
        settings = self.step.settings
        if len(settings.all_kinds) == 1:
            return (settings.votes,)
        return tuple(f"{settings.votes} ({kind})" for kind in settings.all_kinds)

    def fit(self, items: Sequence[Item], scratch: str, beam: Mapping[str, Any]) -> _Labeller:
        settings, classes = self.step.settings, self.step.classes
        known = None
        if self.given is not None:
            known = self.given.find(items, self.schema, storage.join(scratch, "gold"), beam)
        gold = joining.Gold(self.gold, known)
        skip = settings.unknown_rows == "skip"
        joined = joining.join(self.source, items, self.schema, gold, skip, scratch, beam)
        most = min(settings.sample_votes, max(1_000, _MOST_CELLS // len(classes)))
        sample = joining.sample(joined, len(classes), most)
        names = list(settings.all_kinds)
        kinds = Kinds(
            np.array([names.index(self.kinds.get(name, settings.kind)) for name in joined.raters.values()], np.int64),
            [float(each.trust) for each in settings.all_kinds.values()],
        )
        fitted = AGGREGATIONS[settings.aggregation](sample.votes, kinds, sample.gold)
        found, told = joining.label(joined, fitted, kinds.of, len(names), 2, settings.adjudicate, beam)
        shown = [raters.shown(name) for name in joined.raters.values()]
        people = raters.describe(sample, fitted, shown, names, kinds.of)
        votes = sample.votes
        alike = agreement.describe(votes, shown, settings.scale, _values(classes))
        disputed = [] if self.private & set(self.key) else told["disputed"]
        report = {
            "votes_input": settings.votes,
            "project": self.source.project,
            "rows": joined.counts["rows"],
            "voted": told["voted"],
            "unsure": told["unsure"],
            "overlap": told["overlap"],
            "votes": sum(joined.votes),
            "judged_by": len(votes.item),
            "counts": dict(joined.counts),
            "cost": _cost(settings, people, sum(joined.votes), len(votes.item)),
            "aggregation": settings.aggregation,
            "rounds": fitted.rounds,
            "shares": dict(zip(classes, fitted.prior.tolist())),
            "agreement": alike,
            "raters": sorted(people, key=lambda each: (not each["problems"], -each["votes"], each["name"]))[
                :_MOST_RATERS
            ],
            "rater_count": len(people),
            "adjudicate": listed(disputed, items, self.schema, self.key, classes, beam) if disputed else [],
        }
        report["warnings"] = _warnings(settings, report, people)
        return _Labeller(
            columns=(), sources=self.sources, report=report, waiting={}, found=found, classes=len(classes),
            least=float(settings.min_probability), votes=settings.min_votes,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Labeller(Fitted):
    found: PartitionResults
    classes: int
    least: float
    votes: int

    def label(self, item: Item, rows: pa.Table) -> Labels:
        # Rows are read without columns where no method needs one.
        count = item.element.rows
        probabilities = np.full((count, self.classes), 1 / self.classes, np.float32)
        codes = np.full(count, ABSTAIN, np.int8)
        evidence = np.full((count, len(self.sources)), ABSTAIN, np.int8)
        records = self.found.of(item.number)
        at = records["row"]
        probabilities[at] = records["posterior"]
        evidence[at] = records["said"]
        best = records["posterior"].argmax(1).astype(np.int8)
        sure = (records["posterior"].max(1, initial=0) >= self.least) & (records["votes"] >= self.votes)
        codes[at] = np.where(sure, best, ABSTAIN)
        return Labels(codes, probabilities, evidence)


def _values(classes: Sequence[str]) -> list[float] | None:
    """Classes as numbers; None where they are none."""
    try:
        return [float(each) for each in classes]
    except ValueError:
        return None


def _cost(settings: Settings, people: Sequence[Mapping[str, Any]], votes: int, judged: int) -> float:
    """What all votes cost, by the shares of kinds among those that raters are judged by."""
    own = sum(each["votes"] * settings.all_kinds[each["kind"]].cost for each in people)
    return own * votes / judged if judged else 0.0


def _warnings(settings: Settings, report: Mapping[str, Any], people: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a person should look at."""
    counts, found = report["counts"], []
    if not report["voted"]:
        return [f"no row has a vote; {counts['read']:,} votes were read from {settings.votes!r}"]
    if counts["repeated"]:
        found.append(f"{counts['repeated']:,} votes were replaced by a later one of the same rater on the same row")
    if counts["unknown"]:
        found.append(f"{counts['unknown']:,} votes are for rows that the dataset does not have, and were skipped")
    if counts["no_rater"]:
        found.append(f"{counts['no_rater']:,} votes name no rater, and were skipped")
    if counts["gold_differs"]:
        found.append(
            f"{counts['gold_differs']:,} rows have gold answers that differ from each other, and are labelled by their votes; "
            "correct the gold, or what is marked as ground truth"
        )
    alike = report["agreement"]
    if not alike["items"] and not counts["gold"]:
        found.append(
            "no row has two votes and there is no gold, so how often raters are right is not known; labels are as sure as "
            "the trust in each kind of raters: ask two or more people about some rows"
        )
    if alike["alpha"] is not None and alike["interval"] and alike["interval"][1] < _LOW_ALPHA:
        found.append(
            f"raters agree little beyond chance (alpha {alike['alpha']:.2f}, {alike['interval'][0]:.2f} to "
            f"{alike['interval'][1]:.2f}); make the question or the classes clearer before asking for more votes"
        )
    for kind, (what, action) in _PROBLEMS.items():
        own = [each["name"] for each in people if kind in each["problems"]]
        if own:
            more = f" and {len(own) - _MOST_NAMED:,} more" if len(own) > _MOST_NAMED else ""
            found.append(f"{len(own)} of {len(people)} raters {what}: {', '.join(own[:_MOST_NAMED])}{more}; {action}")
    if report["unsure"]:
        found.append(
            f"{report['unsure']:,} rows with several votes have a label that is less than {percent(joining.UNSURE)} sure; ask "
            "about them once more, experts first: human.adjudicating.to_adjudicate lists them"
        )
    return found


def show(step: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    """A step's report with what `human.html` shows of it."""
    overlap = [(votes, rows) for votes, rows in enumerate(step["overlap"]) if rows]
    return {
        **step,
        "overlaps": [
            (f"{votes} or more" if votes == joining.OVERLAPS - 1 else str(votes), rows) for votes, rows in overlap
        ],
        "balance": [(name, step["shares"][name]) for name in classes],
        "has_gold": any(each["gold"] for each in step["raters"]),
        "has_seconds": any(each["seconds"] is not None for each in step["raters"]),
        "has_drift": any(each["drift"] for each in step["raters"]),
        "problem_words": {name: words for name, (words, _) in _PROBLEMS.items()},
    }
