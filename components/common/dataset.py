"""Datasets: the folder that components pass to each other, and plain files that stand in for one.

    _manifest.json                  what the dataset is: name, span, version, key, schema, accounts, lineage
    _shards-<split>-<attempt>.parquet           one row a shard
    split=<name>/part-<n>-<attempt>.parquet
    _rejected/part-<n>-<attempt>.parquet    records that were not passed on, and why

Any Parquet reader opens the folder. `open_dataset` needs pyarrow alone.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.common import local_beam, results, storage, stores
from headwater.components.common.dataset_index import (
    carried_splits,
    decode_schema,
    indexed_shards,
    read_index,
    shard_index,
)
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.labelled import LabelledRows, WideShard, shown
from headwater.components.common.notebook import Shown
from headwater.components.common.pool import warm_up
from headwater.components.common.results import Home, Result
from headwater.components.common.shard_file import Shard, read_shard
from headwater.components.common.tables_in_memory import named

if TYPE_CHECKING:
    import pyarrow.dataset as pads

    from headwater.components.common.sources import Sources

ROW_ID = "_row_id"
"""The key of a dataset whose user named none: fixed_size_binary[16]."""

OWN_PREFIX = "_"
"""Columns that begin with it are Headwater's; statistics, schema and drift skip them."""

SPLIT = "split"
"""The key of the folders of splits: `split=<name>`."""

WHOLE = "all"
"""The one split of plain input without `split=` folders."""

REJECTED_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("row", pa.int64()),
        ("column", pa.string()),
        ("reason", pa.string()),
        ("value", pa.string()),
    ]
)
"""The columns of rejected records. `value` holds at most 256 bytes."""

_SPLIT = re.compile(r"(?:^|/)split=([^/]+)/")


@dataclasses.dataclass(frozen=True, repr=False)
class Dataset(Shown):
    """A dataset, or plain files taken as one.

    Attributes:
      result: its identity and, for a dataset of ours, its manifest.
      schema: the columns with their Arrow types, ours included.
      key: the columns that identify a row; empty for plain files.
      parts: the elements of each split, in a fixed order. An element has `rows`; `read_element` reads it.
      unread: plain files whose checksums are not known, so that the result says nothing of what they hold.
    """

    result: Result
    schema: pa.Schema
    key: list[str]
    parts: Mapping[str, list[Any]]
    unread: Sources | None = None

    @property
    def splits(self) -> list[str]:
        """The splits' names; the first is the one that trains."""
        return list(self.parts)

    @property
    def home(self) -> Home | None:
        """The place under a `data_root` of what is made of it; None where there is none, and of passed and quarantined
        rows: what is made of those is no result of their span, and no later span is compared with it."""
        return self.result.home if self.result.role == self.result.kind else None

    def elements(self, split: str) -> list[Any]:
        """The elements of one split."""
        return self.parts[split]

    def rows(self, split: str) -> int:
        """How many rows a split has."""
        return sum(element.rows for element in self.parts[split])

    def blocks(self) -> list[Any]:
        """The blocks of the files that are `unread`, in order; `digest_of` gives the checksum of one."""
        from headwater.components.common import sources

        return [block for file in self.unread.files for block in sources.blocks_of(file)] if self.unread else []

    def read(self, digests: Sequence[str]) -> Dataset:
        """The dataset, now that its files have been read.

        Args:
          digests: of all `blocks`, in order.
        """
        if not self.unread:
            return self
        from headwater.components.common import sources

        left, files = iter(digests), []
        for file in self.unread.files:
            own = [next(left) for _ in sources.blocks_of(file)]
            files.append(dataclasses.replace(file, sha256=sources.checksum(own)))
        result = _plain_result(self.result.uri, dataclasses.replace(self.unread, files=files))
        return dataclasses.replace(self, result=result, unread=None)

    def _shown(self) -> Result:
        return self.result


def load_dataset(uri: str, *, may_be_empty: bool = False, unread: bool = False, **beam: Any) -> Dataset:
    """Opens a dataset of ours, or a plain Parquet or CSV file, folder or glob.

    Args:
      uri: path or URI. In plain input, folders named `split=<name>` are splits; else there is one, `all`.
      may_be_empty: whether plain files without a row are a dataset; else they are an error.
      unread: whether the checksums of plain files may be left to the caller, who reads them anyway: see `Dataset.unread`.
      **beam: options of `beam.map_merge`, for reading plain files once for their checksums and types.

    Raises:
      HeadwaterError: nothing is there, the dataset was not accepted when it was collected, or its format is
        unknown.
    """
    folder = storage.normalise(uri)
    if not storage.exists(storage.join(folder, results.MANIFEST)):
        return _load_plain(folder, may_be_empty, unread, beam)
    result = _load_accepted(folder)
    body = result.body
    schema = decode_schema(body["schema"])
    if result.kind == "labels":
        return Dataset(result, schema, list(body["key"]), _labelled(result, schema))
    parts = {
        split: indexed_shards(read_index(result, entry), result.uri, len(schema))
        for split, entry in body["splits"].items()
    }
    return Dataset(result, schema, list(body["key"]), parts)


