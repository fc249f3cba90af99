"""What the statistics are of, for the strip on top of their page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common import cards
from headwater.components.common.pages import number, percent
from headwater.components.common.results import Home


def facts_of(
    body: Mapping[str, Any],
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList],
    features: int,
    eyes: int,
    home: Home | None,
) -> list[tuple[str, str]]:
    """The facts, as pairs of a name and a value.

    Args:
      body: of the statistics' manifest.
      statistics: by split.
      features, eyes: how many features there are, and how many of them need attention.
      home: where the statistics lie; None outside a `data_root`.
    """
    more = [("Features", f"{features:,}"), ("Need attention", f"{eyes:,}" if eyes else "none")]
    weights = {split: proto.datasets[0].weighted_num_examples for split, proto in statistics.items()}
    if any(weights.values()):
        more.append(("Weight", ", ".join(f"{split} {number(weight)}" for split, weight in weights.items() if weight)))
    if body.get("spans"):
        more.append(("Spans", ", ".join(map(str, body["spans"]))))
    if sample := body.get("sample"):
        drawn = f"{sample['kept']:,} of {sample['seen']:,} rows, drawn at a rate of {percent(sample['rate'])}"
        more.append(("Sample", f"{drawn} with seed {sample['seed']}"))
    if body.get("private"):
        more.append(("Private columns", f"{len(body['private'])}, their values hidden"))
    return cards.facts(
        findings=None,
        rows={split: entry["rows"] for split, entry in body["splits"].items()},
        span=body["dataset"]["span"],
        until=(body["dataset"].get("about") or {}).get("until"),
        home=home,
        more=more,
    )
