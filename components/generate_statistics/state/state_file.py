"""States as bytes, and back.

Stored, a state is an Arrow IPC file with the columns `name` and `content`, each content an Arrow IPC stream:

    numbers  slice, path, and one column for each of `NUMBERS`
    levels   slice, path, level, and one column for each of `LEVELS`
    points   slice, path, role, value, weight      distributions, see `points.Points`
    counts   slice, path, value, count, weight     values of text, see `counts.Counts`
    hashes   slice, path, hash                     of text with too many values, see `counts.Hashes`
    rests    slice, path, bin, count               of text with too many values, see `counts.Rests`
    pairs    first, second, and one column for each of `PAIRS`
    custom   feature, name, merge, value           users' own statistics

Whole numbers are as narrow as the greatest of them lets them be, and weights that are all 0 are missing, of type null.
The file's metadata holds `headwater.state`, the version of this format, and `headwater.about`, JSON with the slices,
their rows and weights, the paths, the rules of conversion, what was seen of meaning, and the settings.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common.distributions import FORMATS, HASH_BINS, one_array, open_state, streams_of
from headwater.components.generate_statistics.measure import semantics as meaning
from headwater.components.generate_statistics.state.counts import Counts, Hashes, Rests
from headwater.components.generate_statistics.state.limits import Limits
from headwater.components.generate_statistics.state.points import Points
from headwater.components.generate_statistics.state.state import LEVELS, NUMBERS, PAIRS, ROLES, L, N, State

VERSION = FORMATS[-1]

_WHOLE = (np.uint8, np.uint16, np.uint32, np.int64)


def encode(state: State) -> bytes:
    """The state as bytes; the same for the same state."""
    width = max(1, len(state.paths))
    keys, numbers = state.numbers
    level_keys, levels = state.levels
    own = level_keys // ROLES
    by_role = state.points.keys // ROLES
    tables = {
        "numbers": {**_split(keys, width), **{name: numbers[:, place] for name, place in N.items()}},
        "levels": {
            **_split(own, width),
            "level": narrow(level_keys % ROLES),
            **{name: levels[:, place] for name, place in L.items()},
        },
        "points": {
            **_split(by_role, width),
            "role": narrow(state.points.keys % ROLES),
            "value": state.points.values,
            "weight": state.points.weights,
        },
        "counts": {
            **_split(state.counts.keys, width),
            "value": state.counts.values,
            "count": narrow(state.counts.counts),
            "weight": state.counts.weights if state.counts.weights.any() else pa.nulls(len(state.counts.keys)),
        },
        "hashes": {**_split(state.hashes.keys, width), "hash": state.hashes.hashes},
        "rests": {
            **_split(state.rests.bins // HASH_BINS, width),
            "bin": narrow(state.rests.bins % HASH_BINS),
            "count": narrow(state.rests.counts),
        },
        "pairs": {
            "first": pa.array([pair[0] for pair in state.pairs], pa.string()),
            "second": pa.array([pair[1] for pair in state.pairs], pa.string()),
            **{
                name: np.array([moments[place] for moments in state.pairs.values()], np.float64)
                for place, name in enumerate(PAIRS)
            },
        },
        "custom": {
            "feature": pa.array([key[0] for key in state.custom], pa.string()),
            "name": pa.array([key[1] for key in state.custom], pa.string()),
            "merge": pa.array([how for how, _ in state.custom.values()], pa.string()),
            "value": np.array([value for _, value in state.custom.values()], np.float64),
        },
    }
    about = {
        "limits": dataclasses.asdict(state.limits),
        "settings": state.settings,
        "slices": state.slices,
        "labels": state.labels,
        "examples": state.examples.tolist(),
        "paths": [list(path) for path in state.paths],
        "rules": [[list(path), text] for path, text in sorted(state.rules.items())],
        "semantics": [[list(path), meaning.to_json(seen)] for path, seen in sorted(state.semantics.items())],
    }
    metadata = {"headwater.state": VERSION, "headwater.about": json.dumps(about)}
    contents = [_stream(pa.table(columns)) for columns in tables.values()]
    table = pa.table({"name": pa.array(list(tables)), "content": as_binary(contents)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema.with_metadata(metadata)) as writer:
        writer.write_table(table.replace_schema_metadata(metadata))
    return sink.getvalue().to_pybytes()


def as_binary(contents: Sequence[Any]) -> pa.Array:
    """Bytes and buffers as large_binary; a single one without a copy."""
    ends = np.cumsum([0, *(len(content) for content in contents)]).astype(np.int64)
    data = contents[0] if len(contents) == 1 else b"".join(contents)
    buffers = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(contents), buffers)


def narrow(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers of at least 0 in the narrowest type that holds them all."""
    most = int(numbers.max(initial=0))
    return numbers.astype(next(kind for kind in _WHOLE if most <= np.iinfo(kind).max))


def decode(content: bytes | pa.Buffer) -> State:
    """The state that `encode` wrote.

    Raises:
      HeadwaterError: it is no state, or one of another format.
    """
    table, about = open_state(content)
    tables = {name: pa.ipc.open_stream(part).read_all() for name, part in streams_of(table).items()}
    paths = [tuple(path) for path in about["paths"]]
    width = max(1, len(paths))

    def column(name: str, field: str) -> np.ndarray:
        return one_array(tables[name][field]).to_numpy(zero_copy_only=False)

    def whole(name: str, field: str) -> np.ndarray:
        return column(name, field).astype(np.int64)

    def keys(name: str) -> np.ndarray:
        return whole(name, "slice") * width + column(name, "path")

    def matrix(name: str, fields: Sequence[str]) -> np.ndarray:
        return np.stack([column(name, field) for field in fields], axis=1)

    pairs = zip(tables["pairs"]["first"].to_pylist(), tables["pairs"]["second"].to_pylist())
    custom = (tables["custom"][field].to_pylist() for field in ("feature", "name", "merge", "value"))
    return State(
        limits=Limits(**about["limits"]),
        settings=about["settings"],
        slices=about["slices"],
        examples=np.array(about["examples"], np.float64).reshape(-1, 2),
        paths=paths,
        rules={tuple(path): text for path, text in about["rules"]},
        numbers=(keys("numbers"), matrix("numbers", NUMBERS)),
        levels=(keys("levels") * ROLES + column("levels", "level"), matrix("levels", LEVELS)),
        points=Points(
            keys("points") * ROLES + column("points", "role"), column("points", "value"), column("points", "weight")
        ),
        counts=Counts(
            keys("counts"), one_array(tables["counts"]["value"]), whole("counts", "count"), _weights(tables["counts"])
        ),
        hashes=Hashes(keys("hashes"), column("hashes", "hash")),
        rests=Rests(keys("rests") * HASH_BINS + column("rests", "bin"), whole("rests", "count")),
        pairs=dict(zip(pairs, matrix("pairs", PAIRS))),
        custom={(feature, name): (how, value) for feature, name, how, value in zip(*custom)},
        semantics={tuple(path): meaning.from_json(seen) for path, seen in about["semantics"]},
        labels=about["labels"],
    )


def _weights(table: pa.Table) -> np.ndarray:
    weights = table["weight"]
    return np.zeros(len(weights)) if pa.types.is_null(weights.type) else one_array(weights).to_numpy()


def _split(keys: np.ndarray, width: int) -> dict[str, np.ndarray]:
    return {"slice": narrow(keys // width), "path": narrow(keys % width)}


def _stream(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