def open_plain_here(uri: str) -> Dataset | None:
    """Plain files as a dataset, opened in this process; it is `unread`.

    Args:
      uri: as `load_dataset` takes it.

    Returns:
      The dataset; None where a worker should open it, or it is one of ours.

    Raises:
      HeadwaterError: as of `load_dataset`.
    """
    from headwater.components.common import sources

    folder = storage.normalise(uri)
    if stores.scheme(folder) or storage.exists(storage.join(folder, results.MANIFEST)):
        return None
    scans = sources.open_here(sources.discover([folder], left_out=(SPLIT,)))
    return None if scans is None else _of_files(folder, sources.open_sources(scans, exact=True), False, True)


def open_dataset(path_or_uri: str, split: str | None = None) -> pads.Dataset | LabelledRows:
    """A dataset's rows as a `pyarrow.dataset`, for training and for looking.

    Args:
      path_or_uri: the dataset's folder, local or at a store, or the folder of a KFP artifact.
      split: one split's name; all by default, distinguished by the column `split`, or `headwater_split` where the data has
        a column `split` of its own.

    Returns:
      The dataset; nothing is read yet. For a labelled one, whose columns lie in two files each, `LabelledRows`.

    Raises:
      HeadwaterError: there is no dataset, it was not accepted, or it has no such split.
    """
    return open_rows(_load_accepted(path_or_uri), split)


def open_rows(result: Result, split: str | None = None) -> pads.Dataset | LabelledRows:
    """The rows of a dataset that is loaded: `open_dataset`; of plain files, as pyarrow reads them."""
    # It imports pandas, which workers have no use for.
    import pyarrow.dataset as pads

    body = result.body
    if split is not None and split not in body["splits"]:
        raise HeadwaterError(f"{result.uri}: there is no split {split!r}; the splits are {', '.join(body['splits'])}")
    own = decode_schema(body["schema"])
    split_column = split_key(own.names)
    schema = own.append(pa.field(split_column, pa.string()))
    chosen = [split] if split else list(body["splits"])
    if result.kind == "labels":
        shards = _labelled(result, own)
        return LabelledRows(schema, {name: shards[name] for name in chosen})
    store, _ = storage.filesystem(result.uri)
    fragments = []
    layout = pads.ParquetFileFormat()
    for name in chosen:
        for shard in shard_index(result, name):
            _, path = storage.filesystem(shard["uri"])
            guarantee = pads.field(split_column) == name
            fragments.append(layout.make_fragment(path, store, partition_expression=guarantee))
    return pads.FileSystemDataset(fragments, schema, layout, store)


def split_key(names: Iterable[str]) -> str:
    """The key of a dataset's folders of splits: `split`, or another where the data has a column of that name.

    Readers of Parquet take the key for a column, most of them whatever its case, and fail where there are two.

    Args:
      names: the dataset's columns.
    """
    taken = {name.lower() for name in names}
    key = SPLIT
    while key in taken:
        key = f"headwater_{key}"
    return key


def split_folder(names: Iterable[str], split: str) -> str:
    """The folder of a split's shards in the dataset's folder."""
    return f"{split_key(names)}={split}"


def carried(result: Result, schema: pa.Schema) -> dict[str, list[WideShard]]:
    """The rows that labels carried to the next span, by split.

    Args:
      result: the labels.
      schema: what the rows are to have; columns that they lack are missing throughout.
    """
    return _beside(result, carried_splits(result), schema, ())


def rejected(result: Result) -> pa.Table:
    """The records that were not passed on: the columns of `REJECTED_SCHEMA`.

    Args:
      result: a dataset's, accepted or not.
    """
    tables = [REJECTED_SCHEMA.empty_table()]
    for file in result.body["rejected"]["files"]:
        uri = storage.join(result.uri, file["path"])
        content = storage.read_bytes(uri)
        results.check(uri, content, file["sha256"])
        tables.append(pq.read_table(pa.BufferReader(content)))
    return pa.concat_tables(tables)


