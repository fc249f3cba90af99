"""The statistics' page: what needs an eye first, each feature's splits over each other, slices side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common import charts, distributions, histograms
from headwater.components.common.pages import Unit, count, embedded, number, percent, render, unit_of, visible
from headwater.components.common.results import Home
from headwater.components.generate_statistics.measure.conversion import RULE
from headwater.components.generate_statistics.report.attention import common_of, deciles, missing_share, reasons, upto
from headwater.components.generate_statistics.report.facts import facts_of
from headwater.components.generate_statistics.report.protos import COUNTED, HIDDEN, RANKED

MOST_SLICE_CELLS = 1500
"""So many pairs of a feature and a slice are on the page at most; the statistics themselves hold all."""

_TYPES = {0: "integer", 1: "number", 2: "text", 3: "bytes", 4: "struct"}
# Wide data gets fewer values and quantiles of each feature, so that the page stays small.
_MANY_FEATURES = 300
_TOP_VALUES, _TOP_VALUES_OF_MANY = 10, 5
_QUANTILES, _QUANTILES_OF_MANY = 10, 5
_BINS_OF_MANY = 8
_BARS, _BARS_OF_MANY = 5, 3
_LEAST_DRAWN = 0.01
_LONGEST = 80
_LONGEST_NAME = 200
_MOST_PAIRS, _LIFTS_A_PAIR = 50, 5
_LEVELS = "level_"

_Feature: TypeAlias = statistics_pb2.FeatureNameStatistics
_Statistics = Mapping[str, statistics_pb2.DatasetFeatureStatisticsList]


def render_page(
    body: Mapping[str, Any],
    statistics: _Statistics,
    states: Mapping[str, bytes],
    links: Sequence[tuple[str, str]] = (),
    home: Home | None = None,
) -> str:
    """Renders the page.

    Args:
      body: of the statistics' manifest.
      statistics: by split, in the dataset's order; each with all rows first, then slices.
      states: their states, by split.
      links: names and addresses of other pages of the run.
      home: where the statistics lie; None outside a `data_root`.
    """
    known = {split: distributions.read(content) for split, content in states.items()}
    by_path: dict[tuple[str, ...], dict[str, _Feature]] = {}
    for split, proto in statistics.items():
        for feature in proto.datasets[0].features:
            by_path.setdefault(tuple(feature.path.step), {})[split] = feature
    many = len(by_path) > _MANY_FEATURES
    features = [
        _feature(place, path, mine, {split: known[split][path] for split in mine if path in known.get(split, {})}, many)
        for place, (path, mine) in enumerate(by_path.items())
    ]
    ranked = sorted(features, key=lambda each: (-sum(10**reason.weight for reason in each["reasons"]), each["place"]))
    slices, shown = _slices(statistics, by_path)
    eyes = sum(bool(each["reasons"]) for each in features)
    crosses, pairs_left = _crosses(statistics)
    return render(
        "headwater.components.generate_statistics",
        "page.html",
        title=body["dataset"]["name"] or body["dataset"]["uri"],
        body=body,
        facts=facts_of(body, statistics, len(features), eyes, home),
        features=ranked,
        eyes=eyes,
        kinds=sorted({each["kind"] for each in features}),
        slices=embedded(slices) if shown else "",
        slices_shown=shown,
        slices_all=max(len(proto.datasets) - 1 for proto in statistics.values()),
        slice_splits=[split for split, proto in statistics.items() if len(proto.datasets) > 1],
        crosses=crosses,
        pairs_left=pairs_left,
        links=links,
        width=charts.WIDTH,
        height=charts.HEIGHT,
    )


def _feature(
    place: int,
    path: tuple[str, ...],
    mine: Mapping[str, _Feature],
    known: Mapping[str, distributions.Feature],
    many: bool,
) -> dict[str, Any]:
    first = next(iter(mine.values()))
    summary = {custom.name: custom.str for custom in first.custom_stats if custom.str}
    unit = unit_of(summary.get(RULE, ""))
    kind = "category" if first.type == 0 and first.HasField("string_stats") else _TYPES.get(first.type, "")
    tables = _values(mine, _TOP_VALUES_OF_MANY if many else _TOP_VALUES)
    sides = [_side(feature) for feature in known.values()]
    bins, ticks = histograms.bins_of(sides, unit, _BINS_OF_MANY if many else histograms.BINS) if known else ([], [])
    codes = histograms.codes_of(sides) if known and first.type == 0 and not unit.name else []
    drawn = (
        charts.rows(_named(path), codes, list(known))
        if codes
        else charts.steps(_named(path), bins, list(known), ticks, read=unit.read)
    )
    if drawn is None and tables:
        drawn = _bars(path, mine, tables, _BARS_OF_MANY if many else _BARS)
    gists = {split: _gist(feature, unit) for split, feature in mine.items()}
    gists.update({split: _gist_of_codes(codes, side) for side, split in enumerate(known)} if codes else {})
    return {
        "place": place,
        "name": _named(path),
        "kind": unit.name or kind,
        "reasons": reasons(mine, bool(unit.name)),
        "drawn": drawn,
        "missing": {split: missing_share(feature) for split, feature in mine.items()},
        "gists": gists,
        "facts": _facts(mine, unit),
        "quantiles": _quantiles(mine, unit, _QUANTILES_OF_MANY if many else _QUANTILES),
        "tops": tables,
        "hidden": summary.get(HIDDEN, ""),
        "notes": [
            f"{words}: {summary[name]}"
            for name, words in (
                (RULE, "converted"),
                (COUNTED, "values"),
                (RANKED, "quantiles"),
            )
            if name in summary and summary[name] != "exact"
        ],
        "custom": _custom(mine),
    }


def _side(feature: distributions.Feature) -> histograms.Side:
    if not feature.numeric:
        return histograms.Side(np.zeros(0), np.zeros(0))
    kept = np.isfinite(feature.points)
    # Points may be rounded, the extremes are known.
    return histograms.Side(feature.points[kept], feature.weights[kept], feature.low, feature.high, feature.nan)


def _named(path: Sequence[str]) -> str:
    """A path in words; a dot in a column's name is no step."""
    return visible(" › ".join(path), _LONGEST_NAME)


