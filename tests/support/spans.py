"""Statistics of data frames as generate-statistics leaves them, made by TFDV's own calls."""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
from headwater.components.common import results
from headwater.components.common.results import Home, Result
from headwater.components.common.tfdv import tfdv


def save_statistics(
    folder: pathlib.Path, frames: dict[str, pd.DataFrame], *, span: int | None = None, name: str = "orders"
) -> Result:
    """Saves the statistics of one frame a split; under `folder`/root when there is a span."""
    protos = {split: tfdv.generate_statistics_from_dataframe(frame) for split, frame in frames.items()}
    for split, proto in protos.items():
        proto.datasets[0].name = split
    return results.save(
        "statistics",
        str(folder / f"statistics-{span}-{len(list(folder.iterdir()))}"),
        files={f"Split-{split}/FeatureStats.pb": proto.SerializeToString() for split, proto in protos.items()},
        body={
            "dataset": {"uri": "", "name": name, "span": span, "key": []},
            "splits": {split: {"rows": len(frame), "features": len(frame.columns)} for split, frame in frames.items()},
            "conversions": {},
        },
        inputs={},
        settings={"rows": {split: str(pd.util.hash_pandas_object(frame).sum()) for split, frame in frames.items()}},
        home=Home(str(folder / "root"), name, span, 1) if span is not None else None,
    )


def orders(seed: int = 1, rows: int = 1000) -> pd.DataFrame:
    """Orders: a number, a whole number, a category, and one with gaps."""
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": chance.normal(10, 1, rows),
            "quantity": chance.integers(1, 6, rows),
            "kind": chance.choice(["book", "film", "game"], rows),
            "country": np.where(chance.random(rows) < 0.2, None, chance.choice(["at", "de"], rows)),
        }
    )
