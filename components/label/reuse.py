"""Plain files as a dataset: each row gets the identifier that labels refer to, and is copied once below the labels.

The copy is a dataset like any other, with the `_row_id`s that collect would give, so that labels can be read when the
files are gone.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common import hashing, results, storage
from headwater.components.common.beam import map_merge
from headwater.components.common.dataset import OWN_PREFIX, ROW_ID, Dataset, load_dataset, read_element, split_folder
from headwater.components.common.dataset_index import encode_schema, write_index
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.components.common.shard_writer import ShardWriter
from headwater.components.common.sources import Element
from headwater.components.label.carryover import BASE

_ID_TYPE = pa.binary(16)


@dataclasses.dataclass(frozen=True)
class KeyedRange:
    """A range of a plain file, whose rows have `_row_id`.

    Attributes:
      plain: the range.
      identity: what the identifiers are made of; empty where the file has them.
    """

    plain: Element
    identity: str

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.plain.rows


def check_home(dataset: str, data_root: str) -> None:
    """Refuses a home for the labels of plain files, before anything is read.

    Args:
      dataset: path or URI of what is to be labelled.
      data_root: as it was given.

    Raises:
      HeadwaterError: plain files are to be labelled under a `data_root`, or nothing is there.
    """
    if not data_root or storage.exists(storage.join(storage.normalise(dataset), results.MANIFEST)):
        return
    # Where nothing is, that is what to say.
    storage.expand(dataset)
    raise HeadwaterError(
        "data_root: plain files have no dataset name or span to store labels under; collect them first"
    )


def keyed(opened: Dataset) -> Dataset:
    """Plain files as a dataset with a key, whose rows `adopt` copies; a dataset of ours as it is.

    Args:
      opened: from `load_dataset`.

    Returns:
      The dataset. Of plain files its elements are `KeyedRange`s, which `read` reads, and its manifest has no splits yet.

    Raises:
      HeadwaterError: a column has the name of the key and is none.
    """
    if opened.key:
        return opened
    schema, given = opened.schema, ROW_ID in opened.schema.names
    if given and schema.field(ROW_ID).type != _ID_TYPE:
        raise HeadwaterError(
            f"dataset: {opened.result.uri}: the column {ROW_ID!r} is {schema.field(ROW_ID).type}, but Headwater "
            f"reserves this name for a column of {_ID_TYPE}; rename it"
        )
    if not given:
        schema = schema.append(pa.field(ROW_ID, _ID_TYPE))
    # By URI, as collect goes through them.
    pairs = sorted(_pairs(opened), key=lambda pair: pair[1].file.uri)
    identities = {} if given else _identities([element for _, element in pairs])
    parts = {
        split: [KeyedRange(element, identities.get(element.file.uri, "")) for element in opened.elements(split)]
        for split in opened.splits
    }
    splits = {element.file.uri: split for split, element in pairs}
    summary = {
        "sources": opened.result.fingerprint,
        "splits": hashlib.sha256(json.dumps(list(splits.values())).encode()).hexdigest(),
    }
    manifest = {
        "kind": "dataset",
        "fingerprint": results.fingerprint("dataset", summary, {}),
        "home": None,
        "settings": {},
        "body": {
            "name": "",
            "span": None,
            "key": [ROW_ID],
            "schema": encode_schema(schema),
            "columns": {field.name: str(field.type) for field in schema},
            "accepted": True,
            "refusal": "",
            "rejected": {"reasons": {}, "files": []},
            "private": {},
            "findings": [],
            "lineage": opened.result.body["lineage"],
        },
    }
    return Dataset(Result(opened.result.folder, manifest, opened.result.sha256), schema, [ROW_ID], parts)


def read(element: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of one element of `keyed`'s as record batches of exactly `schema`.

    Args:
      element: any element of it.
      schema: columns of the dataset, of plain files more than `_row_id`.

    Raises:
      HeadwaterError: as `read_element`, or a row that brings its `_row_id` along has none.
    """
    if not isinstance(element, KeyedRange):
        yield from read_element(element, schema)
        return
    own = pa.schema([field for field in schema if field.name != ROW_ID or not element.identity])
    row = element.plain.first_row
    for batch in read_element(element.plain, own):
        columns = dict(zip(batch.schema.names, batch.columns))
        if ROW_ID in schema.names and element.identity:
            columns[ROW_ID] = hashing.row_ids(element.identity, np.arange(row, row + batch.num_rows))
        elif ROW_ID in columns and columns[ROW_ID].null_count:
            raise HeadwaterError(
                f"{element.plain.file.uri}: {columns[ROW_ID].null_count:,} rows have no {ROW_ID}, which labels refer "
                "to rows by; leave the column out, and every row gets one"
            )
        row += batch.num_rows
        yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def adopt(opened: Dataset, folder: str, others: Sequence[Dataset], beam: Mapping[str, Any]) -> Dataset:
    """Copies the rows of plain files below the labels; a dataset of ours is given back as it is.

    Args:
      opened: from `keyed`.
      folder: URI of the labels' folder.
      others: datasets that are read as well, so that they must not be written over.
      beam: options of `map_merge`.

    Returns:
      The copy, a dataset; the one that is there already, where it is of the same files.

    Raises:
      HeadwaterError: what is read would be written over, a row cannot be read, or a column cannot be written.
    """
    if "splits" in opened.result.body:
        return opened
    base = storage.join(folder, BASE)
    _check_place(opened, folder, base, others)
    manifest = opened.result.manifest
    known = _copied_before(base, manifest)
    if known:
        return known
    _clear(folder, base)
    pairs = _pairs(opened)
    lines = map_merge(
        "label: read",
        [_Part(number, split, element) for number, (split, element) in enumerate(pairs)],
        functools.partial(_copy, base, opened.schema),
        b"\n".join,
        sizes=[element.rows for _, element in pairs],
        **beam,
    )
    shards = [record for line in lines.splitlines() for record in json.loads(line)]
    rows, written = sum(element.rows for _, element in pairs), sum(shard["rows"] for shard in shards)
    if rows != written:
        raise HeadwaterError(f"the counts of rows do not add up: {rows:,} read, {written:,} written")
    body = {
        **opened.result.body,
        "accounts": {"read": rows, "written": written, "rejected": 0, "filtered": {}},
        "splits": {
            split: write_index(base, f"_shards-{split}.parquet", [each for each in shards if each["split"] == split])
            for split in opened.splits
        },
    }
    head = {"format_version": results.FORMAT_VERSION, "producer": results.PRODUCER}
    storage.write_bytes(storage.join(base, results.MANIFEST), results.encode({**head, **manifest, "body": body}))
    return load_dataset(base)