def _bars(
    path: tuple[str, ...], mine: Mapping[str, _Feature], tables: Mapping[str, Any], most: int
) -> dict[str, Any] | None:
    """The chart of the top values; None where these hardly ever occur, so that bars would say nothing."""
    # Weighted columns are another measure, so they are not drawn.
    plain = [place for place, head in enumerate(tables["heads"]) if head in mine]
    bins = [charts.Bin(value, tuple(own[place] or 0.0 for place in plain)) for value, own in tables["rows"][:most]]
    if max(share for each in bins for share in each.shares) < _LEAST_DRAWN:
        return None
    left = max(feature.string_stats.unique for feature in mine.values()) - len(bins)
    if left > 0:
        rest = tuple(max(0.0, 1 - sum(each.shares[place] for each in bins)) for place in range(len(plain)))
        bins.append(charts.Bin("", rest))
    sides = [tables["heads"][place] for place in plain]
    return charts.rows(_named(path), bins, sides, most_rows=len(bins) - (left > 0), others=f"{left:,} more")


def _gist(feature: _Feature, unit: Unit) -> str:
    """A feature of one split in a few words."""
    common = common_of(feature)
    if feature.HasField("num_stats") and common.tot_num_values and deciles(feature):
        stats = feature.num_stats
        return " · ".join(unit.read(value) for value in (stats.min, stats.median, stats.max))
    if feature.HasField("string_stats") and common.tot_num_values:
        stats = feature.string_stats
        words = f"{count(stats.unique)} distinct"
        if stats.top_values:
            share = percent(stats.top_values[0].frequency / common.tot_num_values)
            words += f" · {_shown(stats.top_values[0].value, 24)} {share}"
        return words
    if feature.HasField("bytes_stats") and common.tot_num_values:
        return f"{number(feature.bytes_stats.avg_num_bytes)} bytes on average"
    return "no values" if not common.tot_num_values else ""


def _gist_of_codes(codes: Sequence[charts.Bin], side: int) -> str:
    """Integers that are shown by name in a few words, as of text."""
    most = max(codes, key=lambda each: each.shares[side])
    distinct = sum(each.shares[side] > 0 for each in codes)
    return f"{count(distinct)} distinct · {most.name} {percent(most.shares[side])}" if distinct else "no values"


def _shown(value: str, longest: int = _LONGEST) -> str:
    return visible(value, longest) if value else "(empty)"


def _facts(mine: Mapping[str, _Feature], unit: Unit) -> dict[str, Any]:
    """A table of what is known of each split beside quantiles and values: heads, and rows of cells."""
    rows = [(name, _row(feature, unit)) for name, feature in mine.items()]
    for split, feature in mine.items():
        if feature.num_stats.HasField("weighted_numeric_stats"):
            weighted = feature.num_stats.weighted_numeric_stats
            rows.append(
                (f"{split}, weighted", {"mean": unit.read(weighted.mean), "std": unit.spread(weighted.std_dev)})
            )
    heads = list(dict.fromkeys(head for _, row in rows for head in row))
    return {"heads": heads, "rows": [(name, [row.get(head, "–") for head in heads]) for name, row in rows]}