def read_element(element: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of one element as record batches of exactly `schema`, which may name fewer columns than there are.

    Raises:
      HeadwaterError: a shard is missing or altered; a plain file has a record that cannot be read.
    """
    if isinstance(element, (Shard, WideShard)):
        wide = isinstance(element, WideShard)
        table = element.read(schema.names) if isinstance(element, WideShard) else read_shard(element, schema.names)
        try:
            yield from table.select(schema.names).cast(schema).combine_chunks().to_batches()
        except pa.ArrowInvalid as error:
            # Of a row that an earlier span carried; it may quote a value.
            reason = "a value does not fit the column's current type" if wide else str(error)
            raise HeadwaterError(f"{element.uri}: {reason}") from None
        return
    from headwater.components.common import sources

    for batch, _, rejections in sources.read_element(element, schema, only=schema.names):
        if rejections:
            first = rejections[0]
            where = f", column {first.column!r}" if first.column else ""
            raise HeadwaterError(
                f"{element.file.uri}: row {first.row:,}{where}: {first.reason}; plain input must have no such rows, "
                "which collect would reject and count"
            )
        yield batch


def _load_accepted(folder: str) -> Result:
    result = results.load(folder, "dataset", "labels")
    if not result.body["accepted"]:
        raise HeadwaterError(
            f"{result.uri}: this dataset was not accepted when it was "
            f"{'labelled' if result.kind == 'labels' else 'collected'}: "
            f"{result.body['refusal']}"
        )
    return result


def _labelled(result: Result, schema: pa.Schema) -> dict[str, list[WideShard]]:
    """The shards of a labelled dataset, each with its label table."""
    names = shown(result.body["label"])
    return _beside(result, result.body["splits"], schema, names)


def _beside(
    result: Result, splits: Mapping[str, Mapping[str, Any]], schema: pa.Schema, names: tuple[str, ...]
) -> dict[str, list[WideShard]]:
    """Shards of labels' bases, each with the file beside it that an index of `LABELS_SCHEMA` tells.

    Args:
      result: the labels.
      splits: the manifest's entry of each split, with its index.
      schema: what the rows are to have.
      names: the columns that the files beside give.
    """
    bases = [base_of(result, reference) for reference in result.body["bases"]]
    plain = [{shard.uri: shard for split in base.splits for shard in base.elements(split)} for base in bases]
    absent = [
        tuple(field for field in schema if field.name not in names and field.name not in base.schema.names)
        for base in bases
    ]
    by_split: dict[str, list[WideShard]] = {}
    for split, entry in splits.items():
        index = read_index(result, entry)
        # Of its columns few are ever read, so that it is never read whole.
        beside = indexed_shards(index, result.uri, len(names) + 2)
        by_split[split] = [
            WideShard(plain[number][storage.join(bases[number].result.uri, of)], own, names, absent[number])
            for own, of, number in zip(beside, index["of"].to_pylist(), index["base"].to_pylist())
        ]
    return by_split


def is_below(uri: str) -> bool:
    """Whether the reference to a dataset whose shards labels are read with means a copy below the labels."""
    return not stores.scheme(uri) and not uri.startswith("/")


def base_of(result: Result, reference: Mapping[str, str]) -> Dataset:
    """One of the datasets whose shards labels are read with.

    Raises:
      HeadwaterError: it was altered or removed.
    """
    uri = reference["uri"]
    place = uri
    if is_below(uri):
        # A copy lies below the labels, at their home where the manifest alone was passed on.
        manifest = result.locate(storage.join(uri, results.MANIFEST))
        place = manifest[: -len(results.MANIFEST) - 1]
    dataset = load_dataset(place)
    if dataset.result.sha256 != reference["sha256"]:
        raise HeadwaterError(f"{place}: the dataset was altered after it was labelled: its manifest differs")
    return dataset


def _load_plain(folder: str, may_be_empty: bool, unread: bool, beam: Mapping[str, Any]) -> Dataset:
    from headwater.components.common import sources

    files = sources.discover([folder], left_out=(SPLIT,))
    if sources.need_a_pool(files):
        # Its server imports what workers need while this process imports Beam.
        warm_up(beam.get("preload", ()), beam.get("workers", 0))
        local_beam.begin_import(beam.get("beam_pipeline_args", ()))
    scans = sources.open_files(files, "read", **beam) if unread else None
    unread = scans is not None
    if scans is None:
        scans = sources.scan_files(files, "", sources.Reading(), label="read", **beam)
    opened = sources.open_sources(scans, exact=True, label="read", **beam)
    return _of_files(folder, opened, may_be_empty, unread)


def _of_files(folder: str, opened: Sources, may_be_empty: bool, unread: bool) -> Dataset:
    for notice in opened.notices:
        print(f"read: {notice.severity}: {notice.message}", flush=True)
    parts: dict[str, list[Any]] = {}
    for element in opened.elements:
        match = _SPLIT.search(element.file.uri)
        parts.setdefault(match[1] if match else WHOLE, []).append(element)
    if not may_be_empty and not any(element.rows for elements in parts.values() for element in elements):
        raise HeadwaterError(f"{folder}: there are columns but no rows")
    ordered = {name: parts[name] for name in sorted(parts, key=lambda name: (name != "train", name))}
    return Dataset(_plain_result(named(folder), opened), opened.schema, [], ordered, opened if unread else None)


def _plain_result(uri: str, opened: Sources) -> Result:
    """Plain input has no manifest; what it is made of identifies it."""
    from headwater.components.common import sources

    identity = sources.fingerprint(opened.files)
    body = {"lineage": {"sources": sources.lineage(opened, [element.rows for element in opened.elements])}}
    return Result(uri, {"kind": "dataset", "fingerprint": identity, "home": None, "body": body}, identity)