class _Part(NamedTuple):
    """One element to copy, with its place among all."""

    number: int
    split: str
    element: KeyedRange


def _pairs(opened: Dataset) -> list[tuple[str, Any]]:
    """All elements with their splits."""
    return [(split, element) for split in opened.splits for element in opened.elements(split)]


def _identities(elements: Sequence[Element]) -> dict[str, str]:
    """What the `_row_id`s of each file are made of, by URI: as collect does it, so that ids are the same."""
    copies: dict[str, int] = {}
    identities: dict[str, str] = {}
    for file in {element.file.uri: element.file for element in elements}.values():
        # Of two files with the same content each has its own.
        copies[file.sha256] = copies.get(file.sha256, -1) + 1
        identities[file.uri] = hashlib.sha256(f"{file.sha256}:{copies[file.sha256]}".encode()).hexdigest()
    return identities


def check_only_labels(folder: str) -> None:
    """Refuses to write over a result that is not labels."""
    if storage.exists(storage.join(folder, results.MANIFEST)):
        try:
            results.load(folder, "labels")
        except HeadwaterError as error:
            raise HeadwaterError(f"output: {error}; give another folder") from None


def _check_place(opened: Dataset, folder: str, base: str, others: Sequence[Dataset]) -> None:
    files = [element.plain.file.uri for _, element in _pairs(opened)]
    for uri in [*files, *(other.result.folder for other in others)]:
        if uri == base or uri.startswith(f"{base}/"):
            raise HeadwaterError(f"output: {uri} is an input of this run, which writes {base}; give another folder")
    check_only_labels(folder)
    source = opened.result.folder.rstrip("/")
    if folder == source:
        raise HeadwaterError(f"output: {folder} is the folder of the input; give another folder")
    if folder.startswith(f"{source}/"):
        # Names that `storage.expand` passes over.
        hidden = [part.startswith((OWN_PREFIX, ".")) for part in storage.relative(folder, source).split("/")]
        if not any(hidden):
            raise HeadwaterError(
                f"output: {folder} is inside the input folder {source}, so the next run would read the labels as "
                "data; give a folder elsewhere, or one whose name begins with '_'"
            )


def _copied_before(base: str, manifest: Mapping[str, Any]) -> Dataset | None:
    """The copy of the same files, where it is whole: methods are tried out in one folder again and again."""
    try:
        known = results.load(base, "dataset")
        if known.fingerprint != manifest["fingerprint"] or known.body["lineage"] != manifest["body"]["lineage"]:
            return None
        copy = load_dataset(base)
    except HeadwaterError:
        return None
    sizes = {file.uri: file.size for file in storage.list_files(base)}
    shards = [shard for split in copy.splits for shard in copy.elements(split)]
    return copy if all(sizes.get(shard.uri) == shard.bytes for shard in shards) else None


def _clear(folder: str, base: str) -> None:
    """Removes what an earlier labelling left: the manifests first, so that nobody takes the rest for a dataset."""
    storage.delete(storage.join(folder, results.MANIFEST))
    storage.delete(storage.join(base, results.MANIFEST))
    for file in storage.list_files(base):
        # Nothing else is ours.
        if storage.relative(file.uri, base).startswith((OWN_PREFIX, "split=", "headwater_")):
            storage.delete(file.uri)


def _copy(base: str, schema: pa.Schema, part: _Part) -> bytes:
    """Writes the shard of one element; gives its line of the index with its split, as JSON: a list, empty without
    rows."""
    # As collect's digests: of what the user gave, whatever the order of the columns.
    names = sorted(name for name in schema.names if name != ROW_ID) or [ROW_ID]
    shard = ShardWriter(schema)
    for batch in read(part.element, schema):
        if batch.num_rows:
            columns = dict(zip(batch.schema.names, batch.columns))
            shard.write(batch, hashing.hash_rows([columns[name] for name in names]))
    if not shard.rows:
        return b"[]"
    plain = part.element.plain
    content, described = shard.close()
    path = f"{split_folder(schema.names, part.split)}/part-{part.number:05d}.parquet"
    storage.write_bytes(storage.join(base, path), content)
    record = {
        "split": part.split,
        "path": path,
        **described,
        "source": plain.file.uri,
        "start": plain.start,
        "stop": plain.stop,
    }
    return json.dumps([record]).encode()
