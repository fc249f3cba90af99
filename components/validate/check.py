"""validate: runs every check on one span's statistics and rows, and gives the verdict."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from headwater.components.common import results, storage, user_code
from headwater.components.common.findings import SEVERITIES
from headwater.components.common.results import Result
from headwater.components.common.tables_in_memory import Tabular, as_uri, named
from headwater.components.validate import actions, checks, grouping
from headwater.components.validate.alerts import send_alerts
from headwater.components.validate.context import Context
from headwater.components.validate.findings import DRIFT, SKEW
from headwater.components.validate.overview import write_overview
from headwater.components.validate.page import render_page
from headwater.components.validate.settings import check_settings

FILE = "Split-{split}/SchemaDiff.pb"


def check_statistics(
    statistics: str | os.PathLike[str],
    schema: str | os.PathLike[str],
    output: str,
    *,
    baseline: str | os.PathLike[str] = "auto",
    environment: str = "",
    config: Mapping[str, Any] | None = None,
    dataset: Tabular = "",
    passed: str = "",
    quarantine: str = "",
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
) -> Result:
    """Validates each split's statistics, and rows where the settings ask for it; succeeds whatever it finds.

    A finding is an error where it breaks what was agreed: a schema that somebody accepted, curated or gave, a threshold
    that the schema sets. It is a warning where it breaks what was guessed: a schema that was inferred, from this data or
    an earlier span's, and not accepted yet; a change that is significant, or above a default threshold.

    Args:
      statistics: a result of generate-statistics, or its path or URI; or those of TFDV's or TFX's own, as
        `foreign.open_statistics` takes them.
      schema: a result of infer-schema, or its path or URI; or that of a `schema.pbtxt`, which counts as agreed.
      output: folder for the result.
      baseline: statistics to measure drift from: a reference as in `baselines.find_baseline`, or the URI of TFDV's own.
      environment: the schema environment to validate in; empty for none.
      config: settings by name, as the checks define them and the README lists them; a function itself does where one is
        named.
      dataset: path or URI of the rows that the statistics are of, or a table of pandas, polars or Arrow; by default the
        one that they name.
      passed: folder for a dataset of the rows that break no rule, where there are rules; empty to write none. Under a
        `data_root` the rows lie beside the statistics' other results, and the folder gets the manifest alone.
      quarantine: folder for a dataset of the others, likewise; empty to write none.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core.

    Returns:
      The anomalies: TFDV's proto for each split; its body says `blessed`, the `verdict`, which `checks` ran, their
      `findings`, all `measures` and all `changes`, and holds each check's summary under its name.

    Raises:
      HeadwaterError: a setting is wrong, or a result is missing, altered or unreadable.
    """
    settings = check_settings(user_code.named(config or {}))
    context = Context(
        os.fspath(statistics),
        os.fspath(schema),
        settings,
        baseline=os.fspath(baseline),
        environment=environment,
        dataset=as_uri(dataset),
        passed=passed,
        quarantine=quarantine,
        beam={"beam_pipeline_args": beam_pipeline_args, "workers": workers},
    )
    for check in checks.CHECKS:
        check.prepare(context)
    outcomes = {check: check.run(context) for check in checks.CHECKS}
    body = _body(context, outcomes)
    drawn = {place: plot for outcome in outcomes.values() for place, plot in outcome.drawn.items()}
    result = results.save(
        "anomalies",
        output,
        files={
            FILE.format(split=split): context.conformance(split).anomalies.SerializeToString(deterministic=True)
            for split in context.splits
        },
        body=body,
        inputs=_inputs(context),
        settings={
            "environment": environment,
            "dataset": named(as_uri(dataset)),
            # A check that is new is run on what was validated without it.
            "checks": [check.name for check in checks.CHECKS],
            # Who is alerted changes nothing of what is found.
            **settings.model_dump(mode="json", exclude_defaults=True, exclude={"alerts", "acknowledged", "as_of"}),
            **context.acknowledgements.settings(),
            # Whether an earlier span is accepted is no input.
            **({"passed_over": context.passed_over} if context.passed_over else {}),
        },
        home=context.statistics.home,
        page=render_page(body, context.statistics, drawn, context.past, context.schema),
    )
    write_overview(result, context.statistics, context.schema, context.past)
    _alert(result, context)
    return result


def _body(context: Context, outcomes: Mapping[checks.Check, checks.Outcome]) -> dict[str, Any]:
    known = context.acknowledgements
    of_checks = [{**each, "check": check.name} for check, outcome in outcomes.items() for each in outcome.findings]
    of_checks = known.of_splits(of_checks)
    findings = known.of_causes(grouping.group(of_checks, _alike(context), context.about.get("labels", ())))
    home = context.statistics.home
    accept = (
        actions.accept_command(home)
        if home
        else actions.propose_command(context.statistics.folder, context.schema.folder)
    )
    for each in findings:
        each["action"] = "" if "acknowledged" in each else actions.action(each, accept)
    body = {
        "blessed": not any(each["severity"] == "error" for each in findings),
        "baseline": context.baseline.reference() if context.baseline else None,
        "passed_over": context.passed_over,
        "schema": {
            **context.schema.reference(),
            **_state(context),
        },
        "serving": context.serving.result.reference() if context.serving else None,
        "checks": [_counts(check, outcome, findings) for check, outcome in outcomes.items()],
        "findings": findings,
        "acknowledged": known.entries,
        "measures": [each for outcome in outcomes.values() for each in outcome.measures],
        "changes": [each for outcome in outcomes.values() for each in outcome.changes],
        **{check.name: outcome.summary for check, outcome in outcomes.items() if outcome.summary is not None},
    }
    return {**body, "verdict": _verdict(body)}


def _alike(context: Context) -> dict[str, grouping.Alike]:
    """Which features went together before anything changed: in the baseline, and for serving data in training data."""
    earlier = context.baseline.about if context.baseline else []
    pairs = {
        DRIFT: {frozenset(pair) for about in earlier for pair in about.get("together", ())},
        SKEW: {frozenset(pair) for pair in context.about.get("together", ())},
    }
    return {kind: functools.partial(_are_pair, known) for kind, known in pairs.items()}


def _are_pair(pairs: Collection[frozenset[str]], one: str, other: str) -> bool:
    return frozenset((one, other)) in pairs


def _counts(check: checks.Check, outcome: checks.Outcome, findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    severities = [each["severity"] for each in findings if each["check"] == check.name]
    return {
        "name": check.name,
        "title": check.title,
        "skipped": outcome.skipped,
        **{f"{severity}s": severities.count(severity) for severity in SEVERITIES},
    }


def _inputs(context: Context) -> dict[str, Result]:
    serving = {"serving": context.serving.result} if context.serving else {}
    baseline = context.baseline.inputs if context.baseline else {}
    return {"statistics": context.statistics, "schema": context.schema, **serving, **baseline}


def _verdict(body: Mapping[str, Any]) -> str:
    severities = [each["severity"] for each in body["findings"]]
    counts = [
        f"{severities.count(level)} {level}{'s' if severities.count(level) > 1 else ''}"
        for level in ("error", "warning")
        if level in severities
    ]
    acknowledged = sum("acknowledged" in each for each in body["findings"])
    counts += [f"{acknowledged} acknowledged"] if acknowledged else []
    verdict = "Passed" if body["blessed"] else "Rejected"
    sentence = f"{verdict}: {', '.join(counts)}" if counts else verdict
    notes = []
    if body["passed_over"]:
        notes.append(_passed_over(body["passed_over"], body["baseline"]))
    elif not body["baseline"]:
        notes.append("first run: nothing to compare with yet")
    notes.append(f"the schema was {body['schema']['state']}")
    told = "; ".join(notes)
    return f"{sentence}. {told[0].upper()}{told[1:]}"


def _passed_over(spans: Sequence[int], baseline: Any) -> str:
    several = len(spans) > 1
    named = f"span{'s' * several} {', '.join(map(str, spans))}"
    rejected = f"{named} {'were' if several else 'was'} rejected and not accepted"
    return f"{rejected}, so not compared with" if baseline else f"nothing to compare with: {rejected}"


_INNER = ("findings", "statistics")


def _state(context: Context) -> dict[str, Any]:
    """Whether the schema is a guess, or who accepted it; what of this span was accepted is marked in the findings."""
    body = context.schema.body
    accepted = {key: value for key, value in (body["accepted"] or {}).items() if key not in _INNER}
    if body["inferred"]:
        on = body["inferred_on"]
        seen = [each["fingerprint"] for each in context.schema.manifest.get("inputs", {}).values()]
        own = context.statistics.fingerprint in seen or on is not None
        words = f"on span {on}" if on not in (None, context.span) else f"from {'this' if own else 'other'} data"
        words = f"inferred {words}, not accepted yet"
    elif accepted["how"] == "accept":
        words = f"accepted by {accepted['who']} on {accepted['when'][:10]}"
    else:
        words = "curated" if accepted["how"] == "curation" else "given"
    return {"state": words, **{key: body[key] for key in ("inferred", "inferred_on")}, "accepted": accepted or None}


def _alert(result: Result, context: Context) -> None:
    """Sends the verdict, which stands whatever becomes of it."""
    if not context.settings.alerts:
        return
    dataset = context.statistics.body["dataset"]
    verdict = {
        **result.body,
        "uri": result.uri,
        "dataset": dataset["name"],
        "span": dataset["span"],
        "rows": sum(map(context.rows_of, context.splits)),
    }
    # Beside the durable result, which every attempt of a run shares.
    send_alerts(verdict, context.settings.alerts, storage.join(result.uri, "_alerts"))
