"""Values and rows far from the others: robust z of each column, and isolation across columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.collect.rules.base import Evidence, Outcome
from headwater.components.collect.rules.binning import numbers
from headwater.components.collect.rules.findings import finding
from headwater.components.common.findings import percent
from headwater.components.common.outliers import FAR, ISOLATED, isolation, scale_of

MOST_FAR = 0.01
"""A column with a larger share of outliers has another shape than a normal one: shown on the page, not a finding."""

EXTREME = 25.0
"""One robust z beyond this is a finding, where outliers are few."""

_FEW_ROWS = 100


def outlying_values(evidence: Evidence) -> Outcome:
    """`outlier` and `isolated_rows`: see `find_outliers`."""
    if not evidence.sample:
        return Outcome([])
    # A key's numbers are names: a distance between them means nothing.
    table, key = evidence.sample.table, evidence.settings.key
    outliers = find_outliers(table.drop([name for name in key if name in table.column_names]))
    return Outcome(outliers.pop("findings"), {"outliers": outliers})


def find_outliers(sample: pa.Table, *, seed: int = 0) -> dict[str, Any]:
    """Outliers of a sample.

    Args:
      sample: rows of the dataset.
      seed: of the isolation forest.

    Returns:
      `findings`; `columns`, for each column of numbers the `share` of outliers, the most extreme robust `z`, and whether
      it was looked at on a logarithmic scale; `rows`, how many stand alone by an isolation forest (Liu, Ting & Zhou,
      2008) with a score above 0.65 and a robust z beyond `FAR`, and `worst`: their places in the sample and the columns
      that they are furthest in.
    """
    names = [
        field.name for field in sample.schema if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    ]
    columns, findings, scores = {}, [], {}
    for name in names:
        values = numbers(pa.concat_arrays(sample[name].chunks))
        finite = values[np.isfinite(values)]
        if len(finite) < _FEW_ROWS or len(np.unique(finite)) < 10:
            continue
        scale = scale_of(finite)
        z = scale.distances(np.where(np.isfinite(values), values, np.nan))
        far = np.abs(np.nan_to_num(z)) > FAR
        share, extreme = float(far.sum() / len(finite)), float(np.nanmax(np.abs(z)))
        scores[name] = z
        columns[name] = {"share": round(share, 6), "z": round(extreme, 2), "logarithmic": scale.logarithmic}
        if extreme > EXTREME and 0 < share <= MOST_FAR and not _is_heavy(z):
            message = (
                f"{name!r} has values {extreme:,.0f} robust standard deviations from its middle ({percent(share)} of the "
                "rows are outliers)"
            )
            findings.append(finding("outlier", "info", name, message, round(extreme, 2), EXTREME))
    isolated, worst = _isolate(scores, sample.num_rows, seed)
    if isolated:
        message = f"{isolated:,} of {sample.num_rows:,} sampled rows are multivariate outliers"
        findings.append(finding("isolated_rows", "info", None, message, isolated / sample.num_rows, ISOLATED))
    return {"findings": findings, "columns": columns, "rows": isolated, "worst": worst}


def _is_heavy(z: np.ndarray) -> bool:
    """Whether far values are the tail of the column's own shape: they thin out by a power of the distance (Hill,
    1975)."""
    ordered = np.sort(np.abs(z[np.isfinite(z)]))[::-1]
    most = max(20, len(ordered) // 50)
    tail = ordered[: most + 1]
    if len(tail) <= most or tail[-1] <= 0:
        return False
    index = most / float(np.log(tail[:most] / tail[-1]).sum() or np.inf)
    # What a tail of this index lets expect as the largest of so many values, ten times over.
    return tail[0] < 10 * tail[-1] * most ** (1 / max(index, 1e-9))


def _isolate(scores: dict[str, np.ndarray], rows: int, seed: int) -> tuple[int, list[dict[str, Any]]]:
    if len(scores) < 2 or rows < _FEW_ROWS:
        return 0, []
    names = list(scores)
    table = np.stack([np.nan_to_num(scores[name]) for name in names], axis=1)
    alone = isolation(table, seed)(table)
    # The corners of an even cloud score high too: a row apart is far out in some column besides.
    apart = (alone > ISOLATED) & (np.abs(table).max(axis=1) > FAR)
    order = np.argsort(-alone, kind="stable")[:10]
    worst = [
        {
            "place": int(place),
            "score": round(float(alone[place]), 4),
            "columns": [names[each] for each in np.argsort(-np.abs(table[place]), kind="stable")[:3]],
        }
        for place in order
        if apart[place]
    ]
    return int(apart.sum()), worst
