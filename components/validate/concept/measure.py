"""Concept drift and label drift between two datasets: the columns and bins, and the passes over the rows."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common import results, storage
from headwater.components.common.beam import check_options, map_merge
from headwater.components.common.dataset import OWN_PREFIX, Dataset, load_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.labelled import shown
from headwater.components.common.pool import warm_up
from headwater.components.common.results import Result
from headwater.components.common.settings import checked, whole_numbers
from headwater.components.common.tables_in_memory import Tabular, as_uri
from headwater.components.validate.concept import bins, counting
from headwater.components.validate.concept.bins import Column
from headwater.components.validate.concept.deciding import decide
from headwater.components.validate.concept.features import Feature
from headwater.components.validate.concept.settings import Concept

_LABEL = "concept drift"
_PRELOAD = ["headwater.components.validate.concept.counting"]
_FILE = "Split-{split}/FeatureStats.pb"
# An element of the graph has about so many cells: states are few, whatever the rows.
_ELEMENTS = 32
_LEAST_CELLS, _MOST_CELLS = 4 << 20, 64 << 20
_CELLS_WORTH_A_POOL = 8_000_000

_Features = Mapping[str, statistics_pb2.FeatureNameStatistics]


def measure_concept(
    current: Tabular,
    baseline: Tabular,
    *,
    config: Mapping[str, Any],
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
) -> dict[str, Any]:
    """Tells a change of what the label says of the same inputs from a change of the inputs, split by split.

    Each dataset is read once; where something seems to have changed, the columns in question up to six times more.

    Args:
      current: path or URI of the dataset that is looked at, or a table of pandas, polars or Arrow.
      baseline: the one that it is compared with, likewise.
      config: settings by name, as `settings.Concept` lists them; `label` is needed.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core, or none beside Beam's own for small data.

    Returns:
      JSON values: `label`; `baseline` and `current`, references to the datasets; `splits`, what `deciding.decide` tells
      of each, None where nothing can be compared; `findings` with their split: `CONCEPT_DRIFT`, `COVARIATE_DRIFT`,
      `LABEL_DRIFT` and `COMPARISON_IMPOSSIBLE`, all warnings.

    Raises:
      HeadwaterError: a setting is wrong or names a column that neither dataset has, that is private or that cannot be
        cut into bins; the label has too many classes; a dataset or the baseline's statistics are missing or altered.
    """
    check_options(beam_pipeline_args)
    if not isinstance(config, Mapping):
        raise HeadwaterError("concept: must be a mapping of settings, as in {label: clicked}")
    options = checked(Concept, whole_numbers(config), "concept")
    baseline_data, current_data = (
        load_dataset(as_uri(given, name), beam_pipeline_args=beam_pipeline_args, workers=workers, preload=_PRELOAD)
        for given, name in ((baseline, "baseline"), (current, "current"))
    )
    rows = sum(side.rows(split) for side in (baseline_data, current_data) for split in side.splits)
    if rows * len(current_data.schema) >= _CELLS_WORTH_A_POOL:
        warm_up(_PRELOAD, workers)
    statistics = _statistics(options, baseline_data)
    columns = _Columns(options, baseline_data, current_data, _private(statistics, baseline_data, current_data))
    body: dict[str, Any] = {
        "label": options.label,
        "baseline": baseline_data.result.reference(),
        "current": current_data.result.reference(),
        "splits": {},
        "findings": [],
    }
    for split in current_data.splits:
        reason, summary = columns.impossible, None
        if not reason and split not in baseline_data.splits:
            reason = f"the baseline has no split {split!r}; it has {', '.join(baseline_data.splits)}"
        if not reason and split not in statistics.body["splits"]:
            reason = f"the baseline's statistics have no split {split!r}"
        if not reason and not (baseline_data.rows(split) and current_data.rows(split)):
            empty = "baseline" if current_data.rows(split) else "current data"
            reason = f"the {empty} has no rows in this split, so nothing can be compared"
        measured = {} if reason else _features(statistics, split)
        if not reason and options.label not in measured:
            reason = f"the baseline's statistics have no column {options.label!r}, which holds the label"
        if not reason:
            label, score, features = columns.cut(measured)
            if label is None:
                reason = f"no row of the baseline has a value in the label column {options.label!r}"
            else:
                passes = _Passes(baseline_data, current_data, split, beam_pipeline_args, workers)
                summary = decide(passes.count, label, features, score, options)
        findings = [_impossible(options.label, reason)] if summary is None else summary.pop("findings")
        findings += [_impossible(name, text) for name, text in columns.left_out.items() if summary is not None]
        body["findings"] += [{"split": split, **finding} for finding in findings]
        body["splits"][split] = summary
    return body


def check_columns(dataset: str, options: Concept) -> None:
    """Checks the names in the settings before there is a baseline to compare with.

    Args:
      dataset: path or URI of the current rows.
      options: the settings.

    Raises:
      HeadwaterError: the dataset has no such column.
    """
    known = load_dataset(dataset, unread=True).schema.names
    for key, name in [("label", options.label), *_named(options)]:
        _check_known(key, name, known)


def _named(options: Concept) -> list[tuple[str, str]]:
    """The columns that settings name beside the label, each with its setting."""
    named = [("score", options.score)] if options.score else []
    named += [("columns", name) for name in options.columns]
    return named + [("slices", name) for pair in options.slices for name in pair]


def _check_known(key: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise HeadwaterError(f"concept.{key}: there is no column {name!r}; the columns are {', '.join(sorted(known))}")


class _Columns:
    """What is compared, and why some columns are not."""

    def __init__(self, options: Concept, baseline_data: Dataset, current_data: Dataset, private: frozenset[str]):
        self._options, self._then = options, baseline_data.schema
        self._private = private
        self.left_out: dict[str, str] = {}
        """Reasons by column."""
        kinds = [
            {field.name: bins.kind_of(field.type) for field in side.schema if not field.name.startswith(OWN_PREFIX)}
            for side in (baseline_data, current_data)
        ]
        self.impossible = self._check("label", options.label, kinds)
        """Why nothing can be compared; empty when it can."""
        for key, name in _named(options):
            if reason := self._check(key, name, kinds):
                self.left_out[name] = reason
        # What label says of a label is no input of it.
        summary = shown(options.label) if {baseline_data.result.kind, current_data.result.kind} == {"labels"} else ()
        unwanted = {options.label, options.score, *baseline_data.key, *current_data.key, *summary}
        usual = [
            name for name in kinds[0] if name not in unwanted and name not in private and self._usable(name, kinds)
        ]
        self._names = [name for name in options.columns or usual if name not in self.left_out]
        if not options.columns:
            for name in kinds[0]:
                usable = name in kinds[1] and name not in unwanted and name not in private
                if usable and (reason := self._differ(name, kinds)):
                    self.left_out[name] = reason

    def cut(self, features: _Features) -> tuple[Column | None, Feature | None, list[Feature]]:
        """The label's classes, the score, and what is looked at, with bins from the statistics of one split."""
        options = self._options
        none = statistics_pb2.FeatureNameStatistics()
        label = bins.classes(
            features.get(options.label, none), self._then.field(options.label).type, options.label_bins
        )
        named = [name for _, name in _named(options)]
        columns: dict[str, Column] = {}
        for name in dict.fromkeys([*named, *self._names]):
            if name not in self.left_out:
                if binned := bins.column(features.get(name, none), self._then.field(name).type):
                    columns[name] = binned
                elif name in named:
                    self.left_out[name] = f"the baseline's statistics have no values of {name!r} to take bins from"
        score = Feature((columns[options.score],)) if options.score in columns else None
        inputs = [Feature((columns[name],)) for name in self._names if name in columns]
        pairs = (pair for pair in options.slices if set(pair) <= set(columns))
        inputs += [Feature(tuple(columns[name].held() for name in pair)) for pair in pairs]
        return label, score, inputs

    def _check(self, key: str, name: str, kinds: Sequence[Mapping[str, str]]) -> str:
        """Why a column that was named cannot be compared between these two datasets; empty when it can."""
        _check_known(key, name, {*kinds[0], *kinds[1]})
        if name in self._private:
            raise HeadwaterError(
                f"concept.{key}: column {name!r} is private, but findings would show its values; name it under "
                "`public` in the settings of generate-statistics if they may be shown"
            )
        for side, period in zip(kinds, ("baseline", "current data")):
            if name not in side:
                return f"the {period} has no column {name!r}"
        if not all(side[name] for side in kinds):
            raise HeadwaterError(
                f"concept.{key}: column {name!r} holds lists, structs or times, which cannot be binned; derive a "
                "number, a boolean or text from it"
            )
        return self._differ(name, kinds)

    def _differ(self, name: str, kinds: Sequence[Mapping[str, str]]) -> str:
        known = [side[name] for side in kinds]
        if "nothing" in known or "" in known or known[0] == known[1]:
            return ""
        return f"column {name!r} holds {known[0]} in the baseline and {known[1]} in the current data"

    def _usable(self, name: str, kinds: Sequence[Mapping[str, str]]) -> bool:
        return all(side.get(name) for side in kinds) and not self._differ(name, kinds)