def _row(feature: _Feature, unit: Unit) -> dict[str, str]:
    common = common_of(feature)
    row = {"values": count(common.tot_num_values), "missing": count(common.num_missing)}
    if common.max_num_values > 1:
        row["values a row"] = f"{count(common.min_num_values)} to {count(common.max_num_values)}"
    if feature.HasField("num_stats") and feature.num_stats.histograms:
        stats, histogram = feature.num_stats, feature.num_stats.histograms[0]
        if histogram.num_nan:
            row["NaN"] = count(histogram.num_nan)
        row["mean"], row["std"] = unit.read(stats.mean), unit.spread(stats.std_dev)
        if not unit.name:
            row["zeros"] = count(stats.num_zeros)
    elif feature.HasField("string_stats"):
        stats = feature.string_stats
        row["distinct"], row["mean bytes"] = count(stats.unique), number(stats.avg_length)
        if stats.invalid_utf8_count:
            row["not UTF-8"] = count(stats.invalid_utf8_count)
    elif feature.HasField("bytes_stats"):
        stats = feature.bytes_stats
        row["mean bytes"] = number(stats.avg_num_bytes)
        row["min to max bytes"] = f"{count(stats.min_num_bytes)} to {count(stats.max_num_bytes)}"
    return row


def _quantiles(mine: Mapping[str, _Feature], unit: Unit, parts: int) -> dict[str, Any]:
    rows, most = [], 0
    for split, feature in mine.items():
        for name, known in (
            (split, feature.num_stats.histograms),
            (f"{split}, weighted", feature.num_stats.weighted_numeric_stats.histograms),
        ):
            histogram = next((each for each in known if each.type == 1 and each.buckets), None)
            if histogram:
                bounds = [histogram.buckets[0].low_value, *(bucket.high_value for bucket in histogram.buckets)]
                rows.append((name, bounds))
                most = max(most, len(bounds))
    if not rows:
        return {}
    kept = _evenly(most, parts)
    heads = ["min" if place == 0 else "max" if place == most - 1 else f"{place / (most - 1):.3g}" for place in kept]
    summary = [
        (name, [unit.read(bounds[place * (len(bounds) - 1) // (most - 1)]) for place in kept]) for name, bounds in rows
    ]
    return {"heads": heads, "rows": summary}


def _evenly(many: int, parts: int) -> list[int]:
    """Places of the bounds of at most so many parts out of many, the first and the last among them."""
    parts = min(many - 1, parts)
    return [part * (many - 1) // parts for part in range(parts + 1)]


def _values(mine: Mapping[str, _Feature], top: int) -> dict[str, Any]:
    """The most frequent text values and their shares in each split."""
    texts = {split: feature.string_stats for split, feature in mine.items() if feature.HasField("string_stats")}
    named = dict.fromkeys(value.value for stats in texts.values() for value in stats.top_values[:top])
    if not named:
        return {}
    shares: dict[str, dict[str, float]] = {}
    for split, stats in texts.items():
        total = stats.common_stats.tot_num_values or 1
        own = shares[split] = {value.value: value.frequency / total for value in stats.top_values}
        if named.keys() - own.keys():
            # What is frequent in another split may be less so here.
            own.update({each.label: each.sample_count / total for each in stats.rank_histogram.buckets})
        if weighted := stats.weighted_string_stats.top_values:
            total = stats.common_stats.weighted_common_stats.tot_num_values or 1
            shares[f"{split}, weighted"] = {value.value: value.frequency / total for value in weighted}
    ranked = sorted(named, key=lambda value: -max(own.get(value, 0.0) for own in shares.values()))[:top]
    return {
        "heads": list(shares),
        "rows": [(_shown(value), [own.get(value) for own in shares.values()]) for value in ranked],
    }


def _custom(mine: Mapping[str, _Feature]) -> list[tuple[str, list[str]]]:
    """Further statistics, of users' functions and of what values mean, by name with one cell a split."""
    rows: dict[str, dict[str, str]] = {}
    for split, feature in mine.items():
        for custom in feature.custom_stats:
            if custom.name in (RULE, HIDDEN, COUNTED, RANKED) or custom.name.startswith(_LEVELS):
                continue
            kind = custom.WhichOneof("val")
            if kind == "num":
                rows.setdefault(custom.name, {})[split] = number(custom.num)
            elif kind == "str":
                rows.setdefault(custom.name, {})[split] = visible(custom.str, _LONGEST)
            elif kind == "rank_histogram":
                ranks = [
                    f"{visible(rank.label, 40)} ({count(rank.sample_count)})"
                    for rank in custom.rank_histogram.buckets[:5]
                ]
                rows.setdefault(custom.name, {})[split] = ", ".join(ranks)
    return [(visible(name, _LONGEST), [cells.get(split, "–") for split in mine]) for name, cells in rows.items()]


def _slices(
    statistics: _Statistics, shown_features: Mapping[tuple[str, ...], Mapping[str, _Feature]]
) -> tuple[dict[str, Any], int]:
    """What the page's script shows of slices: for each split and feature one row a slice, all rows first."""
    most = max(2, MOST_SLICE_CELLS // max(1, len(shown_features) * len(statistics)))
    result: dict[str, Any] = {}
    shown = 0
    for split, proto in statistics.items():
        if len(proto.datasets) < 2:
            continue
        largest = sorted(proto.datasets[1:], key=lambda dataset: -dataset.num_examples)[:most]
        datasets = [proto.datasets[0], *largest]
        shown = max(shown, len(largest))
        by_path = [{tuple(feature.path.step): feature for feature in dataset.features} for dataset in datasets]
        features = [_sliced(path, [known[path] for known in by_path]) for path in by_path[0]]
        result[split] = {
            "slices": [["all rows", proto.datasets[0].num_examples]]
            + [[visible(dataset.name, _LONGEST_NAME), dataset.num_examples] for dataset in largest],
            "features": features,
        }
    return result, shown


def _sliced(path: tuple[str, ...], features: Sequence[_Feature]) -> dict[str, Any]:
    rule = next((custom.str for custom in features[0].custom_stats if custom.name == RULE), "")
    unit = unit_of(rule)
    rows = []
    for feature, drawn in zip(features, charts.outlines(_by_deciles(features))):
        stats, cells = feature.num_stats, []
        if feature.HasField("num_stats"):
            known = [unit.read(value) for value in (stats.min, stats.median, stats.mean, stats.max)]
            cells = [*known, unit.spread(stats.std_dev)] if deciles(feature) else ["–"] * 5
        else:
            cells = [_gist(feature, unit)]
        rows.append([drawn, percent(missing_share(feature)), *cells])
    heads = ["Min", "Median", "Mean", "Max", "Std"] if features[0].HasField("num_stats") else ["Values"]
    return {"name": _named(path), "heads": heads, "rows": rows}


def _by_deciles(features: Sequence[_Feature]) -> list[list[float]]:
    """The share of each slice between the deciles of all rows, which come first."""
    histograms = [deciles(feature) for feature in features]
    if histograms[0] is None:
        return [[] for _ in features]
    bounds = [end for bucket in histograms[0].buckets for end in (bucket.low_value, bucket.high_value)]
    ends = np.unique([end for end in bounds if np.isfinite(end)])
    if not len(ends):
        return [[] for _ in features]
    ends = ends[1:] if len(ends) > 1 else ends
    return [[] if each is None else np.diff(upto(each, ends), prepend=0.0).tolist() for each in histograms]


def _crosses(statistics: _Statistics) -> tuple[list[dict[str, Any]], int]:
    """Pairs of features, and how many are left out."""
    crosses = [(split, cross) for split, proto in statistics.items() for cross in proto.datasets[0].cross_features]
    summary = []
    for split, cross in crosses[:_MOST_PAIRS]:
        words = list(_cross(cross))
        summary.append(
            {
                "split": split,
                "first": _named(cross.path_x.step),
                "second": _named(cross.path_y.step),
                "count": cross.count,
                "words": words,
            }
        )
    return summary, len(crosses) - len(summary)


def _cross(cross: Any) -> Iterator[str]:
    if cross.HasField("num_cross_stats"):
        yield f"correlation {cross.num_cross_stats.correlation:.3f}"
        yield f"covariance {number(cross.num_cross_stats.covariance)}"
    lifts = [
        (value.lift, series.y_string, value.x_string)
        for series in cross.categorical_cross_stats.lift.lift_series
        for value in series.lift_values
    ]
    for lift, second, first in sorted(lifts, key=lambda each: -each[0])[:_LIFTS_A_PAIR]:
        yield f"{_shown(first, 40)} with {_shown(second, 40)}: lift {number(lift)}"
