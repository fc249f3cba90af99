"""validate: statistics against a schema, an earlier span and serving data, split by split."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from headwater.components.common import distributions, results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.components.validate import agreed, changes, history
from headwater.components.validate.agreed import DRIFT, SEVERITIES, SKEW, finding
from headwater.components.validate.alerts import send_alerts
from headwater.components.validate.baselines import Baseline, find_baseline
from headwater.components.validate.concept import advise, check_columns, measure_concept
from headwater.components.validate.distances import JENSEN_SHANNON, L_INFINITY, Distance
from headwater.components.validate.feature_skew import measure_feature_skew
from headwater.components.validate.page import render_page
from headwater.components.validate.rows import check_rows
from headwater.components.validate.settings import (
    Drift,
    Serving,
    Settings,
    check_settings,
)

FILE = "Split-{split}/SchemaDiff.pb"

_Statistics = statistics_pb2.DatasetFeatureStatisticsList


def check_statistics(
    statistics: str,
    schema: str,
    output: str,
    *,
    baseline: str = "auto",
    environment: str = "",
    config: Mapping[str, Any] | None = None,
    dataset: str = "",
    passed: str = "",
    quarantine: str = "",
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
) -> Result:
    """Validates each split's statistics, and rows where the settings ask for it; succeeds whatever it finds.

    A finding is an error where it breaks what was agreed: a schema that was there before this data, a threshold that
    the schema sets. It is a warning where it breaks what was guessed: a schema inferred from this very data, a change
    that is significant, or above a default threshold.

    Args:
      statistics: path or URI of a result of generate-statistics.
      schema: path or URI of a result of infer-schema.
      output: folder for the result.
      baseline: statistics to measure drift from: a reference as in `baselines.find_baseline`.
      environment: the schema environment to validate in; empty for none.
      config: settings by name, as `settings.Settings` and the README list them.
      dataset: path or URI of the rows that the statistics are of; by default the one that they name.
      passed: folder for a dataset of the rows that break no rule, where there are rules; empty to write none.
      quarantine: folder for a dataset of the others; empty to write none.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core.

    Returns:
      The anomalies: TFDV's proto for each split; its body says `blessed`, the `verdict`, its `findings`, all `measures`
      and all `changes`, and what came of `rows`, `concept` and `feature_skew`.

    Raises:
      HeadwaterError: a setting is wrong, or a result is missing, altered or unreadable.
    """
    settings = check_settings(config or {})
    measured, described = results.load(statistics, "statistics"), results.load(schema, "schema")
    contract = _parse(described)
    _check_environment(contract, environment, "environment")
    serving = _Serving(settings.serving, contract) if settings.serving else None
    earlier = find_baseline(baseline, measured.home)
    past = history.read(measured.home)
    work = _Work(measured, described, contract, environment, settings, earlier, serving)
    rows = _Rows(
        dataset or measured.body["dataset"]["uri"], {"beam_pipeline_args": beam_pipeline_args, "workers": workers}
    )
    rows.check(settings, earlier)
    for split in measured.body["splits"]:
        work.check(split)
    work.check_serving()
    work.judge(past)
    work.findings += rows.held_against_rules(settings, contract, environment, passed, quarantine)
    work.findings += rows.held_against_concept(settings, measured, earlier, past)
    work.findings += rows.held_against_serving(settings)
    # The gravest first, and of what moved, what moved most.
    findings = sorted(
        work.findings, key=lambda each: (SEVERITIES.index(each["severity"]), -each.get("effect", math.inf))
    )
    body = {
        "blessed": not any(each["severity"] == "error" for each in findings),
        "baseline": earlier.told if earlier else None,
        "schema": described.reference(),
        "serving": serving.result.reference() if serving else None,
        "findings": findings,
        "measures": work.measures,
        "changes": work.told,
        **rows.told,
    }
    body["verdict"] = _verdict(body, inferred=described.body["inferred"])
    inputs = {"statistics": measured, "schema": described}
    inputs.update({"serving": serving.result} if serving else {})
    inputs.update(earlier.inputs if earlier else {})
    files = {
        FILE.format(split=split): proto.SerializeToString(deterministic=True) for split, proto in work.protos.items()
    }
    result = results.save(
        "anomalies",
        output,
        files=files,
        body=body,
        inputs=inputs,
        settings={
            "environment": environment,
            "dataset": dataset,
            # Who is told changes nothing of what is found.
            **settings.model_dump(mode="json", exclude_defaults=True, exclude={"alerts"}),
        },
        home=measured.home,
        page=render_page(body, measured, work.drawn, past),
    )
    _alert(result, measured, settings)
    return result


def _alert(result: Result, measured: Result, settings: Settings) -> None:
    """Tells of the verdict, which stands whatever becomes of it."""
    if not settings.alerts:
        return
    dataset = measured.body["dataset"]
    verdict = {
        **result.body,
        "uri": result.uri,
        "dataset": dataset["name"],
        "span": dataset["span"],
        "rows": sum(split["rows"] for split in measured.body["splits"].values()),
    }
    # Beside the durable result, which every attempt of a run shares.
    send_alerts(verdict, settings.alerts, storage.join(result.uri, "_alerts"))


class _Rows:
    """What is looked at row by row, where the settings ask for it."""

    def __init__(self, dataset: str, options: Mapping[str, Any]):
        self._dataset, self._options = dataset, options
        self.told: dict[str, Any] = {}
        """For the manifest's body."""

    def check(self, settings: Settings, earlier: Baseline | None) -> None:
        """Raises HeadwaterError when rows are asked for that cannot be found."""
        if (settings.rows or settings.concept or settings.feature_skew) and not self._dataset:
            raise HeadwaterError("dataset: the settings ask for rows, and the statistics name no dataset; name it")
        if settings.concept and not earlier:
            check_columns(self._dataset, settings.concept)
        if settings.concept and earlier and not earlier.results[-1].body["dataset"]["uri"]:
            raise HeadwaterError("config.concept: the baseline names no dataset, so that its rows cannot be compared")

    def held_against_rules(
        self, settings: Settings, contract: schema_pb2.Schema, environment: str, passed: str, quarantine: str
    ) -> list[dict[str, Any]]:
        """The findings of rules, and of what the schema asks of single values."""
        if not settings.rows:
            return []
        report = check_rows(
            self._dataset,
            schema=contract,
            environment=environment,
            config=settings.rows.model_dump(),
            passed=passed,
            quarantine=quarantine,
            **self._options,
        )
        self.told["rows"] = {name: part for name, part in report.body.items() if name != "findings"}
        return report.findings

    def held_against_concept(
        self, settings: Settings, measured: Result, earlier: Baseline | None, past: Sequence[history.Past]
    ) -> list[dict[str, Any]]:
        """The findings on labels."""
        if not settings.concept or not earlier:
            return []
        then = earlier.results[-1]
        config = settings.concept.model_dump()
        found = measure_concept(
            self._dataset,
            then.body["dataset"]["uri"],
            config={**config, "statistics": config["statistics"] or then.uri},
            **self._options,
        )
        told = {name: part for name, part in found.items() if name != "findings"}
        homes = [each.home.span for each in (measured, then) if each.home]
        told["spans_apart"] = abs(homes[0] - homes[1]) if len(homes) == 2 else None
        told["labelling"] = _labelling(settings, [history.concept_of(told), *(run.concept for run in past)])
        self.told["concept"] = told
        return found["findings"]

    def held_against_serving(self, settings: Settings) -> list[dict[str, Any]]:
        """The findings on rows that serving saw too."""
        if not settings.feature_skew:
            return []
        found = measure_feature_skew(self._dataset, config=settings.feature_skew.model_dump(), **self._options)
        self.told["feature_skew"] = {name: part for name, part in found.items() if name != "findings"}
        return found["findings"]