class _Passes:
    """The graphs that run over one split of both datasets."""

    def __init__(
        self, baseline_data: Dataset, current_data: Dataset, split: str, beam_pipeline_args: Sequence[str], workers: int
    ):
        self._sides, self._split = (baseline_data, current_data), split
        self._args, self._workers = beam_pipeline_args, workers

    def count(self, plan: counting.Plan) -> counting.Counts:
        """Counts both periods' rows in one graph."""
        names = plan.names
        total = sum(side.rows(self._split) for side in self._sides) * len(names)
        rows = min(max(total // _ELEMENTS, _LEAST_CELLS), _MOST_CELLS) // len(names)
        items = []
        for period, side in enumerate(self._sides):
            schema = pa.schema([side.schema.field(name) for name in names])
            items += [(period, schema, held) for held in _gather(side.elements(self._split), rows)]
        homes = [side.home for side in self._sides if side.home]
        content = map_merge(
            _LABEL,
            items,
            functools.partial(counting.count_element, plan),
            functools.partial(counting.merge, plan),
            sizes=[sum(element.rows for element in held) for _, _, held in items],
            beam_pipeline_args=self._args,
            workers=self._workers or int(total < _CELLS_WORTH_A_POOL),
            scratch=storage.join(homes[-1].data_root, "_scratch") if homes else "",
            preload=_PRELOAD,
        )
        return counting.decode(plan, content)


def _gather(elements: Sequence[Any], rows: int) -> Iterator[tuple[Any, ...]]:
    """Neighbouring elements, as many as are worth a merge."""
    held: list[Any] = []
    for element in elements:
        if held and sum(each.rows for each in [*held, element]) > rows:
            yield tuple(held)
            held = []
        held.append(element)
    if held:
        yield tuple(held)


def _statistics(options: Concept, baseline_data: Dataset) -> Result:
    if options.statistics:
        return results.load(options.statistics, "statistics")
    if not baseline_data.home:
        raise HeadwaterError(
            "concept.statistics: bins come from the baseline's statistics, which are not next to it under a "
            "data_root; compute them with generate-statistics and give their folder here"
        )
    return results.load(baseline_data.home.folder("statistics"), "statistics")


def _private(statistics: Result, baseline_data: Dataset, current_data: Dataset) -> frozenset[str]:
    """Columns whose values must not be shown."""
    hidden = set(statistics.body.get("private") or {})
    shown = set(_measured(statistics)) - hidden
    for side in (baseline_data, current_data):
        # What collect hashed, redacted or generalised may be shown, and what the statistics show.
        for name, entry in (side.result.body.get("private") or {}).items():
            if (entry.get("action") or "keep") == "keep" and name not in shown:
                hidden.add(name)
    return frozenset(hidden)


def _measured(statistics: Result) -> list[str]:
    splits = list(statistics.body["splits"])
    return list(_features(statistics, splits[0])) if splits else []


def _features(statistics: Result, split: str) -> _Features:
    content = statistics.read(_FILE.format(split=split))
    datasets = statistics_pb2.DatasetFeatureStatisticsList.FromString(content).datasets
    return {feature.path.step[0]: feature for feature in datasets[0].features if len(feature.path.step) == 1}


def _impossible(feature: str, reason: str) -> dict[str, Any]:
    return {"feature": feature, "kind": "COMPARISON_IMPOSSIBLE", "severity": "warning", "message": reason}
