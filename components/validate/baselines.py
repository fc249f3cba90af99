"""What drift is measured from: one earlier span, the same phase of an earlier season, or a window of spans."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common import distributions, references, results, storage
from headwater.components.common.distributions import Feature
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import places
from headwater.components.common.foreign import open_statistics
from headwater.components.common.results import Home, Result

_OF_SPANS = re.compile(r"(season|window):(.*)", re.DOTALL)

_Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList


@dataclasses.dataclass(frozen=True)
class Baseline:
    """Earlier statistics, of one span or of several.

    Attributes:
      results: at least one.
      title: what they are, as in "span 3" or "the earlier span".
      before: where a person accepted that span with what was found on it, the statistics that it was compared with.
    """

    results: tuple[Result, ...]
    title: str
    before: Result | None = None

    def reference(self) -> dict[str, object]:
        """The reference for a manifest: of the latest, with the others beside it."""
        latest = self.results[-1].reference()
        others = [result.reference() for result in self.results[:-1]]
        return {**latest, "others": others} if others else latest

    @property
    def inputs(self) -> dict[str, Result]:
        """What a manifest names as inputs."""
        if len(self.results) == 1:
            before = {"baseline_before": self.before} if self.before else {}
            return {"baseline": self.results[0], **before}
        return {f"baseline_{place:05d}": result for place, result in enumerate(self.results)}

    def rows(self, split: str) -> int | None:
        """Rows of a split; None where no result has it."""
        own = [result.body["splits"][split]["rows"] for result in self._with(split)]
        return sum(own) if own else None

    def statistics(self, split: str) -> _Statistics | None:
        """TFDV's statistics of a split; None where there are none, or of several spans."""
        own = self._with(split)
        if len(self.results) > 1 or not own:
            return None
        return _Statistics.FromString(own[0].read(f"Split-{split}/FeatureStats.pb"))

    def features(self, split: str) -> dict[tuple[str, ...], Feature] | None:
        """The distributions of a split over all spans that have it; None where none has."""
        own = [distributions.read(result.read(f"Split-{split}/State.arrow")) for result in self._with(split)]
        if not own:
            return None
        paths = functools.reduce(lambda one, other: {**one, **other}, own)
        return {path: distributions.add([each[path] for each in own if path in each]) for path in paths}

    @property
    def span(self) -> int | None:
        """The number of the latest; None where it has none."""
        return self.results[-1].body["dataset"]["span"]

    @property
    def about(self) -> list[dict[str, Any]]:
        """What each one's dataset says of its columns, see `origins.describe`."""
        return [result.body["dataset"].get("about") or {} for result in self.results]

    def _with(self, split: str) -> list[Result]:
        return [result for result in self.results if split in result.body["splits"]]


class Choice(NamedTuple):
    """What a reference to earlier statistics leads to.

    Attributes:
      baseline: None where there is nothing to compare with.
      passed_over: spans that would have been it, and are not, since they were rejected and never accepted.
    """

    baseline: Baseline | None
    passed_over: tuple[int, ...] = ()


def find_baseline(reference: str, home: Home | None) -> Baseline | None:
    """The baseline of `choose`."""
    return choose(reference, home).baseline


def choose(reference: str, home: Home | None) -> Choice:
    """Resolves a reference to earlier statistics.

    A span that was rejected, and that nobody accepted since, is no measure of what comes after it: it is passed over,
    unless it is named by its number or URI.

    Args:
      reference: as in `results.find`; or `season:<n>`, the span that lies n before this one, or a multiple of it;
        `window:<n>`, the n latest spans before this one, or as many as there are.
      home: the span that asks.

    Returns:
      The baseline, None for `none`, and for `auto`, `season` and `window` when there is no earlier one; and the spans that
      are passed over.

    Raises:
      HeadwaterError: there is no such result, or the reference is wrong.
    """
    reference = reference.strip()
    match = _OF_SPANS.fullmatch(reference)
    if not match and (home is None or reference not in ("auto", "previous", "latest")):
        named = references.is_reference(reference)
        chosen = references.find(reference, "statistics", home) if named else open_statistics(reference)
        return Choice(_of(chosen) if chosen else None)
    how, number = match.groups() if match else (reference, "1")
    if not number.isdigit() or not int(number):
        raise HeadwaterError(f"baseline: {reference!r}: {how}: must be followed by a number of spans, as in {how}:7")
    if home is None:
        raise HeadwaterError(f"{reference!r} refers to earlier runs under data_root, but no data_root is set")
    season = int(number) if how == "season" else 1

    def may_be(span: int) -> bool:
        here = span != home.span if how == "latest" else span < home.span
        return here and (home.span - span) % season == 0

    most = int(number) if how == "window" else 1
    own, passed_over = _let_on(results.committed(home.data_root, home.name, "statistics", may_be), most)
    if not own:
        if how in ("previous", "latest"):
            raise HeadwaterError(_nothing(reference, home, passed_over))
        return Choice(None, passed_over)
    if how == "window":
        every = tuple(each.statistics for each in reversed(own))
        return Choice(Baseline(every, f"the {len(own)} spans before"), passed_over)
    return Choice(_of(own[0].statistics, own[0].before, int(number) if how == "season" else 0), passed_over)


