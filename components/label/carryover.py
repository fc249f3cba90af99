"""Rows that one span carries to the next: where they come from, and with which datasets' shards they are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from headwater.components.common import references, results, storage
from headwater.components.common.dataset import Dataset, base_of, carried
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.labelled import WideShard
from headwater.components.common.results import Home, Result
from headwater.components.label.methods import Step

BASE = "_base"
"""The folder below labels with the dataset that they are of, where it has no home."""


@dataclasses.dataclass(frozen=True)
class Carried:
    """What labels of an earlier span left for this one.

    Attributes:
      result: those labels; None where there are none, or they left nothing.
      bases: the datasets that their rows are of.
      parts: the rows, by split, as elements.
      waiting: by input, URIs of the events that wait.
      widened: names of columns that some of the rows have in a narrower type.
      passed_over: later labels of the same name, whose rows wait too and are not taken over.
    """

    result: Result | None = None
    bases: tuple[Dataset, ...] = ()
    parts: Mapping[str, Sequence[WideShard]] = dataclasses.field(default_factory=dict)
    waiting: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    widened: frozenset[str] = frozenset()
    passed_over: tuple[Result, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(element.rows for elements in self.parts.values() for element in elements)

    @property
    def private(self) -> dict[str, Any]:
        """What the datasets of the rows say of columns with personal data."""
        return {name: entry for base in self.bases for name, entry in (base.result.body.get("private") or {}).items()}

    @property
    def warnings(self) -> list[str]:
        """What a person should look at."""
        return [
            f"{each.body['accounts']['carried']:,} rows waiting in {each.uri} are not taken over, because its classes "
            "or methods differ; set carried_from to it to label them"
            for each in self.passed_over
        ]


def take_over(step: Step, methods: Sequence[str], opened: Dataset, home: Home | None) -> Carried:
    """What an earlier span left.

    Args:
      step: the first one; its `carried_from` says which labels.
      methods: of all steps.
      opened: what is to be labelled.
      home: its place; without one only a URI and `none` name labels.

    Raises:
      HeadwaterError: there are no such labels, or their rows do not go with this span's.
    """
    where = f"{step.where}.carried_from"
    result, passed_over = _find(where, step, methods, home)
    if result is None:
        return Carried(passed_over=passed_over)
    left = result.body.get("carried") or {"rows": 0, "splits": {}, "events": {}}
    waiting = {name: [_checked(result, file) for file in files] for name, files in left["events"].items() if files}
    if not left["rows"] and not waiting:
        return Carried(passed_over=passed_over)
    if list(result.body["key"]) != list(opened.key):
        raise HeadwaterError(
            f"{where}: the key of {result.uri} is {', '.join(result.body['key'])}, but {', '.join(opened.key)} here; "
            "give none to start afresh"
        )
    bases = tuple(base_of(result, reference) for reference in result.body["bases"])
    if any(base.result.fingerprint == opened.result.fingerprint for base in bases):
        raise HeadwaterError(f"{where}: {result.uri} was made from this same dataset, whose rows would appear twice")
    known = [(base, field) for base in bases for field in opened.schema if field.name in base.schema.names]
    widened = {field.name for base, field in known if _is_wider(where, base, field)}
    parts = carried(result, opened.schema)
    return Carried(result, bases, parts, waiting, frozenset(widened), passed_over)


def check_not_taken(step: Step, home: Home) -> None:
    """Refuses to label a span anew whose waiting rows later labels took over: they would be labelled twice.

    Args:
      step: the first one.
      home: the place of the new labels.

    Raises:
      HeadwaterError: names the later labels, which are to be removed first.
    """
    here = results.committed(home.data_root, home.name, "labels", lambda span: span == home.span)
    own = {other.folder("labels") for other in here}
    after = results.committed(home.data_root, home.name, "labels", lambda span: span > home.span)
    took: list[Result] = []
    for other in reversed(list(after)) if own else []:
        later = results.load(other.folder("labels"), "labels")
        source = later.manifest["inputs"].get("carried")
        if later.body["label"] == step.label and source and source["uri"] in own:
            took.append(later)
            # Whoever took over from those is to be undone with them.
            own.add(later.uri)
    if took:
        raise HeadwaterError(
            f"dataset: span {home.span} was labelled before, and rows that waited there were taken over by later labels; "
            f"to label it again would label them twice. Remove {', then '.join(each.uri for each in reversed(took))}, "
            "and label the spans again in their order"
        )


class Bases:
    """The datasets whose shards labels are read with: what was labelled, and those that carried rows are of.

    Attributes:
      references: of each, exact URI and checksums. One without a home is copied below the labels, as artifacts do not know
        each other.
    """

    def __init__(self, opened: Dataset, earlier: Carried, folder: str):
        self.references: list[dict[str, str]] = []
        self._places: dict[str, dict[str, Any]] = {}
        needed = {element.uri for elements in earlier.parts.values() for element in elements}
        for base in (opened, *earlier.bases):
            shards = [shard for split in base.splits for shard in base.elements(split)]
            if base is not opened and not any(shard.uri in needed for shard in shards):
                continue
            number = len(self.references)
            for shard in shards:
                of = storage.relative(shard.uri, base.result.uri)
                self._places.setdefault(shard.uri, {"of": of, "base": number})
            self.references.append(self._reference(base, folder, number))

    def place_of(self, element: Any) -> dict[str, Any]:
        """Where an element's shard is: `of` and `base` of an index."""
        return self._places[element.uri]

    @staticmethod
    def _reference(base: Dataset, folder: str, number: int) -> dict[str, str]:
        if base.home:
            return base.result.reference()
        name = f"{BASE}-{number}" if number else BASE
        place = storage.join(folder, name)
        if base.result.folder != place:
            storage.copy_folder(base.result.folder, place, last=results.MANIFEST)
        return {**base.result.reference(), "uri": name}