class _Serving:
    """What serving data looked like, opened."""

    def __init__(self, settings: Serving, contract: schema_pb2.Schema):
        _check_environment(contract, settings.environment, "config.serving.environment")
        self.environment = settings.environment
        self.result = results.load(settings.statistics, "statistics")
        self.split = next(iter(self.result.body["splits"]))
        self.statistics = _read(self.result, self.split)
        self.rows = self.statistics.datasets[0].num_examples


class _Work:
    """What is found, split by split."""

    def __init__(
        self,
        measured: Result,
        described: Result,
        contract: schema_pb2.Schema,
        environment: str,
        settings: Settings,
        earlier: Baseline | None,
        serving: _Serving | None,
    ):
        self._measured, self._contract, self._environment = measured, contract, environment
        self._settings, self._earlier, self._serving = settings, earlier, serving
        self._inferred = described.body["inferred"]
        # Where statistics have hidden values already, what is left of them may be shown.
        tagged = {feature.name for feature in contract.feature if agreed.is_private(feature)}
        self._hidden = tagged - set(measured.body.get("private") or {})
        self._agreed: dict[tuple[str, str], set[str]] = {}
        self._now: dict[str, changes.Features] = {}
        self.findings: list[dict[str, Any]] = []
        self.measures: list[dict[str, Any]] = []
        self.compared: list[tuple[str, changes.Compared]] = []
        self.protos: dict[str, anomalies_pb2.Anomalies] = {}
        self.drawn: dict[tuple[str, str, str], tuple[_Statistics, _Statistics]] = {}

    def check(self, split: str) -> None:
        """Checks one split against the schema and the baseline."""
        current = _read(self._measured, split)
        previous = self._earlier.statistics(split) if self._earlier else None
        first = split == next(iter(self._measured.body["splits"]))
        serving = self._serving if first else None
        self.protos[split] = anomalies_pb2.Anomalies()
        if not current.datasets[0].num_examples:
            self._find(split, "", "EMPTY_SPLIT", "the split has no rows; nothing was validated")
        else:
            found = agreed.check(
                split,
                current,
                self._contract,
                environment=self._environment,
                inferred=self._inferred,
                previous=previous,
                serving=serving.statistics if serving else None,
                hidden=self._hidden,
            )
            self.protos[split] = found.anomalies
            self.findings += found.findings
            self.measures += found.measures
            for kind, names in found.compared.items():
                self._agreed[kind, split] = names
        if self._earlier:
            self._compare(DRIFT, split, self._earlier.features(split), self._earlier.rows(split), self._earlier.title)
        if serving:
            then = distributions.read(serving.result.read(f"Split-{serving.split}/State.arrow"))
            self._compare(SKEW, split, then, serving.rows, "serving data")

    def _compare(self, kind: str, split: str, other: changes.Features | None, rows: float | None, title: str) -> None:
        if split not in self._now:
            self._now[split] = distributions.read(self._measured.read(f"Split-{split}/State.arrow"))
        if other is None:
            self._find(split, "", "COMPARISON_IMPOSSIBLE", f"{title} has no such split")
            return
        if not rows or not self._measured.body["splits"][split]["rows"]:
            self._find(split, "", "COMPARISON_IMPOSSIBLE", f"one side has no rows: this span's or that of {title}")
            return
        sizes = self._measured.body["splits"][split]["rows"], rows
        if min(sizes) < changes.LEAST_ROWS:
            message = (
                f"too few rows to compare: {sizes[0]:,} in this span and {sizes[1]:,} in {title}; from "
                f"{changes.LEAST_ROWS} rows on each side on, changes are looked for"
            )
            self.findings.append(finding(split, "", "TOO_FEW_ROWS", "info", message))
            return
        found = changes.compare(split, other, self._now[split], title, self._measured.body["dataset"]["key"])
        if not any(each.change for each in found):
            self._find(split, "", "COMPARISON_IMPOSSIBLE", f"no feature can be compared with {title}")
        self.compared += [(kind, each) for each in found]

    def check_serving(self) -> None:
        """Schema skew: serving data against the same schema."""
        if not self._serving:
            return
        if not self._serving.rows:
            self._find("serving", "", "EMPTY_SPLIT", "the serving data has no rows; nothing was validated")
            return
        found = agreed.check(
            "serving",
            self._serving.statistics,
            self._contract,
            environment=self._serving.environment,
            inferred=self._inferred,
            hidden=self._hidden,
        )
        self.findings += found.findings

    def judge(self, past: Sequence[history.Past]) -> None:
        """Tells which changes are too much, drift and skew each among its own."""
        drift = self._settings.drift
        span = self._measured.home.span if self._measured.home else 0
        judged: list[tuple[str, changes.Compared]] = []
        for kind in (DRIFT, SKEW):
            learnt = functools.partial(_learnt, past, span, drift.season) if kind == DRIFT else _nothing_learnt
            own = [each for of_kind, each in self.compared if of_kind == kind]
            own = changes.judge(own, max_false=drift.max_false, least_effect=drift.least_effect, learnt=learnt)
            judged += [(kind, _settled(each, drift)) for each in own]
        self.compared = judged
        for kind, each in judged:
            title = self._earlier.title if kind == DRIFT else "serving data"
            if each.impossible and each.feature not in self._agreed.get((kind, each.split), ()):
                self._find(each.split, each.feature, "COMPARISON_IMPOSSIBLE", each.impossible)
            if each.alarm and each.feature not in self._agreed.get((kind, each.split), ()):
                self._find(
                    each.split,
                    each.feature,
                    kind,
                    changes.sentence(each, title, each.feature in self._hidden),
                    effect=each.change.effect,
                )
            if each.change:
                self.measures += [_measure(kind, each, distance) for distance in each.change.distances]
        self._keep_drawn()

    def _keep_drawn(self) -> None:
        """Both statistics of every feature that moved, for the page."""
        for each in self.findings:
            if each["kind"] not in (DRIFT, SKEW) or each["feature"] in self._hidden:
                continue
            split = each["split"]
            other = self._serving.statistics if each["kind"] == SKEW else self._earlier.statistics(split)
            if other is not None:
                self.drawn[split, each["feature"], each["kind"]] = (other, _read(self._measured, split))

    @property
    def told(self) -> list[dict[str, Any]]:
        """All changes for the manifest."""
        return [{**changes.told(each, each.feature in self._hidden), "against": kind} for kind, each in self.compared]

    def _find(self, split: str, feature: str, kind: str, message: str, **more: Any) -> None:
        self.findings.append(finding(split, feature, kind, "warning", message, **more))