def _of(statistics: Result, before: Result | None = None, season: int = 0) -> Baseline:
    title = f"span {statistics.home.span}" if statistics.home else "the earlier span"
    return Baseline((statistics,), f"the span {season} spans ago" if season else title, before)


def _nothing(reference: str, home: Home, passed_over: Sequence[int]) -> str:
    if passed_over:
        spans = ", ".join(map(str, passed_over))
        return (
            f"{reference!r} does not exist: of dataset {home.name!r} every earlier span was rejected, and none accepted "
            f"({spans}); accept one, or name it, as in span:{passed_over[0]}"
        )
    return f"{reference!r} does not exist: there is no such statistics of dataset {home.name!r} under {home.data_root}"


class _LetOn(NamedTuple):
    """Statistics of a span that may be compared with; of one that was accepted as it is, its own baseline as well."""

    statistics: Result
    before: Result | None


def _let_on(homes: Iterable[Home], most: int) -> tuple[list[_LetOn], tuple[int, ...]]:
    """The first so many spans that were not rejected, or were accepted since, and those between them that are not."""
    let_on: list[_LetOn] = []
    passed_over = []
    for span, versions in itertools.groupby(homes, lambda home: home.span):
        own = next((one for one in map(_judged, versions) if one is not None), None)
        if own is None:
            passed_over.append(span)
            continue
        let_on.append(own)
        if len(let_on) == most:
            break
    return let_on, tuple(passed_over)


def _judged(home: Home) -> _LetOn | None:
    """A version's statistics; None where their latest verdict is a rejection of what nobody accepted."""
    statistics = results.load(home.folder("statistics"), "statistics")
    verdict = _latest(home, "anomalies", lambda each: _is_of(each, statistics))
    if verdict is None:
        return _LetOn(statistics, None)
    schema = _latest(home, "schema", lambda each: (each.body["accepted"] or {}).get("how") == "accept")
    accepted = (schema.body["accepted"] if schema else None) or {}
    own = (accepted.get("span"), accepted.get("statistics")) == (home.span, statistics.fingerprint)
    settled = list(accepted.get("findings", ())) if own else []
    errors = [each for each in verdict.body["findings"] if each["severity"] == "error"]
    if any(place not in settled for each in errors for place in places(each)):
        return None
    earlier = verdict.manifest["inputs"].get("baseline") if settled else None
    try:
        return _LetOn(statistics, results.load(earlier["uri"], "statistics") if earlier else None)
    except HeadwaterError:
        # What retention has let go is not compared with.
        return _LetOn(statistics, None)


def _is_of(verdict: Result, statistics: Result) -> bool:
    return verdict.manifest["inputs"]["statistics"]["fingerprint"] == statistics.fingerprint


def _latest(home: Home, kind: str, is_meant: Callable[[Result], bool]) -> Result | None:
    """The latest result of a kind in any version of a span that is meant; None where there is none."""
    folder = storage.join(home.data_root, home.name, f"span={home.span}")
    for version in reversed(results.numbered(folder, "version")):
        place = dataclasses.replace(home, version=version).folder(kind)
        if storage.exists(storage.join(place, results.MANIFEST)):
            latest = results.load(place, kind)
            if is_meant(latest):
                return latest
    return None
