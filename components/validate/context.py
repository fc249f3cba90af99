"""What the checks of one run share: what they read, opened once, and the settings."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from headwater.components.common import distributions
from headwater.components.common.acknowledging import today
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.foreign import open_statistics
from headwater.components.common.results import Result
from headwater.components.common.tables_in_memory import DESCRIPTION
from headwater.components.validate import by_construction, history
from headwater.components.validate.acknowledging import Acknowledgements
from headwater.components.validate.baselines import Baseline, choose
from headwater.components.validate.foreign import open_schema

if TYPE_CHECKING:
    from headwater.components.validate.schema_checks import Conformance

PRIVATE = "headwater:private"
"""Tag of a feature whose values must not be shown."""


class Serving:
    """Statistics of serving data, opened.

    Attributes:
      result: of generate-statistics.
      environment: the schema environment that serving data is validated in; empty for none.
      split: the split that is compared: its first.
      statistics: TFDV's statistics of that split.
      rows: how many rows it has.
    """

    def __init__(self, uri: str, environment: str):
        self.result = open_statistics(uri)
        self.environment = environment
        self.split = next(iter(self.result.body["splits"]))
        self.statistics = read_statistics(self.result, self.split)
        self.rows = self.statistics.datasets[0].num_examples

    def distributions(self) -> Mapping[tuple[str, ...], distributions.Feature]:
        """The split's distributions by feature path."""
        return distributions.read(self.result.read(f"Split-{self.split}/State.arrow"))


class Context:
    """What one run validates, and against what.

    Attributes:
      statistics, schema: the results that are validated and validated against.
      contract: the schema itself.
      inferred: whether nobody has accepted the schema, which was inferred from this data or from an earlier span's, so
        that a breach is a warning.
      environment: the schema environment; empty for none.
      settings: checked.
      baseline: earlier statistics; None where there are none.
      passed_over: spans that would be the baseline, had they not been rejected.
      serving: None where the settings name none.
      past: earlier verdicts, the oldest first.
      span: this span's number; 0 outside a data root.
      acknowledgements: findings that do not count.
      splits: names of the splits.
      hidden: features whose values must not be shown.
      dataset: URI of the rows; empty where the statistics name none.
      passed, quarantine: folders for rows; empty to write none.
      beam: `beam_pipeline_args` and `workers`.
    """

    def __init__(
        self,
        statistics: str,
        schema: str,
        settings: Any,
        *,
        baseline: str = "auto",
        environment: str = "",
        dataset: str = "",
        passed: str = "",
        quarantine: str = "",
        beam: Mapping[str, Any] | None = None,
    ):
        self.settings, self.environment = settings, environment
        self.statistics, self.schema = open_statistics(statistics), open_schema(schema)
        self.contract = _parse(self.schema)
        self.inferred: bool = self.schema.body["inferred"]
        _check_environment(self.contract, environment, "environment")
        self.serving: Serving | None = None
        if settings.serving:
            _check_environment(self.contract, settings.serving.environment, "config.serving.environment")
            self.serving = Serving(settings.serving.statistics, settings.serving.environment)
        chosen = choose(baseline, self.statistics.home)
        self.baseline: Baseline | None = chosen.baseline
        self.passed_over = list(chosen.passed_over)
        self.past: Sequence[history.Past] = history.read(self.statistics.home)
        self.span = self.statistics.home.span if self.statistics.home else 0
        self.acknowledgements = Acknowledgements(
            settings.acknowledged,
            settings.as_of or today(),
            self.schema.body["accepted"],
            (self.span, self.statistics.fingerprint),
        )
        self.splits = list(self.statistics.body["splits"])
        # Where statistics have hidden values already, what is left of them may be shown.
        tagged = {feature.name for feature in self.contract.feature if PRIVATE in feature.annotation.tag}
        body = self.statistics.body
        self.hidden: set[str] = tagged - (set(body.get("private") or {}) - set(body.get("private_paths") or {}))
        own = self.statistics.body["dataset"]["uri"]
        self.dataset: str = dataset or ("" if own.startswith(DESCRIPTION) else own)
        self.passed, self.quarantine, self.beam = passed, quarantine, dict(beam or {})
        # Caches of this object alone, which end with it.
        self.conformance = functools.cache(self._conformance)
        self.distributions = functools.cache(self._distributions)

    def rows_of(self, split: str) -> int:
        """How many rows a split has."""
        return self.statistics.body["splits"][split]["rows"]

    def read(self, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
        """TFDV's statistics of a split."""
        return read_statistics(self.statistics, split)

    @property
    def about(self) -> Mapping[str, Any]:
        """What this span's dataset says of its columns, see `origins.describe`."""
        return self.statistics.body["dataset"].get("about") or {}

    def silent(self, name: str, baseline: distributions.Feature, current: distributions.Feature) -> str:
        """Why a feature is not compared with the other side on purpose, see `by_construction.reason`."""
        earlier = self.baseline.about if self.baseline else []
        numbers = (self.baseline.span if self.baseline else None, self.statistics.body["dataset"]["span"])
        return by_construction.reason(
            name,
            baseline,
            current,
            key=self.statistics.body["dataset"]["key"],
            about=self.about,
            carried=(sum(each.get("carried", 0) for each in earlier), self.about.get("carried", 0)),
            spans=(numbers[0], numbers[1]) if numbers[0] is not None and numbers[1] is not None else None,
        )

    def need_rows(self) -> None:
        """Raises HeadwaterError where the statistics name no dataset and none was given."""
        if not self.dataset:
            raise HeadwaterError(
                "dataset: the settings need rows, but the statistics do not name their dataset; give it here"
            )

    def _conformance(self, split: str) -> Conformance:
        """What TFDV reports of a split: breaches of the schema, and the distances that the schema has thresholds
        for."""
        from headwater.components.validate import schema_checks

        if not self.rows_of(split):
            return schema_checks.Conformance()
        return schema_checks.check(
            split,
            self.read(split),
            self.contract,
            environment=self.environment,
            inferred=self.inferred,
            baseline=self.baseline.statistics(split) if self.baseline else None,
            serving=self.serving.statistics if self.serving and split == self.splits[0] else None,
            hidden=self.hidden,
        )

    def _distributions(self, split: str) -> Mapping[tuple[str, ...], distributions.Feature]:
        """A split's distributions by feature path."""
        return distributions.read(self.statistics.read(f"Split-{split}/State.arrow"))


def read_statistics(result: Result, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    """TFDV's statistics of a split of a result of generate-statistics."""
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(result.read(f"Split-{split}/FeatureStats.pb"))


def _parse(schema: Result) -> schema_pb2.Schema:
    try:
        return text_format.Parse(schema.read("schema.pbtxt").decode(), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise HeadwaterError(f"{schema.folder}/schema.pbtxt: not a schema: {error}") from None


def _check_environment(contract: schema_pb2.Schema, environment: str, key: str) -> None:
    named = {name for feature in contract.feature for name in feature.in_environment}
    if environment and environment not in {*contract.default_environment, *named}:
        known = ", ".join([*contract.default_environment, *sorted(named - set(contract.default_environment))]) or "none"
        raise HeadwaterError(f"{key}: the schema has no environment {environment!r}; it has {known}")
