"""Going through a span's findings in the terminal: what becomes of each, and the settings that follow from it.

What is accepted becomes a version of the schema under the data root; the rest is written into the project file.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.acknowledging import today
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.pages import visible
from headwater.components.common.settings import parse_config
from headwater.components.infer_schema import read_schema
from headwater.components.infer_schema.accept import Acceptance, accept_span, schema_of, span_of, verdict_of
from headwater.components.infer_schema.curation import FeatureCuration, check_curation
from headwater.components.validate.enforcement import where
from headwater.components.validate.settings import check_settings
from headwater.pipelines.project import NAME, amend, append

Finding: TypeAlias = Mapping[str, Any]

_DAYS = 30
_TOLERANCE = "1"
_COUNTED = ("error", "warning")


class _End(Exception):
    """There are no more answers, or no more are wanted."""


@dataclasses.dataclass(frozen=True)
class Reviewed:
    """What came of a review.

    Attributes:
      accepted: what was accepted; None for nothing.
      written: the project file, where settings were written into it.
    """

    accepted: Acceptance | None
    written: str


@dataclasses.dataclass
class _Review:
    """What the answers of one review work on.

    Attributes:
      contract: the schema that the span is held against.
      span: as in "adult, span 2", for reasons.
      day: the day of the review.
      project: the project file.
      ask: shows a question, and gives the answer, or the default where that is empty.
      say: shows a line.
      accepted: places of the findings that are accepted.
      written: whether the project file was changed.
    """

    contract: schema_pb2.Schema
    span: str
    day: datetime.date
    project: str
    ask: Callable[[str, str], str]
    say: Callable[[str], None]
    accepted: list[int] = dataclasses.field(default_factory=list)
    written: bool = False


def review(
    data_root: str,
    name: str,
    span: int | None = None,
    *,
    reason: str = "",
    who: str = "",
    project: str = NAME,
    ask: Callable[[str, str], str] | None = None,
    say: Callable[[str], None] = print,
) -> Reviewed:
    """Asks for each finding of a span's latest verdict what becomes of it, and does that.

    Args:
      data_root: path or URI.
      name: of the dataset.
      span: its number; None for the latest.
      reason: why what is accepted is accepted; asked for where it is empty.
      who: who accepts; by default the user that runs this.
      project: the project file to write to, created if missing.
      ask: shows a question with its default, and gives the answer; by default from standard input, whose end is the
        end of the review.
      say: shows a line.

    Returns:
      What was accepted, and which file was written to.

    Raises:
      HeadwaterError: there is no such span, or no verdict on it; or a file cannot be written.
    """
    home = span_of(data_root, name, span)
    verdict = verdict_of(home)
    if verdict is None:
        raise HeadwaterError(f"--span: there is no verdict on span {home.span} of dataset {name!r} to review")
    counted = [(place, each) for place, each in enumerate(verdict.body["findings"]) if each["severity"] in _COUNTED]
    say(f"{name}, span {home.span}: {verdict.body['verdict']}")
    work = _Review(
        contract=read_schema(schema_of(home, verdict).folder),
        span=f"{name}, span {home.span}",
        day=today(),
        project=project,
        ask=ask or _ask,
        say=say,
    )
    try:
        for number, (place, finding) in enumerate(counted, 1):
            _settle(work, finding, place, f"{number} of {len(counted)}")
    except _End:
        say("the rest is left as it is")
    written = project if work.written else ""
    if not work.accepted:
        return Reviewed(None, written)
    reason = reason or _reason(work)
    return Reviewed(accept_span(data_root, name, home.span, reason=reason, who=who, only=work.accepted), written)


def _settle(work: _Review, finding: Finding, place: int, number: str) -> None:
    work.say("")
    work.say(f"{number}  {finding['severity']}  {visible(where(finding), 200)}: {visible(finding['message'], 1000)}")
    for each in finding["members"]:
        work.say(f"      and with it  {visible(where(each), 200)}: {visible(each['message'], 300)}")
    if finding["action"]:
        work.say(f"      to do: {visible(finding['action'], 500)}")
    ways = dict(_WAYS)
    if finding["feature"] not in {feature.name for feature in work.contract.feature}:
        # What the schema does not know has no curation, and no demand that rows could break.
        ways = {key: way for key, way in ways.items() if way.of_any}
    while True:
        answer = work.ask(f"{', '.join(way.words for way in ways.values())}?", "s").lower()[:1]
        if answer not in ways:
            for way in ways.values():
                work.say(f"  {way.words.replace('[', '').replace(']', '').split()[0]:11} {way.help}")
            continue
        try:
            ways[answer].follow(work, finding, place)
            return
        except HeadwaterError as error:
            work.say(f"error: {error}")


def _accept(work: _Review, finding: Finding, place: int) -> None:
    work.accepted.append(place)


def _skip(work: _Review, finding: Finding, place: int) -> None:
    work.say("left as it is")


def _end(work: _Review, finding: Finding, place: int) -> None:
    raise _End


def _curate(work: _Review, finding: Finding, place: int) -> None:
    feature = finding["feature"]
    work.say(f"keys: {', '.join(FeatureCuration.model_fields)}")
    answer = work.ask(f"what is agreed about {feature}, as in min: 0, max: 120", "")
    given = parse_config("the answer", f"{{{answer.strip().removeprefix('{').removesuffix('}')}}}")
    if not given:
        raise HeadwaterError("nothing was given; choose [s]kip to leave the finding as it is")
    check_curation({"features": {feature: given}})
    for key, value in given.items():
        amend(work.project, ("schema", "features", feature, key), value)
    work.written = True


def _ignore(work: _Review, finding: Finding, place: int) -> None:
    entry = _entry(finding, work.ask("why it does not count", ""), _until(work))
    check_settings({"acknowledged": [entry]})
    append(work.project, ("validate", "acknowledged"), entry)
    work.written = True


def _quarantine(work: _Review, finding: Finding, place: int) -> None:
    feature = finding["feature"]
    demand = work.ask("rows are good when, in SQL", _demand(work.contract, feature))
    share = work.ask("a share of rows put aside that is no finding", _TOLERANCE)
    rule = {"name": f"{feature} since {work.span}", "row": demand, "tolerance": parse_config("the answer", share)}
    entry = _entry(finding, "its rows are quarantined", _until(work))
    check_settings({"acknowledged": [entry], "rows": {"rules": [rule]}})
    append(work.project, ("validate", "rows", "rules"), rule)
    append(work.project, ("validate", "acknowledged"), entry)
    work.written = True


def _until(work: _Review) -> str:
    """The last day on which a finding does not count; asked for again until it is one."""
    while True:
        answer = work.ask("the last day on which it does not count", str(work.day + datetime.timedelta(days=_DAYS)))
        try:
            if datetime.date.fromisoformat(answer) >= work.day:
                return answer
            work.say(f"until: {answer} has passed; it must be today or later")
        except ValueError:
            work.say(f"until: {answer!r} must be a date; example: 2026-12-31")


def _entry(finding: Finding, reason: str, until: str) -> dict[str, Any]:
    named = {name: finding[name] for name in ("kind", "feature", "check", "rule") if name in finding}
    return {**named, "reason": reason, "until": until}


class _Way(NamedTuple):
    """What can become of a finding: in words, what that means, by what it is done, and whether it can be done to any."""

    words: str
    help: str
    follow: Callable[[_Review, Finding, int], None]
    of_any: bool


_WAYS = {
    "a": _Way(
        "[a]ccept", "the data is right: the schema is changed to fit it, and the finding counts no more", _accept, True
    ),
    "c": _Way("[c]urate", "you say what is agreed about the feature; written into the project file", _curate, False),
    "i": _Way("[i]gnore until a date", "it is known, and does not count until then; written likewise", _ignore, True),
    "q": _Way("[q]uarantine the rows", "rows that break a rule are put aside; written likewise", _quarantine, False),
    "s": _Way("[s]kip", "leave it as it is, and go on", _skip, True),
    "x": _Way("e[x]it", "leave the rest as it is", _end, True),
}


def _demand(contract: schema_pb2.Schema, name: str) -> str:
    """What the schema asks of a row, as SQL; empty where it asks nothing that SQL could say."""
    feature = next(feature for feature in contract.feature if feature.name == name)
    column = '"' + name.replace('"', '""') + '"'
    values = next((domain.value for domain in contract.string_domain if domain.name == feature.domain), ())
    values = list(feature.string_domain.value) or list(values)
    if values:
        listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
        return f"{column} IN ({listed})"
    limits = feature.int_domain if feature.HasField("int_domain") else feature.float_domain
    parts = [
        f"{column} {sign} {getattr(limits, end):g}"
        for end, sign in (("min", ">="), ("max", "<="))
        if limits.HasField(end)
    ]
    if feature.HasField("bool_domain"):
        parts.append(f"{column} IN (0, 1)")
    if not parts and (feature.presence.min_fraction == 1 or feature.HasField("shape")):
        parts.append(f"{column} IS NOT NULL")
    return " AND ".join(parts)


def _reason(work: _Review) -> str:
    try:
        while not (reason := work.ask("why is it accepted, for later readers", "")):
            pass
    except _End:
        raise HeadwaterError("--reason: nobody said why the findings are accepted, so none of them is") from None
    return reason


def _ask(question: str, default: str) -> str:
    try:
        answer = input(f"{question}{f' [{default}]' if default else ''} ").strip()
    except EOFError:
        raise _End from None
    return answer or default
