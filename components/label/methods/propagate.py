"""Propagation: the labels that some rows have spread to the rows that are near them.

Rows are points, by the columns that the step names; each is joined to its nearest; and labels flow along the joins, until all
that a seed reaches have one. The seeds are what earlier steps labelled, and gold.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

import numpy as np
import pyarrow as pa
import pydantic

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import percent
from headwater.components.label.classes import ABSTAIN, ClassName, check_balance
from headwater.components.label.encoding import Encoder, Form
from headwater.components.label.gold import ByKey, check_named, of_step, outside
from headwater.components.label.methods import STRICT, Context, Fitted, Item, Labels, Step, certain
from headwater.components.label.propagate import coreset, features, fitting, passes
from headwater.components.label.propagate.calibration import LEAST_SEEDS
from headwater.components.label.propagate.features import Column, Feature
from headwater.components.label.propagate.fitting import Nodes, Propagated, Rules
from headwater.components.label.table import Earlier

TITLE = "propagation"

_MOST_FAR = 0.25


def _named(given: Any) -> Any:
    """A list of names, or a form in place of a column's settings, as the mapping that it stands for."""
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        return {name: {} for name in given}
    if isinstance(given, Mapping):
        return {name: {"form": own} if isinstance(own, str) else own for name, own in given.items()}
    return given


def _also_short(schema: dict[str, Any]) -> None:
    """For editors: the columns as `_named` takes them."""
    own = dict(schema)
    own["additionalProperties"] = {"anyOf": [own["additionalProperties"], {"enum": list(get_args(Form))}]}
    schema.clear()
    schema["anyOf"] = [own, {"type": "array", "items": {"type": "string"}, "minItems": 1}]


class Settings(pydantic.BaseModel):
    """Propagation's settings.

    Attributes:
      columns: by what rows are near each other: names; or by name a form, or a column's settings.
      gold: a column that holds the class of some rows, and is missing on the others; none without one. These rows are seeds,
        before the labels of earlier steps, and are labelled with their class.
      gold_input: the name of the input that has this column, beside the dataset's key; the dataset itself by default.
      min_seed_probability: a label of an earlier step is a seed if its probability is no less, in [0, 1].
      neighbours: to how many of its nearest a row is joined.
      spread: how much a row takes over from its neighbours, against what it has of itself, in (0, 1): the more, the farther
        labels reach. By default the one of 0.9, 0.97 and 0.995 that tells held-out seeds best; 0.97 with fewer than 30.
      balance: the share of each class, by its name, where it is known; otherwise as the seeds have it, each for the rows that it
        is nearest to.
      class_mass: whether classes are weighed so that each gets the share of all rows that `balance` or the seeds tell.
      calibrate: whether probabilities are calibrated on seeds that are held out; it takes 30.
      min_probability: a row whose label's probability is less abstains, in [0, 1].
      nodes: the most rows that are in the graph, where memory suffices. Of more rows the seeds, up to half of so many, and a
        sample of the others are; the rest get their labels from the nearest of those.
      name: what votes in the evidence; to be given where two steps propagate.
    """

    model_config = STRICT

    columns: Annotated[
        dict[str, Column], pydantic.Field(min_length=1, json_schema_extra=_also_short), pydantic.BeforeValidator(_named)
    ]
    gold: str = ""
    gold_input: str = ""
    min_seed_probability: Annotated[float | int, pydantic.Field(ge=0, le=1)] = 0.0
    neighbours: Annotated[int, pydantic.Field(ge=1, le=100)] = 7
    spread: Annotated[float, pydantic.Field(gt=0, lt=1)] | None = None
    balance: dict[ClassName, float | int] | None = None
    class_mass: bool = True
    calibrate: bool = True
    min_probability: Annotated[float | int, pydantic.Field(ge=0, le=1)] = 0.0
    nodes: Annotated[int, pydantic.Field(ge=1_000, le=100_000_000)] = 1_000_000
    name: Annotated[str, pydantic.Field(min_length=1)] = "neighbours"


def check(where: str, settings: Settings, classes: Sequence[str]) -> None:
    """What can be known without the data.

    Raises:
      HeadwaterError: names the key.
    """
    check_named(where, settings.gold, settings.gold_input)
    if not settings.gold and where.rpartition(".")[2] == "0":
        raise HeadwaterError(
            f"{where}: there are no seeds: labels spread from those of earlier steps, and this is the first, or from gold; "
            "name a gold column, or let another method label first"
        )
    if settings.balance is not None:
        check_balance(f"{where}.balance", settings.balance, classes)


