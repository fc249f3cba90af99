"""generate-statistics: one pass over a dataset, states merged in a fixed order; one before for slices by columns, one
after for the slices that cost most."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common import results, storage, timings
from headwater.components.common.arrow_types import is_text
from headwater.components.common.beam import check_options, map_merge
from headwater.components.common.dataset import Dataset, load_dataset
from headwater.components.common.items import Run
from headwater.components.common.origins import describe
from headwater.components.common.pages import relative_page
from headwater.components.common.pool import warm_up
from headwater.components.common.results import Result
from headwater.components.common.tables_in_memory import Tabular, as_uri
from headwater.components.common.user_code import code_of, named
from headwater.components.generate_statistics.measure.conversion import measured, rules
from headwater.components.generate_statistics.measure.work import (
    DIGESTS,
    Element,
    count_rows,
    decode_counts,
    measure_rows,
    measure_worst,
    merge_counts,
    merge_splits,
    merge_states,
    of_no_rows,
    on_element,
    unpack,
)
from headwater.components.generate_statistics.plan import slicing as slices
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.plan.privacy import Private
from headwater.components.generate_statistics.plan.slicing import Slicing, Spec
from headwater.components.generate_statistics.report.page import render_page
from headwater.components.generate_statistics.report.protos import to_statistics
from headwater.components.generate_statistics.settings import (
    Settings,
    Steering,
    check_against,
    check_settings,
    customs,
    find_private,
    steer,
)
from headwater.components.generate_statistics.state import state_file
from headwater.components.generate_statistics.state.limits import Limits
from headwater.components.generate_statistics.worst_slices import costs as worst_state
from headwater.components.generate_statistics.worst_slices import ranking as worst_slices
from headwater.components.generate_statistics.worst_slices.bins import bins as worst_bins
from headwater.components.generate_statistics.worst_slices.options import Options as WorstOptions

FILE = "Split-{split}/FeatureStats.pb"
STATE = "Split-{split}/State.arrow"

_LABEL = "generate-statistics"
_PRELOAD = ["headwater.components.generate_statistics.measure.work"]
# An element of the graph has about this share of the cells, and so many at least and at most. It follows from the data alone,
# and is short beside what a core has to do, so that many cores end together. Many slices make a state large, so that there
# should be fewer.
ELEMENTS = 1024
LEAST_CELLS, LEAST_CELLS_OF_MANY, MOST_CELLS = 2 << 20, 13 << 20, 64 << 20
_MANY_SLICES = 100
_PIECE_CELLS = 2 << 20
# Below this many cells, starting more processes costs more than it saves.
_CELLS_WORTH_A_POOL = 2_000_000


def compute_statistics(
    dataset: Tabular,
    output: str,
    *,
    config: Mapping[str, Any] | None = None,
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
) -> Result:
    """Computes the statistics of each split of a dataset.

    Args:
      dataset: path or URI of a dataset, or of a plain file, folder or glob; or a table of pandas, polars or Arrow.
      output: folder for the result.
      config: settings by name, as `settings.Settings` and the README list them.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core, or none beside Beam's own for small data.

    Returns:
      The statistics: `Split-<name>/FeatureStats.pb`, a `DatasetFeatureStatisticsList` as TFX lays it out, and
      `Split-<name>/State.arrow`, which `merge_statistics` adds to others.

    Raises:
      HeadwaterError: a setting is wrong, or the dataset is missing, altered, not accepted, or has a column whose type
        has no statistics.
    """
    check_options(beam_pipeline_args)
    settings = check_settings(named(config or {}))
    with timings.span("open"):
        opened = load_dataset(
            as_uri(dataset), unread=True, beam_pipeline_args=beam_pipeline_args, workers=workers, preload=_PRELOAD
        )
    if sum(map(opened.rows, opened.splits)) * len(opened.schema) >= _CELLS_WORTH_A_POOL:
        warm_up(_PRELOAD, workers)
    conversions = rules(opened.schema)
    steering = steer(settings.schema_)
    marked = {name: {"action": "keep"} for name in steering.private if name in opened.schema.names}
    told = opened.result.body.get("private") or {}
    # Where the schema says that a column is private, all of it is.
    whole = {name: {**entry, "paths": []} if name in marked else entry for name, entry in told.items()}
    private = find_private(settings, {**marked, **whole})
    check_against(settings, opened.schema, private)
    recorded = _recorded(settings, private)
    known = results.found("statistics", output, inputs={"dataset": opened.result}, settings=recorded, home=opened.home)
    if known:
        print(f"{_LABEL}: this was computed before: {known.uri}", flush=True)
        return known
    passes = _Passes(opened, beam_pipeline_args, workers)
    chosen, summary = _choose_slices(passes, settings)
    plan = _plan(settings, steering, opened, private, chosen)
    many = len(chosen.names) > _MANY_SLICES
    state_of = passes.run(
        functools.partial(measure_rows, plan, settings.sample_rate, settings.seed),
        merge_states,
        plan.schema,
        many=many,
    )
    with timings.span("report"):
        return _report(output, settings, passes.opened, plan, private, conversions, summary, state_of, passes)


def _report(
    output: str,
    settings: Settings,
    opened: Dataset,
    plan: Plan,
    private: Private,
    conversions: Mapping[str, str],
    summary: Mapping[str, Any],
    state_of: Mapping[str, bytes],
    passes: _Passes,
) -> Result:
    """Writes what the states say."""
    encoded = {split: state_of.get(split) or state_file.encode(of_no_rows(plan)) for split in opened.splits}
    states = {split: state_file.decode(content) for split, content in encoded.items()}
    label = settings.label_feature
    statistics = {
        split: to_statistics(state, split, settings.sizes, weighted=bool(plan.weight), private=private, label=label)
        for split, state in states.items()
    }
    files = {
        FILE.format(split=split): proto.SerializeToString(deterministic=True) for split, proto in statistics.items()
    }
    files.update({STATE.format(split=split): content for split, content in encoded.items()})
    kept = [name for name in plan.schema.names if name not in plan.skipped]
    body: dict[str, Any] = {
        "dataset": {
            "uri": opened.result.uri,
            "name": opened.home.name if opened.home else "",
            "span": opened.home.span if opened.home else None,
            "key": opened.key,
            "about": describe(opened.result),
        },
        "splits": {
            split: {"rows": proto.datasets[0].num_examples, "features": len(kept)}
            for split, proto in statistics.items()
        },
        "conversions": {name: text for name, text in conversions.items() if name in kept},
        "private": {name: _hidden(private, plan.schema.field(name)) for name in sorted(private.columns & set(kept))},
        "private_paths": {name: paths for name in kept if (paths := _paths(private, name))},
    }
    if summary:
        body["slices"] = summary
    if settings.sample_rate < 1:
        seen = sum(opened.rows(split) for split in opened.splits)
        drawn = int(sum(state.examples[0, 0] for state in states.values()))
        body["sample"] = {"rate": settings.sample_rate, "seed": settings.seed, "seen": seen, "kept": drawn}
    if settings.worst_slices:
        body["worst_slices"], body["worst_slices_looked_at"] = _find_worst(passes, settings.worst_slices, statistics)
    return results.save(
        "statistics",
        output,
        files=files,
        body=body,
        inputs={"dataset": opened.result},
        settings=_recorded(settings, private),
        home=opened.home,
        page=render_page(body, statistics, encoded, _links(opened), opened.home),
    )


class _Passes:
    """The dataset's elements, and the graphs that run over them."""

    def __init__(self, opened: Dataset, beam_pipeline_args: Sequence[str], workers: int):
        self.opened, self._args, self._workers = opened, beam_pipeline_args, workers

    def run(self, work: Any, merge: Any, schema: pa.Schema, what: str = "", many: bool = False) -> dict[str, bytes]:
        """Runs `work(split, number of the element, batches)` on each element, and merges what it gives by split."""
        width = max(1, len(schema))
        total = sum(self.opened.rows(split) for split in self.opened.splits) * width
        least = LEAST_CELLS_OF_MANY if many else LEAST_CELLS
        items = list(_gather(self.opened, min(max(total // ELEMENTS, least), MOST_CELLS) // width))
        # What reads files first takes their checksums.
        blocks = self.opened.blocks()
        items = [
            item._replace(
                blocks=tuple(blocks[len(blocks) * place // len(items) : len(blocks) * (place + 1) // len(items)])
            )
            for place, item in enumerate(items)
        ]
        sizes = [sum(element.rows for element in item.parts) for item in items]
        content = map_merge(
            f"{_LABEL}: {what}" if what else _LABEL,
            items,
            functools.partial(on_element, work, schema, least if many else _PIECE_CELLS),
            functools.partial(merge_splits, merge),
            sizes=sizes,
            beam_pipeline_args=self._args,
            workers=self._workers or int(total < _CELLS_WORTH_A_POOL),
            scratch=storage.join(self.opened.home.data_root, "_scratch") if self.opened.home else "",
            preload=_PRELOAD,
        )
        found = unpack(content)
        if blocks:
            self.opened = self.opened.read(found.pop(DIGESTS).decode().split("\n"))
        return found

    @property
    def schema(self) -> pa.Schema:
        """The dataset's."""
        return self.opened.schema

    @property
    def splits(self) -> list[str]:
        """The dataset's."""
        return self.opened.splits


def _gather(opened: Dataset, rows: int) -> Iterator[Element]:
    """Elements of the graph: neighbouring shards or ranges of one split, as many as are worth a merge.

    Those of a split have about as many rows each, so that the last ones take no longer than others.
    """
    place = 0
    for split in opened.splits:
        parts = list(opened.elements(split))
        upto = np.cumsum([0, *(part.rows for part in parts)])
        many = _fewest([part.rows for part in parts], rows)
        # Each part belongs where its middle lies.
        own = (upto[:-1] + upto[1:]) * many // max(1, 2 * int(upto[-1]))
        for _, group in itertools.groupby(zip(own.tolist(), parts), lambda pair: pair[0]):
            yield Element(split, place, Run(part for _, part in group))
            place += 1


def _fewest(sizes: Sequence[int], most: int) -> int:
    """How many groups neighbours make that have at most so much together, or are a single one."""
    groups, held = 0, most + 1
    for size in sizes:
        if held + size > most:
            groups, held = groups + 1, 0
        held += size
    return groups


def _plan(settings: Settings, steering: Steering, opened: Dataset, private: Private, chosen: Slicing) -> Plan:
    known = measured(opened.schema)
    kept = [name for name in known if not settings.feature_allowlist or name in settings.feature_allowlist]
    wanted = {*kept, settings.weight_feature, *(name for spec in chosen.specs for name in spec.columns)}
    if chosen.predicates or settings.custom_statistics:
        # Expressions and functions may name any column.
        wanted |= set(known)
    read = [name for name in known if name in wanted]
    return Plan(
        schema=pa.schema([opened.schema.field(name) for name in read]),
        skipped=frozenset(set(read) - set(kept)),
        limits=Limits(settings.max_exact_values, len(chosen.names)),
        settings={
            "weight_feature": settings.weight_feature,
            "label_feature": settings.label_feature,
            "categorical": sorted(list(path) for path in steering.categorical),
            "bytes": sorted(list(path) for path in steering.as_bytes),
            "private": sorted(private.columns),
            "private_paths": sorted(list(path) for path in private.paths),
            "keyed": private.keyed,
            "sample_rate": settings.sample_rate,
        },
        weight=settings.weight_feature,
        categorical=steering.categorical,
        as_bytes=steering.as_bytes,
        private=private,
        slicing=chosen,
        pairs=tuple(settings.pairs),
        semantics=settings.enable_semantic_domain_stats,
        custom=customs(settings),
    )


def _choose_slices(passes: _Passes, settings: Settings) -> tuple[Slicing, dict[str, Any]]:
    """The largest slices over all splits, and what is reported of them and of the rest."""
    families = settings.by_columns
    predicates = tuple(settings.predicates)
    if not families:
        summary = {"kept": len(predicates), "rest_slices": 0, "rest_rows": 0} if predicates else {}
        return Slicing((), predicates), summary
    names = sorted({name for columns in families for name in columns})
    schema = pa.schema([passes.schema.field(name) for name in names])
    counts = passes.run(functools.partial(count_rows, families), merge_counts, schema, "slices")
    table = decode_counts(merge_counts(list(counts.values()) or [count_rows(families, "", 0, iter(()))]))
    totals, candidates = [0] * len(families), []
    for family, value, count in zip(table.keys.tolist(), table.values.to_pylist(), table.counts.tolist()):
        if value:
            candidates.append((-count, families[family], slices.split_values(value), family))
        else:
            totals[family] = count
    candidates.sort()
    kept = candidates[: settings.max_slices]
    specs = [
        Spec(columns, tuple(sorted(values for _, _, values, own in kept if own == family)))
        for family, columns in enumerate(families)
    ]
    rest = sum(totals) + sum(count for count, *_ in kept)
    summary = {"kept": len(kept) + len(predicates), "rest_slices": len(candidates) - len(kept), "rest_rows": rest}
    return Slicing(tuple(specs), predicates, settings.label_feature), summary


def _find_worst(
    passes: _Passes, options: WorstOptions, statistics: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    chosen = {split: worst_bins(proto.datasets[0], options) for split, proto in statistics.items()}
    names = {column.name for bins in chosen.values() for column in bins.columns}
    names |= {options.errors, options.prediction, options.label}
    schema = pa.schema([field for field in passes.schema if field.name in names])
    states = passes.run(functools.partial(measure_worst, options, chosen), worst_state.merge, schema, "worst slices")
    worst_state.unseen_classes(list(states.values()), options)
    listed = {
        split: worst_slices.rank(states[split], chosen[split], options) for split in passes.splits if split in states
    }
    looked = {
        split: {**worst_state.totals(states[split], chosen[split]), "columns_left_out": list(chosen[split].left_out)}
        for split in passes.splits
        if split in states
    }
    return listed, looked


def _links(opened: Dataset) -> list[tuple[str, str]]:
    """The pages of what was measured, under a `data_root`."""
    here = opened.home
    if here is None:
        return []
    name = "Labels" if opened.result.kind == "labels" else "Data"
    return [("Overview", "../reports/index.html"), (name, relative_page(opened.result, here))]


def _hidden(private: Private, field: pa.Field) -> str:
    """What was done to a private column, or to which paths of it."""
    if paths := _paths(private, field.name):
        return f"only {', '.join(paths)}: {private.rule('text')}, {private.rule('number')}"
    return private.rule("text" if is_text(field.type) else "number")


def _paths(private: Private, column: str) -> list[str]:
    return [".".join(path[1:]) for path in private.of_struct(column)]


def _recorded(settings: Settings, private: Private) -> dict[str, Any]:
    """Settings for the manifest: those that were given, what users' code was, and whether values were hashed under a key."""
    given = settings.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if settings.custom_statistics:
        given["code"] = {custom.function: code_of(custom.function) for custom in settings.custom_statistics}
    if not private.columns:
        return given
    paths = {"hidden_paths": sorted(list(path) for path in private.paths)} if private.paths else {}
    return {**given, "hidden": sorted(private.columns), "keyed": private.keyed, **paths}
