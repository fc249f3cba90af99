"""Statistics that TFDV and TFX wrote, taken for a result of generate-statistics.

TFDV writes a `DatasetFeatureStatisticsList` as a proto (`FeatureStats.pb`), as a TFRecord of one (`stats.tfrecord`,
`stats_tfrecord`) or as text; TFX has one in each `Split-<name>/`. Such statistics have no state beside them, so what needs
distributions is left to TFDV.
"""

from __future__ import annotations

import dataclasses
import os
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import google_crc32c
from google.protobuf import message, text_format
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common import results, storage
from headwater.components.common.dataset import WHOLE
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result

STATISTICS = "Split-{split}/FeatureStats.pb"

_List: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList
_ALL_EXAMPLES = "All Examples"
_IN_SPLIT = re.compile(r"(?:^|/)Split-([^/]+)/([^/]+)$")
_NAMES = ("FeatureStats.pb", "stats.tfrecord", "stats_tfrecord")
_HEAD, _SUM, _MASK = struct.Struct("<QI"), struct.Struct("<I"), 0xA282EAD8


@dataclasses.dataclass(frozen=True, repr=False)
class Foreign(Result):
    """A result that has no manifest: its files are in memory.

    Attributes:
      contents: by path, as a result of ours would have them.
    """

    contents: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    def read(self, path: str) -> bytes:
        """The content of one of its files."""
        if path not in self.contents:
            raise HeadwaterError(f"{self.folder}: there is no {path}; TFDV and TFX write {', '.join(self.files())}")
        return self.contents[path]


def open_statistics(uri: str) -> Result:
    """Statistics of generate-statistics, TFDV or TFX.

    Args:
      uri: a folder of generate-statistics; a file of TFDV; a folder that has `Split-<name>/` folders or such a file.

    Raises:
      HeadwaterError: there are none.
    """
    uri = storage.normalise(uri)
    if storage.exists(storage.join(uri, results.MANIFEST)):
        return results.load(uri, "statistics")
    by_split = dict(_find(uri))
    if not by_split:
        raise HeadwaterError(
            f"{uri}: no statistics are here: neither {results.MANIFEST} of generate-statistics nor TFDV's "
            f"{', '.join(_NAMES)}, alone or in Split-<name>/"
        )
    parsed, sources = {}, []
    for split, (place, content) in sorted(by_split.items(), key=lambda each: (each[0] != "train", each[0])):
        parsed[split] = _of_all_examples(_parse(place, content), place)
        sources.append(source(place, content, "tfdv", parsed[split].datasets[0].num_examples))
    splits = {
        split: {"rows": each.datasets[0].num_examples, "features": len(each.datasets[0].features)}
        for split, each in parsed.items()
    }
    name = os.path.basename(uri)
    body = {
        "dataset": {"uri": "", "name": name, "span": None, "key": []},
        "splits": splits,
        "conversions": {},
        "private": {},
        "lineage": {"sources": sources},
    }
    contents = {
        STATISTICS.format(split=split): each.SerializeToString(deterministic=True) for split, each in parsed.items()
    }
    return foreign(uri, "statistics", body, contents)


def foreign(uri: str, kind: str, body: Mapping[str, Any], contents: Mapping[str, bytes]) -> Foreign:
    """A result of files that others wrote.

    Args:
      uri: where they lie.
      kind: a key of `results.FOLDERS`.
      body: as a result of ours of this kind has it.
      contents: by path, as a result of ours would have them.
    """
    files = {path: {"bytes": len(each), "sha256": storage.sha256(each)} for path, each in contents.items()}
    identity = storage.sha256(results.encode({"kind": kind, "files": files}))
    manifest = {"kind": kind, "fingerprint": identity, "home": None, "settings": {}, "files": files, "body": body}
    return Foreign(uri, manifest, identity, contents)


def source(uri: str, content: bytes, form: str, rows: int) -> dict[str, Any]:
    """What lineage says of a file that others wrote."""
    return {"uri": uri, "format": form, "bytes": len(content), "sha256": storage.sha256(content), "rows": rows}


def _find(uri: str) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """URI and content of the statistics of each split."""
    if storage.exists(uri):
        yield WHOLE, (uri, storage.read_bytes(uri))
        return
    for file in storage.list_files(uri):
        path = storage.relative(file.uri, uri)
        match = _IN_SPLIT.search(path)
        if path in _NAMES:
            yield WHOLE, (file.uri, storage.read_bytes(file.uri))
        elif match and match[2] in _NAMES:
            yield match[1], (file.uri, storage.read_bytes(file.uri))


def _parse(uri: str, content: bytes) -> _List:
    try:
        return _List.FromString(_record(content) or content)
    except message.DecodeError:
        pass
    try:
        return text_format.Parse(content.decode(), _List())
    except (text_format.ParseError, UnicodeDecodeError):
        raise HeadwaterError(
            f"{uri}: not statistics: it is not a DatasetFeatureStatisticsList as a binary proto, in a TFRecord or as text"
        ) from None


def _record(content: bytes) -> bytes | None:
    """The first record of a TFRecord; None where the content is none."""
    if len(content) < _HEAD.size:
        return None
    length, expected = _HEAD.unpack_from(content)
    if _masked(content[:8]) != expected or len(content) < _HEAD.size + length + _SUM.size:
        return None
    record = content[_HEAD.size : _HEAD.size + length]
    return record if _masked(record) == _SUM.unpack_from(content, _HEAD.size + length)[0] else None


def _masked(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _of_all_examples(whole: _List, uri: str) -> _List:
    """The statistics with the slice of all examples first and alone, each feature under its path."""
    datasets = list(whole.datasets)
    chosen = datasets if len(datasets) == 1 else [each for each in datasets if each.name == _ALL_EXAMPLES]
    if not chosen:
        held = f"{len(datasets)} slices, none of {_ALL_EXAMPLES!r}" if datasets else "no dataset"
        raise HeadwaterError(f"{uri}: these statistics hold {held}; write those of all rows")
    part = _List(datasets=chosen[:1])
    for feature in part.datasets[0].features:
        if feature.HasField("name"):
            name = feature.name
            feature.path.step.append(name)
    return part