def _labelling(settings: Settings, compared: Sequence[tuple[int, float] | None]) -> dict[str, Any] | None:
    """How often to label, where the settings say how far spans lie apart."""
    days = settings.concept.span_days
    known = [{"days": days * spans, "effect": effect} for spans, effect in filter(None, compared)] if days else []
    return advise(known, settings.concept.tolerated) if known else None


def _settled(each: changes.Compared, drift: Drift) -> changes.Compared:
    """The change with a fixed threshold in place of the test, where the settings have one."""
    threshold = drift.numeric if each.numeric else drift.categorical
    if not each.change or threshold is None:
        return each
    return changes.settled(each, JENSEN_SHANNON if each.numeric else L_INFINITY, threshold)


def _learnt(past: Sequence[history.Past], span: int, season: int, split: str, feature: str) -> float | None:
    return history.learn(past, (split, feature), span, season)


def _nothing_learnt(split: str, feature: str) -> None:
    return None


def _measure(kind: str, each: changes.Compared, distance: Distance) -> dict[str, Any]:
    fixed = each.fixed is not None and each.fixed.measure == distance.measure
    return {
        "split": each.split,
        "feature": each.feature,
        "against": kind,
        "measure": distance.measure,
        "value": distance.value,
        "chance": distance.chance,
        "p_value": distance.p_value,
        "threshold": each.threshold if fixed else None,
        "set_by": each.set_by if fixed else "",
    }


