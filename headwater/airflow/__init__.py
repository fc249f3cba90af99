"""Headwater in Airflow 3: an operator for the pipeline and each component, a branch on the verdict, and a sensor for new spans.

What parses DAGs needs Airflow and this package (`pip install --no-deps headwater`); the work is done by the `headwater` command of
an environment of its own, which `HEADWATER_COMMAND` or `executable` names, or by the image: `headwater.calling.command_line` gives
the words for DockerOperator and KubernetesPodOperator.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, BaseSensorOperator, PokeReturnValue
from airflow.sdk.bases.branch import BaseBranchOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from headwater import calling
from headwater.calling import command_line, span_of

__all__ = ["HeadwaterBranch", "HeadwaterOperator", "HeadwaterSpanSensor", "command_line", "span_of"]

_ON_BAD = ("fail", "skip", "pass")


class _Calls:
    """What the operators share: how a command is told where it works, and how its ends are Airflow's."""

    log: Any
    project: str
    data_root: str
    sources: Sequence[str]
    span: int | str | None
    settings: Mapping[str, Any] | None
    executable: str
    environment: Mapping[str, str] | None

    def _keep(
        self,
        project: str,
        data_root: str,
        sources: Sequence[str],
        span: int | str | None,
        settings: Mapping[str, Any] | None,
        executable: str,
        environment: Mapping[str, str] | None,
    ) -> None:
        self.project = project
        self.data_root = data_root
        self.sources = sources
        self.span = span
        self.settings = settings
        self.executable = executable
        self.environment = environment

    def _call(self, command: str, *given: str, output: str = "", more: Sequence[str] = ()) -> dict[str, Any]:
        words = command_line(
            command,
            *given,
            sources=self.sources,
            project=self.project,
            span=self._number(),
            data_root=self.data_root,
            output=output,
            settings=self.settings,
            executable=self.executable,
        )
        try:
            return calling.call([*words, *more], environment=self.environment, on_line=self.log.info)
        except calling.HeadwaterFailed as error:
            # Another attempt mends what came from outside, and no setting.
            again = error.code != calling.FAILED
            raise (AirflowException if again else AirflowFailException)(str(error)) from None

    def _number(self) -> int | None:
        """The span's number, which a template gives as text: a number, or a date."""
        given = self.span
        if given is None or isinstance(given, int):
            return given
        if not given:
            return None
        try:
            return int(given) if given.isdigit() else span_of(given)
        except ValueError:
            raise AirflowFailException(
                f"span: {given!r} is neither a number nor a date as 2026-02-01; give for example '{{{{ ds }}}}'"
            ) from None


