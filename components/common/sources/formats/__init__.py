"""The formats of files that are read. A new format is a module here, and its line in `_ALL`."""

from __future__ import annotations

from headwater.components.common.sources.formats import avro, csv, jsonl, parquet, tfrecord
from headwater.components.common.sources.formats.base import Format

_ALL: tuple[Format, ...] = (csv.FORMAT, jsonl.FORMAT, parquet.FORMAT, avro.FORMAT, tfrecord.FORMAT)

FORMATS: dict[str, Format] = {form.name: form for form in _ALL}
"""By name."""

ENDINGS: dict[str, Format] = {ending: form for form in _ALL for ending in form.endings}
"""By the endings of files' names."""