def _verdict(body: Mapping[str, Any], *, inferred: bool) -> str:
    severities = [each["severity"] for each in body["findings"]]
    counts = [
        f"{severities.count(level)} {level}{'s' if severities.count(level) > 1 else ''}"
        for level in ("error", "warning")
    ]
    found = ", ".join(text for text in counts if not text.startswith("0 "))
    parts = ["blessed" if body["blessed"] else "NOT blessed", found or "nothing found"]
    if not body["baseline"]:
        parts.append("no baseline: there is no earlier span to compare with")
    if inferred:
        parts.append("the schema was inferred from this very data")
    return f"{parts[0]}: {'; '.join(parts[1:])}"


def _check_environment(contract: schema_pb2.Schema, environment: str, key: str) -> None:
    named = {name for feature in contract.feature for name in feature.in_environment}
    if environment and environment not in {*contract.default_environment, *named}:
        known = ", ".join([*contract.default_environment, *sorted(named - set(contract.default_environment))]) or "none"
        raise HeadwaterError(f"{key}: the schema has no environment {environment!r}; it has {known}")


def _read(result: Result, split: str) -> _Statistics:
    return _Statistics.FromString(result.read(f"Split-{split}/FeatureStats.pb"))


def _parse(described: Result) -> schema_pb2.Schema:
    try:
        return text_format.Parse(described.read("schema.pbtxt").decode(), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise HeadwaterError(f"{described.folder}/schema.pbtxt: not a schema: {error}") from None
