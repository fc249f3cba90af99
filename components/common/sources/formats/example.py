"""The features of tf.Example messages, many records at a time, without TensorFlow.

Writers lay out nearly every record alike, so numpy walks the k-th feature of all records in one step. A record that
is laid out otherwise (a key twice, lists that are not packed, unknown fields) is left to protobuf, which decides
what any record means. The messages are those of tensorflow/core/example/example.proto and feature.proto; the wire
format is that of the Protocol Buffers documentation, "Encoding".
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

NONE, BYTES, FLOATS, INTS = range(4)
"""The kinds of lists; the last three are the numbers of their fields in the message Feature."""

PADDING = 32
"""How many bytes must follow the last record in a buffer."""

_LIST = 0x0A  # field 1, length-delimited: features, an entry, a key, a packed list, a value of a bytes list
_VALUE = 0x12  # field 2, length-delimited: the value of an entry
_LONGEST_KEY = 256
# A step of numpy over fewer records than that, or than one in as many, is slower than protobuf on them; for a few
# records `_SOME` steps are taken all the same.
_FEW = 16
_SOME = 64
_LONGEST_VARINT = 10
_LENGTH_BYTES = 5
_MASKS = np.array([(1 << (8 * width)) - 1 for width in range(9)], "<u8")
_MIX = np.uint64(0x9E3779B97F4A7C15)

Feature = tuple[int, list]


class Features(NamedTuple):
    """The features of plain records, by name and then by record.

    Attributes:
      names: the keys in order of appearance.
      edges: for each name where its features begin, and one past the last, int64.
      record: whose each feature is, int64.
      kind: of its list, uint8.
      first: of its values among all values of the kind, int64.
      counts: how many values it has, int64.
      floats: all values of float lists, float32.
      ints: all values of int64 lists, int64.
      places: where the values of bytes lists begin in the buffer, int64.
      lengths: how long they are, int64.
    """

    names: list[str]
    edges: np.ndarray
    record: np.ndarray
    kind: np.ndarray
    first: np.ndarray
    counts: np.ndarray
    floats: np.ndarray
    ints: np.ndarray
    places: np.ndarray
    lengths: np.ndarray


def decode(data: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> tuple[Features, np.ndarray]:
    """Decodes the records that are laid out plainly.

    Args:
      data: a buffer, uint8, with `PADDING` bytes after the last record.
      starts: first byte of each record, int64.
      stops: one past its last.

    Returns:
      The features; and which records are plain, as ascending positions, int64. `Features.record` counts these.
    """
    plain = np.arange(len(starts))
    while True:
        bad = np.zeros(len(plain), bool)
        features = _decode_plain(data, starts[plain], stops[plain], bad)
        if not bad.any():
            return features, plain
        plain = plain[~bad]


def parse(record: bytes) -> dict[str, Feature] | None:
    """The features of one record by name as kind and values, read by protobuf; None when it is no tf.Example."""
    from google.protobuf.message import DecodeError

    example = _example_class()()
    try:
        example.ParseFromString(record)
    except (DecodeError, ValueError):
        return None
    features: dict[str, Feature] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        number = (None, "bytes_list", "float_list", "int64_list").index(kind)
        features[name] = (number, list(getattr(feature, kind).value) if kind else [])
    return features


def gather_bytes(data: np.ndarray, places: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """The byte strings of a buffer as a binary array."""
    view = data.data
    joined = b"".join([view[start:stop] for start, stop in zip(places.tolist(), (places + lengths).tolist())])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(places), [None, pa.py_buffer(offsets), pa.py_buffer(joined)], 0)


def spread(first: np.ndarray, count: np.ndarray, step: int = 1) -> np.ndarray:
    """The places first, first + step, … of each of several runs, one run after the other."""
    total = np.cumsum(count)
    if not len(total) or not total[-1]:
        return np.zeros(0, np.int64)
    before = total - count
    return np.repeat(first - step * before, count) + step * np.arange(total[-1])


def _decode_plain(data: np.ndarray, starts: np.ndarray, stops: np.ndarray, bad: np.ndarray) -> Features:
    """As `decode`; marks the records that are not plain in `bad`, and then the result is of no use."""
    record, key, key_length, kind, first, last = _walk(data, starts, stops, bad)
    names, group = _group_keys(data, key, key_length, record, bad)
    position = group * max(len(starts), 1) + record
    if (position[1:] < position[:-1]).any():
        order = np.argsort(position, kind="stable")
        position, record, group = position[order], record[order], group[order]
        kind, first, last = kind[order], first[order], last[order]
    twice = position[1:] == position[:-1]
    bad[record[1:][twice]] = True
    edges = np.searchsorted(group, np.arange(len(names) + 1))
    begin, count = np.zeros(len(record), np.int64), np.zeros(len(record), np.int64)
    values: dict[int, tuple] = {}
    for number, read in ((BYTES, _read_bytes), (FLOATS, _read_floats), (INTS, _read_ints)):
        chosen = np.flatnonzero(kind == number)
        counts, values[number], wrong = read(data, first[chosen], last[chosen])
        bad[record[chosen[wrong]]] = True
        count[chosen] = counts
        begin[chosen] = np.cumsum(counts) - counts
    return Features(names, edges, record, kind, begin, count, values[FLOATS][0], values[INTS][0], *values[BYTES])


def _walk(data: np.ndarray, starts: np.ndarray, stops: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, ...]:
    """The entries of all records: record, key's place and length, kind, first byte of the list and one past it."""
    edge = len(data) - PADDING
    active = np.arange(len(starts))
    good = data[starts] == _LIST
    length, place, fine = _lengths(data, starts + 1)
    good &= fine & (place + length == stops)
    bad[active[~good]] = True
    active, place, stop = active[good], place[good], stops[good]
    active, place, stop = _unfinished(active, place, stop)
    entries: list[Any] = []
    while len(active):
        steps = len(entries)
        if (steps >= _FEW and len(active) * _FEW < len(starts)) or (steps >= _SOME and len(active) < _FEW):
            # Steps that serve few records cost more than protobuf.
            bad[active] = True
            break
        good = data[place] == _LIST
        length, inner, fine = _lengths(data, place + 1)
        end = inner + length
        good &= fine & (end <= stop) & (data[inner] == _LIST)
        key_length, key, fine = _lengths(data, inner + 1)
        behind = key + key_length
        good &= fine & (behind <= end) & (key_length <= _LONGEST_KEY)
        behind = np.minimum(behind, edge)
        good &= data[behind] == _VALUE
        length, value, fine = _lengths(data, behind + 1)
        good &= fine & (value + length == end)
        tag = data[value]
        kind = np.where(length == 0, 0, tag >> 3)
        known = (tag == (BYTES << 3 | 2)) | (tag == (FLOATS << 3 | 2)) | (tag == (INTS << 3 | 2))
        size, first, fine = _lengths(data, value + 1)
        good &= (length == 0) | (known & fine & (first + size == end))
        entry = (active, key, key_length, kind, first, end)
        if not good.all():
            bad[active[~good]] = True
            entry = tuple(part[good] for part in entry)
            stop = stop[good]
        entries.append(entry)
        active, place, stop = _unfinished(entry[0], entry[5], stop)
    if not entries:
        return tuple(np.zeros(0, np.int64) for _ in range(6))
    return tuple(np.concatenate(parts) for parts in zip(*entries))


