"""Statistics of several spans as one, from their states alone: no row is read again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from headwater.components.common import results
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.components.generate_statistics.compute import FILE, STATE
from headwater.components.generate_statistics.measure.cross_features import TOGETHER
from headwater.components.generate_statistics.plan.privacy import Private
from headwater.components.generate_statistics.report.page import render_page
from headwater.components.generate_statistics.report.protos import to_statistics
from headwater.components.generate_statistics.settings import Settings
from headwater.components.generate_statistics.state import state as states
from headwater.components.generate_statistics.state import state_file

# Settings that shape what is reported of a state and not the state itself; the first result's hold.
_OF_TELLING = (
    "num_top_values",
    "frequency_threshold",
    "weighted_frequency_threshold",
    "num_rank_histogram_buckets",
    "num_values_histogram_buckets",
    "num_histogram_buckets",
    "num_quantiles_histogram_buckets",
)


def merge_statistics(uris: Sequence[str | os.PathLike[str]], output: str) -> Result:
    """The statistics of all the rows of several results, such as the spans of a rolling window.

    They equal those of the union of the rows: counts, extremes and text exactly, mean and std to 1e-12, quantiles and
    the number of distinct values within the errors that they state.

    Args:
      uris: results of generate-statistics or of this function, in an order that counts for equal bytes.
      output: folder for the result.

    Returns:
      The statistics, split by split; a split that is missing from some results is merged from the others.

    Raises:
      HeadwaterError: there is no result, one is missing or altered, or they were made with settings that give states
        which cannot be added, or of a column with different types.
    """
    if isinstance(uris, (str, os.PathLike)) or not uris:
        raise HeadwaterError("merge: give the URIs of at least one result of generate-statistics, as a list")
    loaded = [results.load(os.fspath(uri), "statistics") for uri in uris]
    if len({result.sha256 for result in loaded}) < len(loaded):
        raise HeadwaterError("merge: a result is given twice, so its rows would count twice")
    telling = {name: value for name, value in loaded[0].manifest["settings"].items() if name in _OF_TELLING}
    sizes = Settings(**telling).sizes
    splits = list(dict.fromkeys(split for result in loaded for split in result.body["splits"]))
    merged: dict[str, states.State] = {}
    for split in splits:
        own = [result for result in loaded if split in result.body["splits"]]
        contents = []
        for result in own:
            try:
                contents.append(state_file.decode(result.read(STATE.format(split=split))))
            except HeadwaterError as error:
                raise HeadwaterError(f"{result.uri}: {error}") from None
        try:
            merged[split] = states.merge(contents)
        except HeadwaterError as error:
            raise HeadwaterError(f"split {split!r}: {error}") from None
    first = next(iter(merged.values()))
    paths = frozenset(tuple(path) for path in first.settings.get("private_paths", ()))
    private = Private(frozenset(first.settings["private"]), first.settings["keyed"], paths)
    statistics = {
        split: to_statistics(
            state,
            split,
            sizes,
            weighted=bool(state.settings["weight_feature"]),
            private=private,
            label=state.settings["label_feature"],
        )
        for split, state in merged.items()
    }
    files = {
        FILE.format(split=split): proto.SerializeToString(deterministic=True) for split, proto in statistics.items()
    }
    files.update({STATE.format(split=split): state_file.encode(state) for split, state in merged.items()})
    names = dict.fromkeys(result.body["dataset"]["name"] for result in loaded)
    body: dict[str, Any] = {
        "dataset": {
            "uri": ", ".join(result.body["dataset"]["uri"] for result in loaded[:1]),
            "name": " and ".join(name for name in names if name),
            "span": None,
            "key": loaded[0].body["dataset"]["key"],
            "about": loaded[-1].body["dataset"].get("about", {}),
        },
        "splits": {
            split: {
                "rows": proto.datasets[0].num_examples,
                "features": len({path[0] for path in merged[split].paths} - {TOGETHER}),
            }
            for split, proto in statistics.items()
        },
        "conversions": {name: text for result in loaded for name, text in result.body["conversions"].items()},
        "private": {name: text for result in loaded for name, text in result.body["private"].items()},
        "private_paths": {name: own for result in loaded for name, own in result.body.get("private_paths", {}).items()},
        "spans": [span for result in loaded for span in _spans(result)],
    }
    return results.save(
        "statistics",
        output,
        files=files,
        body=body,
        inputs={f"statistics_{place:05d}": result for place, result in enumerate(loaded)},
        settings=telling,
        home=None,
        page=render_page(body, statistics, {split: files[STATE.format(split=split)] for split in statistics}),
    )


def _spans(result: Result) -> list[int]:
    if "spans" in result.body:
        return result.body["spans"]
    span = result.body["dataset"]["span"]
    return [] if span is None else [span]