def _find(
    where: str, step: Step, methods: Sequence[str], home: Home | None
) -> tuple[Result | None, tuple[Result, ...]]:
    """The labels that a reference names; and those of later spans that `auto` passes over though rows of theirs
    wait."""
    reference = step.carried_from.strip()
    span = reference.removeprefix("span:")
    if reference == "none" or (reference == "auto" and home is None):
        return None, ()
    if home is not None and (reference == "auto" or (reference != span and span.isdigit())):
        passed_over: list[Result] = []
        for other in results.committed(
            home.data_root,
            home.name,
            "labels",
            lambda number: number < home.span and (reference == "auto" or number == int(span)),
        ):
            candidate = results.load(other.folder("labels"), "labels")
            if _is_alike(candidate, step, methods):
                return candidate, tuple(passed_over)
            if candidate.body["label"] == step.label and candidate.body["accounts"].get("carried"):
                passed_over.append(candidate)
        if reference == "auto":
            return None, tuple(passed_over)
        raise HeadwaterError(
            f"{where}: {reference!r} does not exist: no earlier span {span} has labels {step.label!r} with these "
            f"classes by {', '.join(methods)}"
        )
    try:
        return references.find(reference, "labels", home), ()
    except HeadwaterError as error:
        raise HeadwaterError(f"{where}: {error}") from None


def _is_alike(candidate: Result, step: Step, methods: Sequence[str]) -> bool:
    body = candidate.body
    own = body["label"], set(body["classes"]), [each["method"] for each in body["steps"]]
    return own == (step.label, set(step.classes), list(methods))


def _checked(result: Result, file: Mapping[str, Any]) -> str:
    uri = storage.join(result.uri, file["path"])
    results.check(uri, storage.read_bytes(uri), file["sha256"])
    return uri


def _is_wider(where: str, base: Dataset, field: pa.Field) -> bool:
    """Whether carried rows have a column in a narrower type; whether each value fits is seen when it is read."""
    kind = base.schema.field(field.name).type
    if kind == field.type:
        return False
    whole, wide = pa.types.is_integer(kind), pa.types.is_integer(field.type)
    fits = pa.types.is_floating(field.type) and (
        whole or (pa.types.is_floating(kind) and kind.bit_width < field.type.bit_width)
    )
    if whole and wide:
        # A sign takes a bit.
        signs = pa.types.is_signed_integer(kind), pa.types.is_signed_integer(field.type)
        fits = kind.bit_width < field.type.bit_width and signs != (True, False)
    if not fits:
        raise HeadwaterError(
            f"{where}: column {field.name!r} is {kind} in {base.result.uri}, whose rows are waiting, but {field.type} "
            "here; collect both with the same type, or give none to start afresh"
        )
    return True
