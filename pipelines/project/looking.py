"""A look at data for which there are no settings yet: what `headwater init` writes into a project file, with evidence."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import tempfile
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import storage
from headwater.components.common.dataset import OWN_PREFIX, open_dataset
from headwater.components.common.errors import HeadwaterError

SAMPLE_BYTES = 8 << 20
"""Of a larger text file only its beginning is looked at."""

_TEXT = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
_MOST_FILES = 3
_MOST_ROWS = 200_000
_MOST_CLASSES = 20
_MOST_PAIRED = 8
_KEY_NAME = re.compile(r"(^|_)(id|key|uuid|guid|number|no|nr)$", re.IGNORECASE)
_TIME_NAME = re.compile(r"time|date|day|when|created|moment|_at$|_ts$", re.IGNORECASE)
_LABEL_NAME = re.compile(
    r"^(label|target|y|class|outcome|result|response)$|^is_|churn|fraud|default|survived", re.IGNORECASE
)
_CODE_NAME = re.compile(r"(^|_)(zip|zipcode|postal|postcode|plz|phone|tel|code|account|iban)($|_)", re.IGNORECASE)


@dataclasses.dataclass
class Look:
    """What a look at the data found. Each entry has the setting's value and the evidence for it.

    Attributes:
      rows: how many were looked at.
      whole: whether that is all.
      name: a name for the dataset.
      reading: settings of how text is read, with the evidence.
      key: columns that identify a row; none where no column and no pair does.
      key_evidence: why.
      time: columns of dates and times, the likeliest first.
      labels: columns that may be the label, the likeliest first; the first has its name where `named`.
      private: columns with personal data, with the kinds found.
      missing: values that look like missing ones, by column.
      types: types worth declaring, by column.
    """

    rows: int
    whole: bool
    name: str
    reading: list[tuple[str, Any, str]] = dataclasses.field(default_factory=list)
    key: list[str] = dataclasses.field(default_factory=list)
    key_evidence: str = ""
    time: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    labels: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    named: bool = False
    private: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    missing: list[tuple[str, list[Any], str]] = dataclasses.field(default_factory=list)
    types: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)


def look(sources: Sequence[str]) -> Look:
    """Looks at the beginning of a few files, by collecting it.

    Raises:
      HeadwaterError: a source is not there, or cannot be read.
    """
    from headwater.components.collect import collect_dataset, spans

    files = [uri for source in sources for uri in spans.files(source)]
    with tempfile.TemporaryDirectory() as folder:
        samples, whole, encoding = [], len(files) <= _MOST_FILES, ""
        for number, uri in enumerate(files[:_MOST_FILES]):
            place, all_of_it, needed = _sample(uri, os.path.join(folder, f"{number}-{os.path.basename(uri)}"))
            samples.append(place)
            whole &= all_of_it
            encoding = encoding or needed
        reading: dict[str, Any] = {"encoding": encoding} if encoding else {}
        out = os.path.join(folder, "dataset")
        result = collect_dataset(
            samples, out, splits={"all": 1.0}, max_rejected_share=1.0, workers=1, analyse=False, **reading
        )
        rows = open_dataset(out).head(_MOST_ROWS)
        columns = [name for name in rows.schema.names if not name.startswith(OWN_PREFIX) and name != "split"]
        rows = rows.select(columns)
        found_here = Look(rows.num_rows, whole and rows.num_rows < _MOST_ROWS, _name(files[0]))
        _look_at_reading(found_here, result.body, encoding)
        found_here.private = [(name, ", ".join(part["kinds"])) for name, part in result.body["private"].items()]
    _look_at_values(found_here, rows)
    _look_for_key(found_here, rows)
    return found_here


def _sample(uri: str, place: str) -> tuple[str, bool, str]:
    """A file to look at in place of another, whether it is all of it, and the encoding that its text needs."""
    if not uri.lower().endswith(_TEXT):
        return uri, True, ""
    with storage.open_input(uri) as stream:
        size = stream.size()
        head = stream.read(min(size, SAMPLE_BYTES))
    encoding = ""
    if not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            head[: head.rfind(b"\n") + 1 or len(head)].decode("utf-8")
        except UnicodeDecodeError:
            encoding = "cp1252"
    if size <= SAMPLE_BYTES:
        return uri, True, encoding
    pathlib.Path(place).write_bytes(head[: head.rfind(b"\n") + 1])
    return place, False, encoding


def _name(uri: str) -> str:
    """A dataset's name from a file's: without its ending, dates and numbers."""
    stem = os.path.basename(uri).partition(".")[0]
    stem = re.sub(r"[^A-Za-z0-9_]+", "-", stem)
    stem = re.sub(r"[-_]*\d+([-_]\d+)*[-_]*", "-", stem).strip("-_")
    return stem or "data"


def _look_at_reading(look: Look, body: Any, encoding: str) -> None:
    dialect: dict[str, Any] = {}
    for source in body["lineage"]["sources"]:
        dialect.update(source.get("dialect") or {})
    for key in ("delimiter", "quote", "escape", "skip_rows"):
        if key in dialect:
            look.reading.append((key, dialect[key], "detected from the beginning of the file"))
    if encoding:
        look.reading.append(("encoding", encoding, "the text is not UTF-8"))
    if any(each["rule"] == "csv_numbers" and "decimal: ','" in each["message"] for each in body["findings"]):
        look.reading.append(("decimal", ",", "numbers are written with decimal commas"))


def _look_at_values(look: Look, rows: pa.Table) -> None:
    from headwater.components.collect.rules.missing_codes import find_missing_codes

    hidden = {name for name, _ in look.private}
    last = rows.schema.names[-1] if rows.num_columns else ""
    for name in rows.schema.names:
        column, kind = rows[name], rows.schema.field(name).type
        # What may be a cap is for a person to judge.
        codes = [
            code for code in (find_missing_codes(column.combine_chunks()) if name not in hidden else []) if not code.cap
        ]
        if codes:
            told = ", ".join(f"{code.value!r} in {code.rows:,} rows" for code in codes)
            look.missing.append((name, [code.value for code in codes], f"{told}; {codes[0].why}"))
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            if column.null_count <= rows.num_rows * 0.05:
                ends = pc.min_max(column).as_py()
                look.time.append((name, f"{kind}, {str(ends['min'])[:16]} to {str(ends['max'])[:16]}"))
            continue
        is_text, is_whole = pa.types.is_string(kind) or pa.types.is_large_string(kind), pa.types.is_integer(kind)
        if is_text and name not in hidden:
            _look_at_text(look, name, column, [code.value for code in codes])
        if is_whole and _CODE_NAME.search(name):
            look.types.append((name, "string", "a code, not a quantity"))
        if (is_text or is_whole or pa.types.is_boolean(kind)) and name not in hidden:
            distinct = pc.count_distinct(column).as_py()
            likely = bool(_LABEL_NAME.search(name))
            if 2 <= distinct <= _MOST_CLASSES and rows.num_rows >= 5 * distinct and (likely or name == last):
                look.labels.insert(0 if likely else len(look.labels), (name, f"{distinct} values"))
                look.named |= likely
    look.time.sort(key=lambda each: not _TIME_NAME.search(each[0]))


def _look_at_text(look: Look, name: str, column: pa.ChunkedArray, codes: Sequence[Any]) -> None:
    values = [text for text in pc.unique(column.drop_null()).to_pylist() if text not in codes]
    if all(text.isdigit() for text in values) and any(len(text) > 1 and text.startswith("0") for text in values):
        look.types.append((name, "string", "leading zeros count"))


def _look_for_key(look: Look, rows: pa.Table) -> None:
    hidden = {name for name, _ in look.private}
    able = [
        name
        for name in rows.schema.names
        if name not in hidden
        and not rows[name].null_count
        and (pa.types.is_integer(rows[name].type) or pa.types.is_string(rows[name].type))
    ]
    times = [name for name, _ in look.time if not rows[name].null_count]
    if rows.num_rows < 2:
        return
    distinct = {name: pc.count_distinct(rows[name]).as_py() for name in [*able, *times]}
    single = sorted(
        (name for name in able if distinct[name] == rows.num_rows), key=lambda name: not _KEY_NAME.search(name)
    )
    if single:
        look.key = single[:1]
        others = f"; so are {', '.join(single[1:4])}" if len(single) > 1 else ""
        look.key_evidence = f"{rows.num_rows:,} distinct values in {rows.num_rows:,} rows, none missing{others}"
        return
    likely = sorted([*able, *times], key=lambda name: -distinct[name])[:_MOST_PAIRED]
    for place, one in enumerate(likely):
        for other in likely[place + 1 :]:
            if distinct[one] * distinct[other] < rows.num_rows:
                continue
            pairs = rows.select([one, other]).group_by([one, other]).aggregate([])
            if pairs.num_rows == rows.num_rows:
                look.key = [name for name in rows.schema.names if name in (one, other)]
                look.key_evidence = f"together distinct in all {rows.num_rows:,} rows; no single column is"
                return


def need_rows(look: Look) -> None:
    """Raises HeadwaterError when there is nothing to go by."""
    if not look.rows:
        raise HeadwaterError("sources: the data has no rows, so there is nothing to write a project file from")
