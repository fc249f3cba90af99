"""Going through a span's findings in the terminal: what becomes of each, and the settings that follow from it.

What is accepted becomes a version of the schema under the data root; the rest is written into the project file.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.pages import visible
from headwater.components.common.settings import parse_config
from headwater.components.infer_schema import read_schema
from headwater.components.infer_schema.accept import schema_of, span_of, verdict_of
from headwater.components.infer_schema.curation import FeatureCuration, check_curation
from headwater.components.validate.settings import check_settings
from headwater.pipelines.accepting import accept
from headwater.pipelines.project import NAME, amend, append, find

_DAYS = 30
_TOLERANCE = "0.05"
_COUNTED = ("error", "warning")


class _End(Exception):
    """There are no more answers, or no more are wanted."""


@dataclasses.dataclass(frozen=True)
class _Item:
    """The findings of one kind on one feature, of all splits; they have one cause."""

    places: tuple[int, ...]
    findings: tuple[Mapping[str, Any], ...]

    @property
    def first(self) -> Mapping[str, Any]:
        return self.findings[0]


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
    project: str = "",
    ask: Callable[[str, str], str] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Asks for each finding of a span's latest verdict what becomes of it, and does that.

    Args:
      data_root: path or URI.
      name: of the dataset.
      span: its number; None for the latest.
      reason: why what is accepted is accepted; asked for where it is empty.
      who: who accepts; by default the user that runs this.
      project: the project file to write to; by default the one of the working folder, which is made if there is none.
      ask: shows a question with its default, and gives the answer; by default from standard input, whose end is the
        end of the review.
      say: shows a line.

    Raises:
      HeadwaterError: there is no such span, or no verdict on it; or a file cannot be written.
    """
    home = span_of(data_root, name, span)
    verdict = verdict_of(home)
    if verdict is None:
        raise HeadwaterError(f"--span: there is no verdict on span {home.span} of dataset {name!r} to review")
    items = _items(verdict.body["findings"])
    say(f"{name}, span {home.span}: {verdict.body['verdict']}")
    work = _Review(
        contract=read_schema(schema_of(home, verdict).folder),
        span=f"{name}, span {home.span}",
        day=datetime.datetime.now(datetime.UTC).date(),
        project=project or find() or NAME,
        ask=ask or _ask,
        say=say,
    )
    try:
        for number, item in enumerate(items, 1):
            _settle(work, item, f"{number} of {len(items)}")
    except _End:
        say("the rest is left as it is")
    if work.accepted:
        say(accept(data_root, name, home.span, reason=reason or _reason(work), who=who, only=work.accepted))
    if work.written:
        say(f"written to {work.project}, which `headwater run` reads")
    if work.accepted or work.written:
        say("run the same command again to see the new verdict")


def _items(findings: Sequence[Mapping[str, Any]]) -> list[_Item]:
    groups: dict[tuple[str, str, str], list[int]] = {}
    for place, each in enumerate(findings):
        if each["severity"] in _COUNTED:
            groups.setdefault((each["check"], each["kind"], each["feature"]), []).append(place)
    return [_Item(tuple(places), tuple(findings[place] for place in places)) for places in groups.values()]


def _settle(work: _Review, item: _Item, number: str) -> None:
    work.say("")
    for each in item.findings:
        where = "/".join(part for part in (each["split"], each["feature"]) if part)
        work.say(f"{number}  {each['severity']}  {visible(where, 200)}: {visible(each['message'], 1000)}")
    ways = {"a": _accept, "c": _curate, "i": _ignore, "q": _quarantine, "s": None, "x": None}
    words = ["[a]ccept", "[c]urate", "[i]gnore until a date", "[q]uarantine the rows", "[s]kip", "e[x]it"]
    if item.first["feature"] not in {feature.name for feature in work.contract.feature}:
        # What the schema does not know has no curation, and no demand that rows could break.
        ways, words = {key: way for key, way in ways.items() if key not in "cq"}, [words[0], words[2], *words[4:]]
    while True:
        answer = work.ask(f"{', '.join(words)}?", "s").lower()[:1]
        if answer == "x":
            raise _End
        if answer not in ways:
            continue
        way = ways[answer]
        try:
            if way is not None:
                way(work, item)
            return
        except HeadwaterError as error:
            work.say(f"error: {error}")


def _accept(work: _Review, item: _Item) -> None:
    work.accepted += item.places


def _curate(work: _Review, item: _Item) -> None:
    feature = item.first["feature"]
    work.say(f"keys: {', '.join(FeatureCuration.model_fields)}")
    answer = work.ask(f"what is agreed about {feature}, as in min: 0, max: 120", "")
    given = parse_config("the answer", f"{{{answer.strip().removeprefix('{').removesuffix('}')}}}")
    if not given:
        raise HeadwaterError("nothing was given; choose [s]kip to leave the finding as it is")
    check_curation({"features": {feature: given}})
    for key, value in given.items():
        amend(work.project, ("schema", "features", feature, key), value)
    work.written = True


def _ignore(work: _Review, item: _Item) -> None:
    entry = _entry(item, work.ask("why does it not count", ""), _until(work))
    check_settings({"acknowledged": [entry]})
    append(work.project, ("validate", "acknowledged"), entry)
    work.written = True


def _quarantine(work: _Review, item: _Item) -> None:
    feature = item.first["feature"]
    demand = work.ask("rows are good when, in SQL", _demand(work.contract, feature))
    share = work.ask("a share of rows put aside that is no finding", _TOLERANCE)
    rule = {"name": f"{feature} since {work.span}", "row": demand, "tolerance": parse_config("the answer", share)}
    entry = _entry(item, "its rows are quarantined", _until(work))
    check_settings({"acknowledged": [entry], "rows": {"rules": [rule]}})
    append(work.project, ("validate", "rows", "rules"), rule)
    append(work.project, ("validate", "acknowledged"), entry)
    work.written = True


def _until(work: _Review) -> str:
    return work.ask("until and with which day", str(work.day + datetime.timedelta(days=_DAYS)))


def _entry(item: _Item, reason: str, until: str) -> dict[str, Any]:
    first = item.first
    return {
        "kind": first["kind"],
        "feature": first["feature"],
        "check": first["check"],
        "reason": reason,
        "until": until,
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
