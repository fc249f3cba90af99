"""What drift is measured from: one earlier span, the same phase of an earlier season, or a window of spans."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any, TypeAlias

from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common import distributions, results
from headwater.components.common.distributions import Feature
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Home, Result
from headwater.components.validate.foreign import open_statistics

_OF_SPANS = re.compile(r"(season|window):(.*)", re.DOTALL)

_Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList


@dataclasses.dataclass(frozen=True)
class Baseline:
    """Earlier statistics, of one span or of several.

    Attributes:
      results: at least one.
      title: what they are, as in "span 3" or "the earlier span".
    """

    results: tuple[Result, ...]
    title: str

    def reference(self) -> dict[str, object]:
        """The reference for a manifest: of the latest, with the others beside it."""
        latest = self.results[-1].reference()
        others = [result.reference() for result in self.results[:-1]]
        return {**latest, "others": others} if others else latest

    @property
    def inputs(self) -> dict[str, Result]:
        """What a manifest names as inputs."""
        if len(self.results) == 1:
            return {"baseline": self.results[0]}
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


def find_baseline(reference: str, home: Home | None) -> Baseline | None:
    """Resolves a reference to earlier statistics.

    Args:
      reference: as in `results.find`; or `season:<n>`, the span that lies n before this one, or `window:<n>`, the n
        latest spans before this one, or as many as there are.
      home: the span that asks.

    Returns:
      The baseline; None for `none`, and for `auto`, `season` and `window` when there is no earlier one.

    Raises:
      HeadwaterError: there is no such result, or the reference is wrong.
    """
    match = _OF_SPANS.fullmatch(reference.strip())
    if not match:
        named = results.is_reference(reference)
        found = results.find(reference, "statistics", home) if named else open_statistics(reference)
        return Baseline((found,), f"span {found.home.span}" if found.home else "the earlier span") if found else None
    how, number = match.groups()
    if not number.isdigit() or not int(number):
        raise HeadwaterError(f"baseline: {reference!r}: {how}: must be followed by a number of spans, as in {how}:7")
    if home is None:
        raise HeadwaterError(f"{reference!r} refers to earlier runs under data_root, but no data_root is set")
    latest = {other.span: other for other in results.committed(home.data_root, home.name, "statistics")}
    if how == "season":
        spans = [span for span in (home.span - int(number),) if span in latest]
        title = f"the span {number} spans ago"
    else:
        spans = sorted(span for span in latest if span < home.span)[-int(number) :]
        title = f"the {len(spans)} spans before"
    if not spans:
        return None
    return Baseline(tuple(results.load(latest[span].folder("statistics"), "statistics") for span in spans), title)