def prepare(step: Step, context: Context) -> _Prepared:
    """Holds the settings against the dataset's columns.

    Raises:
      HeadwaterError: a column is not there or of another kind.
    """
    settings, schema, where = step.settings, context.dataset.schema, step.where
    gold, given = of_step(step, context)
    unseen = [name for name in (gold, context.truth) if name]
    columns = features.features_of(f"{where}.columns", settings.columns, schema, unseen)
    return _Prepared(step, tuple(columns), tuple(context.dataset.key), schema, gold, given)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    step: Step
    features: tuple[Feature, ...]
    key: tuple[str, ...]
    schema: pa.Schema
    gold: str
    given: ByKey | None
    earlier: Earlier = Earlier((), 0)
    user_code: Sequence[str] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """What votes."""
        return (self.step.settings.name,)

    def after(self, earlier: Earlier) -> _Prepared:
        """With the labels of the steps before."""
        return dataclasses.replace(self, earlier=earlier)

    def fit(self, items: Sequence[Item], scratch: str, beam: Mapping[str, Any]) -> _Labeller:
        from headwater.components.common.beam import map_merge

        settings, classes, where = self.step.settings, self.step.classes, self.step.where
        known = self.given.find(items, self.schema, storage.join(scratch, "gold"), beam) if self.given else None
        look = passes.Look(
            self.features, self.key, self.schema, classes, self.gold, known, self.earlier,
            float(settings.min_seed_probability), scratch,
        )  # fmt: skip
        sizes = [item.element.rows for item in items]
        content = map_merge(
            "label: look for seeds",
            items,
            functools.partial(passes.look, look),
            passes.merge_looks,
            sizes=sizes,
            **beam,
        )
        counts, _, sample = passes.decode_look(content)
        if counts["outside"]:
            raise outside(f"{where}.gold", settings.gold, counts["outside"], classes)
        _check_seeds(where, settings, classes, counts)
        encoder = features.learn(f"{where}.columns", self.features, sample, counts["columns"])
        most, by_memory = coreset.most_nodes(settings.nodes, encoder.dimensions, settings.neighbours, len(classes))
        chosen = coreset.choose(most, counts["seeds"], counts["rows"] - sum(counts["seeds"]))
        # The gold of other data and earlier labels are in scratch by now, and need not go along.
        look = look._replace(known=None, earlier=Earlier((), 0))
        content = map_merge(
            "label: place", items, functools.partial(passes.encode, look, encoder, chosen), passes.merge_lists,
            sizes=sizes, **beam,
        )  # fmt: skip
        placed = json.loads(content)
        lacking = sum(each[1] for each in placed)
        done = self._propagate(items, scratch, encoder, [each[0] for each in placed])
        told = done.report
        if chosen.all_rows:
            unreached = sum(_leave(scratch, item, done, start) for item, start in zip(items, _starts(placed)))
        else:
            passes.share(scratch, done.graph.index, done.graph.scales, done.probabilities, done.reached)
            # From here on the nodes are the workers'.
            del done
            content = map_merge(
                "label: assign", items, functools.partial(passes.assign, look, encoder, settings.neighbours), passes.merge_lists,
                sizes=sizes, **beam,
            )  # fmt: skip
            unreached = sum(json.loads(content))
        report = {
            "rows": counts["rows"],
            "labelled_before": counts["labelled"],
            "gold": counts["gold"],
            "seeds": dict(zip(classes, counts["seeds"])),
            "columns": {part.name: [part.form, part.dimensions] for part in encoder.parts},
            "rows_in_graph": sum(each[0] for each in placed),
            "coreset": not chosen.all_rows,
            "unreached": unreached,
            "lacking": lacking,
            **told,
        }
        report["warnings"] = _warnings(self.step, report, most if by_memory else 0)
        return _Labeller(
            columns=(), sources=self.sources, report=report, waiting={}, scratch=scratch,
            least=float(settings.min_probability),
        )  # fmt: skip

    def _propagate(self, items: Sequence[Item], scratch: str, encoder: Encoder, rows: Sequence[int]) -> Propagated:
        """Reads the nodes, and spreads the seeds."""
        settings, classes = self.step.settings, self.step.classes
        points = np.empty((sum(rows), encoder.dimensions), np.float32)
        hashes = np.empty(sum(rows), np.uint64)
        own, of, gold = [], [], []
        start = 0
        for item, many in zip(items, rows):
            part = passes.read(scratch, f"points-{item.number:06d}")
            points[start : start + many], hashes[start : start + many] = part["points"], part["hashes"]
            own.append(part["seeds"] + start)
            of.append(part["classes"])
            gold.append(part["gold"])
            start += many
        nodes = Nodes(points, hashes, np.concatenate(own), np.concatenate(of), np.concatenate(gold))
        if not len(nodes.seeds):
            raise HeadwaterError(
                f"{self.step.where}.columns: no row with a class has an embedding, so that nothing can spread"
            )
        prior = None
        if settings.balance is not None:
            prior = np.array([settings.balance[name] for name in classes], np.float64)
            prior /= prior.sum()
        rules = Rules(settings.neighbours, settings.spread, prior, settings.class_mass, settings.calibrate)
        print(
            f"label: propagate: {len(points):,} rows of {encoder.dimensions} dimensions, {len(nodes.seeds):,} seeds",
            flush=True,
        )
        return fitting.propagate(nodes, rules)