class HeadwaterOperator(_Calls, BaseOperator):
    """Runs the main pipeline on one span, or one component.

    Its result is small: `verdict`, `blessed`, the results' URIs, counts of findings and the gravest few. Data that must not go on
    fails the task without another attempt, so that nothing that depends on it runs; with assets in `outlets`, a span that is
    blessed, and no other, is an event that starts the trainer's DAG, with the result in its `extra`.
    """

    template_fields: Sequence[str] = ("project", "data_root", "sources", "span", "settings", "given", "output_folder")
    ui_color = "#dbe9f6"

    def __init__(
        self,
        *,
        command: str = "run",
        given: Sequence[str] = (),
        project: str = "",
        data_root: str = "",
        sources: Sequence[str] = (),
        span: int | str | None = None,
        output_folder: str = "",
        settings: Mapping[str, Any] | None = None,
        on_bad: str = "fail",
        executable: str = "headwater",
        environment: Mapping[str, str] | None = None,
        **kwargs: Any,
    ):
        """Says what to run.

        Args:
          command: `run`, or a component: `collect`, `label`, `generate-statistics`, `infer-schema`, `validate` or `gate`.
          given: what a component works on, in its order: URIs of results, as `{{ ti.xcom_pull("collect")["uri"] }}`.
          project: path or URI of the project file.
          data_root: the durable home of the results; required for `run`.
          sources: paths or URIs in place of the project's.
          span: the number of the span, or its date, as `{{ ds }}`.
          output_folder: the folder that a component writes to; by default a temporary one, for results under the data root.
          settings: further settings by their keys, as `collect.key`.
          on_bad: what data that must not go on does: `fail` the task, `skip` it and what follows, or `pass`, so that
            a `HeadwaterBranch` may decide.
          executable: the `headwater` command.
          environment: variables of the command beside those of the task.
          **kwargs: of every operator.

        Raises:
          ValueError: `on_bad` is none of these, or a run has no data root.
        """
        super().__init__(**kwargs)
        if on_bad not in _ON_BAD:
            raise ValueError(f"on_bad: must be one of {', '.join(_ON_BAD)}; given: {on_bad!r}")
        if command == "run" and not data_root:
            raise ValueError("data_root: a run needs one that all workers reach, as s3://bucket/headwater")
        self._keep(project, data_root, sources, span, settings, executable, environment)
        self.command = command
        self.given = given
        self.output_folder = output_folder
        self.on_bad = on_bad
        self._uri = ""

    def execute(self, context: Any) -> dict[str, Any]:
        """Runs the command; gives its small result."""
        with tempfile.TemporaryDirectory(prefix="headwater-") as folder:
            output = self.output_folder or folder
            told = self._call(self.command, *self.given, output=output if self.command in calling.WRITERS else "")
        kept = calling.small(told)
        results = kept.get("results", {})
        self._uri = results.get("anomalies") or results.get("dataset") or kept.get("uri") or ""
        try:
            calling.blessed(told)
        except calling.NotBlessed as error:
            if self.on_bad == "fail":
                raise AirflowFailException(str(error)) from None
            if self.on_bad == "skip":
                raise AirflowSkipException(str(error)) from None
            self.log.warning("%s", error)
            return kept
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {
                name: kept[name] for name in ("verdict", "results") if name in kept
            }
        return kept

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What OpenLineage's provider asks for: the sources and the results, under the names of `headwater lineage`."""
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import Dataset

        if not self._uri:
            return OperatorLineage()
        found = subprocess.run(
            [calling.find(self.executable), "lineage", self._uri, "--format", "openlineage"],
            capture_output=True,
            text=True,
        )
        events = json.loads(found.stdout) if found.returncode == 0 else []
        made = {each["name"]: each["namespace"] for event in events for each in event["outputs"]}
        read = {
            each["name"]: each["namespace"] for event in events for each in event["inputs"] if each["name"] not in made
        }
        return OperatorLineage(
            inputs=[Dataset(namespace=space, name=name) for name, space in read.items()],
            outputs=[Dataset(namespace=space, name=name) for name, space in made.items()],
        )


class HeadwaterBranch(BaseBranchOperator):
    """Goes on by the verdict of a task before it, which has `on_bad="pass"`."""

    def __init__(self, *, of: str, blessed: str | Sequence[str], rejected: str | Sequence[str], **kwargs: Any):
        """Names the ways.

        Args:
          of: the id of the `HeadwaterOperator` task whose result decides.
          blessed: ids of the tasks that run when the data may go on.
          rejected: ids of those that run when it may not.
          **kwargs: of every operator.
        """
        super().__init__(**kwargs)
        self.of = of
        self.blessed = blessed
        self.rejected = rejected

    def choose_branch(self, context: Any) -> str | Sequence[str]:
        """The ids to go on with."""
        told = context["ti"].xcom_pull(task_ids=self.of)
        if not isinstance(told, dict) or "exit_code" not in told:
            raise AirflowFailException(
                f"of: the task {self.of!r} left no result of Headwater; name a HeadwaterOperator"
            )
        return self.blessed if told["exit_code"] == calling.DONE else self.rejected


class HeadwaterSpanSensor(_Calls, BaseSensorOperator):
    """Waits until a span is there: one by number or date, or any that no run has finished. Gives its number."""

    template_fields: Sequence[str] = ("project", "data_root", "sources", "span", "settings")

    def __init__(
        self,
        *,
        project: str = "",
        data_root: str = "",
        sources: Sequence[str] = (),
        span: int | str | None = None,
        settings: Mapping[str, Any] | None = None,
        executable: str = "headwater",
        environment: Mapping[str, str] | None = None,
        **kwargs: Any,
    ):
        """Says what to wait for.

        Args:
          project: path or URI of the project file, whose sources tell spans in their paths.
          data_root: where results lie, which tell what waits.
          sources: paths or URIs in place of the project's.
          span: the span's number or date, as `{{ ds }}`; by default the earliest that waits for a run.
          settings: further settings by their keys.
          executable: the `headwater` command.
          environment: variables of the command beside those of the task.
          **kwargs: of every sensor.
        """
        super().__init__(**kwargs)
        self._keep(project, data_root, sources, span, settings, executable, environment)

    def poke(self, context: Any) -> PokeReturnValue:
        """Whether the span is there."""
        wanted = self._number()
        told = self._call("spans", more=["--waiting"] if wanted is None else [])
        there = [each["span"] for each in told["spans"] if wanted in (None, each["span"])]
        return PokeReturnValue(is_done=bool(there), xcom_value=there[0] if there else None)
