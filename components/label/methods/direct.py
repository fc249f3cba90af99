"""Direct labelling: what happened after a prediction was served tells what would have been right.

Feedback comes late, and what has not come yet looks like what never will. So a row is labelled only when its whole
window has passed: by its event, or by there being none. Rows that are not there yet are carried to the next span, those
with an event as well, since examples that come early are mostly positive ones (Chapelle, "Modeling delayed feedback in
display advertising", KDD 2014).
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from headwater.components.common import charts
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.expressions import check_expression, evaluate_each
from headwater.components.common.findings import percent
from headwater.components.common.keys import decoded
from headwater.components.common.pages import duration
from headwater.components.common.partitions import PartitionResults
from headwater.components.common.times import microseconds, seconds
from headwater.components.label import attribution, delays
from headwater.components.label.attribution import Coded, Joined, Other
from headwater.components.label.attribution.columns import On, match_columns
from headwater.components.label.attribution.matching import CONFLICTING, FATES, LATE, ORPHAN, REPEATED, USED, Rules
from headwater.components.label.classes import ABSTAIN, AsText, coded
from headwater.components.label.methods import STRICT, Context, Fitted, Item, Labels, Step, certain

_Text = Annotated[str, pydantic.Field(min_length=1)]
_MICROSECONDS = 1_000_000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

TITLE = "direct feedback"
SUITS = ("weeks", "days", "hours")

_FATES = {
    "used": "labelled a row",
    "repeated": "repeated another event of the same row",
    "conflicting": "contradicted the event that counts",
    "late": "arrived after the window",
    "early": "arrived before any prediction of their key",
    "orphan": "matched no row",
    "carried": "wait for the next span",
    "no_class": "have no class",
    "no_key": "have no key",
    "no_time": "have no time",
}


class Settings(pydantic.BaseModel):
    """Direct labelling's settings.

    Attributes:
      feedback: the name of the input that has the events.
      served: the dataset's column that tells when a row's prediction was served: dates or timestamps.
      occurred: the events' column that tells when one happened.
      window: for how long after a prediction feedback counts, as `36h` or `7d`; both ends belong to it.
      outcome: one scalar SQL expression over an event's columns: the class that it tells, or NULL for none.
      no_event: the class of a row without any event when its window has passed; without one such a row abstains.
      on: the events' columns by the dataset's columns that they must equal; by default the dataset's key.
      conflict: which event counts where several of one prediction tell different classes: the "first" or the "last" in
        time; or none, and the row is left to "abstain".
      attribution: whether an event counts for the "last" prediction of its key before it, or for "every" one in whose
        window it falls.
    """

    model_config = STRICT

    feedback: _Text
    served: _Text
    occurred: _Text
    window: _Text
    outcome: _Text
    no_event: AsText = ""
    on: dict[str, str] = {}
    conflict: Literal["first", "last", "abstain"] = "last"
    attribution: Literal["last", "every"] = "last"


def check(where: str, settings: Settings, classes: Sequence[str]) -> None:
    """What can be known without the data.

    Raises:
      HeadwaterError: names the key.
    """
    try:
        length = seconds(settings.window)
    except HeadwaterError as error:
        raise HeadwaterError(f"{where}.window: {error}") from None
    if round(length * _MICROSECONDS) < 1:
        raise HeadwaterError(
            f"{where}.window: {settings.window!r} leaves no time for feedback to arrive; give a duration above 0, for "
            "example 7d"
        )
    if settings.no_event and settings.no_event not in classes:
        raise HeadwaterError(
            f"{where}.no_event: {settings.no_event!r} is not one of the classes; they are {', '.join(classes)}"
        )


def prepare(step: Step, context: Context) -> _Prepared:
    """Holds the settings against the columns of rows and events.

    Raises:
      HeadwaterError: a column is not there or of the wrong type, the expression cannot be computed, or nothing tells
        until when feedback is known.
    """
    settings, where = step.settings, step.where
    events = context.input(f"{where}.feedback", settings.feedback)
    on = match_columns(
        where, context.dataset, events, settings.on, row_time=settings.served, other_time=settings.occurred
    )
    if context.truth in (*on.rows, settings.served):
        raise HeadwaterError(
            f"{where}: the step reads {context.truth!r}, which the labels are to be evaluated against; remove it from "
            "the step or choose another truth"
        )
    if context.as_of is None:
        raise HeadwaterError(
            "as_of: direct labelling needs the time until which feedback is known, for example 2026-01-31T00:00:00Z; only "
            "spans whose paths contain dates provide it themselves"
        )
    read = check_expression(f"{where}.outcome", settings.outcome, events.schema.names)
    schema = pa.schema([events.schema.field(name) for name in dict.fromkeys([*on.other, settings.occurred, *read])])
    empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], names=schema.names)
    code = functools.partial(_outcomes, f"{where}.outcome", settings.outcome, step.classes)
    code(empty)
    other = Other(
        [element for split in events.splits for element in events.elements(split)],
        schema, code, step.classes, tuple(context.waiting.get(settings.feedback, ())),
    )  # fmt: skip
    as_of = (context.as_of - _EPOCH) // datetime.timedelta(microseconds=1)
    window = round(seconds(settings.window) * _MICROSECONDS)
    rules = Rules(window, as_of, settings.conflict, settings.attribution, 0)
    return _Prepared(step, on, other, rules, context.dataset.schema)


def _outcomes(where: str, expression: str, classes: Sequence[str], batch: pa.RecordBatch) -> Coded:
    [(codes, failed)] = evaluate_each([(where, expression, coded(classes))], batch)
    return Coded(codes.to_numpy(), int(failed.sum()))


@dataclasses.dataclass(frozen=True)
class _Prepared:
    step: Step
    on: On
    other: Other
    rules: Rules
    schema: pa.Schema
    user_code: Sequence[str] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The feedback's name."""
        return (self.step.settings.feedback,)

    def fit(self, items: Sequence[Item], scratch: str, beam: Mapping[str, Any]) -> _Labeller:
        settings, classes, where = self.step.settings, self.step.classes, self.step.where
        joined = attribution.join(settings.feedback, items, self.schema, self.other, self.on, self.rules, scratch, beam)
        if joined.other["outside"]:
            raise HeadwaterError(
                f"{where}.outcome: its value is not one of the classes for {joined.other['outside']:,} events of "
                f"{settings.feedback!r}; the classes are {', '.join(classes)}, and NULL means no class"
            )
        return _Labeller(
            columns=tuple(dict.fromkeys([*self.on.rows, settings.served])),
            sources=self.sources,
            report=_report(self.step, joined, self.rules),
            waiting={settings.feedback: joined.carried},
            matches=joined.matches, served=settings.served, matured=self.rules.as_of - self.rules.window,
            keys=self.on.rows, classes=len(classes),
            no_event=classes.index(settings.no_event) if settings.no_event else ABSTAIN,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Labeller(Fitted):
    matches: PartitionResults
    served: str
    matured: int
    keys: Sequence[str]
    classes: int
    no_event: int

    def label(self, item: Item, rows: pa.Table) -> Labels:
        events = attribution.codes_of(self.matches, item.number, rows.num_rows)
        timed, keyed = _is_there(rows, [self.served]), _is_there(rows, self.keys)
        codes = np.where(events == attribution.NOTHING, self.no_event, np.maximum(events, ABSTAIN)).astype(np.int8)
        # That no event came says nothing of a row that no event could be of.
        codes[~timed | ~keyed] = ABSTAIN
        carried = timed.copy()
        carried[timed] = microseconds(decoded(_one(rows[self.served])))[timed] > self.matured
        codes[carried] = ABSTAIN
        return Labels(codes, certain(codes, self.classes), np.maximum(events, ABSTAIN)[:, None], carried)


def _is_there(rows: pa.Table, names: Sequence[str]) -> np.ndarray:
    there = np.ones(rows.num_rows, bool)
    for name in names:
        there &= pc.is_valid(rows[name]).to_numpy()
    return there


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _report(step: Step, joined: Joined, rules: Rules) -> dict[str, Any]:
    settings, classes = step.settings, step.classes
    rows, events = joined.rows, joined.other
    by_event = dict(zip(classes, rows["classes"]))
    silent = rows["matured"] - sum(rows["classes"]) - rows["disputed"]
    summary = delays.describe(joined.delays, rules.window / _MICROSECONDS)
    return {
        "feedback": settings.feedback,
        "window": rules.window / _MICROSECONDS,
        "conflict": settings.conflict,
        "attribution": settings.attribution,
        "no_event": settings.no_event or None,
        "rows": rows["rows"],
        "matured": rows["matured"],
        "by_event": by_event,
        "silent": silent,
        "disputed": rows["disputed"],
        "no_time": rows["no_time"],
        "no_key": rows["no_key"],
        "events": dict(events),
        "delays": summary,
        "warnings": _warnings(step, rows, events, by_event, silent, summary, rules.window / _MICROSECONDS),
    }


def _warnings(
    step: Step,
    rows: Mapping[str, Any],
    events: Mapping[str, int],
    by_event: Mapping[str, int],
    silent: int,
    summary: Mapping[str, Any],
    window: float,
) -> list[str]:
    """What a person should look at."""
    settings = step.settings
    name = settings.feedback
    own = sum(events[FATES[fate]] for fate in (USED, REPEATED, CONFLICTING, LATE))
    warnings = []
    if events["read"] and not own and events[FATES[ORPHAN]]:
        warnings.append(
            f"no event of {name!r} matches a row: {events[FATES[ORPHAN]]:,} have keys that no row has; check the "
            "columns of `on`"
        )
    for what, why in (("no_time", f"no time in {settings.served!r}"), ("no_key", "no key to match events by")):
        if rows[what]:
            warnings.append(f"{rows[what]:,} rows have {why} and abstain")
    if events["failed"]:
        warnings.append(
            f"the outcome could not be computed for {events['failed']:,} events of {name!r}, which therefore give no "
            "class"
        )
    if rows["matured"]:
        missing = [each for each in step.classes if not by_event[each] and not (each == settings.no_event and silent)]
        warnings += [f"no row whose window has passed got the class {each!r}" for each in missing]
    advised = summary["advised"]
    if advised is not None and advised > window and summary["held"] < delays.ADVISED - 0.05:
        warnings.append(
            f"the window of {duration(window)} covers {percent(summary['held'])} of the feedback of {name!r}; "
            f"{percent(delays.ADVISED)} of it arrives within {duration(math.ceil(advised))}"
        )
    return warnings


def show(step: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    """A step's report with what `direct.html` shows of it."""
    summary = step["delays"]
    events = step["events"]
    by_octave: dict[float, float] = {}
    for end, within in summary["histogram"]:
        by_octave[2.0 ** math.ceil(math.log2(end) - 1e-9)] = within
    shares = np.diff([0.0, *by_octave.values()]).tolist()
    outline = charts.bars(shares)
    return {
        **step,
        "outline": outline,
        "ends": [min(by_octave), max(by_octave)] if by_octave else [],
        "fates": [(_FATES[name], events[name]) for name in _FATES if events[name]],
        "states": [
            *((f"{name} (event)", step["by_event"][name]) for name in classes if step["by_event"][name]),
            (f"{step['no_event'] or 'no label'} (no event within {duration(step['window'])})", step["silent"]),
            ("no label (events contradict each other)", step["disputed"]),
            ("no label (the row has no key)", step["no_key"]),
            ("no label (the row has no time)", step["no_time"]),
        ],
    }