def _starts(placed: Sequence[Sequence[int]]) -> list[int]:
    return np.concatenate([[0], np.cumsum([each[0] for each in placed])]).astype(int).tolist()


def _leave(scratch: str, item: Item, done: Propagated, start: int) -> int:
    """Leaves what an element's rows get, all of which are nodes or lack an embedding."""
    rows = passes.read(scratch, f"points-{item.number:06d}")["rows"]
    own = done.of[start : start + len(rows)]
    reached = np.zeros(item.element.rows, bool)
    probabilities = np.zeros((item.element.rows, done.probabilities.shape[1]), np.float32)
    reached[rows], probabilities[rows] = done.reached[own], done.probabilities[own]
    lacking = np.ones(item.element.rows, bool)
    lacking[rows] = False
    return json.loads(passes.leave(scratch, item.number, reached, probabilities, lacking))[0]


@dataclasses.dataclass(frozen=True)
class _Labeller(Fitted):
    scratch: str
    least: float

    def label(self, item: Item, rows: pa.Table) -> Labels:
        seeds = passes.read(self.scratch, f"seeds-{item.number:06d}")
        found = passes.read(self.scratch, f"found-{item.number:06d}")
        probabilities, gold = found["probabilities"], seeds["gold"]
        probabilities[~found["reached"]] = 1 / probabilities.shape[1]
        codes = probabilities.argmax(1).astype(np.int8)
        codes[~found["reached"] | (probabilities.max(1) < self.least)] = ABSTAIN
        # A row that earlier steps labelled takes part, and gets no vote that its own label made.
        codes[seeds["codes"] >= 0] = ABSTAIN
        codes[gold] = seeds["codes"][gold]
        probabilities[gold] = certain(codes[gold], probabilities.shape[1])
        return Labels(codes, probabilities, codes[:, None].copy())


def _check_seeds(where: str, settings: Settings, classes: Sequence[str], counts: Mapping[str, Any]) -> None:
    if not counts["rows"]:
        return
    absent = [name for name, count in zip(classes, counts["seeds"]) if not count]
    if not absent:
        return
    origin = " or ".join(
        [
            *(["the gold column"] if settings.gold else []),
            *(
                [f"{counts['labelled']:,} rows that earlier steps labelled"]
                if counts["labelled"] or not settings.gold
                else []
            ),
        ]
    )
    sure = f", with a probability of at least {settings.min_seed_probability}" if settings.min_seed_probability else ""
    raise HeadwaterError(
        f"{where}: there is no seed of {', '.join(map(repr, absent))} among {origin}{sure}, so that no row can get it; label "
        "a row of each class first, or leave the class out"
    )


def _warnings(step: Step, report: Mapping[str, Any], memory_nodes: int) -> list[str]:
    """What a person should look at."""
    warnings = []
    if report["unreached"]:
        warnings.append(
            f"{report['unreached']:,} {'rows abstain' if report['unreached'] > 1 else 'row abstains'}, as no seed reaches them through their neighbours; label some of them, or "
            f"raise neighbours above {step.settings.neighbours}"
        )
    if report["lacking"]:
        lacking = report["lacking"]
        warnings.append(
            f"{lacking:,} {'rows lack' if lacking > 1 else 'row lacks'} a usable embedding, and cannot be compared"
        )
    if report["coreset"]:
        why = f"memory suffices for {memory_nodes:,}" if memory_nodes else f"nodes is {step.settings.nodes:,}"
        warnings.append(
            f"the graph holds {report['rows_in_graph']:,} of {report['rows']:,} rows, since {why}; the others have the labels of "
            "their nearest rows in it"
        )
    if not report["held_out"] and step.settings.calibrate:
        warnings.append(
            f"probabilities are not calibrated: that takes {LEAST_SEEDS} seeds that other seeds reach, at least two of a class"
        )
    if report["far"] > _MOST_FAR:
        warnings.append(
            f"{percent(report['far'])} of the rows are farther from every seed than seeds are from each other, so that their labels "
            "rest on little: label some rows of all kinds, as headwater ask --strategy regions chooses them"
        )
    return warnings


def show(step: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    """A step's report with what `propagate.html` shows of it."""
    return {**step, "seeds_in_all": sum(step["seeds"].values())}
