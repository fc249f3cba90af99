"""Statistics of data frames as generate-statistics leaves them."""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa

from headwater.components.common import results
from headwater.components.common.results import Home, Result
from headwater.components.generate_statistics.measure.measuring import measure
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.report.protos import to_statistics
from headwater.components.generate_statistics.state.state import State
from headwater.components.generate_statistics.state.state_file import encode


def save_statistics(
    folder: pathlib.Path, frames: dict[str, pd.DataFrame], *, span: int | None = None, name: str = "orders"
) -> Result:
    """Saves the statistics of one frame a split; under `folder`/root when there is a span."""
    states = {split: _measure(frame) for split, frame in frames.items()}
    files = {f"Split-{split}/State.arrow": encode(state) for split, state in states.items()}
    files.update(
        {
            f"Split-{split}/FeatureStats.pb": to_statistics(state, split).SerializeToString(deterministic=True)
            for split, state in states.items()
        }
    )
    return results.save(
        "statistics",
        str(folder / f"statistics-{span}-{len(list(folder.iterdir()))}"),
        files=files,
        body={
            "dataset": {"uri": "", "name": name, "span": span, "key": []},
            "splits": {split: {"rows": len(frame), "features": len(frame.columns)} for split, frame in frames.items()},
            "conversions": {},
            "private": {},
        },
        inputs={},
        settings={"rows": {split: str(pd.util.hash_pandas_object(frame).sum()) for split, frame in frames.items()}},
        home=Home(str(folder / "root"), name, span, 1) if span is not None else None,
    )


def _measure(frame: pd.DataFrame) -> State:
    table = pa.Table.from_pandas(frame, preserve_index=False).combine_chunks()
    batches = table.to_batches()
    batch = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
    settings = {"private": [], "keyed": False, "weight_feature": "", "label_feature": ""}
    return measure(batch, Plan(schema=table.schema, settings=settings))


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