def _unfinished(active: np.ndarray, place: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    more = place < stop
    return (active, place, stop) if more.all() else (active[more], place[more], stop[more])


def _lengths(data: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lengths at `place`; where they end; and whether they are short enough to be any."""
    byte = data[place]
    value = byte.astype(np.int64)
    after = place + 1
    fine = byte < 0x80
    if fine.all():
        return value, after, fine
    value &= 0x7F
    fine = fine.copy()
    more = np.flatnonzero(~fine)
    for shift in range(7, 7 * _LENGTH_BYTES, 7):
        byte = data[place[more] + shift // 7]
        value[more] |= (byte & 0x7F).astype(np.int64) << shift
        after[more] += 1
        ended = byte < 0x80
        fine[more[ended]] = True
        more = more[~ended]
        if not len(more):
            break
    # A length beyond the buffer is no length, and its place is not to be looked at.
    fine &= value <= len(data)
    value[~fine] = 0
    return value, after, fine


def _group_keys(
    data: np.ndarray, key: np.ndarray, length: np.ndarray, record: np.ndarray, bad: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """The distinct keys in order of appearance, and which one each entry has, int64."""
    if not len(key):
        return [], np.zeros(0, np.int64)
    words = _strided(data, "<u8")
    mixed = length.astype(np.uint64) * _MIX
    parts = []
    for offset in range(0, int(length.max()), 8):
        has = np.flatnonzero(length > offset)
        word = np.zeros(len(key), np.uint64)
        word[has] = words[key[has] + offset] & _MASKS[np.minimum(length[has] - offset, 8)]
        parts.append(word)
        mixed = (mixed ^ word) * _MIX
        mixed ^= mixed >> np.uint64(29)
    encoded = pa.array(mixed).dictionary_encode()
    group = encoded.indices.to_numpy().astype(np.int64)
    sample = np.zeros(len(encoded.dictionary), np.int64)
    sample[group[::-1]] = np.arange(len(group))[::-1]
    alike = length == length[sample][group]
    for word in parts:
        alike &= word == word[sample][group]
    bad[record[~alike]] = True
    names = []
    for number, entry in enumerate(sample.tolist()):
        raw = data[key[entry] : key[entry] + length[entry]].tobytes()
        try:
            names.append(raw.decode())
        except UnicodeDecodeError:
            names.append("")
            bad[record[group == number]] = True
    return names, group


def _packed(data: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place and bytes of each list's packed values, and whether it is packed at all; an empty one is."""
    length, place, fine = _lengths(data, first + 1)
    empty = first == last
    fine = (fine & (data[first] == _LIST) & (place + length == last)) | empty
    return place, np.where(empty | ~fine, 0, length), fine


def _read_floats(data: np.ndarray, first: np.ndarray, last: np.ndarray):
    place, length, fine = _packed(data, first, last)
    fine &= length % 4 == 0
    count = np.where(fine, length // 4, 0)
    return count, (_strided(data, "<f4")[spread(place, count, 4)],), ~fine


def _read_ints(data: np.ndarray, first: np.ndarray, last: np.ndarray):
    place, length, fine = _packed(data, first, last)
    # The last byte of a list must be the last of a value.
    fine &= (length == 0) | (data[place + np.maximum(length, 1) - 1] < 0x80)
    length = np.where(fine, length, 0)
    content = data[spread(place, length)]
    ends = np.flatnonzero(content < 0x80)
    begins = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    widths = ends - begins + 1
    edges = np.cumsum(length)
    values = np.zeros(len(ends), np.uint64)
    for position in range(min(int(widths.max(initial=0)), _LONGEST_VARINT)):
        has = np.flatnonzero(widths > position) if position else slice(None)
        values[has] |= (content[begins[has] + position] & 0x7F).astype(np.uint64) << np.uint64(7 * position)
    wrong = widths > _LONGEST_VARINT
    long = np.flatnonzero(widths == _LONGEST_VARINT)
    wrong[long] = content[ends[long]] > 1
    if wrong.any():
        fine[np.searchsorted(edges, ends[wrong], "right")] = False
    count = np.searchsorted(ends, edges) - np.searchsorted(ends, edges - length)
    return count, (values.view(np.int64),), ~fine


def _read_bytes(data: np.ndarray, first: np.ndarray, last: np.ndarray):
    owners: list[np.ndarray] = []
    places: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    fine = np.ones(len(first), bool)
    active, place, stop = _unfinished(np.arange(len(first)), first, last)
    while len(active):
        if len(owners) >= _FEW and len(active) < _FEW:
            fine[active] = False
            break
        length, value, good = _lengths(data, place + 1)
        good &= (data[place] == _LIST) & (value + length <= stop)
        if not good.all():
            fine[active[~good]] = False
            active, value, length, stop = active[good], value[good], length[good], stop[good]
        owners.append(active)
        places.append(value)
        lengths.append(length)
        active, place, stop = _unfinished(active, value + length, stop)
    if len(owners) == 1 and len(owners[0]) == len(first):
        return np.ones(len(first), np.int64), (places[0], lengths[0]), ~fine
    owner, place, length = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (owners, places, lengths))
    order = np.argsort(owner, kind="stable")
    return np.bincount(owner, minlength=len(first)), (place[order], length[order]), ~fine


def _strided(data: np.ndarray, kind: str) -> np.ndarray:
    """The buffer as values of several bytes, one beginning at every byte."""
    width = np.dtype(kind).itemsize
    return np.ndarray((len(data) - width + 1,), kind, data, strides=(1,))


@functools.cache
def _example_class() -> type:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    # A pool of its own: TensorFlow registers messages of the same kind in the default one.
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="headwater/example.proto", package="headwater", syntax="proto3")
    for name, kind in (
        ("BytesList", field.TYPE_BYTES),
        ("FloatList", field.TYPE_FLOAT),
        ("Int64List", field.TYPE_INT64),
    ):
        message = file.message_type.add(name=name)
        message.field.add(name="value", number=1, type=kind, label=field.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    lists = (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List"))
    for number, (name, kind) in enumerate(lists, 1):
        feature.field.add(name=name, number=number, oneof_index=0, **_message_field(kind))
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, **_message_field("Feature"))
    features.field.add(
        name="feature",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".headwater.Features.FeatureEntry",
        label=field.LABEL_REPEATED,
    )
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, **_message_field("Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("headwater.Example"))


def _message_field(kind: str) -> dict:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as field

    return {"type": field.TYPE_MESSAGE, "type_name": f".headwater.{kind}", "label": field.LABEL_OPTIONAL}
